//! Files that come, change and go under a running host, in the ways in which
//! people and their tools do that.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use gnomon_tests::harness::{
    Declaration, Host, Installation, PATIENCE, System, another_build, component, guest,
};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "notebook";
const FILE: &str = "notebook.wasm";

fn module(version: u32) -> Vec<u8> {
    let mut declaration = Declaration::sane(NAME, "notes");
    declaration.version = version;
    component(&declaration)
}

/// An installation with some events.
fn installation(system: System) -> Installation {
    let installation = Installation::in_one_database(system)
        // A host that was killed shall not be waited for.
        .with_variable("GNOMON_LIMITS_LEASE_TIME", "1s");
    installation.append_orders(30, 31);
    installation
}

/// One in which version 1 came by a file and is live.
fn with_live_file(system: System) -> (Installation, Host) {
    let installation = installation(system);
    installation.swap_module(FILE, &module(1));
    let host = installation.start_host();
    installation.wait_until_live(NAME, 1);
    (installation, host)
}

/// Waits until a projection that came last is live: what came before it was
/// seen too.
fn settle(installation: &Installation, name: &str) {
    let marker = component(&Declaration::sane(name, &format!("{name}_marks")));
    installation.swap_module(&format!("{name}.wasm"), &marker);
    installation.wait_until_live(name, 1);
}

/// Appends an event and waits until the read model holds it.
fn assert_it_moves(installation: &Installation, name: &str) {
    installation.append("Order-1", "OrderPacked", &json!({}));
    installation.wait_for(name, installation.head());
}

