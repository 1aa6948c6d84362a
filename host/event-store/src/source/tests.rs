//! Sources on both databases.

use std::time::{Duration, Instant};

use gnomon_model::{PayloadRef, Subscription};

use super::*;
use crate::store::{self, EventStore, ExpectedVersion, NewEvent, StreamId};
use crate::test_database;

const ALL: BatchLimits = BatchLimits {
    events: 1_000,
    bytes: 1 << 30,
    until: None,
};

async fn append(store: &dyn EventStore, stream: &str, kind: &str) {
    let event = NewEvent::new(kind, r#"{"n": 1}"#)
        .unwrap()
        .with_metadata(r#"{"user_id": "u"}"#)
        .unwrap();
    let stream = StreamId::new(stream).unwrap();
    store
        .append(&stream, ExpectedVersion::Any, &[event])
        .await
        .unwrap();
}

/// Waits until the frontier is at a position; panics when that takes long.
async fn wait_for(source: &dyn Source, position: u64) -> Frontier {
    let mut frontier = source.frontier();
    let wait = frontier.wait_for(|frontier| frontier.safe.get() >= position);
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect("the frontier stands still")
        .unwrap()
        .clone()
}

/// Runs a test on both databases.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod on_sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                let (_directory, url) = test_database::sqlite();
                super::$name(url).await;
            })*
        }
        mod on_postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(test_database::postgres().await).await;
            })*
        }
    };
}

on_both! {
    what_is_not_there_is_not_made
    filters_leave_out_and_the_checkpoint_passes_them
    batches_are_bounded_by_events_and_bytes
    metadata_comes_only_where_it_is_wanted
    an_append_wakes_the_reader
    follow_gives_each_event_once
    a_foreign_checkpoint_is_refused
    a_table_without_schema_version_can_be_read
}

async fn what_is_not_there_is_not_made(url: DatabaseUrl) {
    for _ in 0..2 {
        let error = open(&url).await.err().unwrap();
        assert_eq!(error.kind(), SourceErrorKind::Retry);
        assert!(
            error.to_string().contains("there is no event store"),
            "{error}"
        );
    }
    store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    assert_eq!(source.look().await.unwrap(), Frontier::default());
    let batch = source
        .read(&source.start(), &Subscription::default(), ALL)
        .await
        .unwrap();
    assert!(batch.events.is_empty() && batch.caught_up);
    assert_eq!(batch.next, source.start());
    assert_eq!(source.recorded_after(Position::START).await.unwrap(), None);
}

async fn filters_leave_out_and_the_checkpoint_passes_them(url: DatabaseUrl) {
    let store = store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    for (stream, kind) in [
        ("Order-1", "Placed"),
        ("Order-1-a", "Paid"),
        ("Customer-1", "Placed"),
        ("Order", "Placed"),
        ("Orders-1", "Placed"),
        ("O'rder\\-1", "Pl\"a'c\\ed\n\\u0041 Größe 注文 🛒"),
    ] {
        append(store.as_ref(), stream, kind).await;
    }
    let cases = [
        (&[][..], &[][..], &[1, 2, 3, 4, 5, 6][..]),
        (&["Placed"], &[], &[1, 3, 4, 5]),
        (&[], &["Order"], &[1, 2, 4]),
        (&["Placed", "Nothing"], &["Order", "Customer"], &[1, 3, 4]),
        (&["Pl\"a'c\\ed\n\\u0041 Größe 注文 🛒"], &["O'rder\\"], &[6]),
        (&["Nothing"], &[], &[]),
    ];
    for (types, categories, expected) in cases {
        check_filter(source.as_ref(), types, categories, expected, 6).await;
    }
    // Many are not read in the same way as few.
    const OTHERS: usize = 300;
    let stream = StreamId::new("Other-1").unwrap();
    let others: Vec<NewEvent> = (0..OTHERS)
        .map(|_| NewEvent::new("Other", "{}").unwrap())
        .collect();
    let appended = store.append(&stream, ExpectedVersion::Any, &others).await;
    appended.unwrap();
    for (types, categories, expected) in cases.into_iter().skip(1) {
        let head = 6 + OTHERS as u64;
        check_filter(source.as_ref(), types, categories, expected, head).await;
    }
}

