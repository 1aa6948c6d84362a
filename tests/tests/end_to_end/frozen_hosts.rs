//! A host that was frozen beyond its lease wakes up with a batch in its hands,
//! and its own clock has not told it yet. Only the compare-and-set of the
//! commit can stop it.

use std::time::{Duration, Instant};

use gnomon_tests::harness::{
    Commits, Host, Installation, ORDER_SUMMARY, Point, Proxy, System, signal,
};

const PROJECTION: &str = ORDER_SUMMARY.projection;
/// A host without an answer knows after a third of this that its lease has run
/// out: the time in which it can try to commit.
const LEASE_TIME: &str = "6s";
const LIMIT: Duration = Duration::from_secs(90);

/// A host that stopped in the moment in which it began to commit.
struct Frozen {
    host: Host,
    proxy: Proxy,
}

impl Frozen {
    /// Starts `host-a`, which commits what is there, and freezes it at the
    /// beginning of its next commit. Its server has heard nothing of it.
    fn new(installation: &Installation) -> Self {
        let direct = installation.read_models.url();
        let proxy = Proxy::before(&direct);
        let url = format!("{}?application_name=host-a", proxy.url(&direct));
        let host = installation.start_host_with(&url, &url);
        append(installation, 1);
        installation.wait_for(PROJECTION, installation.head());
        Self { host, proxy }
    }

    fn freeze(&self, installation: &Installation) {
        let process = self.host.process();
        self.proxy
            .arm(Point::Begin, move || signal("STOP", process));
        append(installation, 2);
        wait_until("the first host is frozen", || self.proxy.strikes() > 0);
    }

    /// Wakes it up. The connection of its commit works, the others do not yet:
    /// it cannot hear that it has lost its lease. Waits until it has tried.
    fn try_to_commit(&self) {
        self.proxy.stall_all_but_struck();
        self.host.thaw();
        wait_until("the woken host gives up", || {
            let log = self.host.log();
            log.contains("the lease was lost") || log.contains("the lease ran out")
        });
        self.proxy.stall(false);
    }
}

fn begin() -> Installation {
    Installation::in_one_database(System::Postgres)
        .with_example("order-summary")
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 500)
        .with_variable("GNOMON_LIMITS_LEASE_TIME", LEASE_TIME)
}

fn append(installation: &Installation, seed: u64) {
    installation.write_orders("orders.ndjson", 400, seed);
    installation.succeed(&["append", "--file", "orders.ndjson"]);
}

fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn epoch(installation: &Installation) -> i64 {
    installation
        .read_models
        .number("SELECT max(epoch) FROM gnomon.checkpoints")
}

/// The woken host has changed nothing, waits for the lease, and works when it
/// is its turn.
fn check(
    installation: &Installation,
    commits: &Commits<'_>,
    frozen: Frozen,
    second: Host,
    before: i64,
) {
    append(installation, 4);
    installation.wait_for(PROJECTION, installation.head());
    assert_eq!(
        commits.of("host-a"),
        before,
        "the woken host committed what it had in its hands"
    );
    let _ = commits.check("after a freeze");
    let assert_right = |when| {
        ORDER_SUMMARY.assert_right(&installation.events, &installation.read_models, when);
    };
    assert_right("after a freeze");
    let Frozen {
        mut host,
        proxy: _proxy,
    } = frozen;
    assert!(host.is_running(), "{}", host.log());
    let _ = second.kill();
    append(installation, 5);
    installation.wait_for(PROJECTION, installation.head());
    assert!(commits.of("host-a") > before);
    let _ = commits.check("after the woken host took over");
    assert_right("after the woken host took over");
    assert!(!host.log().contains("panicked"), "{}", host.log());
}

#[test]
fn a_host_that_wakes_up_behind_another_ones_commits_cannot_commit() {
    let installation = begin();
    let commits = Commits::record(&installation);
    let frozen = Frozen::new(&installation);
    frozen.freeze(&installation);
    let before = commits.of("host-a");
    let url = format!("{}?application_name=host-b", installation.read_models.url());
    let second = installation.start_host_with(&url, &url);
    // It applies what the frozen host has in its hands, and more.
    installation.wait_for(PROJECTION, installation.head());
    append(&installation, 3);
    installation.wait_for(PROJECTION, installation.head());
    assert!(commits.of("host-b") > 1);
    frozen.try_to_commit();
    check(&installation, &commits, frozen, second, before);
}

#[test]
fn a_host_that_wakes_up_behind_a_new_owner_that_has_not_committed_cannot_commit() {
    let installation = begin();
    let commits = Commits::record(&installation);
    let frozen = Frozen::new(&installation);
    let direct = installation.read_models.url();
    let events = Proxy::before(&direct);
    let second = installation.start_host_with(
        &format!("{}?application_name=events-b", events.url(&direct)),
        &format!("{direct}?application_name=host-b"),
    );
    wait_until("the second host waits for the lease", || {
        installation.read_models.number(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = 'host-b' AND query LIKE '%gnomon.leases%'",
        ) > 0
    });
    // It gets the lease and no events, so the checkpoint stays where it is.
    events.stall(true);
    frozen.freeze(&installation);
    let (before, old) = (commits.of("host-a"), epoch(&installation));
    wait_until("the second host has the lease", || {
        epoch(&installation) > old
    });
    frozen.try_to_commit();
    assert_eq!(commits.of("host-b"), 0);
    assert_eq!(
        commits.of("host-a"),
        before,
        "it committed under an old epoch"
    );
    events.stall(false);
    check(&installation, &commits, frozen, second, before);
}
