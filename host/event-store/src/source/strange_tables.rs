//! Tables of somebody else, with rows that no event has.

use gnomon_model::{Event, Payload, Subscription};

use super::*;
use crate::store::{self, ExpectedVersion, NewEvent, StreamId};
use crate::test_database;

const ALL: BatchLimits = BatchLimits {
    events: 1_000,
    bytes: 1 << 30,
    until: None,
};
/// Of positions that are given by the clock.
const SNOWFLAKE: u64 = 7_000_000_000_000_000_000;

/// Runs statements on a database of either system.
async fn run(url: &DatabaseUrl, statements: &str) {
    match url {
        DatabaseUrl::Sqlite(file) | DatabaseUrl::SqliteReadOnly(file) => {
            let connection = rusqlite::Connection::open(file).unwrap();
            connection.execute_batch(statements).unwrap();
        }
        DatabaseUrl::Postgres(_) => {
            let mut connection = test_database::connect(url).await;
            test_database::run(&mut connection, statements).await;
        }
    }
}

/// A table that takes nearly anything.
async fn make_table(url: &DatabaseUrl) {
    let table = match url {
        DatabaseUrl::Sqlite(_) | DatabaseUrl::SqliteReadOnly(_) => {
            "CREATE TABLE events (id TEXT, stream_id TEXT, event_type TEXT, event_data, \
               metadata TEXT, version INTEGER, schema_version INTEGER, \
               global_position INTEGER UNIQUE, created_at TEXT)"
        }
        DatabaseUrl::Postgres(_) => {
            "CREATE TABLE events (id TEXT, stream_id TEXT, event_type TEXT, event_data TEXT, \
               metadata TEXT, version BIGINT, schema_version INT, \
               global_position BIGSERIAL UNIQUE, created_at TIMESTAMPTZ); \
             ALTER TABLE events ALTER global_position DROP NOT NULL"
        }
    };
    run(url, table).await;
}

/// Inserts an event at a position, with some columns of its own.
async fn insert(url: &DatabaseUrl, position: u64, changed: &[(&str, &str)]) {
    let mut columns = vec![
        ("id", format!("'id-{position}'")),
        ("stream_id", "'S-1'".to_owned()),
        ("event_type", "'T'".to_owned()),
        ("event_data", "'{\"a\": 1}'".to_owned()),
        ("metadata", "'{}'".to_owned()),
        ("version", position.to_string()),
        ("schema_version", "1".to_owned()),
        ("global_position", position.to_string()),
        ("created_at", "'2025-01-15T10:30:00Z'".to_owned()),
    ];
    for (column, value) in &mut columns {
        if let Some((_, change)) = changed.iter().find(|(name, _)| name == column) {
            *value = (*change).to_owned();
        }
    }
    let (names, values): (Vec<&str>, Vec<String>) = columns.into_iter().unzip();
    let mut insert = format!(
        "INSERT INTO events ({}) VALUES ({});",
        names.join(", "),
        values.join(", ")
    );
    if let DatabaseUrl::Postgres(_) = url {
        insert += &format!("SELECT setval('events_global_position_seq', {position})");
    }
    run(url, &insert).await;
}

/// Everything from the start, and in how many reads.
async fn read_all(source: &dyn Source, subscription: &Subscription) -> (Vec<Event>, usize) {
    let (mut checkpoint, mut events, mut reads) = (source.start(), Vec::new(), 0);
    loop {
        let batch = source.read(&checkpoint, subscription, ALL).await.unwrap();
        events.extend(batch.events.iter().map(Event::from));
        reads += 1;
        checkpoint = batch.next;
        if batch.caught_up {
            return (events, reads);
        }
    }
}

fn positions(events: &[Event]) -> Vec<u64> {
    events.iter().map(|event| event.position.get()).collect()
}

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
    a_hole_of_any_size_is_passed_in_one_step
    an_event_that_cannot_be_read_stands_in_nobodys_way
    the_own_table_takes_no_event_that_cannot_be_read
    rows_that_would_never_be_delivered_are_refused
    a_column_that_comes_later_is_read
}

