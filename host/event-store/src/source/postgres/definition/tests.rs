//! Tables that change under a source that is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gnomon_databases::database_url::DatabaseUrl;
use gnomon_model::{Event, Subscription};
use sqlx::postgres::PgConnection;

use crate::source::{self, BatchLimits, Follow, Frontier, Source};
use crate::store;
use crate::test_database::{connect, postgres, run};

const SEQUENCE: &str = "events_global_position_seq";
const TIME_LIMIT: Duration = Duration::from_secs(60);
const ALL: BatchLimits = BatchLimits {
    events: 10_000,
    bytes: 1 << 30,
    until: None,
};

/// Inserts an event of a stream of its own.
async fn insert(connection: &mut PgConnection) -> i64 {
    sqlx::query_scalar(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version) \
         VALUES (gen_random_uuid(), gen_random_uuid(), 'S', 'T', '{\"a\": 1}', 1) \
         RETURNING global_position",
    )
    .fetch_one(connection)
    .await
    .unwrap()
}

async fn wait_until(source: &dyn Source, is_so: impl FnMut(&Frontier) -> bool) -> Frontier {
    let mut frontier = source.frontier();
    let waited = tokio::time::timeout(TIME_LIMIT, frontier.wait_for(is_so)).await;
    match waited {
        Ok(frontier) => frontier.unwrap().clone(),
        Err(_) => panic!("it stays {:?}", source.frontier().borrow()),
    }
}

async fn wait_for(source: &dyn Source, position: i64) {
    wait_until(source, |frontier| frontier.safe.to_sql() >= position).await;
}

/// Waits until the source says that it cannot go on, with these words.
async fn wait_for_refusal(source: &dyn Source, words: &str) -> Frontier {
    wait_until(source, |frontier| {
        (frontier.out_of_reach.as_ref()).is_some_and(|cause| cause.contains(words))
    })
    .await
}

async fn read_all(source: &dyn Source) -> Vec<Event> {
    let (start, all) = (source.start(), Subscription::default());
    let batch = source.read(&start, &all, ALL).await.unwrap();
    batch.events.iter().map(Event::from).collect()
}

