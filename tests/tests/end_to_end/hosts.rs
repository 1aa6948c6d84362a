//! Several hosts on one database: exactly one works on each generation, and
//! another one takes over when it is gone.

use std::time::{Duration, Instant};

use gnomon_tests::harness::{Commits, Feed, Host, Installation, READ_MODELS, System};

/// With the usual lease it takes five seconds on an idle machine; a test says
/// how long it took, and a busy one may take its time.
const FAIL_OVER_LIMIT: Duration = Duration::from_secs(60);
const NAMES: [&str; 3] = ["host-a", "host-b", "host-c"];

fn start(installation: &Installation, name: &str) -> Host {
    let url = format!("{}?application_name={name}", installation.read_models.url());
    installation.start_host_with(&url, &url)
}

/// Waits until a condition holds.
fn wait_until(what: &str, limit: Duration, is_so: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

/// The hosts that hold a lease, as the processes that `status` names.
fn holders(installation: &Installation) -> Vec<String> {
    let mut holders: Vec<String> = installation
        .json_lines(&["status"])
        .iter()
        .filter_map(|status| Some(status["host"].as_str()?.to_owned()))
        .collect();
    holders.sort();
    holders
}

#[test]
fn of_three_hosts_that_start_together_one_works_on_each_generation() {
    let installation = Installation::in_one_database(System::Postgres)
        .with_examples()
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 20);
    let commits = Commits::record(&installation);
    let feed = Feed::start(&installation.events, 11, Duration::from_millis(10));
    // The database is empty, so they also deploy together.
    let mut hosts: Vec<Host> = NAMES
        .iter()
        .map(|name| start(&installation, name))
        .collect();
    // A build folds many batches into one commit, so events alone say little.
    wait_until("commits", FAIL_OVER_LIMIT, || {
        installation.read_models.number(
            "SELECT count(*) FROM (SELECT 1 FROM public.commits GROUP BY generation
             HAVING count(*) > 10) AS busy",
        ) == READ_MODELS.len() as i64
            && holders(&installation).len() == READ_MODELS.len()
    });
    let generations = installation
        .read_models
        .number("SELECT count(*) FROM gnomon.generations");
    assert_eq!(
        generations,
        READ_MODELS.len() as i64,
        "deployed more than once"
    );
    assert!(hosts.iter_mut().all(Host::is_running));
    let _ = feed.end();
    for read_model in READ_MODELS {
        installation.wait_for(read_model.projection, installation.head());
    }
    // Each of them has one, and while one had it nobody else committed.
    let workers = installation.read_models.rows(
        "SELECT generation, count(*) FROM (
             SELECT generation, host, lag(host) OVER own AS last, epoch,
                 lag(epoch) OVER own AS before
             FROM public.commits WINDOW own AS (PARTITION BY generation ORDER BY number)) AS seen
         WHERE last IS NOT NULL AND (epoch < before OR epoch = before AND host <> last)
         GROUP BY generation",
    );
    assert!(workers.is_empty(), "{workers:?}");
    let mut working = holders(&installation);
    working.dedup();
    assert_eq!(working.len(), NAMES.len(), "{working:?}");
    let _ = commits.check("with three hosts");
    installation.assert_rows_are_right("with three hosts");
    let waiting = hosts.iter().map(Host::log).collect::<String>();
    assert!(!waiting.contains("panicked"), "{waiting}");
}

#[test]
fn after_a_sigkill_another_host_goes_on() {
    let installation = Installation::in_one_database(System::Postgres)
        .with_examples()
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 20);
    let commits = Commits::record(&installation);
    let first = start(&installation, "host-a");
    let feed = Feed::start(&installation.events, 12, Duration::from_millis(10));
    wait_until("host-a commits", FAIL_OVER_LIMIT, || {
        commits.of("host-a") > 20
    });
    let _others = [
        start(&installation, "host-b"),
        start(&installation, "host-c"),
    ];
    wait_until("each has a generation", FAIL_OVER_LIMIT, || {
        let mut holders = holders(&installation);
        holders.dedup();
        holders.len() == NAMES.len()
    });
    let _ = first.kill();
    let killed = Instant::now();
    for read_model in READ_MODELS {
        installation.wait_for(read_model.projection, installation.head());
    }
    println!("fail-over after a SIGKILL: {:.1?}", killed.elapsed());
    let _ = feed.end();
    for read_model in READ_MODELS {
        installation.wait_for(read_model.projection, installation.head());
    }
    let _ = commits.check("after a fail-over");
    installation.assert_rows_are_right("after a fail-over");
}

#[test]
fn a_second_host_of_a_sqlite_file_is_refused_with_a_sentence() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_examples();
    installation.append_orders(300, 14);
    let mut host = installation.start_host();
    installation.wait_for("order_summary", 300);
    installation.fail(
        &["run"],
        &[
            "has a host already",
            "a SQLite file takes one",
            "PostgreSQL",
        ],
    );
    assert!(host.is_running());
    // A host that was killed keeps nobody waiting.
    let _ = host.kill();
    installation.succeed(&["run", "--until-caught-up"]);
    installation.assert_rows_are_right("after a second host was refused");
}
