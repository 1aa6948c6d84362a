//! The event store is not the one that was read: a standby that lacks events is
//! promoted, a backup is restored, the table is emptied, the file is exchanged.
//! As soon as new events have overtaken the checkpoint, nothing but their ids
//! shows it. Every projection that has read what is gone halts, whether a host
//! runs meanwhile or not, and says so until somebody decides.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{Database, Host, Installation, READ_MODELS, Server, Stop, System};
use serde_json::Value;

use super::outages::append_orders;

const LIMIT: Duration = Duration::from_secs(60);
const BEFORE: usize = 200;
/// After the backup and before the loss.
const STREAMED: usize = 40;
const LOST: usize = 100;
/// More than are lost.
const AFTER: usize = 300;

#[test]
fn a_standby_that_lost_events_is_promoted_under_a_running_host() {
    let primary = Server::start_new();
    let events = Arc::new(Database::of_server(&primary));
    let installation = begin(Installation::on(
        Arc::clone(&events),
        Arc::new(Database::new(System::Postgres)),
    ));
    let mut standby = primary.standby();
    let host = installation.start_host();
    append_orders(&installation, 5, STREAMED);
    let streamed = installation.head();
    all_reach(&installation, streamed);
    let mut url = standby.url();
    url.set_path("test");
    let count = "SELECT max(global_position) FROM events";
    let shown = || client("psql", &["-Atc", count, url.as_str()]);
    let started = Instant::now();
    while shown().trim() != streamed.to_string() {
        assert!(started.elapsed() < LIMIT, "the standby does not follow");
    }
    // The standby falls behind, and the primary is lost.
    standby.stop(Stop::Fast);
    append_orders(&installation, 2, LOST);
    let checkpoint = installation.head();
    all_reach(&installation, checkpoint);
    primary.stop(Stop::Immediate);
    standby.take_over(&primary);
    events.reconnect();
    assert_eq!(installation.head(), streamed, "nothing was lost");
    append_orders(&installation, 3, AFTER);
    assert!(installation.head() > checkpoint);
    all_refuse(&installation, checkpoint);
    for read_model in READ_MODELS {
        // None of the new events was applied.
        let status = installation.status(read_model.projection);
        assert_eq!(status["position"], checkpoint, "{status}");
    }
    let log = host.log();
    assert!(log.contains("the event store is not what it was"), "{log}");
    users_decide(&installation, host, checkpoint);
}

#[test]
fn a_backup_is_restored_while_no_host_runs() {
    let events = Arc::new(Database::new(System::Postgres));
    let installation = begin(Installation::on(
        Arc::clone(&events),
        Arc::new(Database::new(System::Postgres)),
    ));
    let dump = installation.path("events.sql");
    let url = events.url();
    let arguments = ["--no-owner", "--clean", "--if-exists", "-f"];
    client("pg_dump", &[&arguments[..], &[text(&dump), &url]].concat());
    append_orders(&installation, 2, LOST);
    let checkpoint = installation.head();
    installation.succeed(&["run", "--until-caught-up"]);
    client(
        "psql",
        &["--quiet", "-v", "ON_ERROR_STOP=1", "-f", text(&dump), &url],
    );
    assert_eq!(installation.head(), BEFORE as i64, "nothing was lost");
    // Before they have overtaken it, too.
    let host = installation.start_host();
    all_refuse(&installation, checkpoint);
    append_orders(&installation, 3, AFTER);
    all_refuse(&installation, checkpoint);
    users_decide(&installation, host, checkpoint);
}

#[test]
fn a_backup_with_the_same_events_is_as_good_as_the_original() {
    let events = Arc::new(Database::new(System::Postgres));
    let installation = begin(Installation::on(
        Arc::clone(&events),
        Arc::new(Database::new(System::Postgres)),
    ));
    let _host = installation.start_host();
    all_reach(&installation, installation.head());
    let (dump, url) = (installation.path("events.sql"), events.url());
    let arguments = ["--no-owner", "--clean", "--if-exists", "-f"];
    client("pg_dump", &[&arguments[..], &[text(&dump), &url]].concat());
    client(
        "psql",
        &[
            "--quiet",
            "-v",
            "ON_ERROR_STOP=1",
            "-1",
            "-f",
            text(&dump),
            &url,
        ],
    );
    append_orders(&installation, 3, AFTER);
    all_reach(&installation, installation.head());
    installation.assert_rows_are_right("after a restore that lost nothing");
}

