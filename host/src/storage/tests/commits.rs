//! Rows and checkpoint change together, by compare-and-set, or not at all.

use super::*;

on_both!(
    a_batch_moves_rows_and_checkpoint,
    a_wrong_checkpoint_writes_nothing,
    a_stale_epoch_writes_nothing,
    a_batch_committed_twice_is_applied_once,
    a_refused_value_leaves_nothing_behind,
    of_two_writers_with_one_lease_one_commits,
    a_batch_may_delete_and_put,
    any_set_of_tables_is_written,
    a_table_of_keys_alone_takes_the_same_row_twice,
    ten_thousand_rows_at_once,
    five_hundred_columns,
);

async fn a_batch_moves_rows_and_checkpoint(database: &Database) {
    let mut started = started(database, &orders()).await;
    started
        .put(vec![order(1, "ada"), order(2, "bob")])
        .await
        .unwrap();
    started
        .put(vec![order(2, "cyd"), order(3, "dan")])
        .await
        .unwrap();

    assert_eq!(started.writer.checkpoint().await.unwrap(), checkpoint(2));
    let keys = [3, 9, 1, 2, 1].map(|id| Key::new(vec![Value::Integer(id)]));
    assert_eq!(
        started.writer.rows(0, &keys).await.unwrap(),
        [
            Some(order(3, "dan")),
            None,
            Some(order(1, "ada")),
            Some(order(2, "cyd")),
            Some(order(1, "ada"))
        ]
    );
    let stored = started
        .storage
        .registry
        .generations()
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (stored.checkpoint, stored.position.get()),
        (checkpoint(2), 2)
    );
}

async fn a_wrong_checkpoint_writes_nothing(database: &Database) {
    let mut started = started(database, &orders()).await;
    started.put(vec![order(1, "ada")]).await.unwrap();

    let deleted = TableWrites {
        table: 0,
        upserts: vec![order(2, "eve")],
        deletes: vec![Key::new(vec![Value::Integer(1)])],
    };
    for writes in [upserts(0, vec![order(1, "eve"), order(2, "eve")]), deleted] {
        let result = commit(&mut *started.writer, 7, &[writes]).await;
        refused(result, StorageErrorKind::Fenced, "no longer ours");
    }
    assert_eq!(
        started.row(vec![Value::Integer(1)]).await,
        Some(order(1, "ada"))
    );
    assert_eq!(started.row(vec![Value::Integer(2)]).await, None);
    assert_eq!(started.writer.checkpoint().await.unwrap(), checkpoint(1));
}

async fn a_stale_epoch_writes_nothing(database: &Database) {
    let mut started = started(database, &orders()).await;
    let newer = acquired(&started.storage, started.generation.id, "host-a").await;
    assert!(newer.epoch > started.lease.epoch);

    let writes = [upserts(0, vec![order(1, "eve")])];
    let result = commit(&mut *started.writer, 0, &writes).await;

    refused(result, StorageErrorKind::Fenced, "no longer ours");
    refused(
        started.writer.checkpoint().await,
        StorageErrorKind::Fenced,
        "no longer ours",
    );
    let mut writer = started
        .storage
        .read_models
        .writer(newer, Arc::new(orders()))
        .await
        .unwrap();
    assert_eq!(writer.checkpoint().await.unwrap(), checkpoint(0));
    assert_eq!(
        writer
            .rows(0, &[Key::new(vec![Value::Integer(1)])])
            .await
            .unwrap(),
        [None]
    );
    commit(&mut *writer, 0, &writes).await.unwrap();
}

async fn a_batch_committed_twice_is_applied_once(database: &Database) {
    let mut started = started(database, &orders()).await;
    let writes = [upserts(0, vec![order(1, "ada")])];
    commit(&mut *started.writer, 0, &writes).await.unwrap();
    let again = commit(&mut *started.writer, 0, &writes).await;
    refused(again, StorageErrorKind::Fenced, "no longer ours");
    assert_eq!(started.writer.checkpoint().await.unwrap(), checkpoint(1));
}