/// Reads what a subscription asks for, at once and one by one.
async fn check_filter(
    source: &dyn Source,
    types: &[&str],
    categories: &[&str],
    expected: &[u64],
    head: u64,
) {
    wait_for(source, head).await;
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
    let subscription = Subscription {
        event_types: names(types),
        categories: names(categories),
        metadata: false,
    };
    let read =
        async |after: &Checkpoint, limits| source.read(after, &subscription, limits).await.unwrap();
    let positions = |batch: &Batch| -> Vec<u64> {
        let events = batch.events.iter();
        events.map(|event| event.position.get()).collect()
    };
    let batch = read(&source.start(), ALL).await;
    assert_eq!(positions(&batch), expected);
    assert!(batch.events.iter().all(|event| subscription.wants(event)));
    assert_eq!(batch.position.get(), head);
    assert_eq!(source.position(&batch.next).unwrap(), batch.position);
    assert!(batch.caught_up);
    let mut singly = Vec::new();
    let mut checkpoint = source.start();
    let one = BatchLimits {
        events: 1,
        bytes: 1,
        until: None,
    };
    loop {
        let batch = read(&checkpoint, one).await;
        singly.extend(positions(&batch));
        checkpoint = batch.next;
        if batch.caught_up {
            break;
        }
    }
    assert_eq!(singly, expected);
}

async fn batches_are_bounded_by_events_and_bytes(url: DatabaseUrl) {
    let store = store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    let stream = StreamId::new("S-1").unwrap();
    let large = format!("\"{}\"", "x".repeat(10_000));
    for data in ["1", "2", "3", &large, "5"] {
        let event = NewEvent::new("T", data).unwrap();
        store
            .append(&stream, ExpectedVersion::Any, &[event])
            .await
            .unwrap();
    }
    wait_for(source.as_ref(), 5).await;
    let read = async |after: u64, limits| {
        let after = Checkpoint::behind(Position::new(after).unwrap());
        let batch = source
            .read(&after, &Subscription::default(), limits)
            .await
            .unwrap();
        (batch.events.len(), batch.position.get(), batch.caught_up)
    };
    assert_eq!(
        read(0, BatchLimits { events: 2, ..ALL }).await,
        (2, 2, false)
    );
    assert_eq!(
        read(3, BatchLimits { events: 2, ..ALL }).await,
        (2, 5, true)
    );
    // The large event does not fit beside the small ones, and comes alone.
    let limits = BatchLimits {
        bytes: 5_000,
        ..ALL
    };
    assert_eq!(read(0, limits).await, (3, 3, false));
    assert_eq!(read(3, limits).await, (1, 4, false));
    assert_eq!(read(4, limits).await, (1, 5, true));
}

async fn metadata_comes_only_where_it_is_wanted(url: DatabaseUrl) {
    let store = store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    append(store.as_ref(), "S-1", "T").await;
    wait_for(source.as_ref(), 1).await;
    for (metadata, expected) in [(false, ""), (true, r#"{"user_id": "u"}"#)] {
        let subscription = Subscription {
            metadata,
            ..Subscription::default()
        };
        let batch = source
            .read(&source.start(), &subscription, ALL)
            .await
            .unwrap();
        assert_eq!(batch.events.get(0).unwrap().metadata, expected);
        assert_eq!(
            source.recorded_after(Position::START).await.unwrap(),
            Some(batch.events.get(0).unwrap().recorded_at)
        );
    }
}

async fn an_append_wakes_the_reader(url: DatabaseUrl) {
    let store = store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    let mut busy = Vec::new();
    let mut quiet = Vec::new();
    for position in 1..=24 {
        let first_after_a_pause = position % 6 == 0;
        if first_after_a_pause {
            // Beyond the second in which the source counts as busy.
            tokio::time::sleep(Duration::from_millis(1_300)).await;
        }
        append(store.as_ref(), "S-1", "T").await;
        let appended = Instant::now();
        wait_for(source.as_ref(), position).await;
        let delays = if first_after_a_pause {
            &mut quiet
        } else {
            &mut busy
        };
        delays.push(appended.elapsed());
    }
    // The machine may be busy, but not for half of the appends.
    busy.sort_unstable();
    quiet.sort_unstable();
    assert!(busy[10] < Duration::from_millis(50), "{busy:?}");
    assert!(quiet[1] < Duration::from_millis(50), "{quiet:?}");
}

async fn follow_gives_each_event_once(url: DatabaseUrl) {
    let store = store::open(&url).await.unwrap();
    append(store.as_ref(), "S-1", "T").await;
    let source = open(&url).await.unwrap();
    let start = source.start();
    let mut follow = Follow::new(source, start, Subscription::default());
    let writer = tokio::spawn(async move {
        for number in 0..100 {
            append(store.as_ref(), &format!("S-{}", number % 3), "T").await;
        }
    });
    let mut positions = Vec::new();
    while positions.len() < 101 {
        let events = tokio::time::timeout(Duration::from_secs(10), follow.next()).await;
        let events = events.expect("no more events come").unwrap();
        assert!(!events.is_empty());
        positions.extend(events.iter().map(|event| event.position.get()));
    }
    assert_eq!(positions, (1..=101).collect::<Vec<_>>());
    writer.await.unwrap();
}

async fn a_foreign_checkpoint_is_refused(url: DatabaseUrl) {
    store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    for text in ["", "x", "-1", "9223372036854775808"] {
        let checkpoint = Checkpoint::from_stored(text.to_owned());
        let error = source.position(&checkpoint).unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Refused);
    }
}