async fn a_hole_of_any_size_is_passed_in_one_step(url: DatabaseUrl) {
    make_table(&url).await;
    let source = open(&url).await.unwrap();
    let places = [
        3,
        10_000_000_000,
        10_000_000_001,
        1_000_000_000_000,
        SNOWFLAKE,
    ];
    for place in places {
        let kind = if place % 2 == 0 { "'Even'" } else { "'Odd'" };
        insert(&url, place, &[("event_type", kind)]).await;
        // Live, each is seen at once.
        let mut frontier = source.frontier();
        let reached = frontier.wait_for(|frontier| frontier.safe.get() == place);
        let reached = tokio::time::timeout(std::time::Duration::from_secs(30), reached).await;
        drop(reached.expect("the frontier stands still").unwrap());
    }
    let (events, reads) = read_all(source.as_ref(), &Subscription::default()).await;
    assert_eq!(positions(&events), places);
    assert!(reads <= 2 * places.len(), "{reads} reads");
    let even = Subscription {
        event_types: vec!["Even".to_owned()],
        ..Subscription::default()
    };
    let (events, reads) = read_all(source.as_ref(), &even).await;
    let even = [10_000_000_000, 1_000_000_000_000, SNOWFLAKE];
    assert_eq!(positions(&events), even);
    assert!(reads <= 2 * places.len(), "{reads} reads");
    let none = Subscription {
        event_types: vec!["None".to_owned()],
        ..Subscription::default()
    };
    let (events, reads) = read_all(source.as_ref(), &none).await;
    assert_eq!(positions(&events), [0; 0]);
    assert!(reads <= 2 * places.len(), "{reads} reads");
}

async fn an_event_that_cannot_be_read_stands_in_nobodys_way(url: DatabaseUrl) {
    make_table(&url).await;
    let source = open(&url).await.unwrap();
    let is_sqlite = matches!(url, DatabaseUrl::Sqlite(_));
    let time = if is_sqlite {
        "'15.01.2025 10:30'"
    } else {
        "'infinity'"
    };
    let bad = [
        ("created_at", time),
        ("created_at", "NULL"),
        ("version", "NULL"),
        ("version", "-1"),
        ("schema_version", "NULL"),
        ("id", "NULL"),
        ("stream_id", "NULL"),
        ("event_type", "NULL"),
        ("event_data", "'{\"a\": 1'"),
        ("event_data", "'NaN'"),
    ];
    let mut expected = Vec::new();
    for place in 1..=2 * bad.len() as u64 {
        let change = (place % 2 == 0).then(|| bad[place as usize / 2 - 1]);
        insert(&url, place, change.as_slice()).await;
        expected.push(change);
    }
    let check = |events: &[Event]| {
        for (event, change) in events.iter().zip(&expected) {
            match (&event.data, change) {
                (Payload::Json(data), None) => {
                    assert_eq!(
                        (data.as_str(), event.recorded_at),
                        ("{\"a\": 1}", 1_736_937_000_000_000)
                    );
                }
                (Payload::Unreadable(reason), Some((column, _))) => {
                    assert!(reason.contains(&format!("its `{column}`")), "{reason}");
                }
                (data, change) => panic!("{change:?}: {data:?}"),
            }
        }
    };
    let head = expected.len() as u64;
    source.look().await.unwrap();
    let (events, _) = read_all(source.as_ref(), &Subscription::default()).await;
    assert_eq!(positions(&events), (1..=head).collect::<Vec<_>>());
    check(&events);
    // Many are not read in the same way as few.
    insert(&url, head + 1_000, &[]).await;
    source.look().await.unwrap();
    let (events, _) = read_all(source.as_ref(), &Subscription::default()).await;
    assert_eq!(events.len(), expected.len() + 1);
    check(&events);
    // Nor is a stream.
    let store = store::open(&url).await.unwrap();
    check(&store.read_all(Position::START, 1_000).await.unwrap());
    // A time that is none is no time to show, nor one to look for.
    let at = async |after| {
        source
            .recorded_after(Position::new(after).unwrap())
            .await
            .unwrap()
    };
    assert_eq!(
        (at(1).await, at(2).await),
        (None, Some(1_736_937_000_000_000))
    );
    assert_eq!(source.position_at(1).await.unwrap(), Position::START);
}

