//! What can be lost on PostgreSQL, and is not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gnomon_databases::database_url::DatabaseUrl;
use gnomon_model::{Event, Position, Subscription};
use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use sqlx::postgres::PgConnection;

use crate::source::{self, BatchLimits, Follow, Source, SourceErrorKind};
use crate::store::{self, ExpectedVersion, NewEvent, StreamId};
use crate::test_database::{connect, postgres, run};

/// Seconds for which the writers write; more by `GNOMON_TEST_WRITER_SECONDS`.
const WRITER_SECONDS: u64 = 8;
const WRITERS: u64 = 16;

/// Inserts an event as any program might, not through the store.
async fn insert(connection: &mut PgConnection, stream: &str, version: &mut i64, rows: i64) {
    run(
        connection,
        &format!(
            "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version) \
             SELECT gen_random_uuid(), '{stream}', 'W', 'T', '{{}}', {version} + n \
             FROM generate_series(1, {rows}) AS n"
        ),
    )
    .await;
    *version += rows;
}

/// One writer: transactions that pause, roll back, use savepoints and two
/// phases, until it is told to stop.
async fn write(url: DatabaseUrl, number: u64, stop: Arc<AtomicBool>) {
    let mut random = SmallRng::seed_from_u64(number);
    let mut connection = connect(&url).await;
    let stream = format!("W-{number}");
    let mut version = 0;
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        round += 1;
        let before = version;
        let connection = &mut connection;
        run(connection, "BEGIN").await;
        for _ in 0..random.random_range(1..4) {
            pause(&mut random).await;
            match random.random_range(0..5) {
                0 => {
                    // The number is drawn, and nothing comes of it.
                    let kept = version;
                    run(connection, "SAVEPOINT s").await;
                    insert(connection, &stream, &mut version, 1).await;
                    pause(&mut random).await;
                    run(connection, "ROLLBACK TO SAVEPOINT s").await;
                    version = kept;
                }
                1 => {
                    run(connection, "SAVEPOINT s").await;
                    insert(connection, &stream, &mut version, 1).await;
                    run(connection, "RELEASE SAVEPOINT s").await;
                }
                2 => insert(connection, &stream, &mut version, 5).await,
                _ => insert(connection, &stream, &mut version, 1).await,
            }
            pause(&mut random).await;
        }
        match random.random_range(0..6) {
            0 => {
                run(connection, "ROLLBACK").await;
                version = before;
            }
            1 => {
                let name = format!("w{number}_{round}");
                run(connection, &format!("PREPARE TRANSACTION '{name}'")).await;
                pause(&mut random).await;
                if random.random_bool(0.3) {
                    run(connection, &format!("ROLLBACK PREPARED '{name}'")).await;
                    version = before;
                } else {
                    run(connection, &format!("COMMIT PREPARED '{name}'")).await;
                }
            }
            _ => run(connection, "COMMIT").await,
        }
    }
}

