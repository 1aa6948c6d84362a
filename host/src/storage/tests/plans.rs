//! What the server reads for a batch does not grow with the table.

use std::time::Duration;

use super::*;

const ROWS: i64 = 20_000;
/// Keys of one call. For so many the server keeps the plan that it has.
const KEYS: i64 = 20;
/// The server keeps a plan at the latest from here on.
const CALLS_BEFORE_A_PLAN_STAYS: i64 = 6;

/// The server's sessions count what they did only now and then.
const COUNTED_AFTER: Duration = Duration::from_millis(1_500);

fn keys(from: i64) -> Vec<Key> {
    (from..from + KEYS)
        .map(|id| Key::new(vec![Value::Integer(id)]))
        .collect()
}

fn deletes_from(from: i64) -> [TableWrites; 1] {
    [deletes(0, keys(from))]
}

/// Entries of indexes on the projection's table that were read so far.
async fn entries_read(database: &Database) -> i64 {
    let sum = "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'orders'";
    database.texts(sum).await[0].parse().unwrap()
}

/// A projection that goes live while there is no event has plans from when its
/// tables were empty.
#[tokio::test(flavor = "multi_thread")]
async fn plans_of_an_empty_table_are_good_when_it_has_grown() {
    let database = Database::postgres().await;
    let mut started = started(&database, &orders()).await;
    started.writer.complete().await.unwrap();
    // As anybody may do for the whole database.
    database.execute("ANALYZE").await;
    for call in 0..CALLS_BEFORE_A_PLAN_STAYS {
        started.writer.rows(0, &keys(call)).await.unwrap();
        started.commit(&deletes_from(call)).await.unwrap();
    }
    let rows = (0..ROWS).map(|id| order(id, "ada")).collect();
    started.put(rows).await.unwrap();
    tokio::time::sleep(COUNTED_AFTER).await;
    let before = entries_read(&database).await;

    let found = started.writer.rows(0, &keys(100)).await.unwrap();
    assert!(found.iter().all(Option::is_some), "{found:?}");
    started.commit(&deletes_from(200)).await.unwrap();
    tokio::time::sleep(COUNTED_AFTER).await;
    // Counts what the connection that was used has done.
    started.writer.rows(0, &keys(300)).await.unwrap();
    let read = entries_read(&database).await - before;
    assert!((KEYS..ROWS / 10).contains(&read), "{read}");
}
