//! Both stores keep the same promises.

use std::sync::Arc;

use gnomon_model::{Payload, Position};
use uuid::Uuid;

use super::*;
use crate::test_database;

fn stream(name: &str) -> StreamId {
    StreamId::new(name).unwrap()
}

fn event(kind: &str) -> NewEvent {
    NewEvent::new(kind, r#"{"n":1}"#).unwrap()
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
    many_can_open_a_new_store_at_the_same_time
    appended_events_can_be_read
    a_wrong_expected_version_is_a_conflict
    a_retry_changes_nothing
    an_id_that_is_taken_is_refused
    of_concurrent_appends_at_the_same_version_one_wins
    concurrent_appends_at_any_version_all_succeed
    the_schema_refuses_changes
    snapshots_are_replaced_by_newer_ones
    json_has_the_same_text
    a_file_is_imported_once
    a_bad_line_leaves_everything_as_it_was
    versions_in_a_file_must_be_the_next_ones
    an_id_that_is_there_with_other_content_is_an_error
    a_line_that_repeats_an_id_with_other_content_is_an_error
    a_compressed_file_is_imported
    a_file_that_changes_meanwhile_is_not_imported
    a_page_of_events_ends_with_the_one_that_fills_it
}

async fn many_can_open_a_new_store_at_the_same_time(url: DatabaseUrl) {
    let mut opening = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let url = url.clone();
        opening.spawn(async move { open(&url).await.map(drop) });
    }
    for opened in opening.join_all().await {
        opened.unwrap();
    }
}

async fn appended_events_can_be_read(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let order = stream("Order-1");
    let first = event("Placed")
        .with_metadata(r#"{"user_id":"u"}"#)
        .unwrap()
        .with_schema_version(3)
        .unwrap()
        .with_recorded_at(-1);
    let appended = store
        .append(
            &order,
            ExpectedVersion::Exactly(0),
            &[first.clone(), event("Paid")],
        )
        .await
        .unwrap();
    assert_eq!(
        appended.iter().map(|one| one.version).collect::<Vec<_>>(),
        [1, 2]
    );
    assert!(appended[0].position < appended[1].position);
    store
        .append(&stream("Order-2"), ExpectedVersion::Any, &[event("Placed")])
        .await
        .unwrap();

    let events = store.read_stream(&order, None, 10).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].id, first.id().to_string());
    assert_eq!(events[0].metadata, r#"{"user_id": "u"}"#);
    assert_eq!(events[0].data, Payload::Json(r#"{"n": 1}"#.to_owned()));
    assert_eq!((events[0].schema_version, events[0].recorded_at), (3, -1));
    assert_eq!((events[1].version, events[1].metadata.as_str()), (2, "{}"));
    assert_eq!(
        store.read_stream(&order, Some(1), 10).await.unwrap(),
        events[1..]
    );
    assert_eq!(
        store.read_stream(&order, None, 1).await.unwrap(),
        events[..1]
    );

    let all = store.read_all(Position::START, 10).await.unwrap();
    assert_eq!(all.len(), 3);
    assert_eq!(store.read_all(all[0].position, 1).await.unwrap(), all[1..2]);
    // What is there already is not made anew.
    let again = open(&url).await.unwrap();
    assert_eq!(again.read_all(Position::START, 10).await.unwrap(), all);
}

async fn a_wrong_expected_version_is_a_conflict(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let order = stream("Order-1");
    store
        .append(&order, ExpectedVersion::Any, &[event("Placed")])
        .await
        .unwrap();
    for expected in [0, 2, u64::MAX] {
        let error = store
            .append(
                &order,
                ExpectedVersion::Exactly(expected),
                &[event("Paid"), event("Packed")],
            )
            .await
            .unwrap_err();
        assert_eq!(error.kind(), EventStoreErrorKind::Conflict);
        let message = error.to_string();
        assert!(
            message.contains(&format!("expected version {expected}")),
            "{message}"
        );
        assert!(message.contains("at version 1"), "{message}");
    }
    assert_eq!(store.read_all(Position::START, 10).await.unwrap().len(), 1);
}

async fn a_retry_changes_nothing(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let order = stream("Order-1");
    let events = [event("Placed"), event("Paid")];
    let expected = ExpectedVersion::Exactly(0);
    let first = store.append(&order, expected, &events).await.unwrap();
    store
        .append(&order, ExpectedVersion::Any, &[event("Packed")])
        .await
        .unwrap();
    assert_eq!(
        store.append(&order, expected, &events).await.unwrap(),
        first
    );
    assert_eq!(
        store.append(&order, expected, &events[1..]).await.unwrap(),
        first[1..]
    );
    assert_eq!(store.read_all(Position::START, 10).await.unwrap().len(), 3);
}

async fn an_id_that_is_taken_is_refused(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let events = [event("Placed"), event("Paid")];
    let [placed, paid] = events.clone();
    store
        .append(&stream("Order-1"), ExpectedVersion::Any, &events)
        .await
        .unwrap();
    for (name, events) in [
        ("Order-2", vec![event("Placed"), paid.clone()]),
        // The same stream in another order, and with something new.
        ("Order-1", vec![paid.clone(), placed.clone()]),
        ("Order-1", vec![placed, paid, event("Packed")]),
    ] {
        let error = store
            .append(&stream(name), ExpectedVersion::Any, &events)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), EventStoreErrorKind::Duplicate);
        assert!(error.to_string().contains("stream Order-1"), "{error}");
    }
    let twice = event("Placed");
    let error = store
        .append(
            &stream("Order-3"),
            ExpectedVersion::Any,
            &[twice.clone(), twice],
        )
        .await
        .unwrap_err();
    assert!(error.to_string().contains("occurs twice"), "{error}");
    assert_eq!(store.read_all(Position::START, 10).await.unwrap().len(), 2);
}

