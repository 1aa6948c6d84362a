//! Exactly once: a host that is killed at any moment loses no event and
//! applies none twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{Database, Installation, READ_MODELS, System, shared_log};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt as _, SeedableRng as _};

const EVENTS: usize = 50_000;
const KILLS: usize = 50;
/// Small enough that a run takes many batches, so that many moments are in the
/// middle of something.
const BATCH_EVENTS: usize = 200;
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
            .with_variable("GNOMON_LIMITS_BATCH_EVENTS", BATCH_EVENTS);
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
    const LIMIT: Duration = Duration::from_secs(30);
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