async fn pause(random: &mut SmallRng) {
    let milliseconds = match random.random_range(0..20) {
        0 => random.random_range(50..300),
        1..6 => random.random_range(1..20),
        _ => 0,
    };
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

/// Reads as one does without thinking: everything after the last position.
async fn read_naively(url: DatabaseUrl, stop: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut connection = connect(&url).await;
    let mut seen = BTreeSet::new();
    while !stop.load(Ordering::Relaxed) {
        let after = seen.last().copied().unwrap_or(0);
        let positions: Vec<i64> =
            sqlx::query_scalar("SELECT global_position FROM events WHERE global_position > $1")
                .bind(after)
                .fetch_all(&mut connection)
                .await
                .unwrap();
        seen.extend(positions);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    seen
}

/// The source of a store, which is made if it is missing.
async fn opened(url: &DatabaseUrl) -> Arc<dyn Source> {
    store::open(url).await.unwrap();
    source::open(url).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_that_a_naive_reader_loses() {
    let url = postgres().await;
    let source = opened(&url).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| tokio::spawn(write(url.clone(), number, Arc::clone(&stop))))
        .collect();
    let naive = tokio::spawn(read_naively(url.clone(), Arc::clone(&stop)));
    // One transaction that draws early and commits in the end.
    let mut slow = connect(&url).await;
    run(&mut slow, "BEGIN").await;
    insert(&mut slow, "Slow-1", &mut 0, 1).await;

    let (done, mut finished) = tokio::sync::oneshot::channel();
    let reader = tokio::spawn({
        let source = Arc::clone(&source);
        async move {
            let start = source.start();
            let mut follow = Follow::new(source, start, Subscription::default());
            let mut events: Vec<Event> = Vec::new();
            let mut last: Option<Position> = None;
            while last.is_none() || events.last().map(|event| event.position) < last {
                tokio::select! {
                    next = follow.next() => events.extend(next.unwrap()),
                    end = &mut finished, if last.is_none() => last = Some(end.unwrap()),
                }
            }
            events
        }
    });
    let seconds = std::env::var("GNOMON_TEST_WRITER_SECONDS")
        .map_or(WRITER_SECONDS, |seconds| seconds.parse().unwrap());
    tokio::time::sleep(Duration::from_secs(seconds / 2)).await;
    run(&mut slow, "COMMIT").await;
    tokio::time::sleep(Duration::from_secs(seconds - seconds / 2)).await;
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let naive = naive.await.unwrap();

    let mut connection = connect(&url).await;
    let committed: Vec<i64> =
        sqlx::query_scalar("SELECT global_position FROM events ORDER BY global_position")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    let last = Position::from_sql(*committed.last().unwrap()).unwrap();
    done.send(last).unwrap();
    let events = tokio::time::timeout(Duration::from_secs(60), reader)
        .await
        .expect("events are missing at the end")
        .unwrap();

    let delivered: Vec<i64> = events.iter().map(|event| event.position.to_sql()).collect();
    let lost = naive_losses(&committed, &naive);
    eprintln!("{} events; the naive reader lost {lost}", committed.len());
    assert!(
        committed.len() > 500,
        "the writers wrote too little to show anything"
    );
    assert!(
        lost > 0,
        "the naive reader lost nothing, so this test cannot fail"
    );
    assert!(
        delivered == committed,
        "events were lost, repeated or out of order"
    );
    let mut versions: HashMap<&str, u64> = HashMap::new();
    for event in &events {
        let version = versions.entry(&event.stream_id).or_default();
        *version += 1;
        assert_eq!(
            event.version, *version,
            "stream {} out of order",
            event.stream_id
        );
    }
    // Sequence numbers that were rolled back are passed in the end, and counted.
    let frontier = source.look().await.unwrap();
    assert_eq!((frontier.safe, frontier.waiting_for), (frontier.head, None));
    let rolled_back = frontier.head.get() - committed.len() as u64;
    let mut watched = source.frontier();
    let counted = watched.wait_for(|frontier| frontier.rolled_back >= rolled_back);
    let counted = tokio::time::timeout(Duration::from_secs(60), counted).await;
    let counted = counted
        .expect("rolled back positions are not counted")
        .unwrap();
    assert_eq!(counted.rolled_back, rolled_back);
}

fn naive_losses(committed: &[i64], naive: &BTreeSet<i64>) -> usize {
    committed
        .iter()
        .filter(|position| !naive.contains(position))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_whom_it_waits_for() {
    let url = postgres().await;
    let source = opened(&url).await;
    let store = store::open(&url).await.unwrap();
    let mut slow = connect(&url).await;
    run(&mut slow, "SET application_name = 'billing'").await;
    run(&mut slow, "BEGIN").await;
    insert(&mut slow, "Slow-1", &mut 0, 1).await;
    let event = NewEvent::new("T", "1").unwrap();
    let stream = StreamId::new("S-1").unwrap();
    store
        .append(&stream, ExpectedVersion::Any, &[event])
        .await
        .unwrap();

    let frontier = source.look().await.unwrap();
    assert_eq!((frontier.safe.get(), frontier.head.get()), (0, 2));
    let sentence = frontier.waiting_for.unwrap();
    for part in ["application `billing`", "idle in transaction", "s old"] {
        assert!(sentence.contains(part), "{sentence}");
    }
    // Without being asked, too.
    let mut watched = source.frontier();
    let told = watched.wait_for(|frontier| frontier.waiting_for.is_some());
    tokio::time::timeout(Duration::from_secs(60), told)
        .await
        .unwrap()
        .unwrap();

    run(&mut slow, "PREPARE TRANSACTION 'two phases'").await;
    let sentence = source.look().await.unwrap().waiting_for.unwrap();
    assert!(
        sentence.contains("prepared transaction `two phases`"),
        "{sentence}"
    );
    run(&mut slow, "COMMIT PREPARED 'two phases'").await;
    let frontier = source.look().await.unwrap();
    assert_eq!((frontier.safe.get(), frontier.waiting_for), (2, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_cannot_be_read_without_loss_are_refused() {
    for (change, reason) in [
        (
            "ALTER SEQUENCE events_global_position_seq CACHE 10",
            "CACHE 1",
        ),
        (
            "ALTER SEQUENCE events_global_position_seq INCREMENT 2",
            "INCREMENT 1",
        ),
        (
            "ALTER SEQUENCE events_global_position_seq CYCLE",
            "NO CYCLE",
        ),
        (
            "ALTER TABLE events ALTER global_position DROP DEFAULT; \
          ALTER SEQUENCE events_global_position_seq OWNED BY NONE",
            "no sequence",
        ),
        (
            "ALTER TABLE events RENAME TO e; CREATE VIEW events AS SELECT * FROM e",
            "not a table",
        ),
        ("ALTER TABLE events DROP metadata", "no column metadata"),
        (
            "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version, \
          global_position) VALUES (gen_random_uuid(), 'S', 'S', 'T', '1', 1, 7)",
            "setval",
        ),
    ] {
        let url = postgres().await;
        store::open(&url).await.unwrap();
        run(&mut connect(&url).await, change).await;
        let error = match source::open(&url).await {
            Ok(_) => panic!("{change} is not refused"),
            Err(error) => error,
        };
        assert_eq!(error.kind(), SourceErrorKind::Refused, "{error}");
        assert!(error.to_string().contains(reason), "{change}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_beyond_the_sequence_is_not_final() {
    let url = postgres().await;
    let source = opened(&url).await;
    let mut writer = connect(&url).await;
    run(&mut writer, "BEGIN").await;
    insert(&mut writer, "S-1", &mut 0, 1).await;
    // Its position was not handed out; somebody else will get it.
    run(
        &mut writer,
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version, \
           global_position) VALUES (gen_random_uuid(), 'S-2', 'S', 'T', '1', 1, 2)",
    )
    .await;
    run(&mut writer, "COMMIT").await;
    let frontier = source.look().await.unwrap();
    assert_eq!((frontier.head.get(), frontier.safe.get()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partitioned_table_can_be_read() {
    let url = postgres().await;
    let mut connection = connect(&url).await;
    run(
        &mut connection,
        "CREATE TABLE events (id UUID, stream_id TEXT, stream_type TEXT, event_type TEXT, \
           event_data JSONB, metadata JSONB, version BIGINT, global_position BIGSERIAL, \
           created_at TIMESTAMPTZ DEFAULT now()) PARTITION BY HASH (stream_id); \
         CREATE TABLE events_0 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE events_1 PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1);",
    )
    .await;
    let source = opened(&url).await;
    run(&mut connection, "BEGIN").await;
    insert(&mut connection, "S-1", &mut 0, 2).await;
    let mut other = connect(&url).await;
    insert(&mut other, "S-2", &mut 0, 2).await;
    assert_eq!(source.look().await.unwrap().safe.get(), 0);
    run(&mut connection, "COMMIT").await;
    assert_eq!(source.look().await.unwrap().safe.get(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_is_made_again() {
    let url = postgres().await;
    let source = opened(&url).await;
    let mut connection = connect(&url).await;
    let mut version = 0;
    for round in 1..=3_u64 {
        run(
            &mut connection,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
        insert(&mut connection, "S-1", &mut version, 1).await;
        let mut frontier = source.frontier();
        let reached = frontier
            .wait_for(|frontier| frontier.safe.get() == round && frontier.waiting_for.is_none());
        tokio::time::timeout(Duration::from_secs(60), reached)
            .await
            .unwrap()
            .unwrap();
        let limits = source::BatchLimits {
            events: 10,
            bytes: 1 << 20,
            until: None,
        };
        // The pool may hand out a connection that was cut, once each.
        let read = async || {
            source
                .read(&source.start(), &Subscription::default(), limits)
                .await
        };
        let mut batch = read().await;
        while let Err(error) = &batch {
            assert_eq!(error.kind(), SourceErrorKind::Retry);
            batch = read().await;
        }
        assert_eq!(batch.unwrap().position.get(), round);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_frontier_ends_with_its_last_receiver() {
    let url = postgres().await;
    let source: Arc<dyn Source> = opened(&url).await;
    drop(source);
    let mut connection = connect(&url).await;
    for _ in 0..100 {
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        if others == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the source's connections are still there");
}

#[test]
fn a_runtime_can_end_while_a_source_is_open() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let source = runtime.block_on(async { opened(&postgres().await).await });
    drop(runtime);
    drop(source);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_servers_and_wrong_passwords_are_named_without_the_password() {
    let started = std::time::Instant::now();
    let mut kinds = BTreeMap::new();
    for url in [
        "postgres://reader:s3cret@127.0.0.1:1/events",
        "postgres://reader:s3cret@no-such-host.invalid/events",
    ] {
        let url: DatabaseUrl = url.parse().unwrap();
        let error = match source::open(&url).await {
            Ok(_) => panic!("{url} can be reached"),
            Err(error) => error,
        };
        let debugged = format!("{error:?}");
        let shown = format!("{:#} {debugged}", anyhow::Error::from(error));
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("postgres://reader:***@"), "{shown}");
        kinds.insert(url.to_string(), shown);
    }
    assert!(started.elapsed() < Duration::from_secs(30), "{kinds:?}");
}

/// What the server's sessions have told that they have read of the table
/// `events`: rows without an index, and entries of indexes.
async fn read_so_far(connection: &mut PgConnection) -> (i64, i64) {
    sqlx::query_as(
        "SELECT (SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'events'), \
         (SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = 'events')",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

/// The plans of looks and small reads are kept, and made when the table is
/// empty or nearly so.
#[tokio::test(flavor = "multi_thread")]
async fn plans_of_a_small_table_are_good_when_it_has_grown() {
    const ROWS: i64 = 20_000;
    const COUNTED_AFTER: Duration = Duration::from_millis(1_500);
    let url = postgres().await;
    let source = opened(&url).await;
    let mut connection = connect(&url).await;
    let subscription = Subscription {
        event_types: vec!["T".to_owned()],
        ..Subscription::default()
    };
    let mut version = 0;
    let mut after = source.start();
    // Inserts and reads so many events.
    let mut follow = async |connection: &mut PgConnection, rows| {
        insert(connection, "S", &mut version, rows).await;
        let head = Position::new(version.unsigned_abs()).unwrap();
        let mut frontier = source.frontier();
        let reached = frontier.wait_for(|frontier| frontier.safe == head);
        let reached = tokio::time::timeout(Duration::from_secs(60), reached).await;
        drop(reached.expect("the frontier moves").unwrap());
        loop {
            let limits = BatchLimits {
                events: 1_000,
                bytes: 1 << 20,
                until: None,
            };
            let batch = source.read(&after, &subscription, limits).await.unwrap();
            after = batch.next;
            if batch.position == head {
                return;
            }
        }
    };
    for _ in 0..8 {
        follow(&mut connection, 1).await;
        run(&mut connection, "ANALYZE events").await;
    }
    follow(&mut connection, ROWS).await;
    // A session tells what it has done with the first statement after a while.
    tokio::time::sleep(COUNTED_AFTER).await;
    follow(&mut connection, 1).await;
    let before = read_so_far(&mut connection).await;
    for _ in 0..20 {
        follow(&mut connection, 1).await;
    }
    tokio::time::sleep(COUNTED_AFTER).await;
    follow(&mut connection, 1).await;
    let (rows, entries) = read_so_far(&mut connection).await;
    assert_eq!(rows, before.0, "rows were read without an index");
    let entries = entries - before.1;
    assert!((20..ROWS / 10).contains(&entries), "{entries}");
}
