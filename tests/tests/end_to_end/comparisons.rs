//! `diff` and `verify`: what differs, where, and that looking harms nobody.

use std::process::{Child, Stdio};
use std::time::Duration;

use gnomon_tests::harness::{Feed, Installation, Spending, Stored, System};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const EVENTS: usize = 3_000;
const FIRST: Spending = Spending::version(1);
/// For what happens at once on a machine that is not busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where version 1 is live and has caught up.
fn installation(system: System) -> Installation {
    let installation = Installation::new(system, system)
        .with_variable("GNOMON_LIMITS_LEASE_TIME", "1s")
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 50);
    installation.append_orders(EVENTS, 1);
    FIRST.deploy(&installation, &[]);
    installation.succeed(&["run", "--until-caught-up"]);
    installation
}

/// The customers with the lowest keys.
fn customers(installation: &Installation, generation: i64, count: usize) -> Vec<String> {
    let table = installation
        .read_models
        .physical_table(generation, "spending");
    let rows = installation.read_models.rows(&format!(
        "SELECT customer_id FROM {table} ORDER BY customer_id LIMIT {count}"
    ));
    rows.into_iter().flatten().flatten().collect()
}

/// What a comparison found in a table.
fn compared<'a>(comparison: &'a Value, table: &str) -> &'a Value {
    let tables = comparison["tables"].as_array().unwrap();
    tables.iter().find(|found| found["table"] == table).unwrap()
}

#[test]
fn a_diff_names_each_row_that_differs_and_in_which_column() {
    for system in SYSTEMS {
        let installation = installation(system);
        installation.succeed(&["rebuild", "spending", "--hold"]);
        installation.succeed(&["run", "--until-caught-up"]);
        let (live, candidate) = (installation.live().id, installation.wait_until_ready().id);
        let read_models = &installation.read_models;
        let table = |generation| read_models.physical_table(generation, "spending");
        let [missing, other] = &customers(&installation, live, 2)[..] else {
            panic!("there are more customers than that")
        };
        read_models.execute(&format!(
            "DELETE FROM {candidate} WHERE customer_id = '{missing}';
             UPDATE {candidate} SET paid_cents = paid_cents + 1 WHERE customer_id = '{other}';
             INSERT INTO {candidate} (customer_id, payments, paid_cents) VALUES ('Z-new', 1, 2)",
            candidate = table(candidate)
        ));
        for with_host in [false, true] {
            let _host = with_host.then(|| installation.start_host());
            let found = installation.json(&["diff", "spending"]);
            assert_eq!(found["equal"], false, "{found}");
            assert_eq!(
                (&found["live"], &found["candidate"]),
                (&json!(live), &json!(candidate))
            );
            assert_eq!(found["position"], EVENTS);
            let total = compared(&found, "spending_total");
            assert_eq!(total["different"], 0, "{found}");
            let spending = compared(&found, "spending");
            for key in ["only_left", "only_right", "different"] {
                assert_eq!(spending[key], 1, "{key}: {found}");
            }
            assert_eq!(
                spending["different_columns"],
                json!([{"column": "paid_cents", "rows": 1}])
            );
            let samples = spending["samples"].as_array().unwrap();
            let sample = |customer: &str| {
                let key = json!({"customer_id": customer});
                samples.iter().find(|sample| sample["key"] == key).unwrap()
            };
            assert_eq!(samples.len(), 3, "{found}");
            assert_eq!(sample(missing)["difference"], "only-left");
            assert_eq!(sample("Z-new")["difference"], "only-right");
            assert_eq!(sample("Z-new")["right"]["paid_cents"], 2, "{found}");
            let changed = sample(other);
            assert_eq!(changed["difference"], "different");
            let cents = |side: &str| changed[side]["paid_cents"].as_i64().unwrap();
            assert_eq!(cents("left") + 1, cents("right"), "{found}");
            let said = installation.succeed(&["diff", "spending"]);
            for fragment in [
                "they differ",
                missing,
                "Z-new",
                "1 rows differ in paid_cents",
            ] {
                assert!(said.contains(fragment), "no `{fragment}` in:\n{said}");
            }
        }
    }
}

#[test]
fn a_diff_counts_all_rows_and_shows_the_first_twenty() {
    for system in SYSTEMS {
        let installation = installation(system);
        Spending::version(3).deploy(&installation, &["--hold"]);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.wait_until_ready();
        let found = installation.json(&["diff", "spending"]);
        let spending = compared(&found, "spending");
        assert_eq!(spending["only_right_columns"], json!(["orders"]), "{found}");
        assert_eq!(spending["only_left_columns"], json!([]));
        let count = |key: &str| spending[key].as_u64().unwrap();
        assert!(count("different") > 20, "{found}");
        assert_eq!(count("only_left"), 0);
        // Customers who have ordered and not yet paid.
        assert_eq!(
            count("only_right"),
            count("right_rows") - count("left_rows")
        );
        assert_eq!(spending["samples"].as_array().unwrap().len(), 20);
        let columns = spending["different_columns"].as_array().unwrap();
        let names: Vec<&Value> = columns.iter().map(|column| &column["column"]).collect();
        assert_eq!(names, ["paid_cents"]);
        assert_eq!(columns[0]["rows"], spending["different"]);
        let total = compared(&found, "spending_total");
        assert_eq!(total["different"], 1);
    }
}

