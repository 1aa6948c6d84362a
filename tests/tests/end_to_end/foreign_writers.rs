//! Nothing skipped: programs that know nothing of Gnomon write to its events
//! table in every way that PostgreSQL offers, and commit late, out of order or
//! not at all. Every event that they commit is projected once, in order. A
//! naive reader of the same table, at the same time, loses some.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gnomon_tests::harness::{Chance, Database, Installation, System, is_soak};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

const WRITERS: u64 = 16;
/// In a soak it is ten times as long.
const WRITING_TIME: Duration = Duration::from_secs(30);
const LONG_TRANSACTION: Duration = Duration::from_secs(10);
const STATUS_LIMIT: Duration = Duration::from_secs(60);
/// How often the naive reader looks.
const NAIVE_POLL: Duration = Duration::from_millis(5);

#[test]
fn sixteen_foreign_writers_lose_nothing_and_status_names_the_one_that_holds_the_rest_up() {
    let mut chance = Chance::new();
    let installation = Installation::new(System::Postgres, System::Postgres).with_guest("picky");
    // The table is there when the first command has looked.
    installation.succeed(&["events", "--limit", "1"]);
    let url = installation.events.url();
    let writing_time = WRITING_TIME * if is_soak() { 10 } else { 1 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let _host = installation.start_host();
    installation.wait_for_status("picky", STATUS_LIMIT, |status| !status["host"].is_null());
    let writers: Vec<_> = (0..WRITERS)
        .map(|number| {
            let writer = Writer::new(number, &url, Chance::from_seed(chance.number(0..u64::MAX)));
            runtime.spawn(writer.write_until(Instant::now() + writing_time))
        })
        .collect();
    let written = Arc::new(AtomicBool::new(false));
    let naive = runtime.spawn(read_naively(url.clone(), Arc::clone(&written)));
    let long = runtime.spawn(stay_open(url.clone()));

    let said = status_of_the_wait(&installation);
    runtime.block_on(long).unwrap();
    let mut tally = Tally::default();
    for writer in writers {
        tally.add(&runtime.block_on(writer).unwrap());
    }
    written.store(true, Ordering::Relaxed);
    let naive = runtime.block_on(naive).unwrap();
    installation.wait_for("picky", installation.head());
    installation.wait_for_status("picky", STATUS_LIMIT, |status| status["state"] == "running");
    let committed = installation.events.number("SELECT count(*) FROM events");
    let holes = installation.head() - committed;
    println!("{committed} events committed, {holes} positions rolled back: {tally:?}");
    assert!(committed > 5_000 && holes > 500, "the writers were idle");
    assert_all_projected(&installation, &format!("seed {}", chance.seed));
    let lost = lost_by(&naive, &installation.events);
    println!("the naive reader lost {lost} events");
    assert!(
        lost > 0,
        "a naive reader passes this test, so it shows nothing"
    );
    // Last, because a loss would be worse.
    let (cause, session) = said.expect("status did not name the writer that held the rest up");
    println!("status: {cause}");
    assert!(cause.contains(&session), "`{session}` is not in: {cause}");
}

/// What `status` says while the long transaction is open, and the session that
/// it has to name.
fn status_of_the_wait(installation: &Installation) -> Option<(String, String)> {
    let started = Instant::now();
    while started.elapsed() < LONG_TRANSACTION {
        let status = installation.status("picky");
        let cause = status["cause"].as_str().unwrap_or_default();
        if status["state"] == "waiting" && cause.contains("application `slow importer`") {
            let process = installation
                .events
                .rows("SELECT pid FROM pg_stat_activity WHERE application_name = 'slow importer'");
            let session = format!("session {}", process.first()?[0].as_deref()?);
            return Some((cause.to_owned(), session));
        }
    }
    None
}

fn assert_all_projected(installation: &Installation, when: &str) {
    let events: &Arc<Database> = &installation.events;
    let expected =
        events.rows("SELECT global_position, stream_id, version, event_data->>'note' FROM events");
    let found = installation
        .read_models
        .rows("SELECT position, stream_id, version, note FROM picky.seen");
    let missing = expected
        .iter()
        .filter(|row| found.binary_search(row).is_err())
        .count();
    assert_eq!(missing, 0, "{when}: of {} events", expected.len());
    assert_eq!(found.len(), expected.len(), "{when}");
    let expected =
        events.rows("SELECT stream_id, count(*), max(version), 0 FROM events GROUP BY stream_id");
    let found = installation
        .read_models
        .rows("SELECT stream_id, events, last_version, out_of_order FROM picky.streams");
    assert_eq!(found, expected, "{when}");
}

/// Reads as one does without thinking, until everything is written: what lies
/// behind the last position that was seen.
async fn read_naively(url: String, written: Arc<AtomicBool>) -> BTreeSet<i64> {
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut seen = BTreeSet::new();
    loop {
        let is_last = written.load(Ordering::Relaxed);
        let found: Vec<i64> = sqlx::query_scalar(
            "SELECT global_position FROM events WHERE global_position > $1 \
             ORDER BY global_position",
        )
        .bind(seen.last().copied().unwrap_or(0))
        .fetch_all(&mut connection)
        .await
        .unwrap();
        seen.extend(found);
        if is_last {
            return seen;
        }
        tokio::time::sleep(NAIVE_POLL).await;
    }
}

/// How many events a reader that saw these has lost.
fn lost_by(seen: &BTreeSet<i64>, events: &Database) -> usize {
    let committed = events.rows("SELECT global_position FROM events");
    let position = |row: &Vec<Option<String>>| row[0].as_ref().unwrap().parse::<i64>().unwrap();
    committed
        .iter()
        .filter(|row| !seen.contains(&position(row)))
        .count()
}

/// One event in a transaction that is open for a long time.
async fn stay_open(url: String) {
    let url = format!("{url}?application_name=slow%20importer");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    connection.execute("BEGIN").await.unwrap();
    insert(&mut connection, &[("Note-slow".to_owned(), 1)]).await;
    tokio::time::sleep(LONG_TRANSACTION).await;
    connection.execute("COMMIT").await.unwrap();
}

/// What writers did.
#[derive(Debug, Default)]
struct Tally {
    commits: u64,
    rollbacks: u64,
    savepoints_rolled_back: u64,
    savepoints_released: u64,
    prepared_commits: u64,
    prepared_rollbacks: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.rollbacks += other.rollbacks;
        self.savepoints_rolled_back += other.savepoints_rolled_back;
        self.savepoints_released += other.savepoints_released;
        self.prepared_commits += other.prepared_commits;
        self.prepared_rollbacks += other.prepared_rollbacks;
    }
}

