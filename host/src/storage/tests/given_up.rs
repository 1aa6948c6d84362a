//! Work that is given up in the middle, at each moment that there is: a lease
//! was lost, or a time was over. What comes next must get its own answers.

use futures_util::future::join_all;

use super::*;

on_both!(
    a_commit_that_is_given_up_spoils_no_answer,
    a_bulk_commit_that_is_given_up_spoils_no_answer,
);

/// Rows of a commit, and readers that ask for one each at the same time.
const ROWS: i64 = 24;

async fn a_commit_that_is_given_up_spoils_no_answer(database: &Database) {
    give_up_at_each_moment(database, false).await;
}

async fn a_bulk_commit_that_is_given_up_spoils_no_answer(database: &Database) {
    give_up_at_each_moment(database, true).await;
}

async fn give_up_at_each_moment(database: &Database, into_empty: bool) {
    let storage = database.open().await;
    let soon = (0..60).map(|step| Duration::from_micros(25 * step));
    let later = (1..25).map(|step| Duration::from_millis(2 * step));
    let moments = soon.chain(later).chain([A_MINUTE]);
    for (round, time) in moments.enumerate() {
        let name = format!("orders_{round}");
        let columns = vec![
            column("id", ColumnType::Integer, false),
            column("customer", ColumnType::Text, true),
        ];
        let orders = description(&name, 1, vec![table(&name, columns, &["id"], &[])]);
        let generation = created(&storage, &orders).await.unwrap();
        let mut started = started_on(storage.clone(), generation).await;
        let rows = (0..ROWS).map(|id| order(id, &format!("{round}-{id}")));
        let writes = [upserts(0, rows.collect())];
        let (expected, next) = (checkpoint(0), checkpoint(1));
        let commit = started.writer.commit(Commit {
            writes: writes.as_slice().into(),
            expected: &expected,
            next: &next,
            position: Position::new(1).unwrap(),
            event: None,
            dead_letters: DeadLetterChanges::default(),
            rate: Rate::default(),
            into_empty,
        });
        let is_over = tokio::time::timeout(time, commit).await.is_ok();
        // Whatever it has left behind comes to its end before this.
        let lease = acquired(&storage, started.generation.id, "host-a").await;
        let is_there = is_there(&storage, lease, &orders, &format!("{round}-")).await;
        assert!(is_there || !is_over, "it is over, and nothing is there");
    }
}

/// Whether the rows are there, as many readers see it; all of them or none.
async fn is_there(storage: &Storage, lease: Lease, orders: &Description, prefix: &str) -> bool {
    let description = Arc::new(orders.clone());
    let readers = (0..ROWS).map(|id| {
        let description = Arc::clone(&description);
        async move {
            let mut writer = storage
                .read_models
                .writer(lease, description)
                .await
                .unwrap();
            let checkpoint = writer.checkpoint().await.unwrap();
            let rows = writer.rows(0, &[Key::new(vec![Value::Integer(id)])]).await;
            (id, checkpoint, rows.unwrap().remove(0))
        }
    });
    let found = join_all(readers).await;
    let is_there = found.iter().all(|(_, at, _)| *at == checkpoint(1));
    for (id, at, row) in found {
        let expected = is_there.then(|| order(id, &format!("{prefix}{id}")));
        assert_eq!(row, expected, "row {id} of {prefix}, at {at:?}");
    }
    is_there
}