#[test]
fn a_diff_waits_for_a_candidate_that_is_being_built_while_events_keep_coming() {
    for system in SYSTEMS {
        let installation = installation(system);
        let _host = installation.start_host();
        let feed = Feed::start(&installation.events, 2, Duration::from_millis(20));
        installation.succeed(&["rebuild", "spending", "--hold"]);
        let found = installation.json(&["diff", "spending"]);
        assert_eq!(found["equal"], true, "{found}");
        let rows = compared(&found, "spending")["left_rows"].as_u64().unwrap();
        assert!(rows > 0, "{found}");
        // Both go on afterwards.
        let position = found["position"].as_i64().unwrap();
        installation.wait_for_generations("going on", |all| {
            all.iter()
                .all(|generation| generation.position > position)
                .then_some(())
        });
        let _ = feed.end();
        installation.wait_for("spending", installation.head());
        FIRST.assert_right(&installation, "after a diff");
        installation.succeed(&["promote", "spending", "--timeout", "120s"]);
        FIRST.assert_right(&installation, "after the promotion");
    }
}

#[test]
fn a_diff_without_a_candidate_says_how_to_make_one() {
    let installation = installation(System::Sqlite);
    installation.fail(
        &["diff", "spending"],
        &["no candidate", "rebuild spending --hold"],
    );
    installation.fail(&["diff", "nobody"], &["no projection `nobody`"]);
    installation.fail(&["verify", "nobody"], &["no projection `nobody`"]);
}

#[test]
fn verify_finds_a_row_that_was_edited_by_hand() {
    for system in SYSTEMS {
        let installation = installation(system);
        let live = installation.live();
        let table = installation.read_models.physical_table(live.id, "spending");
        let customer = &customers(&installation, live.id, 1)[0];
        for with_host in [false, true] {
            let host = with_host.then(|| installation.start_host());
            let found = installation.json(&["verify", "spending"]);
            assert_eq!(found["equal"], true, "{found}");
            installation.read_models.execute(&format!(
                "UPDATE {table} SET payments = payments + 7 WHERE customer_id = '{customer}'"
            ));
            let finished = installation.run(&["verify", "spending", "--json"]);
            assert_eq!(finished.code, Some(1), "{finished:?}");
            let found: Value = serde_json::from_str(&finished.stdout).unwrap();
            let spending = compared(&found, "spending");
            assert_eq!(spending["different"], 1, "{found}");
            let sample = &spending["samples"][0];
            assert_eq!(sample["key"], json!({"customer_id": customer}));
            let payments = |side: &str| sample[side]["payments"].as_i64().unwrap();
            assert_eq!(payments("left"), payments("right") + 7, "{found}");
            installation.read_models.execute(&format!(
                "UPDATE {table} SET payments = payments - 7 WHERE customer_id = '{customer}'"
            ));
            installation.wait_until_tidy();
            assert_eq!(installation.live().id, live.id);
            let said = installation.succeed(&["verify", "spending"]);
            assert!(said.contains("all rows are the same"), "{said}");
            if let Some(host) = host {
                let (finished, _) = host.terminate(PATIENCE);
                assert_eq!(finished.code, Some(0), "{finished:?}");
            }
        }
    }
}

#[test]
fn verify_finds_nothing_wrong_while_events_keep_coming() {
    for system in SYSTEMS {
        let installation = installation(system);
        let _host = installation.start_host();
        let feed = Feed::start(&installation.events, 4, Duration::from_millis(20));
        let found = installation.json(&["verify", "spending"]);
        assert_eq!(found["equal"], true, "{found}");
        let _ = feed.end();
        installation.wait_for("spending", installation.head());
        FIRST.assert_right(&installation, "after a verification");
        installation.wait_until_tidy();
    }
}

#[test]
fn comparisons_do_not_need_a_host_that_was_killed() {
    for system in SYSTEMS {
        let installation = installation(system);
        let host = installation.start_host();
        installation.succeed(&["rebuild", "spending", "--hold"]);
        installation.wait_until_ready();
        let _ = host.kill();
        // They do its work as soon as it is clear that it is gone.
        for command in ["diff", "verify"] {
            let found = installation.json(&[command, "spending"]);
            assert_eq!(found["equal"], true, "{command}: {found}");
        }
    }
}

#[test]
fn comparisons_need_no_other_host_if_theirs_is_killed_meanwhile() {
    let installation = installation(System::Postgres);
    let host = installation.start_host();
    installation.wait_for_status("spending", PATIENCE, |status| status["host"].is_string());
    let mut verification = start_verification(&installation);
    host.freeze();
    installation.wait_for_generations("being verified", |all| {
        all.iter()
            .any(|found| found.goal == "compare")
            .then_some(())
    });
    let _ = host.kill();
    assert!(verification.wait().unwrap().success());
    installation.wait_until_tidy();
}

#[test]
fn a_verification_that_is_killed_with_a_host_leaves_nothing_behind() {
    kill_a_verification(System::Postgres, true);
}

#[test]
fn a_verification_that_is_killed_without_a_host_leaves_nothing_behind() {
    kill_a_verification(System::Sqlite, false);
}

fn kill_a_verification(system: System, with_host: bool) {
    let installation = installation(system);
    let live = installation.live();
    let host = with_host.then(|| installation.start_host());
    let mut verification = start_verification(&installation);
    installation.wait_for_generations("being verified", |all| {
        let is_under_way = |found: &Stored| found.goal == "compare" && found.position > 0;
        let has_ended = verification.try_wait().unwrap().is_some();
        (has_ended || all.iter().any(is_under_way)).then_some(())
    });
    verification.kill().unwrap();
    verification.wait().unwrap();
    let _host = host.unwrap_or_else(|| installation.start_host());
    let event = json!({"customer_id": "C-new", "amount_cents": 123});
    installation.append("Order-new", "PaymentReceived", &event);
    installation.wait_for("spending", installation.head());
    installation.wait_until_tidy();
    assert_eq!(installation.live().id, live.id);
    FIRST.assert_right(&installation, "after a verification was killed");
}

fn start_verification(installation: &Installation) -> Child {
    installation
        .command(&["verify", "spending"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}