async fn of_concurrent_appends_at_the_same_version_one_wins(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    for round in 0..10 {
        let order = stream(&format!("Order-{round}"));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, order) = (Arc::clone(&store), order.clone());
            tasks.spawn(async move {
                let events = [event("A"), event("B")];
                store
                    .append(&order, ExpectedVersion::Exactly(0), &events)
                    .await
            });
        }
        let results = tasks.join_all().await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
        for error in results.into_iter().filter_map(Result::err) {
            assert_eq!(error.kind(), EventStoreErrorKind::Conflict, "{error}");
        }
        assert_eq!(store.read_stream(&order, None, 100).await.unwrap().len(), 2);
    }
}

async fn concurrent_appends_at_any_version_all_succeed(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let order = stream("Order-1");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let (store, order) = (Arc::clone(&store), order.clone());
        tasks.spawn(async move {
            for _ in 0..5 {
                let events = [event("A"), event("B")];
                store
                    .append(&order, ExpectedVersion::Any, &events)
                    .await
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
    let events = store.read_stream(&order, None, 1_000).await.unwrap();
    let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
    assert_eq!(versions, (1..=120).collect::<Vec<_>>());
}

async fn the_schema_refuses_changes(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    store
        .append(&stream("Order-1"), ExpectedVersion::Any, &[event("Placed")])
        .await
        .unwrap();
    let before = store.read_all(Position::START, 10).await.unwrap();
    let mut attempts = vec!["UPDATE events SET event_type = 'x'", "DELETE FROM events"];
    match &url {
        DatabaseUrl::Sqlite(file) | DatabaseUrl::SqliteReadOnly(file) => {
            attempts.push(
                "REPLACE INTO events (id, stream_id, stream_type, event_type, event_data, version) \
                 VALUES ('x', 'Order-1', 'Order', 'x', '{}', 1)",
            );
            attempts.push(
                "REPLACE INTO events (id, stream_id, stream_type, event_type, event_data, version, \
                 global_position) VALUES ('x', 'Order-2', 'Order', 'x', '{}', 1, 1)",
            );
            let connection = rusqlite::Connection::open(file).unwrap();
            for attempt in attempts {
                let error = connection.execute_batch(attempt).unwrap_err().to_string();
                assert!(error.contains("events are immutable"), "{attempt}: {error}");
            }
        }
        DatabaseUrl::Postgres(_) => {
            attempts.push("TRUNCATE events");
            attempts.push(
                "INSERT INTO events SELECT * FROM events ON CONFLICT (id) DO UPDATE SET version = 7",
            );
            let mut connection = test_database::connect(&url).await;
            for attempt in attempts {
                let error = sqlx::raw_sql(attempt)
                    .execute(&mut connection)
                    .await
                    .unwrap_err();
                assert!(
                    error.to_string().contains("events are immutable"),
                    "{attempt}: {error}"
                );
            }
        }
    }
    assert_eq!(store.read_all(Position::START, 10).await.unwrap(), before);
}

async fn snapshots_are_replaced_by_newer_ones(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let order = stream("Order-1");
    assert_eq!(store.load_snapshot(&order).await.unwrap(), None);
    store.save_snapshot(&order, 5, r#"{"a":5}"#).await.unwrap();
    store.save_snapshot(&order, 7, r#"{"a":7}"#).await.unwrap();
    store.save_snapshot(&order, 6, r#"{"a":6}"#).await.unwrap();
    let snapshot = store.load_snapshot(&order).await.unwrap().unwrap();
    assert_eq!(
        (snapshot.version, snapshot.data.as_str()),
        (7, r#"{"a": 7}"#)
    );
    assert!(snapshot.saved_at > 1_600_000_000_000_000);
    assert!(store.save_snapshot(&order, 8, "{").await.is_err());
}

async fn json_has_the_same_text(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let data =
        r#"{"bb":1.50,"a":[9223372036854775807,-9223372036854775808,1e3],"b":"\u00e9\u0001"}"#;
    store
        .append(
            &stream("S"),
            ExpectedVersion::Any,
            &[NewEvent::new("T", data).unwrap()],
        )
        .await
        .unwrap();
    let events = store.read_all(Position::START, 1).await.unwrap();
    let expected = "{\"a\": [9223372036854775807, -9223372036854775808, 1000], \
                    \"b\": \"é\\u0001\", \"bb\": 1.50}";
    assert_eq!(events[0].data, Payload::Json(expected.to_owned()));
}

fn line(stream: &str, id: u128, rest: &str) -> String {
    format!(
        r#"{{"event_id":"{}","stream_id":"{stream}","event_type":"T","data":{{"n":{id}}}{rest}}}"#,
        Uuid::from_u128(id)
    )
}

async fn import(store: &Arc<dyn EventStore>, text: &str) -> Result<Imported, EventStoreError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let quiet: OnProgress = Arc::new(|_| {});
    let checked = CheckedFile::check(file.path(), "events.ndjson", &quiet)?;
    store.import(checked, quiet).await
}

async fn a_file_is_imported_once(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    // More than one chunk, and streams that go across chunks.
    let mut text = "\u{feff}\n".to_owned();
    for number in 1..=4_500_u128 {
        let rest = r#","recorded_at":"2025-01-15T10:30:00Z","global_position":9"#;
        text += &line(&format!("S-{}", number % 7), number, rest);
        text += if number % 2 == 0 { "\r\n" } else { "\n" };
    }
    // The first event once more.
    text += &line("S-1", 1, "");
    let done = import(&store, &text).await.unwrap();
    assert_eq!(
        done,
        Imported {
            imported: 4_500,
            skipped: 1,
            last_position: Position::new(4_500),
        }
    );
    let done = import(&store, &text).await.unwrap();
    assert_eq!(
        done,
        Imported {
            imported: 0,
            skipped: 4_501,
            last_position: Position::new(4_500),
        }
    );
    let events = store.read_all(Position::START, 10_000).await.unwrap();
    assert_eq!(events.len(), 4_500);
    for (event, number) in events.iter().zip(1..) {
        assert_eq!(event.id, Uuid::from_u128(number).to_string());
        assert_eq!(event.recorded_at, 1_736_937_000_000_000);
    }
    let one = store
        .read_stream(&stream("S-3"), None, 10_000)
        .await
        .unwrap();
    let versions: Vec<u64> = one.iter().map(|event| event.version).collect();
    assert_eq!(versions, (1..=643).collect::<Vec<_>>());
}

/// Each part of an event's content, changed; and what is said of it.
const OTHER_CONTENT: [(&str, &str, &str); 6] = [
    (r#""T""#, r#""U""#, "its type is `T` there, and `U` here"),
    (
        r#""data":{"n":7}"#,
        r#""data":{"n":8}"#,
        r#"its data is `{"n": 7}` there, and `{"n": 8}` here"#,
    ),
    (
        r#""user_id":"a""#,
        r#""user_id":"b""#,
        r#"its metadata is `{"user_id": "a"}` there, and `{"user_id": "b"}` here"#,
    ),
    (
        r#""schema_version":2"#,
        r#""schema_version":3"#,
        "its schema version is 2 there, and 3 here",
    ),
    (
        "2025-01-15T10:30:00.123456Z",
        "2025-01-15T10:30:00.123457Z",
        "recorded at 2025-01-15T10:30:00.123456Z there, and at 2025-01-15T10:30:00.123457Z here",
    ),
    (
        r#""version":1"#,
        r#""version":2"#,
        "its version is 1 there, and 2 here",
    ),
];

fn full_line() -> String {
    let rest = r#","version":1,"schema_version":2,"metadata":{"user_id":"a"},"recorded_at":"2025-01-15T10:30:00.123456Z""#;
    line("S-1", 7, rest)
}

async fn an_id_that_is_there_with_other_content_is_an_error(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let full = full_line();
    import(&store, &full).await.unwrap();
    // The same in another form.
    let spaced = full.replace(r#"{"n":7}"#, r#"{ "n" : 7 }"#);
    assert_eq!(import(&store, &spaced).await.unwrap().skipped, 1);
    for (part, other, said) in OTHER_CONTENT {
        let changed = full.replacen(part, other, 1);
        assert_ne!(changed, full);
        let error = import(&store, &format!("\n{changed}")).await.unwrap_err();
        assert_eq!(error.kind(), EventStoreErrorKind::Duplicate);
        let error = error.to_string();
        let id = Uuid::from_u128(7).to_string();
        for said in ["events.ndjson, line 2: ", &id, said] {
            assert!(error.contains(said), "not said: {said}: {error}");
        }
    }
    // An append takes nothing else for its repetition either.
    let event = Envelope::parse(&full).unwrap().event;
    let order = stream("S-1");
    let append = async |event| store.append(&order, ExpectedVersion::Any, &[event]).await;
    assert_eq!(append(event.clone()).await.unwrap()[0].version, 1);
    let other = NewEvent::new("T", "{}").unwrap().with_id(event.id());
    let error = append(other).await.unwrap_err();
    assert_eq!(error.kind(), EventStoreErrorKind::Duplicate);
    assert!(
        error.to_string().contains("its schema version is 2"),
        "{error}"
    );
    assert_eq!(store.read_all(Position::START, 10).await.unwrap().len(), 1);
}

async fn a_line_that_repeats_an_id_with_other_content_is_an_error(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let full = full_line();
    for (part, other, said) in OTHER_CONTENT {
        let changed = full.replacen(part, other, 1);
        let error = import(&store, &format!("{full}\n{changed}")).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(error.contains(said), "not said: {said}: {error}");
        assert!(store.read_all(Position::START, 1).await.unwrap().is_empty());
    }
    let done = import(&store, &format!("{full}\n{full}")).await.unwrap();
    assert_eq!((done.imported, done.skipped), (1, 1));
}

fn compressed(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap()
}

async fn a_compressed_file_is_imported(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let text: String = (1..=3_000).map(|id| line("S-1", id, "") + "\n").collect();
    let (first, second) = text.split_at(text.len() / 2);
    // Two compressed files behind each other are one.
    let bytes = [compressed(first), compressed(second)].concat();
    let file = tempfile::NamedTempFile::new().unwrap();
    let quiet: OnProgress = Arc::new(|_| {});
    // Cut off in the middle, it is no file.
    std::fs::write(file.path(), &bytes[..bytes.len() - 10]).unwrap();
    let error = CheckedFile::check(file.path(), "events.gz", &quiet).unwrap_err();
    assert!(
        error.to_string().contains("cannot read events.gz"),
        "{error}"
    );
    std::fs::write(file.path(), &bytes).unwrap();
    let checked = CheckedFile::check(file.path(), "events.gz", &quiet).unwrap();
    let done = store.import(checked, quiet).await.unwrap();
    assert_eq!(done.imported, 3_000);
    assert_eq!(done.last_position, Position::new(3_000));
}

async fn a_file_that_changes_meanwhile_is_not_imported(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    let quiet: OnProgress = Arc::new(|_| {});
    std::fs::write(file.path(), [line("S", 1, ""), line("S", 2, "")].join("\n")).unwrap();
    let checked = CheckedFile::check(file.path(), "events.ndjson", &quiet).unwrap();
    std::fs::write(file.path(), line("S", 1, "")).unwrap();
    let error = store.import(checked, quiet).await.unwrap_err().to_string();
    assert!(error.contains("changed while it was imported"), "{error}");
    assert!(store.read_all(Position::START, 1).await.unwrap().is_empty());
}

async fn a_bad_line_leaves_everything_as_it_was(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    store
        .append(
            &stream("Other-1"),
            ExpectedVersion::Any,
            &[event("T").with_id(Uuid::from_u128(1))],
        )
        .await
        .unwrap();
    let good: String = (10..3_010).map(|id| line("S-1", id, "") + "\n").collect();
    for (bad, kind, problem) in [
        ("{", EventStoreErrorKind::Invalid, "not JSON"),
        (
            r#"{"even_id":1}"#,
            EventStoreErrorKind::Invalid,
            "did you mean `event_id`",
        ),
        (
            &line(&"x".repeat(300), 5, ""),
            EventStoreErrorKind::Invalid,
            "300 characters",
        ),
        (
            &line("S", 5, r#","metadata":{"a":"\u0000"}"#),
            EventStoreErrorKind::Invalid,
            "U+0000",
        ),
        (
            &line("S", 1, ""),
            EventStoreErrorKind::Duplicate,
            "version 1 of stream Other-1",
        ),
        (
            &line("S-2", 10, ""),
            EventStoreErrorKind::Duplicate,
            "version 1 of stream S-1",
        ),
    ] {
        let error = import(&store, &format!("{good}{bad}\n{good}"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        let message = error.to_string();
        assert!(
            message.starts_with("events.ndjson, line 3001: "),
            "{message}"
        );
        assert!(message.contains(problem), "{message}");
        assert_eq!(store.read_all(Position::START, 10).await.unwrap().len(), 1);
    }
}

/// Hundreds of large events must not be in memory at a time.
async fn a_page_of_events_ends_with_the_one_that_fills_it(url: DatabaseUrl) {
    const LARGE: usize = 3 << 20;
    let store = open(&url).await.unwrap();
    let large = format!("\"{}\"", "x".repeat(LARGE));
    for _ in 0..7 {
        let event = NewEvent::new("T", &large).unwrap();
        store
            .append(&stream("S-1"), ExpectedVersion::Any, &[event])
            .await
            .unwrap();
    }
    let page = PAGE_BYTES.div_ceil(LARGE);
    let (mut of_all, mut of_stream) = (Vec::new(), Vec::new());
    loop {
        let after = of_all
            .last()
            .map_or(0, |event: &Event| event.position.get());
        let after = Position::new(after).unwrap();
        let events = store.read_all(after, 1_000).await.unwrap();
        let version = of_stream.last().map(|event: &Event| event.version);
        let own = store.read_stream(&stream("S-1"), version, 1_000).await;
        let own = own.unwrap();
        let left = 7 - of_all.len();
        assert_eq!((events.len(), own.len()), (left.min(page), left.min(page)));
        if events.is_empty() {
            break;
        }
        of_all.extend(events);
        of_stream.extend(own);
    }
    let positions: Vec<u64> = of_all.iter().map(|event| event.position.get()).collect();
    assert_eq!(positions, [1, 2, 3, 4, 5, 6, 7]);
    assert!(of_all == of_stream, "other events came back");
}

/// Nor those of a file.
#[test]
fn a_chunk_of_a_file_ends_with_the_event_that_fills_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let large = "x".repeat(3 << 20);
    let lines: String = (1..=7)
        .map(|id| line("S-1", id, &format!(r#","metadata":{{"m":"{large}"}}"#)) + "\n")
        .collect();
    std::fs::write(file.path(), lines).unwrap();
    let quiet: OnProgress = Arc::new(|_| {});
    let checked = CheckedFile::check(file.path(), "events.ndjson", &quiet).unwrap();
    let mut chunks = checked.read_ahead();
    let mut counts = Vec::new();
    while let Some(chunk) = chunks.blocking_recv() {
        counts.push(chunk.unwrap().lines.len());
    }
    assert_eq!(counts, [3, 3, 1]);
}

async fn versions_in_a_file_must_be_the_next_ones(url: DatabaseUrl) {
    let store = open(&url).await.unwrap();
    let text = [
        line("S-1", 1, r#","version":1"#),
        line("S-2", 2, ""),
        line("S-1", 3, r#","version":2"#),
    ]
    .join("\n");
    import(&store, &text).await.unwrap();
    let text = [
        line("S-1", 3, r#","version":2"#),
        line("S-1", 4, r#","version":4"#),
    ]
    .join("\n");
    let error = import(&store, &text).await.unwrap_err();
    assert_eq!(error.kind(), EventStoreErrorKind::Conflict);
    let message = error.to_string();
    assert!(message.contains("line 2"), "{message}");
    assert!(
        message.contains("has version 4, but the stream is at version 2"),
        "{message}"
    );
}
