//! Hosts on one database share the work, whoever joins, leaves or dies.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{
    Commits, Feed, Host, Installation, ORDER_SUMMARY, System, copy_of_projection, example,
};

/// It takes seconds on an idle machine; a test says how long it took.
const LIMIT: Duration = Duration::from_secs(120);
const PROJECTIONS: usize = 10;

/// `order_summary`, and others that are the same but for their name.
fn names() -> Vec<String> {
    let copies = (1..PROJECTIONS).map(|number| format!("order_summar{number}"));
    std::iter::once(ORDER_SUMMARY.projection.to_owned())
        .chain(copies)
        .collect()
}

fn installation() -> Installation {
    let module = example("order-summary");
    let mut installation = Installation::in_one_database(System::Postgres)
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 20);
    for name in names() {
        let copy = copy_of_projection(&module, ORDER_SUMMARY.projection, &name);
        installation = installation.with_module(&format!("{name}.wasm"), &copy);
    }
    installation.read_models.make_registry();
    installation
}

fn start(installation: &Installation, name: &str) -> Host {
    let url = format!("{}?application_name={name}", installation.read_models.url());
    installation.start_host_with(&url, &url)
}

/// How many generations each host runs.
fn loads(installation: &Installation) -> BTreeMap<String, usize> {
    let mut loads = BTreeMap::new();
    let leases = installation
        .read_models
        .rows("SELECT host FROM gnomon.leases WHERE expires_at > clock_timestamp()");
    for host in leases.into_iter().flatten().flatten() {
        *loads.entry(host).or_default() += 1;
    }
    loads
}

/// Waits until so many hosts run so many generations each.
fn wait_for_loads(installation: &Installation, what: &str, wanted: &[usize]) -> Duration {
    let started = Instant::now();
    loop {
        let loads = loads(installation);
        let mut counts: Vec<usize> = loads.values().copied().collect();
        counts.sort_unstable();
        if counts == wanted {
            println!("{what}: {:.1?}", started.elapsed());
            return started.elapsed();
        }
        assert!(started.elapsed() < LIMIT, "{what}: {loads:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn wait_for_all(installation: &Installation) {
    for name in names() {
        installation.wait_for(&name, installation.head());
    }
}

/// All have the rows that the events ask for.
fn assert_right(installation: &Installation, when: &str) {
    ORDER_SUMMARY.assert_right(&installation.events, &installation.read_models, when);
    let sorted = |name: &str| {
        let mut rows = installation.rows_of(name, ORDER_SUMMARY.table);
        rows.sort();
        rows
    };
    let right = sorted(ORDER_SUMMARY.projection);
    for name in names() {
        assert_eq!(sorted(&name), right, "{name}, {when}");
    }
}

#[test]
fn ten_projections_are_shared_by_hosts_that_join_leave_and_die() {
    let installation = installation();
    let commits = Commits::record(&installation);
    let feed = Feed::start(&installation.events, 17, Duration::from_millis(50));
    let first = start(&installation, "host-a");
    wait_for_loads(&installation, "one host has all", &[PROJECTIONS]);
    wait_for_all(&installation);
    let second = start(&installation, "host-b");
    wait_for_loads(&installation, "a second has half", &[5, 5]);
    let third = start(&installation, "host-c");
    wait_for_loads(&installation, "a third has its share", &[3, 3, 4]);
    // And then nothing moves any more.
    let epochs = || {
        let epochs = installation
            .read_models
            .rows("SELECT generation, epoch FROM gnomon.leases ORDER BY generation");
        (installation.head(), epochs)
    };
    let (head, level) = epochs();
    while installation.head() < head + 200 {
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_for_all(&installation);
    assert_eq!(epochs().1, level);
    // Who is told to go gives everything back at once.
    let (ended, _) = third.terminate(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    wait_for_loads(&installation, "after a SIGTERM", &[5, 5]);
    let _ = second.kill();
    wait_for_loads(&installation, "after a SIGKILL", &[PROJECTIONS]);
    let _ = feed.end();
    wait_for_all(&installation);
    for host in ["host-a", "host-b", "host-c"] {
        assert!(commits.of(host) > 0, "{host} has done nothing");
    }
    let _ = commits.check("after all that");
    assert_right(&installation, "after all that");
    let log = first.log();
    assert!(
        !log.contains("panicked") && !log.contains("was lost"),
        "{log}"
    );
}

#[test]
fn a_candidate_goes_to_the_host_that_has_less() {
    let installation = installation();
    installation.append_orders(200, 18);
    let _first = start(&installation, "host-a");
    let _second = start(&installation, "host-b");
    wait_for_loads(&installation, "ten on two hosts", &[5, 5]);
    // Before they are live, a rebuild takes the place of what is being built.
    wait_for_all(&installation);
    for name in &names()[..2] {
        installation.succeed(&["rebuild", name, "--hold"]);
    }
    wait_for_loads(&installation, "and two that are built", &[6, 6]);
    wait_for_all(&installation);
    assert_right(&installation, "beside candidates");
}

#[test]
fn commands_that_end_by_themselves_share_the_work_too() {
    let installation = installation();
    installation.append_orders(400, 19);
    let host = start(&installation, "host-a");
    wait_for_loads(&installation, "one host has all", &[PROJECTIONS]);
    installation.append_orders(600, 19);
    // What the other one runs counts, wherever it is done.
    installation.succeed(&["run", "--until-caught-up"]);
    wait_for_loads(&installation, "it gave all back", &[PROJECTIONS]);
    wait_for_all(&installation);
    assert_right(&installation, "after a run beside a host");
    let (ended, _) = host.terminate(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