async fn open(url: &DatabaseUrl) -> (Arc<dyn Source>, PgConnection) {
    store::open(url).await.unwrap();
    let source = source::open(url).await.unwrap();
    let mut connection = connect(url).await;
    run(
        &mut connection,
        "DROP TRIGGER events_refuse_change ON events",
    )
    .await;
    let first = insert(&mut connection).await;
    wait_for(source.as_ref(), first).await;
    (source, connection)
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_sessions_keep_in_advance_are_not_passed() {
    let url = postgres().await;
    let (source, mut keeper) = open(&url).await;
    let mut other = connect(&url).await;
    run(&mut other, &format!("ALTER SEQUENCE {SEQUENCE} CACHE 20")).await;
    let last = insert(&mut keeper).await;
    let ahead = insert(&mut other).await;
    assert!(ahead > last + 1, "{ahead} follows on {last}");
    let refused = wait_for_refusal(source.as_ref(), "hands out 20 numbers at a time").await;
    let safe = refused.safe.to_sql();
    assert!(safe <= last, "{refused:?}");
    assert!(
        refused
            .out_of_reach
            .unwrap()
            .contains(&format!("position {safe}")),
        "it does not say how far it has read"
    );
    // Here they come.
    let late = insert(&mut keeper).await;
    assert!(late < ahead);
    run(&mut other, &format!("ALTER SEQUENCE {SEQUENCE} CACHE 1")).await;
    // What a session has kept is void after the change.
    assert!(insert(&mut keeper).await > ahead);
    let next = insert(&mut other).await;
    wait_for(source.as_ref(), next).await;
    let read = read_all(source.as_ref()).await;
    let positions: Vec<i64> = read.iter().map(|event| event.position.to_sql()).collect();
    assert_eq!(positions, [1, last, late, ahead, next - 1, next]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_while_the_settings_of_the_sequence_change() {
    const CHANGES: usize = 12;
    let url = postgres().await;
    let (source, mut connection) = open(&url).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..6)
        .map(|_| {
            let (url, stop) = (url.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut connection = connect(&url).await;
                while !stop.load(Ordering::Relaxed) {
                    insert(&mut connection).await;
                }
            })
        })
        .collect();
    let follower = tokio::spawn({
        let (source, stop) = (Arc::clone(&source), Arc::clone(&stop));
        let mut connection = connect(&url).await;
        async move {
            let start = source.start();
            let mut follow = Follow::new(source, start, Subscription::default());
            let (mut read, mut last) = (Vec::new(), None);
            while last.is_none() || read.last() < last.as_ref() {
                let events = tokio::time::timeout(TIME_LIMIT, follow.next()).await;
                let events = events.expect("no more events come").unwrap();
                read.extend(events.iter().map(|event| event.position.to_sql()));
                if stop.load(Ordering::Relaxed) && last.is_none() {
                    last = Some(insert(&mut connection).await);
                }
            }
            read
        }
    });
    for change in 0..CHANGES {
        let setting = ["CACHE 20", "CACHE 1", "INCREMENT 7", "INCREMENT 1"][change % 4];
        run(
            &mut connection,
            &format!("ALTER SEQUENCE {SEQUENCE} {setting}"),
        )
        .await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let read = follower.await.unwrap();
    let committed: Vec<i64> =
        sqlx::query_scalar("SELECT global_position FROM events ORDER BY global_position")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert!(read == committed, "{} of {}", read.len(), committed.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_is_read_as_soon_as_it_is_written() {
    let url = postgres().await;
    let (source, mut connection) = open(&url).await;
    for round in 0..20 {
        run(
            &mut connection,
            "ALTER TABLE events DROP COLUMN schema_version",
        )
        .await;
        let without = insert(&mut connection).await;
        if round % 2 == 0 {
            wait_for(source.as_ref(), without).await;
        }
        run(
            &mut connection,
            "ALTER TABLE events ADD schema_version INT NOT NULL DEFAULT 1; \
             INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version, \
               schema_version) VALUES (gen_random_uuid(), gen_random_uuid(), 'S', 'T', '1', 1, 2)",
        )
        .await;
        wait_for(source.as_ref(), without + 1).await;
        let versions: Vec<u32> = read_all(source.as_ref())
            .await
            .iter()
            .map(|event| event.schema_version)
            .collect();
        assert_eq!(versions.last(), Some(&2), "round {round}");
        assert_eq!(versions.iter().filter(|version| **version == 2).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn columns_of_other_types_are_read_as_such() {
    let url = postgres().await;
    let (source, mut connection) = open(&url).await;
    let before = read_all(source.as_ref()).await;
    for change in [
        "ALTER event_data TYPE json",
        "ALTER event_data TYPE text",
        "ALTER event_data TYPE jsonb USING event_data::jsonb",
        "ALTER metadata TYPE text",
        "ALTER id TYPE text",
        "ALTER id TYPE uuid USING id::uuid",
        "ALTER created_at TYPE timestamptz(3)",
        "ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'UTC'",
        "ALTER stream_id TYPE text",
        "ALTER version TYPE integer",
    ] {
        // Every connection for reading has what was prepared before.
        let reads = (0..8).map(|_| read_all(source.as_ref()));
        futures_util::future::join_all(reads).await;
        run(&mut connection, &format!("ALTER TABLE events {change}")).await;
        let added = insert(&mut connection).await;
        wait_for(source.as_ref(), added).await;
        let reads = (0..8).map(|_| read_all(source.as_ref()));
        for events in futures_util::future::join_all(reads).await {
            let last = events.last().unwrap();
            assert_eq!(last.position.to_sql(), added, "{change}");
            assert_eq!(
                (&last.data, &last.metadata),
                (&before[0].data, &before[0].metadata)
            );
            assert_eq!(events[0].id, before[0].id);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_sequence_or_table_is_watched_as_the_first_one_was() {
    let url = postgres().await;
    let (source, mut connection) = open(&url).await;
    for change in [
        "CREATE SEQUENCE later START 50; \
         ALTER TABLE events ALTER global_position SET DEFAULT nextval('later')",
        "ALTER TABLE events RENAME TO old; CREATE TABLE events (LIKE old INCLUDING ALL); \
         CREATE SEQUENCE latest START 100; \
         ALTER TABLE events ALTER global_position SET DEFAULT nextval('latest')",
        "DROP TABLE events; CREATE TABLE events (LIKE old INCLUDING ALL); \
         ALTER TABLE events ALTER global_position DROP DEFAULT; \
         ALTER TABLE events ALTER global_position ADD GENERATED ALWAYS AS IDENTITY (START 200)",
    ] {
        run(&mut connection, change).await;
        let position = insert(&mut connection).await;
        wait_for(source.as_ref(), position).await;
        // Its writers are waited for.
        let mut slow = connect(&url).await;
        run(&mut slow, "BEGIN").await;
        insert(&mut slow).await;
        let ahead = insert(&mut connection).await;
        let frontier = source.look().await.unwrap();
        assert_eq!(
            (frontier.safe.to_sql(), frontier.head.to_sql()),
            (position, ahead)
        );
        run(&mut slow, "COMMIT").await;
        wait_for(source.as_ref(), ahead).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_no_longer_be_read_is_named_until_it_can() {
    let url = postgres().await;
    let (source, mut connection) = open(&url).await;
    for (change, words, back) in [
        (
            "ALTER TABLE events RENAME event_data TO payload",
            "no column event_data",
            "ALTER TABLE events RENAME payload TO event_data",
        ),
        (
            "ALTER TABLE events RENAME global_position TO place",
            "no column global_position",
            "ALTER TABLE events RENAME place TO global_position",
        ),
        (
            "ALTER TABLE events RENAME TO elsewhere",
            "no table `events`",
            "ALTER TABLE elsewhere RENAME TO events",
        ),
        (
            "ALTER SEQUENCE events_global_position_seq INCREMENT 10",
            "INCREMENT 1`; if the application draws blocks of numbers",
            "ALTER SEQUENCE events_global_position_seq INCREMENT 1",
        ),
        (
            "ALTER SEQUENCE events_global_position_seq CYCLE",
            "NO CYCLE",
            "ALTER SEQUENCE events_global_position_seq NO CYCLE",
        ),
        (
            "ALTER TABLE events ALTER global_position DROP DEFAULT; \
             ALTER SEQUENCE events_global_position_seq OWNED BY NONE",
            "no sequence",
            "ALTER TABLE events ALTER global_position \
               SET DEFAULT nextval('events_global_position_seq')",
        ),
    ] {
        run(&mut connection, change).await;
        wait_for_refusal(source.as_ref(), words).await;
        run(&mut connection, back).await;
        let position = insert(&mut connection).await;
        wait_for(source.as_ref(), position).await;
        assert_eq!(
            read_all(source.as_ref())
                .await
                .last()
                .unwrap()
                .position
                .to_sql(),
            position
        );
    }
}