#[test]
fn the_table_is_emptied_and_filled_in_one_transaction() {
    let installation = begin(Installation::in_one_database(System::Postgres));
    let host = installation.start_host();
    all_reach(&installation, installation.head());
    let checkpoint = installation.head();
    // No look sees a position before the checkpoint, and no connection breaks.
    installation.events.execute(
        "BEGIN;
         ALTER TABLE events DISABLE TRIGGER ALL;
         CREATE TEMP TABLE kept AS SELECT * FROM events ORDER BY global_position;
         TRUNCATE events RESTART IDENTITY;
         INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version)
             SELECT gen_random_uuid(), stream_id, stream_type, event_type, event_data, metadata,
                    version FROM kept ORDER BY global_position;
         INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version)
             SELECT gen_random_uuid(), 'Other-' || n, 'Other', 'Other', '{}', '{}', 1
             FROM generate_series(1, 100) AS n;
         ALTER TABLE events ENABLE TRIGGER ALL;
         DROP TABLE kept;
         COMMIT",
    );
    assert!(installation.head() > checkpoint);
    all_refuse(&installation, checkpoint);
    users_decide(&installation, host, checkpoint);
}

#[test]
fn a_table_that_was_emptied_gets_its_events_again() {
    let installation = begin(Installation::in_one_database(System::Postgres));
    let _host = installation.start_host();
    // Positions that no event ever had: the old store had holes too.
    (installation.events).execute(
        "SELECT setval('events_global_position_seq', nextval('events_global_position_seq') + 9)",
    );
    append_orders(&installation, 5, STREAMED);
    let checkpoint = installation.head();
    all_reach(&installation, checkpoint);
    // One stands still, and does not see what happens meanwhile.
    installation.succeed(&["pause", "daily_revenue"]);
    installation.wait_for_status("daily_revenue", LIMIT, |status| status["state"] == "paused");
    let count = |of: &str| {
        installation
            .events
            .number(&format!("SELECT count(*) FROM {of}"))
    };
    let all = count("events");
    // The positions are not handed out again.
    (installation.events).execute(
        "CREATE TABLE kept AS SELECT * FROM events;
         ALTER TABLE events DISABLE TRIGGER ALL;
         TRUNCATE events;
         ALTER TABLE events ENABLE TRIGGER ALL",
    );
    for name in ["order_summary", "customer_value"] {
        installation.wait_for_status(name, LIMIT, |status| status["state"] == "halted");
    }
    // What is built of the store that is empty lacks what comes back.
    installation.succeed(&["rebuild", "customer_value", "--wait", "--timeout", "60s"]);
    (installation.events).execute("INSERT INTO events SELECT * FROM kept; DROP TABLE kept");
    assert_eq!(count("events"), all);
    let late = installation.wait_for_status("customer_value", LIMIT, |status| {
        status["state"] == "halted"
    });
    let cause = late["cause"].as_str().unwrap();
    assert!(
        cause.contains("an event was committed at position 1 after"),
        "{cause}"
    );
    installation.succeed(&["resume", "daily_revenue"]);
    append_orders(&installation, 4, AFTER);
    let head = installation.head();
    for name in ["order_summary", "daily_revenue"] {
        installation.wait_for_status(name, LIMIT, |status| {
            status["position"].as_i64() >= Some(head) && status["state"] == "running"
        });
    }
    installation.succeed(&["rebuild", "customer_value", "--wait", "--timeout", "60s"]);
    all_reach(&installation, head);
    installation.assert_rows_are_right("after its events came back");
}

#[test]
fn the_file_is_exchanged_under_a_running_host_and_comes_back() {
    let installation = begin(Installation::new(System::Sqlite, System::Sqlite));
    let file = PathBuf::from(installation.events.url().trim_start_matches("sqlite:"));
    let stand = "SELECT run_state, cause FROM gnomon_generations WHERE state = 'live'";
    let (backup, aside) = (file.with_extension("backup"), file.with_extension("aside"));
    (installation.events).execute(&format!("VACUUM INTO '{}'", backup.display()));
    let host = installation.start_host();
    append_orders(&installation, 2, LOST);
    let checkpoint = installation.head();
    all_reach(&installation, checkpoint);
    // All of the file is in the file itself, which is what is moved.
    installation
        .events
        .execute("PRAGMA wal_checkpoint(TRUNCATE)");
    fs::rename(&file, &aside).unwrap();
    let started = Instant::now();
    loop {
        let rows = installation.read_models.rows(stand);
        let told = rows.iter().filter(|row| {
            let cause = row[1].as_deref().unwrap_or_default();
            row[0].as_deref() == Some("retrying") && cause.contains("was deleted or moved")
        });
        if told.count() == READ_MODELS.len() {
            break;
        }
        assert!(started.elapsed() < LIMIT, "{rows:?}");
    }
    assert!(!file.exists(), "the host made a store of its own");
    forget_log(&file);
    fs::rename(&backup, &file).unwrap();
    all_refuse(&installation, checkpoint);
    append_orders(&installation, 3, AFTER);
    assert!(installation.head() > checkpoint);
    all_refuse(&installation, checkpoint);
    // Its own store comes back.
    forget_log(&file);
    fs::rename(&aside, &file).unwrap();
    all_reach(&installation, checkpoint);
    append_orders(&installation, 4, AFTER);
    all_reach(&installation, installation.head());
    installation.assert_rows_are_right("after its own store came back");
    drop(host);
}

