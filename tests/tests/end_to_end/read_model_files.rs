//! The file of the read models is deleted, replaced or locked under a host.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use gnomon_tests::harness::{Installation, System};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(40);
const NAME: &str = "picky";

/// An installation whose read model holds one note, and the file of that.
fn with_a_note() -> (Installation, PathBuf) {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_guest("picky");
    note(&installation);
    let file = PathBuf::from(installation.read_models.url().trim_start_matches("sqlite:"));
    (installation, file)
}

fn note(installation: &Installation) {
    let data = json!({"note": "n", "fault": null});
    installation.append("Note-1", "Noted", &data);
}

fn notes(installation: &Installation) -> i64 {
    installation.read_models.number("SELECT count(*) FROM seen")
}

/// Moves a file and what SQLite keeps beside it.
fn move_file(from: &std::path::Path, to: &std::path::Path) {
    for suffix in ["", "-wal", "-shm"] {
        let beside = |file: &std::path::Path| PathBuf::from(format!("{}{suffix}", file.display()));
        if beside(from).exists() {
            fs::rename(beside(from), beside(to)).unwrap();
        }
    }
}

/// Waits until a host says something on standard error.
fn wait_for_log(host: &gnomon_tests::harness::Host, said: &str) {
    let started = std::time::Instant::now();
    while !host.log().contains(said) {
        assert!(started.elapsed() < LIMIT, "{}", host.log());
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_file_that_is_deleted_or_replaced_is_noticed_and_nothing_is_lost() {
    let (installation, file) = with_a_note();
    let aside = file.with_extension("aside");
    let host = installation.start_host();
    installation.wait_for(NAME, 1);
    move_file(&file, &aside);
    note(&installation);
    wait_for_log(
        &host,
        "was deleted or moved while it is in use; put it back",
    );
    assert!(!file.exists(), "the host made a file of its own");
    // Another file takes its place: that of another installation.
    let (other, other_file) = with_a_note();
    other.succeed(&["run", "--until-caught-up"]);
    fs::copy(&other_file, &file).unwrap();
    wait_for_log(&host, "was replaced by another file while it is in use");
    let before = fs::read(&file).unwrap();
    note(&installation);
    note(&installation);
    wait_for_log(&host, "was replaced by another file while it is in use");
    assert!(fs::read(&file).unwrap() == before, "the host wrote to it");
    // The right one comes back, and all is in it.
    fs::remove_file(&file).unwrap();
    move_file(&aside, &file);
    let status = installation.wait_for_status(NAME, LIMIT, |status| status["position"] == 4);
    assert_eq!(status["state"], "running", "{status}");
    assert_eq!(notes(&installation), 4);
    let (finished, _) = host.terminate(LIMIT);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn a_host_that_starts_again_after_the_file_was_deleted_builds_another() {
    let (installation, file) = with_a_note();
    let host = installation.start_host();
    installation.wait_for(NAME, 1);
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", file.display()));
    }
    note(&installation);
    wait_for_log(&host, "start the host again to build another");
    let (finished, _) = host.terminate(LIMIT);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let host = installation.start_host();
    installation.wait_for(NAME, 2);
    assert_eq!(notes(&installation), 2);
    drop(host);
}

#[test]
fn a_host_that_waits_for_a_locked_file_is_there_and_says_for_whom() {
    let (installation, file) = with_a_note();
    let host = installation.start_host();
    installation.wait_for(NAME, 1);
    let running = installation.status(NAME);
    let lock = rusqlite::Connection::open(&file).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    note(&installation);
    // Longer than a lease lasts, nothing can be written.
    let own = format!("process {}", std::process::id());
    let status = installation.wait_for_status(NAME, LIMIT, |status| {
        let cause = status["cause"].as_str().unwrap_or_default();
        assert!(!cause.contains("no host runs it"), "{status}");
        cause.contains("waits to write to") && cause.contains(&own)
    });
    assert_eq!(status["state"], "retrying", "{status}");
    assert_eq!(status["host"], running["host"], "{status}");
    let waited = installation.fail(
        &["wait", NAME, "--timeout", "100ms"],
        &["waits to write to"],
    );
    assert!(!waited.contains("no host is running"), "{waited}");
    lock.execute_batch("ROLLBACK").unwrap();
    let status = installation.wait_for_status(NAME, LIMIT, |status| status["position"] == 2);
    assert_eq!(status["state"], "running", "{status}");
    // Without a host nobody is said to be there.
    drop(host.kill());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    installation.wait_for_status(NAME, LIMIT, |status| {
        let cause = status["cause"].as_str().unwrap_or_default();
        cause.contains("no host runs it") && status["host"].is_null()
    });
}
