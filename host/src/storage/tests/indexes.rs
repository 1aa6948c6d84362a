//! Secondary indexes: made when a build has caught up, or first needs one.

use super::*;

on_both!(
    a_new_generation_has_no_secondary_index,
    completing_makes_the_missing_indexes,
    a_find_makes_the_index_that_it_needs,
    only_the_owner_completes,
    another_order_of_tables_and_indexes_makes_none_twice,
);

/// The names of the indexes beside those of the keys.
async fn indexes(database: &Database) -> Vec<String> {
    let sql = if database.is_postgres() {
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE c.relnamespace::regnamespace::text LIKE 'gnomon\\_%' AND NOT i.indisprimary
           AND i.indisvalid ORDER BY 1"
    } else {
        "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql LIKE '%customer%' ORDER BY 1"
    };
    database.texts(sql).await
}

async fn a_new_generation_has_no_secondary_index(database: &Database) {
    let mut started = started(database, &orders()).await;
    started.put(vec![order(1, "ada")]).await.unwrap();
    assert_eq!(indexes(database).await, [""; 0]);
}

async fn completing_makes_the_missing_indexes(database: &Database) {
    let mut started = started(database, &orders()).await;
    started.put(vec![order(1, "ada")]).await.unwrap();
    started.writer.complete().await.unwrap();
    let made = indexes(database).await;
    assert_eq!(made.len(), 1);
    // Again changes nothing, and one that somebody dropped comes back.
    started.writer.complete().await.unwrap();
    assert_eq!(indexes(database).await, made);
    let schema = if database.is_postgres() {
        "gnomon_orders_by_customer_1."
    } else {
        ""
    };
    database
        .execute(&format!("DROP INDEX {schema}\"{}\"", made[0]))
        .await;
    started.writer.complete().await.unwrap();
    assert_eq!(indexes(database).await, made);
}

async fn a_find_makes_the_index_that_it_needs(database: &Database) {
    let mut started = started(database, &orders()).await;
    started
        .put(vec![order(1, "ada"), order(2, "bob")])
        .await
        .unwrap();
    for _ in 0..2 {
        let found = started.writer.find(0, 0, &[text("bob")], None, 10).await;
        assert_eq!(found.unwrap().rows, [order(2, "bob")]);
        assert_eq!(indexes(database).await.len(), 1);
    }
}

async fn only_the_owner_completes(database: &Database) {
    let mut started = started(database, &orders()).await;
    acquired(&started.storage, started.generation.id, "host-a").await;
    refused(
        started.writer.complete().await,
        StorageErrorKind::Fenced,
        "no longer ours",
    );
    assert_eq!(indexes(database).await, [""; 0]);
}

/// Two tables, the first with two indexes, and the same listed the other way
/// round.
fn listed_both_ways() -> [Description; 2] {
    let columns = || {
        let names = ["id", "customer", "customer_2"];
        let columns = names.map(|name| column(name, ColumnType::Text, false));
        columns.to_vec()
    };
    let (first, second): (&[&str], &[&str]) = (&["customer"], &["customer_2"]);
    let orders = |indexes: &[&[&str]]| table("orders", columns(), &["id"], indexes);
    let others = || table("others", columns(), &["id"], &[]);
    [
        vec![orders(&[first, second]), others()],
        vec![others(), orders(&[second, first])],
    ]
    .map(|tables| description("orders_by_customer", 1, tables))
}

async fn another_order_of_tables_and_indexes_makes_none_twice(database: &Database) {
    let [first, second] = listed_both_ways();
    let Started {
        storage,
        generation,
        mut writer,
        ..
    } = started(database, &first).await;
    writer.complete().await.unwrap();
    let made = indexes(database).await;
    assert_eq!(made.len(), 2, "{made:?}");
    let reload = added(&storage, &second).await.unwrap();
    storage
        .registry
        .set_module(&[generation.id], &reload)
        .await
        .unwrap();

    // What the next session works with.
    let generation = stored(&storage, generation.id).await.unwrap();
    assert_eq!(
        (&generation.module, &generation.description),
        (&reload, &first)
    );
    let mut started = started_on(storage, generation).await;
    started.writer.complete().await.unwrap();
    for index in [0, 1] {
        let found = started.writer.find(0, index, &[text("ada")], None, 1).await;
        assert!(found.unwrap().rows.is_empty());
    }
    assert_eq!(indexes(database).await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_index_is_made_anew() {
    let database = Database::postgres().await;
    let mut started = started(&database, &orders()).await;
    started.put(vec![order(1, "ada")]).await.unwrap();
    started.writer.complete().await.unwrap();
    let made = indexes(&database).await;
    // As an interrupted REINDEX CONCURRENTLY leaves one.
    database
        .execute(
            "UPDATE pg_index SET indisvalid = false WHERE NOT indisprimary AND indrelid =
                  'gnomon_orders_by_customer_1.orders'::regclass",
        )
        .await;
    assert_eq!(indexes(&database).await, [""; 0]);
    started.writer.complete().await.unwrap();
    assert_eq!(indexes(&database).await, made);
}

#[tokio::test(flavor = "multi_thread")]
async fn completing_leaves_statistics_for_readers() {
    let database = Database::postgres().await;
    let mut started = started(&database, &orders()).await;
    started
        .put((0..100).map(|id| order(id, "ada")).collect())
        .await
        .unwrap();
    started.writer.complete().await.unwrap();
    let known = database
        .texts("SELECT attname FROM pg_stats WHERE tablename = 'orders' ORDER BY attname")
        .await;
    assert_eq!(known, ["customer", "id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_indexed_is_rejected() {
    let database = Database::postgres().await;
    let mut started = started(&database, &orders()).await;
    // What does not compress, and is longer than a page.
    let long: String = (0..4_000)
        .map(|n: u32| ModuleHash::of(&n.to_be_bytes()).short().to_owned())
        .collect();
    started.put(vec![order(1, &long)]).await.unwrap();
    refused(
        started.writer.complete().await,
        StorageErrorKind::Rejected,
        "index row",
    );
    assert_eq!(indexes(&database).await, [""; 0]);
}
