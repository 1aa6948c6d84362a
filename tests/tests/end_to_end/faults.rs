//! Exactly once, whatever fails: hosts are killed, frozen and cut off from the
//! database at random and at the named points of a commit, while events keep
//! coming. Afterwards the rows are those of the `GROUP BY`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{
    Chance, Commits, Database, Feed, Host, Installation, Point, Proxy, READ_MODELS, System, rounds,
    signal,
};

/// Small enough that there is nearly always a commit under way.
const BATCH_EVENTS: usize = 10;
/// A host that was killed is waited for that long by the next one.
const LEASE_TIME: &str = "500ms";
/// Hosts that share a PostgreSQL database.
const HOSTS: usize = 2;
/// How long a named point is waited for. A host that waits for the lease of the
/// other one does not come there.
const POINT_TIME_LIMIT: Duration = Duration::from_millis(1_500);
const POINTS: [Point; 3] = [
    Point::BeforeCommit,
    Point::BeforeAcknowledgement,
    Point::AfterAcknowledgement,
];

/// What was done to the hosts.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    kills_at_points: usize,
    cuts: usize,
    cuts_at_points: usize,
    terminated_sessions: i64,
    stalls: usize,
    delays: usize,
    refusals: usize,
    freezes: usize,
    locks: usize,
    /// Hosts that were struck before they had begun, and ended with an error.
    lost_starts: usize,
}

#[test]
fn random_faults_leave_the_rows_of_the_group_by_on_postgres() {
    let mut chance = Chance::new();
    let installation = Installation::in_one_database(System::Postgres)
        .with_examples()
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", BATCH_EVENTS)
        .with_variable("GNOMON_LIMITS_LEASE_TIME", LEASE_TIME);
    let commits = Commits::record(&installation);
    let feed = Feed::start(&installation.events, chance.seed, Duration::from_millis(20));
    let mut hosts: Vec<Behind> = (0..HOSTS)
        .map(|number| Behind::start(&installation, &format!("host-{number}")))
        .collect();
    let mut tally = Tally::default();
    let started = Instant::now();
    let rounds = rounds(200);
    for _ in 0..rounds {
        let struck = usize::try_from(chance.number(0..HOSTS as u64)).unwrap();
        strike(&installation, &mut hosts[struck], &mut chance, &mut tally);
        std::thread::sleep(chance.time(0..150));
    }
    let took = started.elapsed();
    for behind in &mut hosts {
        if !behind.host.is_running() {
            behind.restart(&installation, &mut tally);
        }
    }
    let fed = feed.end();
    let when = format!("after {rounds} faults, seed {}", chance.seed);
    for read_model in READ_MODELS {
        installation.wait_for(read_model.projection, installation.head());
    }
    installation.assert_rows_are_right(&when);
    let commits = commits.check(&when);
    let head = installation.head();
    println!("PostgreSQL, {HOSTS} hosts, {rounds} rounds in {took:.0?}: {tally:?}, {fed:?}");
    println!("{commits} commits; {head} positions");
    assert!(fed.events > 0 && commits > 100, "nothing was under way");
}

/// A host that reaches its database through a proxy of its own.
struct Behind {
    proxy: Proxy,
    url: String,
    host: Host,
}

impl Behind {
    fn start(installation: &Installation, name: &str) -> Self {
        let direct = installation.read_models.url();
        let proxy = Proxy::before(&direct);
        let url = format!("{}?application_name={name}", proxy.url(&direct));
        let host = installation.start_host_with(&url, &url);
        Self { proxy, url, host }
    }

    /// Puts a new host in the place of one that is dead, or about to be.
    fn restart(&mut self, installation: &Installation, tally: &mut Tally) {
        let new = installation.start_host_with(&self.url, &self.url);
        let dead = std::mem::replace(&mut self.host, new).kill();
        match dead.code {
            None => {}
            // It could not even start.
            Some(1) if !dead.stderr.contains("trying again in") => tally.lost_starts += 1,
            _ => panic!("it had ended by itself: {dead:?}"),
        }
    }
}