/// A connection that has some streams for itself.
struct Writer {
    number: u64,
    url: String,
    chance: Chance,
    /// The version of each stream.
    versions: [u64; 5],
    tally: Tally,
}

impl Writer {
    fn new(number: u64, url: &str, chance: Chance) -> Self {
        Self {
            number,
            url: url.to_owned(),
            chance,
            versions: [0; 5],
            tally: Tally::default(),
        }
    }

    async fn write_until(mut self, end: Instant) -> Tally {
        let mut connection = PgConnection::connect(&self.url).await.unwrap();
        let mut transactions = 0;
        while Instant::now() < end {
            transactions += 1;
            self.transaction(&mut connection, transactions).await;
            self.pause(0..20).await;
        }
        self.tally
    }

    async fn transaction(&mut self, connection: &mut PgConnection, number: u64) {
        let before = self.versions;
        connection.execute("BEGIN").await.unwrap();
        self.pause(0..10).await;
        for _ in 0..self.chance.number(1..4) {
            self.insert_some(connection).await;
            self.pause(0..30).await;
            if self.chance.number(0..3) == 0 {
                self.savepoint(connection).await;
            }
        }
        let commits = match self.chance.number(0..10) {
            0 | 1 => {
                self.tally.rollbacks += 1;
                connection.execute("ROLLBACK").await.unwrap();
                false
            }
            2 => self.prepare(connection, number).await,
            _ => {
                self.tally.commits += 1;
                connection.execute("COMMIT").await.unwrap();
                true
            }
        };
        if !commits {
            self.versions = before;
        }
    }

    async fn savepoint(&mut self, connection: &mut PgConnection) {
        let before = self.versions;
        connection.execute("SAVEPOINT s").await.unwrap();
        self.insert_some(connection).await;
        self.pause(0..10).await;
        if self.chance.number(0..2) == 0 {
            self.tally.savepoints_rolled_back += 1;
            connection.execute("ROLLBACK TO SAVEPOINT s").await.unwrap();
            self.versions = before;
        } else {
            self.tally.savepoints_released += 1;
            connection.execute("RELEASE SAVEPOINT s").await.unwrap();
        }
    }

    /// Two-phase commit, with a while between the phases.
    async fn prepare(&mut self, connection: &mut PgConnection, number: u64) -> bool {
        let name = format!("writer-{}-{number}", self.number);
        let execute = async |connection: &mut PgConnection, what: &str| {
            let statement = format!("{what} '{name}'");
            connection.execute(AssertSqlSafe(statement)).await.unwrap();
        };
        execute(connection, "PREPARE TRANSACTION").await;
        self.pause(0..60).await;
        let commits = self.chance.number(0..3) > 0;
        if commits {
            self.tally.prepared_commits += 1;
            execute(connection, "COMMIT PREPARED").await;
        } else {
            self.tally.prepared_rollbacks += 1;
            execute(connection, "ROLLBACK PREPARED").await;
        }
        commits
    }

    /// Some events in one statement.
    async fn insert_some(&mut self, connection: &mut PgConnection) {
        let mut events = Vec::new();
        for _ in 0..self.chance.number(1..5) {
            let stream = usize::try_from(self.chance.number(0..5)).unwrap();
            self.versions[stream] += 1;
            events.push((
                format!("Note-{}-{stream}", self.number),
                self.versions[stream],
            ));
        }
        insert(connection, &events).await;
    }

    async fn pause(&mut self, milliseconds: std::ops::Range<u64>) {
        let time = self.chance.time(milliseconds);
        if !time.is_zero() {
            tokio::time::sleep(time).await;
        }
    }
}

async fn insert(connection: &mut PgConnection, events: &[(String, u64)]) {
    let rows: Vec<String> = events
        .iter()
        .map(|(stream, version)| {
            format!(
                "(gen_random_uuid(), '{stream}', 'Note', 'Noted', '{{\"note\": \"{version}\"}}', \
                 '{{}}', {version}, now())"
            )
        })
        .collect();
    let statement = format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, \
         version, created_at) VALUES {}",
        rows.join(", ")
    );
    connection.execute(AssertSqlSafe(statement)).await.unwrap();
}
