//! Exactly once: a host that is killed at any moment loses no event and
//! applies none twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{Database, Installation, READ_MODELS, Spending, System, shared_log};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

const EVENTS: usize = 50_000;
const KILLS: usize = 50;
/// Small enough that a run takes many batches, so that many moments are in the
/// middle of something.
const BATCH_EVENTS: usize = 200;
/// What a build folds before it commits: some batches.
const BUILD_WINDOW: &str = "64KiB";
/// After this many kills the next host waits for the dead one's leases to run
/// out; after the others that time is put forward.
const KILLS_WITH_LEASES: usize = 2;

#[test]
fn fifty_kills_leave_the_rows_of_the_group_by_on_sqlite() {
    kill_at_random_moments(System::Sqlite);
}

#[test]
fn fifty_kills_leave_the_rows_of_the_group_by_on_postgres() {
    kill_at_random_moments(System::Postgres);
}

#[test]
fn a_kill_in_the_middle_of_a_bulk_copy_leaves_no_row_of_it() {
    let installation = Installation::new(System::Postgres, System::Postgres)
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", BATCH_EVENTS);
    installation.append_orders(3_000, 1);
    Spending::version(1).deploy(&installation, &[]);
    let read_models = &installation.read_models;
    let candidate = installation.candidate().unwrap().id;
    let table = read_models.physical_table(candidate, "spending");
    // The copy stops at its hundredth row, until this session lets it go on.
    read_models.execute(&format!(
        "CREATE SEQUENCE public.copied;
         CREATE FUNCTION public.stop_halfway() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             IF nextval('public.copied') = 100 THEN
                 PERFORM pg_advisory_xact_lock(1);
             END IF;
             RETURN new;
         END $$;
         CREATE TRIGGER stop_halfway BEFORE INSERT ON {table}
         FOR EACH ROW EXECUTE FUNCTION public.stop_halfway();
         SELECT pg_advisory_lock(1)"
    ));
    let host = installation.start_host();
    wait_for_number(
        read_models,
        "SELECT count(*) FROM pg_stat_activity
         WHERE wait_event = 'advisory' AND query LIKE 'COPY%' AND datname = current_database()",
        1,
    );
    let _ = host.kill();
    read_models.execute("SELECT pg_advisory_unlock(1)");
    wait_for_number(
        read_models,
        "SELECT count(*) FROM pg_stat_activity
         WHERE datname = current_database() AND query LIKE 'COPY%'",
        0,
    );
    assert_eq!(
        read_models.number(&format!("SELECT count(*) FROM {table}")),
        0
    );
    assert_eq!(committed(&installation), 0);
    installation.succeed(&["run", "--until-caught-up"]);
    Spending::version(1).assert_right(&installation, "after a copy that was killed");
}

fn wait_for_number(database: &Database, sql: &str, number: i64) {
    const LIMIT: Duration = Duration::from_secs(120);
    let started = Instant::now();
    while database.number(sql) != number {
        assert!(
            started.elapsed() < LIMIT,
            "not {number} within {LIMIT:?}: {sql}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A run that ends before the last kill is checked, and another one begins.
fn kill_at_random_moments(system: System) {
    let seed = std::env::var("GNOMON_TEST_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(rand::random);
    // Seen when the test fails.
    println!("GNOMON_TEST_SEED={seed}");
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let log = shared_log(system, EVENTS);
    let (mut kills, mut kills_with_progress) = (0, 0);
    while kills < KILLS {
        let installation = Installation::on(Arc::clone(&log), Arc::new(Database::new(system)))
            .with_examples()
            .with_variable("GNOMON_LIMITS_BATCH_EVENTS", BATCH_EVENTS)
            .with_variable("GNOMON_LIMITS_BUILD_WINDOW", BUILD_WINDOW);
        let head = installation.head();
        let mut reached = 0;
        while kills < KILLS && slowest_position(&installation) < head {
            let host = installation.start_host();
            // Some moments are in the start of the host; most come after it has
            // committed something, however long that takes on a busy machine.
            if random.random_ratio(3, 4) {
                wait_for_a_commit(&installation, reached);
            }
            std::thread::sleep(Duration::from_millis(random.random_range(0..150)));
            let killed = host.kill();
            assert_eq!(killed.code, None, "it had ended by itself: {killed:?}");
            kills += 1;
            if kills > KILLS_WITH_LEASES {
                end_leases(&installation);
            }
            let position = committed(&installation);
            assert!(
                position >= reached,
                "{position} after {reached}, seed {seed}"
            );
            kills_with_progress += usize::from(position > reached);
            reached = position;
        }
        installation.succeed(&["run", "--until-caught-up"]);
        installation.assert_rows_are_right(&format!("after {kills} kills, seed {seed}"));
    }
    println!("{kills_with_progress} of {kills} kills came after a commit");
    assert!(
        kills_with_progress >= KILLS / 5,
        "most kills came too early to mean anything"
    );
}

/// Lets the leases of the dead host run out at once.
fn end_leases(installation: &Installation) {
    let read_models = &installation.read_models;
    if read_models.system() == System::Postgres && read_models.has_table("leases") {
        let _ = read_models.rows("UPDATE gnomon.leases SET expires_at = clock_timestamp()");
    }
}

/// The positions of all checkpoints, added up.
fn committed(installation: &Installation) -> i64 {
    let read_models = &installation.read_models;
    let (name, table) = match read_models.system() {
        System::Sqlite => ("gnomon_checkpoints", "gnomon_checkpoints"),
        System::Postgres => ("checkpoints", "gnomon.checkpoints"),
    };
    if !read_models.has_table(name) {
        return 0;
    }
    let sum = format!("SELECT CAST(coalesce(sum(position), 0) AS BIGINT) FROM {table}");
    read_models.number(&sum)
}

fn wait_for_a_commit(installation: &Installation, after: i64) {
    const LIMIT: Duration = Duration::from_secs(120);
    let started = Instant::now();
    while committed(installation) <= after {
        assert!(
            started.elapsed() < LIMIT,
            "no commit after {after} within {LIMIT:?}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// How far the slowest projection has got.
fn slowest_position(installation: &Installation) -> i64 {
    let statuses = installation.json_lines(&["status"]);
    if statuses.len() < READ_MODELS.len() {
        return 0;
    }
    statuses
        .iter()
        .map(|status| status["position"].as_i64().unwrap())
        .min()
        .unwrap_or(0)
}
