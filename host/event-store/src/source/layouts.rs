//! Tables with other names than the built-in: a source takes every name from the
//! layout.

use std::time::Duration;

use gnomon_model::{Event, PayloadRef, Position, Subscription};
use sqlx::postgres::PgConnection;

use super::{Alarm, Batch, BatchLimits, Checkpoint, Frontier, Source};
use super::{PostgresSource, SqliteSource};
use crate::table::Layout;
use crate::test_database::{connect, postgres, run, sqlite};
use gnomon_databases::database_url::{DatabaseUrl, PostgresUrl};

const LIMITS: BatchLimits = BatchLimits {
    events: 1_000,
    bytes: 1 << 30,
    until: None,
};
const SCHEMA: &str = "Message Store";
/// More than are read by a prepared statement.
const MANY: u64 = 300;

async fn postgres_source(url: &DatabaseUrl) -> PostgresSource {
    let layout = Layout::strange(Some(SCHEMA));
    PostgresSource::open_table(server(url), layout)
        .await
        .unwrap()
}

fn server(url: &DatabaseUrl) -> &PostgresUrl {
    let DatabaseUrl::Postgres(server) = url else {
        panic!("{url} is not a PostgreSQL database");
    };
    server
}

/// Makes the table, and fills it: odd positions have type A, even ones B, and the
/// streams are those of ten categories.
async fn filled() -> (DatabaseUrl, PgConnection) {
    let url = postgres().await;
    let mut connection = connect(&url).await;
    let table = format!(
        r#"CREATE SCHEMA "{SCHEMA}";
        CREATE TABLE "{SCHEMA}"."The ""Log""" ("No" bigserial PRIMARY KEY,
          "select" text NOT NULL, "Stream's name" text NOT NULL, "Type" text,
          "in stream" int NOT NULL, "Payload" text, "Meta" json,
          "At" timestamp NOT NULL DEFAULT '2026-01-01');
        {}"#,
        insert(MANY, "")
    );
    run(&mut connection, &table).await;
    (url, connection)
}

fn insert(events: u64, condition: &str) -> String {
    format!(
        r#"INSERT INTO "{SCHEMA}"."The ""Log""" ("select", "Stream's name", "Type", "in stream",
          "Payload", "Meta")
        SELECT 'event ' || n, 'Order' || n % 10 || '-' || n, CASE n % 2 WHEN 1 THEN 'A' ELSE 'B' END,
          n, '{{"n": ' || n || '}}', '{{"by": "u"}}'
        FROM generate_series(1, {events}) AS n {condition}"#
    )
}

async fn read(source: &dyn Source, after: u64, subscription: &Subscription) -> Batch {
    let after = Checkpoint::behind(Position::new(after).unwrap());
    source.read(&after, subscription, LIMITS).await.unwrap()
}

async fn read_all(source: &dyn Source, after: u64) -> Vec<Event> {
    let batch = read(source, after, &Subscription::default()).await;
    batch.events.iter().map(Event::from).collect()
}

async fn wait_until(source: &dyn Source, is_so: impl Fn(&Frontier) -> bool + Send + Sync) {
    let mut frontier = source.frontier();
    let wait = frontier.wait_for(|frontier| is_so(frontier));
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.expect("the frontier stands still").unwrap();
}