async fn a_refused_value_leaves_nothing_behind(database: &Database) {
    let mut started = started(database, &orders()).await;
    let rows = vec![order(1, "ada"), vec![Value::Null, text("nobody")]];
    // A null in SQLite's rowid would mean "the next number".
    let rows = if database.is_postgres() {
        rows
    } else {
        vec![order(1, "ada"), vec![text("two"), text("nobody")]]
    };
    let result = started.put(rows).await;

    let Err(error) = result else {
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
}

async fn of_two_writers_with_one_lease_one_commits(database: &Database) {
    let started = started(database, &orders()).await;
    let attempts = (0..2).map(|number| {
        let storage = started.storage.clone();
        let lease = started.lease;
        tokio::spawn(async move {
            let mut writer = storage
                .read_models
                .writer(lease, Arc::new(orders()))
                .await
                .unwrap();
            let rows = (0..2_000)
                .map(|id| order(id, &number.to_string()))
                .collect();
            commit(&mut *writer, 0, &[upserts(0, rows)])
                .await
                .map(|()| number)
        })
    });
    let mut winners = vec![];
    for attempt in attempts.collect::<Vec<_>>() {
        match attempt.await.unwrap() {
            Ok(number) => winners.push(number.to_string()),
            Err(error) => assert_eq!(error.kind(), StorageErrorKind::Fenced, "{}", chain(&error)),
        }
    }
    assert_eq!(winners.len(), 1);
    promoted(&started.storage, started.generation.id).await;
    let orders = database.public("orders_by_customer", "orders");
    let found = database
        .texts(&format!("SELECT DISTINCT customer FROM {orders}"))
        .await;
    assert_eq!(found, winners);
}

async fn a_batch_may_delete_and_put(database: &Database) {
    let mut started = started(database, &orders()).await;
    started
        .put((0..10).map(|id| order(id, "ada")).collect())
        .await
        .unwrap();
    let writes = TableWrites {
        table: 0,
        upserts: vec![order(1, "bob"), order(20, "bob")],
        deletes: [2, 3, 99]
            .map(|id| Key::new(vec![Value::Integer(id)]))
            .to_vec(),
    };
    started.commit(&[writes]).await.unwrap();
    for (id, expected) in [
        (0, Some("ada")),
        (1, Some("bob")),
        (2, None),
        (3, None),
        (4, Some("ada")),
        (20, Some("bob")),
        (99, None),
    ] {
        let found = started.row(vec![Value::Integer(id)]).await;
        assert_eq!(found, expected.map(|customer| order(id, customer)));
    }
}

async fn a_table_of_keys_alone_takes_the_same_row_twice(database: &Database) {
    let columns = vec![
        column("a", ColumnType::Text, false),
        column("b", ColumnType::Boolean, false),
    ];
    let seen = description("seen", 1, vec![table("seen", columns, &["b", "a"], &[])]);
    let mut started = started(database, &seen).await;
    let row = vec![text("x"), Value::Boolean(true)];
    started.put(vec![row.clone()]).await.unwrap();
    started.put(vec![row.clone()]).await.unwrap();
    assert_eq!(
        started.row(vec![Value::Boolean(true), text("x")]).await,
        Some(row)
    );
    assert_eq!(
        started.row(vec![Value::Boolean(false), text("x")]).await,
        None
    );
}

async fn ten_thousand_rows_at_once(database: &Database) {
    const ROWS: i64 = 10_001;
    let mut started = started(database, &orders()).await;
    let rows: Vec<Row> = (0..ROWS)
        .map(|id| order(id, &format!("customer {id}")))
        .collect();
    started.put(rows.clone()).await.unwrap();
    let keys: Vec<Key> = (0..ROWS)
        .map(|id| Key::new(vec![Value::Integer(id)]))
        .collect();
    let found = all_rows(&mut started, &keys).await;
    assert!(found.into_iter().eq(rows.into_iter().map(Some)));

    let removed = deletes(0, keys.clone());
    started.commit(&[removed]).await.unwrap();
    let found = all_rows(&mut started, &keys).await;
    assert!(found.iter().all(Option::is_none));
}

/// The rows under all keys, however many one answer holds.
async fn all_rows(started: &mut Started, keys: &[Key]) -> Vec<Option<Row>> {
    let mut found = Vec::new();
    while found.len() < keys.len() {
        let page = started.writer.rows(0, &keys[found.len()..]).await.unwrap();
        assert!(!page.is_empty());
        found.extend(page);
    }
    found
}

async fn five_hundred_columns(database: &Database) {
    let names: Vec<String> = (0..500).map(|number| format!("c{number}")).collect();
    let columns = names
        .iter()
        .map(|name| column(name, ColumnType::Integer, false))
        .collect();
    let key: Vec<&str> = names.iter().take(30).map(String::as_str).collect();
    let wide = description(
        "wide",
        1,
        vec![table("wide", columns, &key, &[&key[5..10]])],
    );
    let mut started = started(database, &wide).await;
    let row: Row = (0..500).map(Value::Integer).collect();
    started.put(vec![row.clone()]).await.unwrap();
    assert_eq!(started.row(row[..30].to_vec()).await, Some(row));
}

/// More sets of tables than a connection keeps statements for, and more
/// tables at once than go into one statement.
async fn any_set_of_tables_is_written(database: &Database) {
    const TABLES: usize = 6;
    let columns = vec![
        column("id", ColumnType::Integer, false),
        column("batch", ColumnType::Integer, false),
    ];
    let tables = (0..TABLES)
        .map(|number| table(&format!("table_{number}"), columns.clone(), &["id"], &[]))
        .collect();
    let mut started = started(database, &description("many", 1, tables)).await;
    let row = |id: i64, batch: i64| vec![Value::Integer(id), Value::Integer(batch)];
    // The last batch writes all of them.
    for batch in 0..1_i64 << TABLES {
        let written = (0..TABLES).filter(|table| batch >> table & 1 == 1);
        let writes: Vec<TableWrites> = written
            .map(|table| TableWrites {
                table,
                upserts: vec![row(0, batch), row(batch, batch)],
                deletes: vec![Key::new(vec![Value::Integer(batch - 1)])],
            })
            .collect();
        started.commit(&writes).await.unwrap();
    }
    let last = (1 << TABLES) - 1;
    let keys = [0, last, last - 1, last - 2].map(|id| Key::new(vec![Value::Integer(id)]));
    for table in 0..TABLES {
        let found = started.writer.rows(table, &keys).await.unwrap();
        // The batch after this one deleted it, and did not write table 0.
        let before = (table == 0).then(|| row(last - 2, last - 2));
        let expected = [Some(row(0, last)), Some(row(last, last)), None, before];
        assert_eq!(found, expected, "table {table}");
    }
}
