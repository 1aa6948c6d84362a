//! What is kept, and what is dropped.

use std::time::{Duration, Instant};

use gnomon_tests::harness::{
    Declaration, Host, Installation, PATIENCE, System, another_build, component,
};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "notebook";

fn module() -> Vec<u8> {
    component(&Declaration::sane(NAME, "notes"))
}

/// An installation with a host or without one, in which the module is live.
fn site(system: System, has_host: bool) -> (Installation, Option<Host>) {
    let installation = Installation::in_one_database(system);
    installation.append_orders(20, 51);
    installation.deploy(&module(), &[]);
    let host = has_host.then(|| installation.start_host());
    catch_up(&installation, host.as_ref());
    installation.wait_until_live(NAME, 1);
    (installation, host)
}

fn everywhere(test: impl Fn(&Installation, Option<&Host>)) {
    for system in SYSTEMS {
        for has_host in [true, false] {
            let (installation, host) = site(system, has_host);
            test(&installation, host.as_ref());
        }
    }
}

fn catch_up(installation: &Installation, host: Option<&Host>) {
    if host.is_none() {
        installation.succeed(&["run", "--until-caught-up"]);
    }
}

/// The tables of generations that are there, whoever needs them.
fn tables(installation: &Installation) -> i64 {
    installation
        .read_models
        .number(match installation.read_models.system() {
            System::Sqlite => {
                "SELECT count(*) FROM sqlite_schema
             WHERE type = 'table' AND name GLOB 'gnomon_[0-9]*_notes'"
            }
            System::Postgres => {
                "SELECT count(*) FROM information_schema.tables
             WHERE table_name = 'notes' AND table_type = 'BASE TABLE'"
            }
        })
}

fn wait_for_tables(installation: &Installation, count: i64) {
    let started = Instant::now();
    while tables(installation) != count {
        assert!(
            started.elapsed() < PATIENCE,
            "{} tables instead of {count}",
            tables(installation)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn rebuild(installation: &Installation, host: Option<&Host>) -> Value {
    let rebuilt = installation.json(&["rebuild", NAME])["generation"].clone();
    catch_up(installation, host);
    installation.wait_for_status(NAME, PATIENCE, |status| status["generation"] == rebuilt);
    rebuilt
}

#[test]
fn a_candidate_is_dropped_with_its_tables_and_the_live_one_goes_on() {
    everywhere(|installation, host| {
        let live = installation.status(NAME)["generation"].clone();
        let candidate = installation.json(&["rebuild", NAME, "--hold"])["generation"].clone();
        wait_for_tables(installation, 2);
        let said = installation.json(&["remove", NAME, "--candidate"]);
        assert_eq!(
            said,
            json!({"name": NAME, "done": "candidate dropped", "generation": candidate})
        );
        wait_for_tables(installation, 1);
        installation.append("Order-1", "OrderPacked", &json!({}));
        catch_up(installation, host);
        installation.wait_for(NAME, installation.head());
        let status = installation.status(NAME);
        assert_eq!(status["generation"], live, "{status}");
        assert_eq!(status["candidate"], Value::Null, "{status}");
    });
}

#[test]
fn a_removed_projection_keeps_its_tables_and_comes_back_where_it_was() {
    everywhere(|installation, host| {
        let live = installation.status(NAME)["generation"].clone();
        let said = installation.json(&["remove", NAME]);
        assert_eq!(said["done"], "removed", "{said}");
        installation.wait_for_status(NAME, PATIENCE, |status| {
            status["state"] == "paused" && status["host"].is_null()
        });
        installation.append("Order-1", "OrderPacked", &json!({}));
        let status = installation.status(NAME);
        let cause = status["cause"].as_str().unwrap();
        assert!(
            cause.contains("was removed") && cause.contains("gnomon resume"),
            "{cause}"
        );
        assert_eq!(status["position"], 20, "{status}");
        assert!(installation.rows_of(NAME, "notes").is_empty());
        installation.succeed(&["resume", NAME]);
        catch_up(installation, host);
        installation.wait_for(NAME, 21);
        assert_eq!(installation.status(NAME)["generation"], live);
    });
}

#[test]
fn a_removed_projection_that_is_deployed_again_comes_back_where_it_was() {
    everywhere(|installation, host| {
        let live = installation.status(NAME)["generation"].clone();
        installation.succeed(&["remove", NAME]);
        installation.append("Order-1", "OrderPacked", &json!({}));
        let deployed = installation.deploy(&another_build(&module(), 1), &[]);
        assert_eq!(deployed["generations"], json!([live]), "{deployed}");
        catch_up(installation, host);
        installation.wait_for(NAME, 21);
    });
}

#[test]
fn drop_leaves_nothing_of_a_projection_and_its_name_is_free() {
    everywhere(|installation, host| {
        rebuild(installation, host);
        installation.succeed(&["rebuild", NAME, "--hold"]);
        wait_for_tables(installation, 3);
        let said = installation.json(&["remove", NAME, "--drop"]);
        assert_eq!(
            said,
            json!({"name": NAME, "done": "dropped", "generation": null})
        );
        installation.fail(&["status", NAME], &["no projection `notebook`"]);
        wait_for_tables(installation, 0);
        assert!(!installation.read_models.has_table("notes"));
        if installation.read_models.system() == System::Postgres {
            let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%notebook%'";
            assert_eq!(installation.read_models.number(schemas), 0);
        }
        let deployed = installation.deploy(&module(), &[]);
        assert_eq!(deployed["action"], "building", "{deployed}");
        catch_up(installation, host);
        let status = installation.wait_until_live(NAME, 1);
        assert_eq!(status["position"], 20, "{status}");
        assert_eq!(status["retired"], Value::Null, "{status}");
    });
}

#[test]
fn as_many_retired_generations_are_kept_as_the_configuration_says() {
    for system in SYSTEMS {
        for (keep, tables_left) in [(0, 1), (2, 3)] {
            let installation = Installation::in_one_database(system)
                .with_configuration(&format!("[projections]\nkeep-generations = {keep}"));
            installation.append_orders(20, 52);
            installation.deploy(&module(), &[]);
            let host = installation.start_host();
            installation.wait_until_live(NAME, 1);
            let built: Vec<Value> = (0..4)
                .map(|_| rebuild(&installation, Some(&host)))
                .collect();
            wait_for_tables(&installation, tables_left);
            let status = installation.status(NAME);
            assert_eq!(status["generation"], built[3], "{status}");
            if keep == 0 {
                installation.fail(&["rollback", NAME], &["no retired generation"]);
                continue;
            }
            assert_eq!(status["retired"]["generation"], built[2], "{status}");
            let back = installation.json(&["rollback", NAME, "--timeout", "120s"]);
            assert_eq!(back["generation"], built[2], "{back}");
            // The one that was live is the last that was retired.
            let status = installation.status(NAME);
            assert_eq!(status["retired"]["generation"], built[3], "{status}");
        }
    }
}
