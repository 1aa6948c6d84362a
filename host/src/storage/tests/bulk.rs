//! Filling tables that are empty.

use std::collections::BTreeMap;

use super::*;

on_both!(
    rows_that_fill_an_empty_table_are_there,
    the_key_is_there_behind_many_rows,
    a_key_that_cannot_be_made_leaves_the_old_one,
    a_bulk_commit_is_all_or_nothing,
    a_bulk_commit_by_a_stale_epoch_writes_nothing,
);

/// Commits the first batch of a build.
async fn fill(started: &mut Started, writes: &[TableWrites]) -> Result<(), StorageError> {
    started
        .writer
        .commit(Commit {
            writes: writes.into(),
            expected: &checkpoint(0),
            next: &checkpoint(1),
            position: Position::new(1).unwrap(),
            event: None,
            dead_letters: DeadLetterChanges::default(),
            rate: Rate::default(),
            into_empty: true,
        })
        .await
}

/// More than one message's worth, with every type, nulls, and what text
/// formats would have to escape.
async fn rows_that_fill_an_empty_table_are_there(database: &Database) {
    const ROWS: i64 = 20_000;
    let types = [
        ColumnType::Boolean,
        ColumnType::Float,
        ColumnType::Decimal,
        ColumnType::Text,
        ColumnType::Bytes,
        ColumnType::Timestamp,
        ColumnType::Date,
        ColumnType::Uuid,
        ColumnType::Json,
    ];
    let mut columns = vec![column("id", ColumnType::Integer, false)];
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    columns.extend(
        names
            .iter()
            .zip(types)
            .map(|(name, column_type)| column(name, column_type, true)),
    );
    let wide = description("wide", 1, vec![table("wide", columns, &["id"], &[])]);
    let row = |id: i64| -> Row {
        if id % 7 == 0 {
            let nulls = std::iter::repeat_n(Value::Null, names.len());
            return std::iter::once(Value::Integer(id)).chain(nulls).collect();
        }
        vec![
            Value::Integer(id),
            Value::Boolean(id % 2 == 0),
            Value::Float(id as f64 / 3.0),
            Value::Decimal(format!("{id}.50").parse().unwrap()),
            text(&format!("\\N\t{id}\r\n, \"x\" ü")),
            Value::Bytes(vec![0, 255, 10, 92, id as u8]),
            Value::Timestamp(id * 1_000_003),
            Value::Date(id as i32),
            Value::Uuid(uuid::Uuid::from_u128(id as u128)),
            Value::Json(format!("{{\"id\": {id}}}")),
        ]
    };
    let rows: BTreeMap<i64, Row> = (0..ROWS).map(|id| (id, row(id))).collect();
    let mut started = started(database, &wide).await;
    let writes = TableWrites {
        table: 0,
        upserts: rows.values().cloned().collect(),
        // There is nothing to delete yet.
        deletes: vec![Key::new(vec![Value::Integer(-1)])],
    };
    fill(&mut started, &[writes]).await.unwrap();
    assert_eq!(started.writer.checkpoint().await.unwrap(), checkpoint(1));
    let keys: Vec<Key> = rows
        .keys()
        .map(|id| Key::new(vec![Value::Integer(*id)]))
        .collect();
    let found = started.writer.rows(0, &keys).await.unwrap();
    for (found, expected) in found.into_iter().zip(rows.into_values()) {
        assert_eq!(found, Some(expected));
    }
}

/// As many as make it worth to make the key behind them.
fn many_orders() -> Vec<Row> {
    (1..=12_000).map(|id| order(id, "ada")).collect()
}

/// The definitions of the keys that are valid.
async fn keys(database: &Database) -> Vec<String> {
    let sql = if database.is_postgres() {
        "SELECT conname || ' ' || pg_get_constraintdef(c.oid) FROM pg_constraint c
         JOIN pg_index i ON i.indexrelid = c.conindid AND i.indisvalid
         WHERE contype = 'p' AND c.connamespace::regnamespace::text LIKE 'gnomon\\_%'"
    } else {
        "SELECT sql FROM sqlite_schema WHERE name LIKE '%orders'"
    };
    database.texts(sql).await
}

