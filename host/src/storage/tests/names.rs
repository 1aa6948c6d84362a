//! Names that are taken, reserved, long or hostile.

use super::*;

on_both!(
    reserved_names_are_refused,
    a_name_that_somebody_has_is_refused,
    the_longest_names_work,
    names_and_values_are_never_run,
);

fn one_table(projection: &str, name: &str) -> Description {
    description(
        projection,
        1,
        vec![table(
            name,
            vec![column("id", ColumnType::Integer, false)],
            &["id"],
            &[],
        )],
    )
}

async fn reserved_names_are_refused(database: &Database) {
    let storage = database.open().await;
    let reserved = if database.is_postgres() {
        [
            "pg_orders",
            "public",
            "information_schema",
            "gnomon",
            "gnomon_orders",
        ]
        .map(|name| one_table(name, "orders"))
        .to_vec()
    } else {
        ["sqlite_orders", "gnomon_orders", "gnomon_7_orders"]
            .map(|name| one_table("orders", name))
            .to_vec()
    };
    for description in reserved {
        refused(
            created(&storage, &description).await,
            StorageErrorKind::Refused,
            "reserved",
        );
    }
    assert_eq!(storage.registry.generations().await.unwrap(), []);
    let projections = format!("SELECT count(*) FROM {}", database.registry("projections"));
    assert_eq!(database.texts(&projections).await, ["0"]);
}

async fn a_name_that_somebody_has_is_refused(database: &Database) {
    let storage = database.open().await;
    if database.is_postgres() {
        database
            .execute("CREATE SCHEMA taken; CREATE TABLE taken.theirs (id integer)")
            .await;
        let result = created(&storage, &one_table("taken", "orders")).await;
        refused(result, StorageErrorKind::Refused, "schema `taken` of role");
    } else {
        database
            .execute("CREATE TABLE Taken (id integer); CREATE VIEW seen AS SELECT 1")
            .await;
        for (name, words) in [("taken", "a table `taken`"), ("seen", "a view `seen`")] {
            let result = created(&storage, &one_table("orders", name)).await;
            refused(result, StorageErrorKind::Refused, words);
        }
        created(&storage, &one_table("first", "shared"))
            .await
            .unwrap();
        let result = created(&storage, &one_table("second", "shared")).await;
        refused(
            result,
            StorageErrorKind::Refused,
            "belongs to projection `first`",
        );
    }
    created(&storage, &one_table("free", "orders"))
        .await
        .unwrap();
}

async fn the_longest_names_work(database: &Database) {
    let long = |last: &str| format!("{}{last}", "x".repeat(62));
    let columns = || {
        vec![
            column(&long("a"), ColumnType::Text, false),
            column(&long("b"), ColumnType::Text, true),
        ]
    };
    let tables = ["a", "b"].map(|last| {
        table(
            &long(last),
            columns(),
            &[&long("a")],
            &[&[&long("b")], &[&long("b"), &long("a")]],
        )
    });
    let longest = description(&"p".repeat(40), 1, tables.to_vec());
    let mut started = started(database, &longest).await;
    for table in 0..2 {
        started
            .commit(&[upserts(table, vec![vec![text("k"), text("v")]])])
            .await
            .unwrap();
        let found = started
            .writer
            .find(table, 0, &[text("v")], None, 10)
            .await
            .unwrap();
        assert_eq!(found.rows, [vec![text("k"), text("v")]]);
    }
    promoted(&started.storage, started.generation.id).await;
}

async fn names_and_values_are_never_run(database: &Database) {
    let hostile = "x\"; DROP TABLE gnomon_registry; DROP SCHEMA gnomon CASCADE; --'";
    // A description that no check has seen.
    let mut description = orders();
    description.tables[0].name = format!("t{hostile}");
    description.tables[0].columns[1].name = format!("c{hostile}");
    if !database.is_postgres() {
        description.name = hostile.to_owned();
    }
    let mut started = started(database, &description).await;
    started.put(vec![order(1, hostile)]).await.unwrap();
    assert_eq!(
        started.row(vec![Value::Integer(1)]).await,
        Some(order(1, hostile))
    );
    let found = started
        .writer
        .find(0, 0, &[text(hostile)], None, 10)
        .await
        .unwrap();
    assert_eq!(found.rows, [order(1, hostile)]);
    promoted(&started.storage, started.generation.id).await;
    assert_eq!(
        started.storage.registry.generations().await.unwrap().len(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_with_the_name_of_a_system_column_is_refused() {
    let database = Database::postgres().await;
    let storage = database.open().await;
    let columns = vec![column("xmin", ColumnType::Integer, false)];
    let result = created(
        &storage,
        &description("systems", 1, vec![table("t", columns, &["xmin"], &[])]),
    )
    .await;
    refused(
        result,
        StorageErrorKind::Refused,
        "\"xmin\" conflicts with a system column",
    );
    assert_eq!(storage.registry.generations().await.unwrap(), []);
}