fn strike(
    installation: &Installation,
    behind: &mut Behind,
    chance: &mut Chance,
    tally: &mut Tally,
) {
    if !behind.host.is_running() {
        behind.restart(installation, tally);
    }
    let proxy = &behind.proxy;
    match chance.number(0..14) {
        0 | 1 => {
            tally.kills += 1;
            behind.restart(installation, tally);
        }
        2 => {
            tally.cuts += 1;
            proxy.cut();
        }
        3 => {
            tally.terminated_sessions += installation.read_models.number(
                "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'host-%'
                 ORDER BY random() LIMIT 3) AS terminated",
            );
        }
        4 => {
            tally.stalls += 1;
            proxy.stall(true);
            std::thread::sleep(chance.time(10..900));
            proxy.stall(false);
        }
        5 => {
            tally.delays += 1;
            proxy.delay(chance.time(1..20));
            std::thread::sleep(chance.time(10..300));
            proxy.delay(Duration::ZERO);
        }
        6 => {
            tally.refusals += 1;
            proxy.refuse(true);
            std::thread::sleep(chance.time(10..500));
            proxy.refuse(false);
        }
        7 => {
            // Longer than the lease, sometimes.
            tally.freezes += 1;
            behind.host.freeze();
            std::thread::sleep(chance.time(10..1_200));
            behind.host.thaw();
        }
        number @ 8..11 => {
            let point = POINTS[usize::try_from(number - 8).unwrap()];
            proxy.arm(point, || {});
            tally.cuts_at_points += usize::from(has_struck(proxy));
        }
        number => {
            let point = POINTS[usize::try_from(number - 11).unwrap()];
            let process = behind.host.process();
            proxy.arm(point, move || signal("KILL", process));
            if has_struck(proxy) {
                tally.kills_at_points += 1;
                behind.restart(installation, tally);
            }
        }
    }
}

/// Waits for the named point.
fn has_struck(proxy: &Proxy) -> bool {
    let (before, armed) = (proxy.strikes(), Instant::now());
    while armed.elapsed() < POINT_TIME_LIMIT {
        if proxy.strikes() > before {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    !proxy.disarm()
}

#[test]
fn random_faults_leave_the_rows_of_the_group_by_on_sqlite() {
    let mut chance = Chance::new();
    let installation = Installation::new(System::Sqlite, System::Sqlite)
        .with_examples()
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", BATCH_EVENTS);
    let feed = Feed::start(&installation.events, chance.seed, Duration::from_millis(5));
    let mut host = installation.start_host();
    let mut tally = Tally::default();
    let mut locks = Vec::new();
    let started = Instant::now();
    let rounds = rounds(200);
    for _ in 0..rounds {
        match chance.number(0..4) {
            0 | 1 => {
                tally.kills += 1;
                // A file has one host, so this one must be gone first.
                let dead = host.kill();
                assert_eq!(dead.code, None, "it had ended by itself: {dead:?}");
                host = installation.start_host();
            }
            2 => {
                tally.freezes += 1;
                host.freeze();
                std::thread::sleep(chance.time(1..200));
                host.thaw();
            }
            _ => {
                tally.locks += 1;
                let database = if chance.number(0..2) == 0 {
                    &installation.events
                } else {
                    &installation.read_models
                };
                locks.push(lock(database, chance.time(1..400)));
            }
        }
        std::thread::sleep(chance.time(0..250));
    }
    let took = started.elapsed();
    for lock in locks {
        lock.join().unwrap();
    }
    let fed = feed.end();
    for read_model in READ_MODELS {
        installation.wait_for(read_model.projection, installation.head());
    }
    installation.assert_rows_are_right(&format!("after {rounds} faults, seed {}", chance.seed));
    let head = installation.head();
    println!("SQLite, {rounds} rounds in {took:.0?}: {tally:?}, {fed:?}; {head} positions");
    assert!(fed.events > 0, "nothing was under way");
}

/// Another program writes to a SQLite file, for that long.
fn lock(database: &Arc<Database>, time: Duration) -> std::thread::JoinHandle<()> {
    let database = Arc::clone(database);
    std::thread::spawn(move || database.hold_write_lock(time))
}