async fn the_key_is_there_behind_many_rows(database: &Database) {
    let mut started = started(database, &orders()).await;
    let before = keys(database).await;
    fill(&mut started, &[upserts(0, many_orders())])
        .await
        .unwrap();
    assert_eq!(keys(database).await, before);
    started.put(vec![order(12_000, "bob")]).await.unwrap();
    let row = started.row(vec![Value::Integer(12_000)]).await;
    assert_eq!(row, Some(order(12_000, "bob")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_on_the_key_does_not_keep_rows_away() {
    let database = Database::postgres().await;
    let mut started = started(&database, &orders()).await;
    database
        .execute(
            "CREATE TABLE public.notes (of bigint REFERENCES gnomon_orders_by_customer_1.orders)",
        )
        .await;
    fill(&mut started, &[upserts(0, many_orders())])
        .await
        .unwrap();
    assert_eq!(keys(&database).await.len(), 1);
    database
        .execute("INSERT INTO public.notes VALUES (12000)")
        .await;
}

/// The session ends while the table has no key.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ends_among_many_rows_leaves_none_of_them_and_the_key() {
    const TABLE: &str = "gnomon_orders_by_customer_1.orders";
    let database = Database::postgres().await;
    let mut started = started(&database, &orders()).await;
    let before = keys(&database).await;
    database
        .execute(&format!(
            "CREATE SEQUENCE public.copied;
             CREATE FUNCTION public.end_halfway() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 IF nextval('public.copied') = 11000 THEN
                     PERFORM pg_terminate_backend(pg_backend_pid());
                 END IF;
                 RETURN new;
             END $$;
             CREATE TRIGGER end_halfway BEFORE INSERT ON {TABLE}
             FOR EACH ROW EXECUTE FUNCTION public.end_halfway()"
        ))
        .await;
    let Err(error) = fill(&mut started, &[upserts(0, many_orders())]).await else {
        panic!("the session did not end")
    };
    assert_eq!(error.kind(), StorageErrorKind::Retry, "{}", chain(&error));
    // It waits until the session has let go of the table.
    let rows = database
        .texts(&format!("SELECT count(*) FROM {TABLE}"))
        .await;
    assert_eq!(rows, ["0"]);
    assert_eq!(keys(&database).await, before);
    assert_eq!(started.writer.checkpoint().await.unwrap(), checkpoint(0));
    fill(&mut started, &[upserts(0, many_orders())])
        .await
        .unwrap();
    assert_eq!(keys(&database).await, before);
    let row = started.row(vec![Value::Integer(12_000)]).await;
    assert_eq!(row, Some(order(12_000, "ada")));
}

async fn a_key_that_cannot_be_made_leaves_the_old_one(database: &Database) {
    let mut started = started(database, &orders()).await;
    let before = keys(database).await;
    let mut twice = many_orders();
    twice.push(order(7, "bob"));
    let Err(error) = fill(&mut started, &[upserts(0, twice)]).await else {
        panic!("it was not refused")
    };
    assert_eq!(
        error.kind(),
        StorageErrorKind::Rejected,
        "{}",
        chain(&error)
    );
    assert_eq!(keys(database).await, before);
    assert_eq!(started.row(vec![Value::Integer(7)]).await, None);
}

async fn a_bulk_commit_is_all_or_nothing(database: &Database) {
    let one = |name| table(name, orders().tables[0].columns.clone(), &["id"], &[]);
    let two = description("two", 1, vec![one("first"), one("second")]);
    let mut started = started(database, &two).await;
    // A null in SQLite's rowid would mean "the next number".
    let id = if database.is_postgres() {
        Value::Null
    } else {
        text("two")
    };
    let writes = [
        upserts(0, vec![order(1, "ada")]),
        upserts(1, vec![order(1, "ada"), vec![id, text("nobody")]]),
    ];
    let Err(error) = fill(&mut started, &writes).await else {
        panic!("it was not refused")
    };
    assert_eq!(
        error.kind(),
        StorageErrorKind::Rejected,
        "{}",
        chain(&error)
    );
    assert_eq!(started.writer.checkpoint().await.unwrap(), checkpoint(0));
    assert_eq!(started.row(vec![Value::Integer(1)]).await, None);
    // The connection can be used again.
    fill(&mut started, &writes[..1]).await.unwrap();
    let row = started.row(vec![Value::Integer(1)]).await;
    assert_eq!(row, Some(order(1, "ada")));
}

async fn a_bulk_commit_by_a_stale_epoch_writes_nothing(database: &Database) {
    let mut started = started(database, &orders()).await;
    let newer = acquired(&started.storage, started.generation.id, "host-a").await;
    let result = fill(&mut started, &[upserts(0, vec![order(1, "ada")])]).await;
    refused(result, StorageErrorKind::Fenced, "no longer ours");
    started.writer = started
        .storage
        .read_models
        .writer(newer, Arc::new(orders()))
        .await
        .unwrap();
    assert_eq!(started.row(vec![Value::Integer(1)]).await, None);
}