fn stop(host: Host) {
    let (ended, _) = host.terminate(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_file_that_is_copied_in_pieces_is_deployed_when_it_is_whole() {
    for system in SYSTEMS {
        let installation = installation(system);
        let host = installation.start_host();
        let bytes = module(1);
        let mut copy = OpenOptions::new()
            .create_new(true)
            .append(true)
            .open(installation.module_file(FILE))
            .unwrap();
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        for piece in half.chunks(100) {
            copy.write_all(piece).unwrap();
        }
        // The copy stalls for so long that the half looks like a file.
        installation.wait_for_refusal(&[FILE]);
        for piece in rest.chunks(100) {
            copy.write_all(piece).unwrap();
        }
        drop(copy);
        let status = installation.wait_until_live(NAME, 1);
        assert_eq!(status["module"], installation.hash_of(&bytes), "{status}");
        installation.wait_until_nothing_is_refused();
        assert_it_moves(&installation, NAME);
        stop(host);
    }
}

#[test]
fn of_files_that_replace_each_other_at_once_the_last_one_stays() {
    for system in SYSTEMS {
        let (installation, host) = with_live_file(system);
        for version in 2..=4 {
            installation.swap_module(FILE, &module(version));
        }
        installation.wait_until_live(NAME, 4);
        // The same in place, as `cp` does it, with other builds of a version.
        for build in 1..=3 {
            installation.put_module(FILE, &another_build(&module(4), build));
        }
        let last = installation.hash_of(&another_build(&module(4), 3));
        installation.wait_for_module(NAME, &last);
        settle(&installation, "marker");
        let status = installation.status(NAME);
        assert_eq!((&status["version"], &status["module"]), (&json!(4), &last));
        installation.wait_until_nothing_is_refused();
        assert_it_moves(&installation, NAME);
        stop(host);
    }
}

#[test]
fn a_symlink_that_is_switched_deploys_what_it_points_to() {
    for system in SYSTEMS {
        let installation = installation(system);
        for version in 1..=3 {
            let release = installation.path(&format!("release-{version}"));
            fs::create_dir(&release).unwrap();
            fs::write(release.join(FILE), module(version)).unwrap();
        }
        let switch = |link: &str, to: &str| {
            let beside = installation.path("beside");
            symlink(to, &beside).unwrap();
            fs::rename(&beside, installation.path(link)).unwrap();
        };
        // As Kubernetes mounts it: the file is a link through a link.
        switch("projections/current", "../release-1");
        switch(&format!("projections/{FILE}"), &format!("current/{FILE}"));
        let host = installation.start_host();
        installation.wait_until_live(NAME, 1);
        switch("projections/current", "../release-2");
        installation.wait_until_live(NAME, 2);
        // The link itself is exchanged, for one to nowhere in between.
        switch(&format!("projections/{FILE}"), "../nowhere.wasm");
        settle(&installation, "marker");
        assert_it_moves(&installation, NAME);
        installation.wait_until_nothing_is_refused();
        switch(
            &format!("projections/{FILE}"),
            &format!("../release-3/{FILE}"),
        );
        installation.wait_until_live(NAME, 3);
        assert_it_moves(&installation, NAME);
        stop(host);
    }
}

#[test]
fn a_directory_that_is_a_switched_symlink_deploys_what_it_points_to() {
    let installation =
        installation(System::Sqlite).with_configuration("[projections]\ndirectory = 'current'");
    for version in 1..=2 {
        let release = installation.path(&format!("release-{version}"));
        fs::create_dir(&release).unwrap();
        fs::write(release.join(FILE), module(version)).unwrap();
    }
    symlink("release-1", installation.path("current")).unwrap();
    let _host = installation.start_host();
    installation.wait_until_live(NAME, 1);
    symlink("release-2", installation.path("beside")).unwrap();
    fs::rename(installation.path("beside"), installation.path("current")).unwrap();
    installation.wait_until_live(NAME, 2);
}

#[test]
fn a_removed_file_deploys_nothing_and_deletes_nothing() {
    for system in SYSTEMS {
        let (installation, host) = with_live_file(system);
        let before = installation.status(NAME);
        installation.take_module_away(FILE);
        settle(&installation, "marker");
        assert_it_moves(&installation, NAME);
        stop(host);
        let host = installation.start_host();
        assert_it_moves(&installation, NAME);
        let after = installation.status(NAME);
        assert_eq!(after["generation"], before["generation"], "{after}");
        assert_eq!(after["module"], before["module"], "{after}");
        assert!(installation.read_models.has_table("notes"));
        // It comes back as it was.
        installation.swap_module(FILE, &module(1));
        settle(&installation, "second_marker");
        assert_eq!(
            installation.status(NAME)["generation"],
            before["generation"]
        );
        stop(host);
    }
}

#[test]
fn a_broken_file_is_named_beside_a_good_one_that_is_deployed() {
    for system in SYSTEMS {
        let (installation, host) = with_live_file(system);
        installation.put_module("broken.wasm", &[0x5a; 1000]);
        installation.swap_module(FILE, &module(2));
        installation.wait_until_live(NAME, 2);
        let reason = installation.wait_for_refusal(&["broken.wasm", "not WebAssembly"]);
        assert!(!reason.contains(FILE), "{reason}");
        assert_it_moves(&installation, NAME);
        assert!(installation.status(NAME)["refused"] == json!([]));
        // It is forgotten with its file.
        installation.take_module_away("broken.wasm");
        installation.wait_until_nothing_is_refused();
        stop(host);
    }
}

#[test]
fn a_file_that_is_exchanged_while_no_host_runs_is_deployed_by_the_next_one() {
    for system in SYSTEMS {
        let (installation, host) = with_live_file(system);
        let first = installation.status(NAME);
        stop(host);
        let build = another_build(&module(1), 1);
        installation.swap_module(FILE, &build);
        let host = installation.start_host();
        let status = installation.wait_for_module(NAME, &installation.hash_of(&build));
        assert_eq!(status["generation"], first["generation"], "{status}");
        stop(host);
        installation.swap_module(FILE, &module(2));
        let host = installation.start_host();
        let status = installation.wait_until_live(NAME, 2);
        assert_eq!(status["retired"]["generation"], first["generation"]);
        assert_it_moves(&installation, NAME);
        stop(host);
    }
}

#[test]
fn a_restart_after_a_rollback_or_a_removal_does_not_deploy_the_file_again() {
    for system in SYSTEMS {
        let (installation, host) = with_live_file(system);
        let first = installation.status(NAME);
        installation.swap_module(FILE, &module(2));
        installation.wait_until_live(NAME, 2);
        installation.succeed(&["rollback", NAME, "--timeout", "120s"]);
        assert_eq!(installation.status(NAME)["generation"], first["generation"]);
        stop(host);
        let host = installation.start_host();
        settle(&installation, "marker");
        assert_it_moves(&installation, NAME);
        let status = installation.status(NAME);
        assert_eq!(status["generation"], first["generation"], "{status}");
        assert_eq!(status["candidate"], Value::Null, "{status}");
        installation.succeed(&["remove", NAME, "--drop"]);
        let _ = host.kill();
        let host = installation.start_host();
        settle(&installation, "second_marker");
        installation.fail(&["status", NAME], &["no projection `notebook`"]);
        assert!(!installation.read_models.has_table("notes"));
        // A file that says something new is deployed as ever.
        installation.swap_module(FILE, &module(3));
        installation.wait_until_live(NAME, 3);
        stop(host);
    }
}

#[test]
fn two_hosts_on_one_database_converge_on_what_either_of_them_finds() {
    let first = installation(System::Postgres);
    let second = Installation::on(Arc::clone(&first.events), Arc::clone(&first.read_models))
        .with_variable("GNOMON_LIMITS_LEASE_TIME", "1s");
    let picky = guest("picky");
    let (one, other) = (another_build(&picky, 1), another_build(&picky, 2));
    let hosts = [&first, &second].map(Installation::start_host);
    first.append("Note-a", "Noted", &json!({"note": "a1"}));
    first.swap_module(FILE, &module(1));
    second.swap_module("picky.wasm", &one);
    first.wait_until_live(NAME, 1);
    first.wait_until_live("picky", 1);
    // Both directories get the same files at the same time.
    for installation in [&first, &second] {
        installation.swap_module(FILE, &module(2));
        installation.swap_module("picky.wasm", &other);
    }
    first.wait_until_live(NAME, 2);
    let status = first.wait_for_module("picky", &first.hash_of(&other));
    let generations = "SELECT count(*) FROM gnomon.generations";
    assert_eq!(first.read_models.number(generations), 3, "{status}");
    first.append("Note-a", "Noted", &json!({"note": "a2"}));
    // Whichever is left goes on with what is deployed.
    let [one_host, other_host] = hosts;
    let _ = one_host.kill();
    for (note, name) in [("a3", NAME), ("a4", "picky")] {
        first.append("Note-a", "Noted", &json!({"note": note}));
        first.wait_for(name, first.head());
    }
    stop(other_host);
    let host = first.start_host();
    first.append("Note-a", "Noted", &json!({"note": "a5"}));
    first.wait_for("picky", first.head());
    first.wait_for(NAME, first.head());
    let notes: Vec<Option<String>> = first
        .rows_of("picky", "seen")
        .into_iter()
        .map(|row| row[3].clone())
        .collect();
    assert_eq!(
        notes,
        ["a1", "a2", "a3", "a4", "a5"].map(|note| Some(note.to_owned()))
    );
    assert_eq!(first.read_models.number(generations), 3);
    let (ended, _) = host.terminate(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