#[test]
fn a_file_is_exchanged_while_no_host_runs() {
    let installation = begin(Installation::new(System::Sqlite, System::Sqlite));
    let file = PathBuf::from(installation.events.url().trim_start_matches("sqlite:"));
    let backup = file.with_extension("backup");
    (installation.events).execute(&format!("VACUUM INTO '{}'", backup.display()));
    append_orders(&installation, 2, LOST);
    let checkpoint = installation.head();
    installation.succeed(&["run", "--until-caught-up"]);
    forget_log(&file);
    fs::rename(&backup, &file).unwrap();
    append_orders(&installation, 3, AFTER);
    let said = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    all_refuse(&installation, checkpoint);
    let host = installation.start_host();
    users_decide(&installation, host, checkpoint);
}

/// While the store ends before the checkpoint, nobody can know what will stand
/// there: to go on would pass what is appended up to it.
#[test]
fn a_store_that_ends_before_the_checkpoint_cannot_be_taken_as_it_is_yet() {
    const NAME: &str = "order_summary";
    let installation = begin(Installation::new(System::Sqlite, System::Sqlite));
    let file = PathBuf::from(installation.events.url().trim_start_matches("sqlite:"));
    let backup = file.with_extension("backup");
    (installation.events).execute(&format!("VACUUM INTO '{}'", backup.display()));
    append_orders(&installation, 2, LOST);
    let checkpoint = installation.head();
    installation.succeed(&["run", "--until-caught-up"]);
    forget_log(&file);
    fs::rename(&backup, &file).unwrap();
    let accept = ["resume", NAME, "--accept-history"];
    let still_refused = |when: &str| {
        let ended = installation.run(&["run", "--until-caught-up"]);
        assert_eq!(ended.code, Some(1), "{when}: {ended:?}");
        let status = installation.status(NAME);
        let cause = status["cause"].as_str().unwrap();
        assert!(cause.contains("ended before it"), "{when}: {cause}");
        assert_eq!(status["position"], checkpoint, "{when}: {status}");
    };
    installation.succeed(&accept);
    still_refused("the store ends before the checkpoint");
    append_orders(&installation, 3, AFTER);
    assert!(installation.head() > checkpoint);
    still_refused("it has overtaken the checkpoint");
    installation.succeed(&accept);
    // The others have not been spoken of.
    let ended = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let status = installation.status(NAME);
    assert_eq!(status["position"], installation.head(), "{status}");
}

/// The store lost nothing but positions without an event, and hands them out
/// again, behind which the checkpoint is.
#[test]
fn positions_that_never_had_an_event_are_read_when_they_get_one() {
    let events = Arc::new(Database::new(System::Postgres));
    let read_models = Arc::new(Database::new(System::Postgres));
    let installation = begin(Installation::on(Arc::clone(&events), read_models));
    events.execute("SELECT nextval('events_global_position_seq') FROM generate_series(1, 1000)");
    installation.succeed(&["run", "--until-caught-up"]);
    let checkpoint = installation.status("order_summary")["position"].clone();
    assert_eq!(checkpoint, BEFORE + 1_000);
    events.execute(&format!(
        "SELECT setval('events_global_position_seq', {BEFORE})"
    ));
    append_orders(&installation, 3, AFTER);
    assert_eq!(installation.head(), (BEFORE + AFTER) as i64);
    installation.succeed(&["run", "--until-caught-up"]);
    installation.assert_rows_are_right("after the positions were handed out again");
}