/// What both systems have to give.
async fn reads_by_the_layout(source: &dyn Source) {
    let events = read_all(source, 0).await;
    assert_eq!(events.len() as u64, MANY);
    // Many by one way, few by another.
    assert_eq!(events[250..], read_all(source, 250).await);
    let event = &events[6];
    assert_eq!(event.position.get(), 7);
    assert_eq!(event.id, "event 7");
    assert_eq!(event.stream_id, "Order7-7");
    assert_eq!(event.event_type, "A");
    assert_eq!((event.version, event.schema_version), (7, 1));
    assert_eq!(event.metadata, "");
    let january = 1_767_225_600_000_000;
    assert_eq!(event.recorded_at, january);
    for after in [0, 250] {
        let subscription = Subscription {
            event_types: vec!["A".to_owned()],
            categories: vec!["Order7".to_owned(), "Order8".to_owned()],
            metadata: true,
        };
        let batch = read(source, after, &subscription).await;
        let found: Vec<u64> = (batch.events.iter())
            .map(|event| event.position.get())
            .collect();
        let expected: Vec<u64> = (after + 1..=MANY).filter(|n| n % 10 == 7).collect();
        assert_eq!(found, expected);
        for event in batch.events.iter() {
            assert_eq!(event.metadata, r#"{"by": "u"}"#);
            let expected = format!(r#"{{"n": {}}}"#, event.position);
            assert!(matches!(event.data, PayloadRef::Json(text) if text == expected));
        }
    }
    let last = source.last_event(Position::new(9).unwrap()).await.unwrap();
    assert_eq!(last.unwrap().id, "event 9");
    let recorded = source.recorded_after(Position::new(9).unwrap()).await;
    assert_eq!(recorded.unwrap(), Some(january));
    assert_eq!(source.position_at(january - 1).await.unwrap().get(), 0);
    assert_eq!(source.position_at(january).await.unwrap().get(), MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_postgres_everything_is_asked_by_the_layout() {
    let (url, mut connection) = filled().await;
    let source = postgres_source(&url).await;
    reads_by_the_layout(&source).await;
    // A hole is passed, counted, and noticed when it is filled.
    run(
        &mut connection,
        &format!("BEGIN; {}; ROLLBACK; {}", insert(3, ""), insert(2, "")),
    )
    .await;
    wait_until(&source, |frontier| {
        frontier.safe.get() == MANY + 5 && frontier.rolled_back == 3
    })
    .await;
    let late = insert(1, "").replace(r#"("select","#, r#"("No", "select","#);
    let late = late.replace("SELECT 'event '", &format!("SELECT {}, 'event '", MANY + 2));
    run(&mut connection, &late).await;
    let mut history = Vec::new();
    while history.is_empty() {
        source.look().await.unwrap();
        history = source.history().alarms_after(0);
    }
    assert!(
        matches!(&history[0], Alarm::Late(late) if late.position.get() == MANY + 2),
        "{history:?}"
    );
    // A table that changes under the source is read as it is then.
    let table = format!(r#""{SCHEMA}"."The ""Log""""#);
    run(
        &mut connection,
        &format!(
            r#"ALTER TABLE {table} ADD "v" int NOT NULL DEFAULT 3; {};
            ALTER TABLE {table} ALTER "Type" DROP NOT NULL"#,
            insert(1, "")
        ),
    )
    .await;
    wait_until(&source, |frontier| frontier.safe.get() == MANY + 6).await;
    assert_eq!(read_all(&source, MANY + 5).await[0].schema_version, 3);
    // What cannot be read is named as the table names it.
    run(
        &mut connection,
        &insert(1, "").replace("CASE n % 2 WHEN 1 THEN 'A' ELSE 'B' END", "NULL"),
    )
    .await;
    wait_until(&source, |frontier| frontier.safe.get() == MANY + 7).await;
    let batch = read(&source, MANY + 6, &Subscription::default()).await;
    let (_, reason) = batch.events.iter().find_map(unreadable).unwrap();
    assert!(reason.contains("its `Type` is null"), "{reason}");
}

fn unreadable(event: gnomon_model::EventRef<'_>) -> Option<(Position, String)> {
    match event.data {
        PayloadRef::Unreadable(reason) => Some((event.position, reason.to_owned())),
        _ => None,
    }
}

/// The server refuses statements that write.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_only_reads() {
    let (url, mut connection) = filled().await;
    let role = format!("reader_{}", std::process::id());
    run(
        &mut connection,
        &format!(
            r#"CREATE ROLE {role} LOGIN PASSWORD 'secret';
            ALTER ROLE {role} SET default_transaction_read_only = on;
            REVOKE ALL ON SCHEMA public FROM PUBLIC;
            GRANT USAGE ON SCHEMA "{SCHEMA}" TO {role};
            GRANT SELECT ON ALL TABLES IN SCHEMA "{SCHEMA}" TO {role};
            GRANT SELECT ON ALL SEQUENCES IN SCHEMA "{SCHEMA}" TO {role}"#
        ),
    )
    .await;
    let mut limited = url::Url::parse(server(&url).reveal()).unwrap();
    limited.set_username(&role).unwrap();
    limited.set_password(Some("secret")).unwrap();
    let source = postgres_source(&limited.as_str().parse().unwrap()).await;
    reads_by_the_layout(&source).await;
    drop(source);
    let drop = format!("DROP OWNED BY {role}; DROP ROLE {role}");
    // The role goes when its sessions have ended.
    while sqlx::raw_sql(sqlx::AssertSqlSafe(drop.as_str()))
        .execute(&mut connection)
        .await
        .is_err()
    {}
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_table_of_the_layout() {
    let (url, mut connection) = filled().await;
    let table = format!(r#""{SCHEMA}"."The ""Log""""#);
    for (change, expected) in [
        (
            format!(r#"ALTER TABLE {table} DROP CONSTRAINT "The ""Log""_pkey""#),
            format!(r#"CREATE UNIQUE INDEX CONCURRENTLY ON {table} ("No")"#),
        ),
        (
            format!(r#"ALTER TABLE {table} RENAME "Type" TO "Kind of""#),
            "it has no column Type".to_owned(),
        ),
        (
            format!("DROP TABLE {table}"),
            "there is no event store".to_owned(),
        ),
    ] {
        run(&mut connection, &change).await;
        let layout = Layout::strange(Some(SCHEMA));
        let opened = PostgresSource::open_table(server(&url), layout).await;
        let message = opened.err().unwrap().to_string();
        assert!(message.contains(&expected), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_sqlite_everything_is_asked_by_the_layout() {
    let (_directory, url) = sqlite();
    let DatabaseUrl::Sqlite(file) = &url else {
        panic!("{url} is not a file");
    };
    let connection = rusqlite::Connection::open(file).unwrap();
    let insert = |position: &str, kind: &str, n: u64| {
        let event = format!(
            r#"INSERT INTO "The ""Log""" VALUES ({position}, 'event {n}', 'Order{}-{n}', {kind}, {n},
              '{{"n": {n}}}', '{{"by": "u"}}', '2026-01-01 00:00:00')"#,
            n % 10
        );
        connection.execute(&event, []).unwrap();
    };
    connection
        .execute_batch(
            r#"CREATE TABLE "The ""Log""" ("No" INTEGER PRIMARY KEY AUTOINCREMENT, "select" TEXT,
              "Stream's name" TEXT, "Type" TEXT, "in stream" INTEGER, "Payload" TEXT, "Meta" TEXT,
              "At" TEXT); BEGIN"#,
        )
        .unwrap();
    for n in 1..=MANY {
        insert("NULL", if n % 2 == 1 { "'A'" } else { "'B'" }, n);
    }
    connection.execute_batch("COMMIT").unwrap();
    let source = SqliteSource::open_table(file, Layout::strange(None))
        .await
        .unwrap();
    reads_by_the_layout(&source).await;
    insert("NULL", "NULL", MANY + 1);
    wait_until(&source, |frontier| frontier.safe.get() == MANY + 1).await;
    let batch = read(&source, MANY, &Subscription::default()).await;
    let (_, reason) = batch.events.iter().find_map(unreadable).unwrap();
    assert!(reason.contains("its `Type` is null"), "{reason}");
    insert("0", "'A'", MANY + 2);
    let opened = SqliteSource::open_table(file, Layout::strange(None)).await;
    let message = opened.err().unwrap().to_string();
    assert!(
        message.contains(r#"the table `"The ""Log"""`"#),
        "{message}"
    );
}
