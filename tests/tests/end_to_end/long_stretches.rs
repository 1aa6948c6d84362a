//! A log in which a projection wants nothing for a long stretch: its checkpoint
//! moves all the same, so that neither a crash nor a stop begins the stretch anew.

use std::time::{Duration, Instant};

use gnomon_tests::harness::{Installation, System};

const LIMIT: Duration = Duration::from_secs(120);
const NAME: &str = "picky";
/// Events that nobody wants, so far apart that each takes a read of its own.
const EVENTS: u64 = 30_000;
const APART: u64 = 300_000;

fn installation() -> Installation {
    let installation = Installation::new(System::Postgres, System::Postgres).with_guest(NAME);
    installation.events.execute(&format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version,
                             global_position)
         SELECT gen_random_uuid(), 'Other-' || n, 'Other', 'Other', '{{}}', '{{}}', 1, n::bigint * {APART}
         FROM generate_series(1, {EVENTS}) AS n;
         SELECT setval('events_global_position_seq', {EVENTS}::bigint * {APART})"
    ));
    installation
}

fn poll<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < LIMIT, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// What is committed; nothing before the projection is deployed.
fn checkpoint(installation: &Installation) -> i64 {
    let schema = "SELECT count(*) FROM pg_tables WHERE schemaname = 'gnomon'
                      AND tablename = 'checkpoints'";
    if installation.read_models.number(schema) == 0 {
        return 0;
    }
    let committed = "SELECT coalesce(max(position), 0)::bigint FROM gnomon.checkpoints";
    installation.read_models.number(committed)
}

/// Behind which position the host reads now.
fn reads_behind(installation: &Installation) -> Option<i64> {
    let reading =
        "SELECT coalesce(max(substring(query FROM 'global_position\" > ([0-9]+)')::bigint), 0)
                   FROM pg_stat_activity
                   WHERE datname = current_database() AND query LIKE 'COPY (SELECT %'";
    Some(installation.events.number(reading)).filter(|behind| *behind > 0)
}

#[test]
fn what_was_passed_is_committed_now_and_then_and_at_the_end() {
    let installation = installation();
    let head = installation.head();
    // A crash costs no more than a part of the stretch.
    let host = installation.start_host();
    let committed = poll("nothing is committed on the way", || {
        Some(checkpoint(&installation)).filter(|committed| *committed > 0)
    });
    let _ = host.kill();
    assert!(committed < head, "nothing was committed before the end");
    // A stop costs nothing.
    let host = installation.start_host();
    let (before, reached) = poll("it does not go on", || {
        let before = checkpoint(&installation);
        let reached = reads_behind(&installation)?;
        // Far more than is read ahead.
        (reached > before + 100 * APART as i64).then_some((before, reached))
    });
    let (ended, _) = host.terminate(LIMIT);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let after = checkpoint(&installation);
    assert!(
        after > before + 50 * APART as i64,
        "stopped when it read behind {reached}, it begins again behind {after}; {before} was \
         committed before"
    );
}
