//! What fails outside: it is retried for as long as it lasts, `status` says
//! so with the cause, and it is over by itself soon after its cause has ended.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{Database, Feed, Host, Installation, Proxy, Server, Stop, System};
use serde_json::Value;

/// On an idle machine all of it is over within five seconds, and a test says
/// how long it took; a busy one may take its time.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
const NOTICE_LIMIT: Duration = Duration::from_secs(60);
pub(super) const PROJECTION: &str = "order_summary";

/// An installation on one PostgreSQL database, with a host that has begun.
pub(super) fn begun(installation: Installation) -> (Installation, Host) {
    let installation = installation.with_examples();
    installation.append_orders(200, 21);
    let host = installation.start_host();
    installation.wait_for(PROJECTION, 200);
    (installation, host)
}

/// Waits until `status` says that the projection retries, and why.
pub(super) fn retries(installation: &Installation, cause: &str) {
    let said = installation.wait_for_status(PROJECTION, NOTICE_LIMIT, |status| {
        status["state"] == "retrying"
    });
    let sentence = said["cause"].as_str().unwrap_or_default();
    assert!(sentence.contains(cause), "`{cause}` is not in: {said}");
}

/// A failure that lasts is one state, not a flicker of two.
pub(super) fn goes_on_retrying(installation: &Installation, time: Duration) {
    let started = Instant::now();
    while started.elapsed() < time {
        let status = installation.status(PROJECTION);
        assert_eq!(status["state"], "retrying", "{status}");
    }
}

/// Waits until the projection has caught up and runs.
pub(super) fn recovers(installation: &Installation, after: &str) {
    let ended = Instant::now();
    let head = installation.head();
    let caught_up =
        |status: &Value| status["position"].as_i64() >= Some(head) && status["state"] == "running";
    installation.wait_for_status(PROJECTION, RECOVERY_LIMIT, caught_up);
    println!("{after}: over {:.1?} after its end", ended.elapsed());
    for read_model in ["customer_value", "daily_revenue"] {
        installation.wait_for(read_model, head);
    }
    installation.assert_rows_are_right(&format!("after {after}"));
}

pub(super) fn in_one_postgres_database() -> Installation {
    Installation::in_one_database(System::Postgres)
}

#[test]
fn a_locked_table_is_waited_for() {
    let (installation, _host) = begun(in_one_postgres_database());
    installation.read_models.execute(&format!(
        "BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE",
        physical_table(&installation.read_models)
    ));
    more_orders(&installation, 22);
    retries(&installation, "lock timeout");
    goes_on_retrying(&installation, Duration::from_secs(3));
    installation.read_models.execute("ROLLBACK");
    recovers(&installation, "a lock timeout");
}

#[test]
fn what_the_server_cannot_do_now_is_retried() {
    let (installation, _host) = begun(in_one_postgres_database());
    let table = physical_table(&installation.read_models);
    installation.read_models.execute(&format!(
        "CREATE TABLE public.failure (state text);
         CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$
         DECLARE failure text := (SELECT state FROM public.failure);
         BEGIN
             IF failure IS NOT NULL THEN
                 RAISE EXCEPTION 'a test wants failure %', failure USING ERRCODE = failure;
             END IF;
             RETURN new;
         END $$;
         CREATE TRIGGER fail BEFORE INSERT OR UPDATE ON {table}
         FOR EACH ROW EXECUTE FUNCTION public.fail()"
    ));
    // Serialization failure, deadlock, disk full, out of memory, shutting
    // down, I/O error.
    for (seed, state) in ["40001", "40P01", "53100", "53200", "57P01", "58030"]
        .into_iter()
        .enumerate()
    {
        installation
            .read_models
            .execute(&format!("INSERT INTO public.failure VALUES ('{state}')"));
        more_orders(&installation, 30 + seed as u64);
        retries(&installation, state);
        installation
            .read_models
            .execute("DELETE FROM public.failure");
        recovers(&installation, state);
    }
}

#[test]
fn a_server_that_is_stopped_and_started_is_waited_for() {
    let server = Server::start_new();
    let database = Arc::new(Database::of_server(&server));
    let (installation, mut host) = begun(Installation::on(Arc::clone(&database), database));
    for (seed, how) in [(23, Stop::Fast), (24, Stop::Immediate)] {
        let feed = Feed::start(&installation.events, seed, Duration::from_millis(5));
        installation.wait_for(PROJECTION, installation.head() + 50);
        server.stop(how);
        // Long enough for the longest wait between two attempts.
        std::thread::sleep(Duration::from_secs(8));
        assert!(host.is_running(), "{}", host.log());
        assert!(host.log().contains("connecting again"), "{}", host.log());
        server.start();
        installation.events.reconnect();
        let _ = feed.end();
        recovers(&installation, &format!("a {how:?} restart of the server"));
    }
}

#[test]
fn an_event_store_out_of_reach_is_shown_and_waited_for() {
    let installation = Installation::new(System::Postgres, System::Postgres).with_examples();
    installation.append_orders(200, 25);
    let direct = installation.events.url();
    let proxy = Proxy::before(&direct);
    let _host = installation.start_host_with(&proxy.url(&direct), &installation.read_models.url());
    installation.wait_for(PROJECTION, 200);
    proxy.refuse(true);
    retries(&installation, "cannot watch the events");
    more_orders(&installation, 26);
    goes_on_retrying(&installation, Duration::from_secs(6));
    proxy.refuse(false);
    recovers(&installation, "a lost event store");
}

#[test]
fn connections_that_stall_and_go_on_are_waited_for() {
    let (installation, _host, proxy) = behind_a_proxy();
    proxy.stall(true);
    more_orders(&installation, 27);
    // Beyond the lease.
    std::thread::sleep(Duration::from_secs(8));
    proxy.stall(false);
    recovers(&installation, "a stall");
}

#[test]
fn a_sqlite_file_that_another_program_writes_to_is_waited_for() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_examples();
    installation.append_orders(200, 28);
    let _host = installation.start_host();
    installation.wait_for(PROJECTION, 200);
    let read_models = Arc::clone(&installation.read_models);
    // Longer than a statement waits for its turn, and than a lease lasts.
    let writer = std::thread::spawn(move || {
        read_models.hold_write_lock(Duration::from_secs(12));
    });
    more_orders(&installation, 29);
    writer.join().unwrap();
    recovers(&installation, "a lock on the file");
}

pub(super) fn behind_a_proxy() -> (Installation, Host, Proxy) {
    let installation = in_one_postgres_database().with_examples();
    installation.append_orders(200, 21);
    let direct = installation.events.url();
    let proxy = Proxy::before(&direct);
    let url = proxy.url(&direct);
    let host = installation.start_host_with(&url, &url);
    installation.wait_for(PROJECTION, 200);
    (installation, host, proxy)
}

/// Appends more orders than were there.
pub(super) fn more_orders(installation: &Installation, seed: u64) {
    append_orders(installation, seed, 2_000);
}

pub(super) fn append_orders(installation: &Installation, seed: u64, events: usize) {
    installation.write_orders("more.ndjson", events, seed);
    installation.succeed(&["append", "--file", "more.ndjson"]);
    fs::remove_file(installation.path("more.ndjson")).unwrap();
}

/// The table in which the rows of `order_summary` are.
pub(super) fn physical_table(read_models: &Database) -> String {
    let schema = read_models
        .rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'gnomon\\_order\\_summary\\_%'");
    format!("{}.order_summaries", schema[0][0].as_deref().unwrap())
}
