//! A host whose databases are not there yet when it starts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{Database, Host, Installation, ORDER_SUMMARY, Server, Stop, System};

use super::outages::append_orders;

const LIMIT: Duration = Duration::from_secs(90);
const PROJECTION: &str = ORDER_SUMMARY.projection;

fn says(host: &Host, sentence: &str) {
    let started = Instant::now();
    while !host.log().contains(sentence) {
        assert!(started.elapsed() < LIMIT, "not said: {}", host.log());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_database_that_is_not_there_at_the_start_is_waited_for() {
    let server = Server::start_new();
    let there = || Arc::new(Database::new(System::Sqlite));
    let missing = Arc::new(Database::of_server(&server));
    for (events, read_models) in [
        (Arc::clone(&missing), there()),
        (there(), Arc::clone(&missing)),
    ] {
        let installation = Installation::on(events, read_models).with_example("order-summary");
        installation.append_orders(200, 31);
        server.stop(Stop::Fast);
        let mut host = installation.start_host();
        says(&host, "waiting for the database");
        assert!(host.is_running(), "{}", host.log());
        server.start();
        missing.reconnect();
        installation.wait_for(PROJECTION, 200);
        ORDER_SUMMARY.assert_right(
            &installation.events,
            &installation.read_models,
            "after a late start of the server",
        );
    }
}

#[test]
fn a_host_that_waits_for_a_database_ends_when_it_is_told_to() {
    let installation = Installation::new(System::Sqlite, System::Sqlite)
        .with_example("order-summary")
        // Nothing listens on port 1.
        .with_variable("GNOMON_READ_MODELS_URL", "postgres://reader@127.0.0.1:1/x");
    let host = installation.start_host();
    says(&host, "waiting for the database");
    let (ended, _) = host.terminate(LIMIT);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn what_will_not_come_by_itself_is_not_waited_for() {
    let database = Database::new(System::Postgres);
    let missing = format!("{}_missing", database.url());
    let wrong_user = database.url().replace("postgres:", "nobody_at_all:");
    let wrong_user = wrong_user.replacen("nobody_at_all:", "postgres:", 1);
    for key in ["GNOMON_EVENTS_URL", "GNOMON_READ_MODELS_URL"] {
        for (url, said) in [(&missing, "does not exist"), (&wrong_user, "nobody_at_all")] {
            let installation = Installation::new(System::Sqlite, System::Sqlite)
                .with_example("order-summary")
                .with_variable(key, url);
            installation.fail(&["run"], &[said]);
        }
    }
    database.execute("CREATE TABLE events (id int)");
    let installation = Installation::new(System::Sqlite, System::Sqlite)
        .with_example("order-summary")
        .with_variable("GNOMON_EVENTS_URL", database.url());
    installation.fail(&["run"], &["events"]);
}

#[test]
fn a_file_that_another_program_has_locked_at_the_start_is_waited_for() {
    let installation =
        Installation::new(System::Sqlite, System::Sqlite).with_example("order-summary");
    installation.append_orders(200, 32);
    installation.succeed(&["run", "--until-caught-up"]);
    append_orders(&installation, 33, 20);
    let lock = installation.read_models.lock_for_writing();
    let mut host = installation.start_host();
    says(&host, "waiting for the database, trying again");
    assert!(
        host.log().contains("is writing to it"),
        "the process is not named: {}",
        host.log()
    );
    let status = installation.status(PROJECTION);
    assert_eq!(status["state"], "retrying", "{status}");
    assert!(status["host"].is_string(), "{status}");
    let cause = status["cause"].as_str().unwrap();
    assert!(cause.contains("is writing to it"), "{cause}");
    let late = installation.fail(
        &["wait", PROJECTION, "--timeout", "1s"],
        &["did not reach", "is writing to it"],
    );
    assert!(!late.contains("no host is running"), "{late}");
    assert!(host.is_running(), "{}", host.log());
    lock.release();
    installation.wait_for(PROJECTION, installation.head());
    let status = installation.status(PROJECTION);
    assert_eq!(status["state"], "running", "{status}");
    let (ended, _) = host.terminate(LIMIT);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // One that has left is not there, whatever it said.
    let status = installation.status(PROJECTION);
    assert!(status["host"].is_null(), "{status}");
    append_orders(&installation, 34, 20);
    let lock = installation.read_models.lock_for_writing();
    let until = installation.start_command(&["run", "--until-caught-up"]);
    says(&until, "waiting for the database, trying again");
    lock.release();
    let ended = until.finish();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ORDER_SUMMARY.assert_right(
        &installation.events,
        &installation.read_models,
        "after a lock on the file",
    );
}

#[test]
fn a_host_that_waits_for_a_locked_file_ends_when_it_is_told_to() {
    let installation =
        Installation::new(System::Sqlite, System::Sqlite).with_example("order-summary");
    installation.succeed(&["run", "--until-caught-up"]);
    let lock = installation.read_models.lock_for_writing();
    let host = installation.start_host();
    says(&host, "waiting for the database, trying again");
    let (ended, _) = host.terminate(LIMIT);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("ended by SIGTERM"), "{ended:?}");
    lock.release();
}