async fn the_own_table_takes_no_event_that_cannot_be_read(url: DatabaseUrl) {
    let store = store::open(&url).await.unwrap();
    let event = NewEvent::new("T", "{}").unwrap();
    let stream = StreamId::new("S-1").unwrap();
    let appended = store.append(&stream, ExpectedVersion::Any, &[event]).await;
    appended.unwrap();
    let changes: &[&str] = match &url {
        DatabaseUrl::Sqlite(_) | DatabaseUrl::SqliteReadOnly(_) => &[
            "'{\"a\"', '2025-01-15 10:30:00'",
            "'{}', '15.01.2025'",
            "'{}', '2025-13-41T00:00:00Z'",
            "'{}', 20250115",
            "NULL, '2025-01-15 10:30:00'",
        ],
        DatabaseUrl::Postgres(_) => &["'{}', 'infinity'", "'{}', '-infinity'", "NULL, now()"],
    };
    let insert = |values: &str| {
        format!(
            "INSERT INTO events (id, stream_id, stream_type, event_type, version, event_data, \
             created_at) VALUES ('0190a5a0-7c00-7000-8000-000000000001', 'S-2', 'S', 'T', 1, {values})"
        )
    };
    for change in changes {
        let refused = match &url {
            DatabaseUrl::Sqlite(file) | DatabaseUrl::SqliteReadOnly(file) => {
                let connection = rusqlite::Connection::open(file).unwrap();
                connection.execute_batch(&insert(change)).is_err()
            }
            DatabaseUrl::Postgres(_) => {
                let mut connection = test_database::connect(&url).await;
                let insert = sqlx::AssertSqlSafe(insert(change));
                sqlx::raw_sql(insert)
                    .execute(&mut connection)
                    .await
                    .is_err()
            }
        };
        assert!(refused, "{change} is taken");
    }
    run(&url, &insert("'{}', '2025-01-15 10:30:00+00:00'")).await;
    let events = store.read_all(Position::START, 10).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1].recorded_at, 1_736_937_000_000_000);
}

async fn rows_that_would_never_be_delivered_are_refused(url: DatabaseUrl) {
    make_table(&url).await;
    insert(&url, 1, &[]).await;
    let source = open(&url).await.unwrap();
    for position in ["0", "-7", "NULL"] {
        // Beside an open source, and before it is opened.
        insert(&url, 2, &[("global_position", position)]).await;
        let mut frontier = source.frontier();
        let refused = frontier.wait_for(|frontier| {
            (frontier.out_of_reach.as_ref()).is_some_and(|why| why.contains("never be delivered"))
        });
        let refused = tokio::time::timeout(std::time::Duration::from_secs(30), refused).await;
        drop(refused.expect("nothing is said").unwrap());
        let error = match open(&url).await {
            Ok(_) => panic!("{position} is not refused"),
            Err(error) => error,
        };
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        assert!(error.to_string().contains("never be delivered"), "{error}");
        run(
            &url,
            "DELETE FROM events WHERE coalesce(global_position, 0) <= 0",
        )
        .await;
        let went_on = frontier.wait_for(|frontier| frontier.out_of_reach.is_none());
        let went_on = tokio::time::timeout(std::time::Duration::from_secs(30), went_on).await;
        drop(went_on.expect("it stays refused").unwrap());
    }
}

