//! A projection that changes three times while events keep coming and readers
//! keep asking: a new column, another rule, and back.

use std::fs;
use std::time::Duration;

use gnomon_tests::harness::{Feed, Installation, Readers, Spending, System};

const PATIENCE: Duration = Duration::from_secs(120);

#[test]
fn three_changes_under_load_end_with_the_rows_of_the_group_by_on_sqlite() {
    change_three_times(System::Sqlite);
}

#[test]
fn three_changes_under_load_end_with_the_rows_of_the_group_by_on_postgres() {
    change_three_times(System::Postgres);
}

/// The first change comes by the watched directory, the others by `deploy`.
fn change_three_times(system: System) {
    let installation =
        Installation::new(system, system).with_variable("GNOMON_LIMITS_BATCH_EVENTS", 100);
    installation.append_orders(5_000, 1);
    installation.put_module("spending.wasm", &Spending::version(1).module());
    let _host = installation.start_host();
    wait_until_live(&installation, 1);
    installation.wait_for("spending", installation.head());
    let feed = Feed::start(&installation.events, 5, Duration::from_millis(20));
    let readers = Readers::start(&installation.read_models);
    // As a build script puts it there, in one step.
    let new_file = installation.path("spending.new");
    fs::write(&new_file, Spending::version(2).module()).unwrap();
    fs::rename(new_file, installation.path("projections/spending.wasm")).unwrap();
    wait_until_live(&installation, 2);
    for version in [3, 4] {
        readers.check();
        let said =
            Spending::version(version).deploy(&installation, &["--wait", "--timeout", "120s"]);
        assert!(said.contains("readers see it now"), "{said}");
        let status = installation.status("spending");
        assert_eq!(status["version"], version, "{status}");
        assert_eq!(status["candidate"], serde_json::Value::Null, "{status}");
    }
    let fed = feed.end();
    installation.wait_for("spending", installation.head());
    let answers = readers.end();
    println!("{system:?}: {} events, {answers} answers", fed.events);
    assert!(fed.events > 0);
    Spending::version(4).assert_right(&installation, "after three changes");
    let found = installation.json(&["verify", "spending"]);
    assert_eq!(found["equal"], true, "{found}");
    installation.wait_until_tidy();
}

fn wait_until_live(installation: &Installation, version: u32) {
    installation.wait_for_status("spending", PATIENCE, |status| {
        status["version"] == version && status["generation_state"] == "live"
    });
}