#[test]
fn an_event_that_comes_late_halts_whatever_has_passed_it() {
    let installation = begin(Installation::in_one_database(System::Postgres));
    let _host = installation.start_host();
    // A writer draws its number in a transaction of its own, and is slow.
    let events = &installation.events;
    let number = events.number("SELECT nextval('events_global_position_seq')");
    append_orders(&installation, 2, 50);
    all_reach(&installation, installation.head());
    installation.succeed(&["pause", "daily_revenue"]);
    installation.wait_for_status("daily_revenue", LIMIT, |status| status["state"] == "paused");
    events.execute(&format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version,
                             global_position)
         VALUES (gen_random_uuid(), 'Late-1', 'Late', 'Late', '{{}}', '{{}}', 1, {number})"
    ));
    let halts = |name: &str| {
        let said = installation.wait_for_status(name, LIMIT, |status| status["state"] == "halted");
        let cause = said["cause"].as_str().unwrap();
        let where_it_came = format!("an event was committed at position {number} after");
        assert!(cause.contains(&where_it_came), "{cause}");
        assert!(cause.contains("--accept-history"), "{cause}");
    };
    halts("order_summary");
    halts("customer_value");
    installation.succeed(&["resume", "order_summary"]);
    installation.succeed(&["resume", "daily_revenue"]);
    halts("order_summary");
    // One that stood still meanwhile has passed it too.
    halts("daily_revenue");
    for read_model in READ_MODELS {
        installation.succeed(&["rebuild", read_model.projection, "--wait"]);
    }
    append_orders(&installation, 3, 50);
    all_reach(&installation, installation.head());
    installation.assert_rows_are_right("after the rebuilds");
}

/// With the examples, and events that nothing happens to.
fn begin(installation: Installation) -> Installation {
    let installation = installation.with_examples();
    installation.append_orders(BEFORE, 1);
    installation.succeed(&["run", "--until-caught-up"]);
    installation
}

fn all_reach(installation: &Installation, position: i64) {
    for read_model in READ_MODELS {
        installation.wait_for_status(read_model.projection, LIMIT, |status| {
            status["position"].as_i64() >= Some(position) && status["state"] == "running"
        });
    }
}

/// Waits until every projection has halted at the checkpoint, and says why.
fn all_refuse(installation: &Installation, checkpoint: i64) {
    for read_model in READ_MODELS {
        let name = read_model.projection;
        let said = installation.wait_for_status(name, LIMIT, |status| status["state"] == "halted");
        assert!(said["position"].as_i64() >= Some(checkpoint), "{said}");
        let cause = said["cause"].as_str().unwrap();
        // The last event that was shown, and no later one than a second.
        let stood = cause.split(' ').filter_map(|word| word.parse().ok()).next();
        assert!(
            stood.is_some_and(|stood: i64| stood > checkpoint - (LOST as i64) && stood <= checkpoint),
            "{cause}"
        );
        for part in [
            " of the event store stood event ",
            &format!("gnomon rebuild {name}"),
            &format!("gnomon resume {name} --accept-history"),
        ] {
            assert!(cause.contains(part), "`{part}` is not in: {cause}");
        }
    }
}

/// Neither another try nor another host changes anything; a rebuild and the
/// word of a user do.
fn users_decide(installation: &Installation, host: Host, checkpoint: i64) {
    installation.succeed(&["resume", "order_summary"]);
    drop(host);
    let host = installation.start_host();
    all_refuse(installation, checkpoint);
    installation.succeed(&["rebuild", "customer_value", "--wait"]);
    installation.succeed(&["resume", "order_summary", "--accept-history"]);
    append_orders(installation, 9, 50);
    let head = installation.head();
    let runs =
        |status: &Value| status["state"] == "running" && status["position"].as_i64() >= Some(head);
    installation.wait_for_status("order_summary", LIMIT, runs);
    installation.wait_for_status("customer_value", LIMIT, runs);
    assert_eq!(installation.status("daily_revenue")["state"], "halted");
    // The event that stands there now is kept in the place of the other.
    let checkpoints = match installation.read_models.system() {
        System::Sqlite => "gnomon_checkpoints",
        System::Postgres => "gnomon.checkpoints",
    };
    let unknown = format!("SELECT count(*) FROM {checkpoints} WHERE event_id IS NULL");
    assert_eq!(installation.read_models.number(&unknown), 0);
    // What a user has accepted is as it was before.
    for name in ["order_summary", "daily_revenue"] {
        installation.succeed(&["rebuild", name, "--wait"]);
    }
    all_reach(installation, head);
    installation.assert_rows_are_right("after the decisions");
    drop(host);
}

fn client(program: &str, arguments: &[&str]) -> String {
    let binaries = std::env::var_os("GNOMON_TEST_POSTGRES_BINARIES").unwrap();
    let done = Command::new(Path::new(&binaries).join(program))
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        done.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&done.stderr)
    );
    String::from_utf8(done.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Removes what belongs to the file that was there before.
fn forget_log(file: &Path) {
    for suffix in ["-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        let _ = fs::remove_file(name);
    }
}