async fn a_column_that_comes_later_is_read(url: DatabaseUrl) {
    store::open(&url).await.unwrap();
    run(&url, "ALTER TABLE events DROP COLUMN stream_type").await;
    let source = open(&url).await.unwrap();
    let rename = |from: &str, to: &str| format!("ALTER TABLE events RENAME {from} TO {to}");
    run(&url, &rename("schema_version", "aside")).await;
    let insert = |version: u64, column: &str, schema_version: u64| {
        format!(
            "INSERT INTO events (id, stream_id, event_type, event_data, version, {column}) VALUES \
             ('0190a5a0-7c00-7000-8000-00000000000{version}', 'S-2', 'T', '1', {version}, \
             {schema_version})"
        )
    };
    for (version, column, schema_version, given) in [
        (1, "aside", 5, 1),
        (2, "schema_version", 2, 2),
        (3, "aside", 5, 1),
        (4, "schema_version", 3, 3),
    ] {
        if column == "schema_version" {
            run(&url, &rename("aside", column)).await;
        }
        run(&url, &insert(version, column, schema_version)).await;
        let mut frontier = source.frontier();
        let reached = frontier.wait_for(|frontier| frontier.safe.get() >= version);
        let reached = tokio::time::timeout(std::time::Duration::from_secs(30), reached).await;
        drop(reached.expect("the frontier stands still").unwrap());
        let after = source.behind(Position::new(version - 1).unwrap());
        let batch = source.read(&after, &Subscription::default(), ALL).await;
        assert_eq!(batch.unwrap().events.get(0).unwrap().schema_version, given);
        if column == "schema_version" {
            run(&url, &rename(column, "aside")).await;
        }
    }
}

/// A database whose texts are in another encoding.
async fn postgres_in(encoding: &str) -> DatabaseUrl {
    let url = test_database::postgres().await;
    let mut connection = test_database::connect(&url).await;
    let name: String = sqlx::query_scalar("SELECT current_database()::text")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let name = format!("{name}_{}", encoding.to_lowercase());
    for statement in [
        format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"),
        format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 \
             LC_COLLATE 'C' LC_CTYPE 'C'"
        ),
    ] {
        test_database::run(&mut connection, &statement).await;
    }
    let DatabaseUrl::Postgres(server) = &url else {
        panic!("{url} is not a PostgreSQL database");
    };
    let mut url = url::Url::parse(server.reveal()).unwrap();
    url.set_path(&name);
    url.as_str().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_text_belong_to_one_event() {
    let url = postgres_in("SQL_ASCII").await;
    store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    let streams = ["E'S-\\303\\244'", "E'S-\\377'", "'S-3'"];
    for (number, stream) in streams.iter().enumerate() {
        run(
            &url,
            &format!(
                "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version) \
                 VALUES (gen_random_uuid(), {stream}, 'S', 'T', '1', {})",
                number + 1
            ),
        )
        .await;
    }
    source.look().await.unwrap();
    let (events, _) = read_all(source.as_ref(), &Subscription::default()).await;
    assert_eq!(positions(&events), [1, 2, 3]);
    assert_eq!(events[0].stream_id, "S-ä");
    assert_eq!(events[2].stream_id, "S-3");
    match &events[1].data {
        Payload::Unreadable(reason) => assert!(reason.contains("its `stream_id`"), "{reason}"),
        data => panic!("{data:?}"),
    }
}

