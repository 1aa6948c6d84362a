//! A disk that is full: the batch is retried, `status` says so, and it is over
//! by itself when there is room again.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gnomon_tests::harness::{Database, Disk, Installation, Server, System};

use super::outages::{PROJECTION, append_orders, goes_on_retrying, recovers, retries};

/// Beyond a lease, which may be impossible to renew.
const LONG: Duration = Duration::from_secs(8);

#[test]
fn a_full_disk_is_waited_for_on_sqlite() {
    let Some(disk) = Disk::mount(2) else {
        // What is left is a limit for the size of files.
        return a_file_that_cannot_grow_is_waited_for();
    };
    let read_models = Arc::new(Database::on_disk(&disk));
    let events = Arc::new(Database::new(System::Sqlite));
    let installation = Installation::on(events, read_models).with_examples();
    installation.append_orders(200, 28);
    let _host = installation.start_host();
    installation.wait_for(PROJECTION, 200);
    fills_up(&installation, &disk, "disk is full");
}

#[test]
fn a_full_disk_is_waited_for_on_postgres() {
    let Some(disk) = Disk::mount(24) else {
        // `outages` has the error that the server gives then, and more of them.
        return;
    };
    let server = Server::start_new();
    let read_models = Arc::new(Database::of_server_on_disk(&server, &disk));
    let events = Arc::new(Database::of_server(&server));
    let installation = Installation::on(events, read_models).with_examples();
    installation.append_orders(200, 28);
    let _host = installation.start_host();
    installation.wait_for(PROJECTION, 200);
    fills_up(&installation, &disk, "No space left on device");
    // The server must not be asked to close what is gone.
    drop(installation);
}

/// Fills the disk of the read models, and makes room again.
fn fills_up(installation: &Installation, disk: &Disk, said: &str) {
    disk.fill();
    append_orders(installation, 29, 2_000);
    retries(installation, said);
    goes_on_retrying(installation, LONG);
    println!(
        "on a full disk: {}",
        installation.status(PROJECTION)["cause"]
    );
    disk.free();
    recovers(installation, "a full disk");
}

#[test]
fn a_file_that_cannot_grow_is_waited_for() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_examples();
    installation.append_orders(200, 28);
    installation.succeed(&["run", "--until-caught-up"]);
    // No file of the host may grow beyond this. The signal that comes with it
    // is ignored, so a write fails as on a full disk.
    let host = installation.start_host_under(&[
        "prlimit",
        "--fsize=400000:unlimited",
        "sh",
        "-c",
        "trap '' XFSZ; exec \"$@\"",
        "sh",
    ]);
    installation.wait_for(PROJECTION, 200);
    append_orders(&installation, 29, 10_000);
    retries(&installation, "disk");
    goes_on_retrying(&installation, LONG);
    let widened = Command::new("prlimit")
        .args(["--fsize=unlimited", "--pid", &host.process().to_string()])
        .status()
        .unwrap();
    assert!(widened.success());
    recovers(&installation, "a file that could not grow");
}
