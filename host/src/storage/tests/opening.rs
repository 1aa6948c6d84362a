//! Opening: whoever comes first makes the registry, and what is not ours is
//! left alone.

use gnomon_databases::database_url::DatabaseUrl;

use super::*;
use crate::storage::open;

on_both!(
    hosts_that_open_an_empty_database_at_once_agree,
    what_was_stored_is_there_again,
    a_newer_registry_is_refused,
    a_module_is_stored_once,
    hosts_that_decide_at_once_make_one_generation,
);

async fn hosts_that_open_an_empty_database_at_once_agree(database: &Database) {
    let hosts: Vec<_> = (0..8)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { open(&url).await })
        })
        .collect();
    for host in hosts {
        host.await
            .unwrap()
            .unwrap()
            .registry
            .generations()
            .await
            .unwrap();
    }
}

async fn what_was_stored_is_there_again(database: &Database) {
    let description = orders();
    let made = created(&database.open().await, &description).await.unwrap();
    let storage = database.open().await;
    assert_eq!(
        storage.registry.generations().await.unwrap(),
        std::slice::from_ref(&made)
    );
    let module = storage
        .registry
        .module(&made.module)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(ModuleHash::of(&module.bytes), made.module);
    assert_eq!(module.description, description);
}

async fn a_newer_registry_is_refused(database: &Database) {
    database.open().await;
    database
        .execute(&format!(
            "UPDATE {} SET format = 99",
            database.registry("registry")
        ))
        .await;
    refused(
        open(&database.url()).await,
        StorageErrorKind::Refused,
        "registry format 99",
    );
}

async fn a_module_is_stored_once(database: &Database) {
    let storage = database.open().await;
    let unknown = ModuleHash::of(b"unknown");
    assert_eq!(storage.registry.module(&unknown).await.unwrap(), None);
    let result = storage
        .registry
        .create_generation(new_generation(&unknown, &orders()))
        .await;
    refused(result, StorageErrorKind::Refused, "not in the registry");
    created(&storage, &orders()).await.unwrap();
    created(&storage, &orders()).await.unwrap();
    let modules = format!("SELECT count(*) FROM {}", database.registry("modules"));
    assert_eq!(database.texts(&modules).await, ["1"]);
}

async fn hosts_that_decide_at_once_make_one_generation(database: &Database) {
    let storage = database.open().await;
    let first = created(&storage, &orders()).await.unwrap();
    // The second host decided before it could see the first one's generation.
    let result = storage
        .registry
        .create_generation(new_generation(&first.module, &orders()))
        .await;
    refused(result, StorageErrorKind::Retry, "at the same time");
    assert_eq!(storage.registry.generations().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_database_is_refused_by_name() {
    let database = Database::sqlite();
    std::fs::write(
        database.file(),
        "not a database, but long enough to be looked at ".repeat(99),
    )
    .unwrap();
    refused(
        open(&database.url()).await,
        StorageErrorKind::Refused,
        "read models.db",
    );
    let missing = DatabaseUrl::Sqlite(database.file().join("no such directory/x.db"));
    refused(
        open(&missing).await,
        StorageErrorKind::Refused,
        "no such directory/x.db",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_tried_again_and_no_password_is_told() {
    let url: DatabaseUrl = "postgres://reader:s3cret@127.0.0.1:1/x".parse().unwrap();
    let Err(error) = open(&url).await else {
        panic!("it opened")
    };
    let said = chain(&error);
    assert_eq!(error.kind(), StorageErrorKind::Retry, "{said}");
    assert!(
        said.contains("postgres://reader:***@127.0.0.1:1/x"),
        "{said}"
    );
    assert!(
        !said.contains("s3cret") && !format!("{error:?}").contains("s3cret"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_and_a_missing_database_are_refused() {
    let database = Database::postgres().await;
    database
        .execute(
            "DO $$ BEGIN CREATE ROLE gnomon_storage_test_guest LOGIN PASSWORD 's3cret';
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$",
        )
        .await;
    let mut url = database.postgres_url();
    url.set_username("gnomon_storage_test_guest").unwrap();
    url.set_password(Some("s3cret")).unwrap();
    let guest: DatabaseUrl = url.as_str().parse().unwrap();
    refused(
        open(&guest).await,
        StorageErrorKind::Refused,
        "permission denied",
    );
    url.set_path("no_such_database");
    let missing: DatabaseUrl = url.as_str().parse().unwrap();
    let Err(error) = open(&missing).await else {
        panic!("it opened")
    };
    assert_eq!(error.kind(), StorageErrorKind::Refused);
    assert!(!format!("{} {error:?}", chain(&error)).contains("s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_cannot_hold_all_text_is_refused() {
    let database = Database::postgres_with("ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'").await;
    refused(
        open(&database.url()).await,
        StorageErrorKind::Refused,
        "ENCODING 'UTF8'",
    );
}