/// In another encoding, there are characters that cannot be converted: the server
/// sends an error instead of the page.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_the_server_fails_to_send_has_a_place_among_the_others() {
    const UNTRANSLATABLE: &str = "convert_from('\\xf5a1'::bytea, 'EUC_JP')";
    for (column, value) in [
        ("event_data", format!("'\"' || {UNTRANSLATABLE} || '\"'")),
        (
            "metadata",
            format!("'{{\"a\": \"' || {UNTRANSLATABLE} || '\"}}'"),
        ),
        ("stream_id", format!("'S-' || {UNTRANSLATABLE}")),
    ] {
        let url = postgres_in("EUC_JP").await;
        make_table(&url).await;
        // Those behind 1,000 are read in another way.
        for place in [1, 3, 1_001, 1_003] {
            insert(&url, place, &[]).await;
            insert(&url, place + 1, &[(column, &value)]).await;
        }
        insert(&url, 1_005, &[]).await;
        let places = [1, 2, 3, 4, 1_001, 1_002, 1_003, 1_004, 1_005];
        let check = |events: &[Event]| {
            assert_eq!(positions(events), places, "{column}");
            for event in events {
                let is_bad = event.position.get() % 2 == 0;
                let reason = match &event.data {
                    Payload::Unreadable(reason) => reason.as_str(),
                    _ => "",
                };
                let is_named = reason.contains("the server cannot send its data");
                assert_eq!(is_named, is_bad, "{column}: {event:?}");
            }
        };
        let with_metadata = Subscription {
            metadata: true,
            ..Subscription::default()
        };
        let source = open(&url).await.unwrap();
        check(&read_all(source.as_ref(), &with_metadata).await.0);
        let store = store::open_to_read(&url).await.unwrap();
        let (mut events, mut after) = (Vec::new(), Position::START);
        loop {
            let page = store.read_all(after, 1_000).await.unwrap();
            let Some(last) = page.last() else { break };
            after = last.position;
            events.extend(page);
        }
        check(&events);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_event_can_have_keeps_nobody_from_the_others() {
    let url = postgres_in("LATIN1").await;
    let store = store::open(&url).await.unwrap();
    let source = open(&url).await.unwrap();
    for kind in ["Größe", "Other"] {
        let event = NewEvent::new(kind, "{}").unwrap();
        let stream = StreamId::new("S-1").unwrap();
        store
            .append(&stream, ExpectedVersion::Any, &[event])
            .await
            .unwrap();
    }
    let read = async |types: &[&str], categories: &[&str]| {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let subscription = Subscription {
            event_types: names(types),
            categories: names(categories),
            metadata: false,
        };
        positions(&read_all(source.as_ref(), &subscription).await.0)
    };
    for many in [false, true] {
        if many {
            // These are read in another way.
            run(&url, "SELECT setval('events_global_position_seq', 1000)").await;
        }
        source.look().await.unwrap();
        assert_eq!(read(&["Größe", "注文"], &[]).await, [1]);
        assert_eq!(read(&["注文"], &[]).await, [0; 0]);
        assert_eq!(read(&["a\0b"], &[]).await, [0; 0]);
        assert_eq!(read(&["Other", "Größe"], &["S", "🛒"]).await, [1, 2]);
        assert_eq!(read(&[], &["🛒"]).await, [0; 0]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_where_versions_may_repeat() {
    let table = "CREATE TABLE events (id UUID, stream_id TEXT, event_type TEXT, event_data JSONB, \
        metadata JSONB, version BIGINT, global_position BIGSERIAL, created_at TIMESTAMPTZ)";
    for (kind, index) in [
        (
            "",
            "CREATE UNIQUE INDEX CONCURRENTLY ON events (stream_id, version)",
        ),
        (
            "PARTITION BY HASH (stream_id)",
            "CREATE UNIQUE INDEX ON events (stream_id, version)",
        ),
    ] {
        let url = test_database::postgres().await;
        run(&url, &format!("{table} {kind}")).await;
        if !kind.is_empty() {
            run(
                &url,
                "CREATE TABLE part PARTITION OF events FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
            )
            .await;
        }
        // None of these guards all rows.
        run(&url, "CREATE INDEX ON events (stream_id, version)").await;
        if kind.is_empty() {
            run(
                &url,
                "CREATE UNIQUE INDEX ON events (stream_id, version) WHERE version > 5; \
                 CREATE UNIQUE INDEX ON events (stream_id, version, id)",
            )
            .await;
        }
        let stream = StreamId::new("S-1").unwrap();
        let append = async || {
            let store = store::open(&url).await.unwrap();
            let event = NewEvent::new("T", "{}").unwrap();
            store
                .append(&stream, ExpectedVersion::Exactly(0), &[event])
                .await
        };
        let error = append().await.unwrap_err().to_string();
        assert!(error.contains("CREATE UNIQUE INDEX"), "{error}");
        run(&url, index).await;
        append().await.unwrap();
        append().await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_column_of_a_type_that_cannot_be_read_is_refused_with_the_statement_for_it() {
    for column in ["created_at", "version", "global_position"] {
        let url = test_database::postgres().await;
        store::open(&url).await.unwrap();
        run(
            &url,
            &format!(
                "ALTER TABLE events DROP CONSTRAINT IF EXISTS events_version_check, \
                   DROP CONSTRAINT IF EXISTS events_created_at_check, \
                   ALTER {column} DROP DEFAULT, ALTER {column} TYPE text"
            ),
        )
        .await;
        let error = match open(&url).await {
            Ok(_) => panic!("{column} is not refused"),
            Err(error) => error,
        };
        assert_eq!(error.kind(), SourceErrorKind::Refused);
        let message = error.to_string();
        let statement = message
            .split('`')
            .find(|part| part.starts_with("ALTER TABLE"));
        let default = "ALTER TABLE events ALTER global_position \
                       SET DEFAULT nextval('events_global_position_seq')";
        run(&url, statement.expect("no statement is given")).await;
        run(&url, default).await;
        open(&url).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_whose_positions_may_repeat_is_refused() {
    let url = test_database::postgres().await;
    store::open(&url).await.unwrap();
    run(
        &url,
        "DROP INDEX events_global_position; CREATE INDEX ON events (global_position); \
         CREATE UNIQUE INDEX ON events (global_position) WHERE global_position > 5; \
         CREATE UNIQUE INDEX ON events (global_position, id)",
    )
    .await;
    let error = match open(&url).await {
        Ok(_) => panic!("it is not refused"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    let message = error.to_string();
    let statement = (message.split('`')).find(|part| part.starts_with("CREATE UNIQUE INDEX"));
    run(&url, statement.expect("no statement is given")).await;
    let source = open(&url).await.unwrap();
    // Under a host, too.
    run(&url, "DROP INDEX events_global_position_idx2").await;
    let mut frontier = source.frontier();
    let refused = frontier.wait_for(|frontier| {
        let why = frontier.out_of_reach.as_deref().unwrap_or_default();
        why.contains("CREATE UNIQUE INDEX")
    });
    let refused = tokio::time::timeout(std::time::Duration::from_secs(60), refused).await;
    refused.expect("it is not refused").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_repeats_is_named_when_it_is_read() {
    const PARTITIONED: &str = "CREATE TABLE events (id UUID, stream_id TEXT, event_type TEXT, \
        event_data JSONB, metadata JSONB, version BIGINT, global_position BIGSERIAL, \
        created_at TIMESTAMPTZ) PARTITION BY HASH (stream_id); \
        CREATE INDEX ON events (global_position); \
        CREATE TABLE a PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
        CREATE TABLE b PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1)";
    const INHERITED: &str = "CREATE TABLE events (id UUID, stream_id TEXT, event_type TEXT, \
        event_data JSONB, metadata JSONB, version BIGINT, global_position BIGSERIAL UNIQUE, \
        created_at TIMESTAMPTZ); \
        CREATE TABLE a () INHERITS (events); \
        CREATE RULE parts AS ON INSERT TO events \
          DO INSTEAD INSERT INTO a VALUES (NEW.*)";
    for (table, rows, events) in [
        (PARTITIONED, "(1), (2), (2), (3), (3), (3), (4)", 1_000),
        (INHERITED, "(1), (2), (2), (3), (3), (3), (4)", 1_000),
        (PARTITIONED, "(1), (2), (2), (3), (3), (3), (4)", 1),
        // The second one would be in the next page.
        (PARTITIONED, "(1), (2), (2), (3), (3), (3), (4)", 2),
        (PARTITIONED, "(2), (2), (3), (3), (3), (4)", 2),
    ] {
        let url = test_database::postgres().await;
        run(
            &url,
            &format!(
                "{table}; INSERT INTO events (id, stream_id, event_type, event_data, version, \
                   global_position, created_at) SELECT gen_random_uuid(), \
                   substr(md5(random()::text), 1, 8), 'T', '1', 1, column1, now() \
                   FROM (VALUES {rows}) AS v; \
                 SELECT setval('events_global_position_seq', 4)"
            ),
        )
        .await;
        let source = open(&url).await.unwrap();
        let limits = BatchLimits { events, ..ALL };
        let (mut checkpoint, mut read) = (source.start(), Vec::new());
        loop {
            let all = Subscription::default();
            let batch = source.read(&checkpoint, &all, limits).await.unwrap();
            for event in batch.events.iter() {
                let reason = match event.data {
                    gnomon_model::PayloadRef::Unreadable(reason) => reason,
                    _ => "",
                };
                read.push((event.position.get(), reason.to_owned()));
            }
            checkpoint = batch.next;
            if batch.caught_up {
                break;
            }
        }
        if rows.starts_with("(2)") {
            read.insert(0, (1, String::new()));
        }
        let places: Vec<u64> = read.iter().map(|(place, _)| *place).collect();
        assert_eq!(places, [1, 2, 3, 4], "{events} of {rows}: {read:?}");
        for (place, reason) in read {
            let named = format!("position {place} occurs more than once");
            let repeats = place == 2 || place == 3;
            assert_eq!(
                reason.contains(&named),
                repeats,
                "{events} of {rows}: {place}: {reason}"
            );
        }
    }
}

/// What is said of a partitioned table that lacks an index.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_along_the_positions_can_be_made_on_a_partitioned_table() {
    for statements in [
        "CREATE INDEX ON events (global_position)".to_owned(),
        "CREATE INDEX name ON ONLY events (global_position); \
         CREATE INDEX part_name ON part (global_position); \
         ALTER INDEX name ATTACH PARTITION part_name"
            .to_owned(),
    ] {
        let url = test_database::postgres().await;
        run(
            &url,
            "CREATE TABLE events (id UUID, stream_id TEXT, event_type TEXT, event_data JSONB, \
               metadata JSONB, version BIGINT, global_position BIGSERIAL, \
               created_at TIMESTAMPTZ) PARTITION BY RANGE (created_at); \
             CREATE TABLE part PARTITION OF events DEFAULT",
        )
        .await;
        let source = open(&url).await.unwrap();
        run(&url, &statements).await;
        insert_plain(&url).await;
        assert_eq!(source.look().await.unwrap().safe.get(), 1);
        let mut connection = test_database::connect(&url).await;
        let is_valid: bool = sqlx::query_scalar(
            "SELECT bool_and(indisvalid) FROM pg_index WHERE indrelid = 'events'::regclass",
        )
        .fetch_one(&mut connection)
        .await
        .unwrap();
        assert!(is_valid);
    }
}

async fn insert_plain(url: &DatabaseUrl) {
    run(
        url,
        "INSERT INTO events (id, stream_id, event_type, event_data, version, created_at) \
         VALUES (gen_random_uuid(), 'S-1', 'T', '1', 1, now())",
    )
    .await;
}

/// The same database for another role.
fn as_role(url: &DatabaseUrl, role: &str) -> DatabaseUrl {
    let DatabaseUrl::Postgres(owner) = url else {
        panic!("{url} is not a PostgreSQL database");
    };
    let mut url = url::Url::parse(owner.reveal()).unwrap();
    url.set_username(role).unwrap();
    url.set_password(Some("secret")).unwrap();
    url.as_str().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_from_which_rows_may_be_hidden_is_refused() {
    let url = test_database::postgres().await;
    store::open(&url).await.unwrap();
    let role = format!("sees_some_{}", std::process::id());
    let make_role = format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT ON events TO {role}; \
         GRANT SELECT ON SEQUENCE events_global_position_seq TO {role}"
    );
    run(&url, &make_role).await;
    let limited = as_role(&url, &role);
    let source = open(&limited).await.unwrap();
    let mut frontier = source.frontier();
    let mut wait_until = async |refused: bool| {
        let changed = frontier.wait_for(|frontier| match &frontier.out_of_reach {
            Some(why) => refused && why.contains("BYPASSRLS"),
            None => !refused,
        });
        let changed = tokio::time::timeout(std::time::Duration::from_secs(60), changed).await;
        changed
            .unwrap_or_else(|_| panic!("refused: {refused}"))
            .unwrap();
    };
    run(
        &url,
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; \
         CREATE POLICY seen ON events USING (stream_id NOT LIKE 'secret%')",
    )
    .await;
    wait_until(true).await;
    let error = match open(&limited).await {
        Ok(_) => panic!("it is not refused"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), SourceErrorKind::Refused);
    let message = error.to_string();
    let statement = (message.split('`')).find(|part| part.starts_with("ALTER ROLE"));
    run(&url, statement.expect("no statement is given")).await;
    wait_until(false).await;
    open(&limited).await.unwrap();
    // The table is not touched, and rows are hidden again.
    run(&url, &format!("ALTER ROLE {role} NOBYPASSRLS")).await;
    wait_until(true).await;
    run(&url, &format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}