async fn a_table_without_schema_version_can_be_read(url: DatabaseUrl) {
    let rows = "INSERT INTO events (id, stream_id, event_type, event_data, version) VALUES \
        ('0190a5a0-7c00-7000-8000-000000000001', 'Order-1', 'Placed', '{\"a\": 1}', 1), \
        ('0190a5a0-7c00-7000-8000-000000000002', 'Order-1', 'Paid', '{\"a\": 2}', 2);";
    match &url {
        DatabaseUrl::Sqlite(file) | DatabaseUrl::SqliteReadOnly(file) => {
            let connection = rusqlite::Connection::open(file).unwrap();
            let table = "CREATE TABLE events (id TEXT PRIMARY KEY, stream_id TEXT, event_type TEXT, \
                event_data TEXT, metadata TEXT, version INTEGER, global_position INTEGER UNIQUE, \
                created_at TEXT DEFAULT '2025-01-15 10:30:00');";
            connection.execute_batch(table).unwrap();
            connection.execute_batch(rows).unwrap();
            connection
                .execute_batch("UPDATE events SET global_position = version")
                .unwrap();
        }
        DatabaseUrl::Postgres(_) => {
            let mut connection = test_database::connect(&url).await;
            let table = "CREATE TABLE events (id UUID PRIMARY KEY, stream_id TEXT, event_type TEXT, \
                event_data JSON, metadata JSON, version INT, \
                global_position BIGINT UNIQUE GENERATED ALWAYS AS IDENTITY, \
                created_at TIMESTAMP DEFAULT '2025-01-15 10:30:00', UNIQUE (stream_id, version));";
            test_database::run(&mut connection, table).await;
            test_database::run(&mut connection, rows).await;
        }
    }
    let source = open(&url).await.unwrap();
    assert_eq!(source.look().await.unwrap().safe.get(), 2);
    let subscription = Subscription {
        metadata: true,
        ..Subscription::default()
    };
    let batch = source
        .read(&source.start(), &subscription, ALL)
        .await
        .unwrap();
    assert_eq!(batch.events.len(), 2);
    let event = batch.events.get(0).unwrap();
    assert_eq!((event.schema_version, event.version), (1, 1));
    assert_eq!(event.data, PayloadRef::Json("{\"a\": 1}"));
    assert_eq!(
        (event.metadata, event.recorded_at),
        ("{}", 1_736_937_000_000_000)
    );
    // Writing works too, as far as the table goes.
    if let DatabaseUrl::Postgres(_) = url {
        let store = store::open(&url).await.unwrap();
        append(store.as_ref(), "Order-1", "Packed").await;
        let stream = StreamId::new("Order-1").unwrap();
        assert_eq!(
            store.read_stream(&stream, Some(2), 9).await.unwrap()[0].version,
            3
        );
        let later = NewEvent::new("T", "1")
            .unwrap()
            .with_schema_version(2)
            .unwrap();
        let error = store
            .append(&stream, ExpectedVersion::Any, &[later])
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains("no column `schema_version`"),
            "{error}"
        );
        store.save_snapshot(&stream, 3, "{}").await.unwrap();
        assert_eq!(
            store.load_snapshot(&stream).await.unwrap().unwrap().version,
            3
        );
    }
}
