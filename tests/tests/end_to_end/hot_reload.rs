//! Another build of the same version takes over between two batches:
//! checkpoint and tables stay, and no event is lost or applied twice.

use std::time::Duration;

use gnomon_tests::harness::{
    CUSTOMER_VALUE, Declaration, Feed, Host, Installation, ORDER_SUMMARY, PATIENCE, System,
    another_build, component, example, guest,
};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const RELOADS: usize = 100;
const PICKY: &str = "picky";

fn note(installation: &Installation, note: &str, fault: Option<&str>) {
    let data = json!({"note": note, "fault": fault});
    installation.append("Note-a", "Noted", &data);
}

/// The notes that were applied, in the order of their positions.
fn applied(installation: &Installation) -> Vec<String> {
    let mut rows = installation.rows_of(PICKY, "seen");
    rows.sort_by_key(|row| row[0].as_ref().unwrap().parse::<u64>().unwrap());
    rows.into_iter()
        .map(|row| row[3].clone().unwrap())
        .collect()
}

fn stop(host: Host) {
    let (ended, _) = host.terminate(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn a_hundred_reloads_under_load_lose_nothing_and_double_nothing() {
    for system in SYSTEMS {
        let installation =
            Installation::in_one_database(system).with_variable("GNOMON_LIMITS_BATCH_EVENTS", 20);
        let name = CUSTOMER_VALUE.projection;
        let module = example("customer-value");
        let builds = [another_build(&module, 1), another_build(&module, 2)];
        let host = installation.start_host();
        installation.append_orders(200, 41);
        let generations = installation.deploy(&module, &[])["generations"].clone();
        installation.wait_until_live(name, 1);

        let feed = Feed::start(&installation.events, 42, Duration::from_millis(50));
        for (round, build) in (0..RELOADS).zip(builds.iter().cycle()) {
            // Those that come faster than the host looks would be one to it.
            host.wait_for_reloads(round);
            let deployed = installation.deploy(build, &[]);
            assert_eq!(deployed["action"], "reloaded", "round {round}: {deployed}");
            assert_eq!(deployed["generations"], generations, "round {round}");
        }
        // The registry knows the last one before the host has taken it up.
        host.wait_for_reloads(RELOADS);
        let fed = feed.end();
        let status = installation.wait_for_module(name, &installation.hash_of(&builds[1]));
        assert_eq!(json!([status["generation"]]), generations, "{status}");
        installation.wait_for(name, installation.head());
        CUSTOMER_VALUE.assert_right(
            &installation.events,
            &installation.read_models,
            &format!("after {RELOADS} reloads on {system:?}"),
        );
        assert_eq!(host.reloads(), RELOADS, "on {system:?}");
        println!("{RELOADS} reloads on {system:?}: {fed:?}");
        assert!(fed.events > 0, "nothing was under way");
        stop(host);
    }
}

#[test]
fn a_file_that_changes_under_load_is_reloaded_each_time() {
    for system in SYSTEMS {
        let installation = Installation::in_one_database(system);
        let name = ORDER_SUMMARY.projection;
        let module = example("order-summary");
        installation.append_orders(200, 43);
        installation.swap_module("orders.wasm", &module);
        let host = installation.start_host();
        let first = installation.wait_until_live(name, 1);
        let feed = Feed::start(&installation.events, 44, Duration::from_millis(50));
        for round in 1..=5 {
            let build = another_build(&module, round);
            installation.swap_module("orders.wasm", &build);
            installation.wait_for_module(name, &installation.hash_of(&build));
        }
        let _ = feed.end();
        installation.wait_for(name, installation.head());
        let status = installation.status(name);
        assert_eq!(status["generation"], first["generation"], "{status}");
        ORDER_SUMMARY.assert_right(
            &installation.events,
            &installation.read_models,
            &format!("after reloads of a file on {system:?}"),
        );
        stop(host);
    }
}

#[test]
fn a_file_that_no_longer_loads_leaves_the_old_module_running_and_status_says_why() {
    for system in SYSTEMS {
        let installation = Installation::in_one_database(system);
        let picky = guest(PICKY);
        note(&installation, "a1", None);
        installation.swap_module("guest.wasm", &picky);
        let host = installation.start_host();
        let first = installation.wait_until_live(PICKY, 1);
        installation.put_module("guest.wasm", &picky[..picky.len() / 2]);
        installation.wait_for_refusal(&["guest.wasm", "refused"]);
        note(&installation, "a2", None);
        installation.wait_for(PICKY, 2);
        let status = installation.status(PICKY);
        assert_eq!(status["state"], "running", "{status}");
        assert_eq!(status["module"], first["module"], "{status}");
        let mended = another_build(&picky, 1);
        installation.put_module("guest.wasm", &mended);
        installation.wait_for_module(PICKY, &installation.hash_of(&mended));
        installation.wait_until_nothing_is_refused();
        note(&installation, "a3", None);
        installation.wait_for(PICKY, 3);
        assert_eq!(applied(&installation), ["a1", "a2", "a3"]);
        stop(host);
    }
}

/// Puts bytes into the registry that are not those of the module they stand
/// for, as a damaged disk would.
fn damage_in_advance(installation: &Installation, hash: &Value, like: &Value) {
    let (modules, bytes) = match installation.read_models.system() {
        System::Sqlite => ("gnomon_modules", "x'5a5a5a5a'"),
        System::Postgres => ("gnomon.modules", r"'\x5a5a5a5a'::bytea"),
    };
    let (hash, like) = (hash.as_str().unwrap(), like.as_str().unwrap());
    installation.read_models.execute(&format!(
        "INSERT INTO {modules} (hash, description, bytes)
         SELECT '{hash}', description, {bytes} FROM {modules} WHERE hash = '{like}'"
    ));
}

#[test]
fn a_registered_module_that_does_not_load_leaves_the_old_one_running_and_status_says_why() {
    for system in SYSTEMS {
        let installation = Installation::in_one_database(system);
        let picky = guest(PICKY);
        note(&installation, "a1", None);
        let host = installation.start_host();
        installation.deploy(&picky, &[]);
        let first = installation.wait_until_live(PICKY, 1);
        let damaged = another_build(&picky, 1);
        damage_in_advance(
            &installation,
            &installation.hash_of(&damaged),
            &first["module"],
        );
        assert_eq!(installation.deploy(&damaged, &[])["action"], "reloaded");
        installation.wait_for_refusal(&["`picky`", "of the registry is refused"]);
        note(&installation, "a2", None);
        installation.wait_for(PICKY, 2);
        let status = installation.status(PICKY);
        assert_eq!(status["state"], "running", "{status}");
        assert_eq!(status["generation"], first["generation"], "{status}");
        // A module that loads ends it.
        let whole = another_build(&picky, 2);
        installation.deploy(&whole, &[]);
        installation.wait_for_module(PICKY, &installation.hash_of(&whole));
        installation.wait_until_nothing_is_refused();
        note(&installation, "a3", None);
        installation.wait_for(PICKY, 3);
        assert_eq!(applied(&installation), ["a1", "a2", "a3"]);
        stop(host);
    }
}

#[test]
fn a_halted_projection_goes_on_after_a_reload_with_mended_code() {
    for system in SYSTEMS {
        for by_file in [true, false] {
            let installation = Installation::in_one_database(system);
            note(&installation, "a1", None);
            let host = installation.start_host();
            let bring = |bytes: &[u8]| {
                if by_file {
                    installation.swap_module("guest.wasm", bytes);
                } else {
                    installation.deploy(bytes, &[]);
                }
            };
            bring(&guest(PICKY));
            let first = installation.wait_until_live(PICKY, 1);
            note(&installation, "a2", None);
            note(&installation, "a3", Some("reject"));
            note(&installation, "a4", None);
            installation.wait_for_status(PICKY, PATIENCE, |status| {
                status["state"] == "halted" && status["position"] == 2
            });
            // Another build of the same fault halts again, at the same event.
            let build = another_build(&guest(PICKY), 1);
            bring(&build);
            let hash = installation.hash_of(&build);
            installation.wait_for_status(PICKY, PATIENCE, |status| {
                status["state"] == "halted" && status["module"] == hash
            });
            bring(&guest("picky-mended"));
            installation.wait_for_status(PICKY, PATIENCE, |status| {
                status["state"] == "running" && status["position"] == 4
            });
            assert_eq!(applied(&installation), ["a1", "a2", "a3", "a4"]);
            let status = installation.status(PICKY);
            assert_eq!(status["generation"], first["generation"], "{status}");
            assert_eq!(status["cause"], Value::Null, "{status}");
            stop(host);
        }
    }
}

#[test]
fn a_reload_reaches_a_projection_that_halted_before_readers_saw_it() {
    for system in SYSTEMS {
        let installation = Installation::in_one_database(system);
        note(&installation, "a1", Some("panic"));
        let host = installation.start_host();
        installation.deploy(&guest(PICKY), &[]);
        installation.wait_for_status(PICKY, PATIENCE, |status| status["state"] == "halted");
        assert_eq!(
            installation.deploy(&guest("picky-mended"), &[])["action"],
            "reloaded"
        );
        installation.wait_until_live(PICKY, 1);
        assert_eq!(applied(&installation), ["a1"]);
        stop(host);
    }
}

#[test]
fn a_reload_of_one_projection_leaves_the_others_alone() {
    let installation = Installation::in_one_database(System::Sqlite);
    installation.append_orders(20, 45);
    let host = installation.start_host();
    let bytes = component(&Declaration::sane("notebook", "notes"));
    installation.deploy(&bytes, &[]);
    let other = installation.deploy(&component(&Declaration::sane("other", "others")), &[]);
    installation.wait_until_live("notebook", 1);
    let before = installation.wait_until_live("other", 1);
    let build = another_build(&bytes, 1);
    installation.deploy(&build, &[]);
    installation.wait_for_module("notebook", &installation.hash_of(&build));
    installation.append("Order-1", "OrderPacked", &json!({}));
    installation.wait_for("other", installation.head());
    let after = installation.status("other");
    assert_eq!(after["module"], other["module"]);
    assert_eq!(after["generation"], before["generation"]);
    host.wait_for_reloads(1);
    assert_eq!(host.reloads(), 1, "{}", host.log());
    stop(host);
}
