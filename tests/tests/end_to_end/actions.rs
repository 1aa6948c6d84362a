//! `gnomon history`: who did what to a projection.

use gnomon_tests::harness::{Installation, System};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "spending";

fn installation(system: System) -> Installation {
    let installation = Installation::in_one_database(system).with_guest(NAME);
    for order in 0..3 {
        let data = json!({"customer_id": "anna", "amount_cents": 5});
        installation.append(&format!("Order-{order}"), "PaymentReceived", &data);
    }
    installation
}

fn history(installation: &Installation, arguments: &[&str]) -> Vec<Value> {
    installation.json_lines(&[&["history"], arguments].concat())
}

fn actions(history: &[Value]) -> Vec<&str> {
    history
        .iter()
        .map(|action| action["action"].as_str().unwrap())
        .collect()
}

#[test]
fn users_and_hosts_leave_a_history() {
    for system in SYSTEMS {
        let installation = installation(system);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.succeed(&["rebuild", NAME, "--hold"]);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.succeed(&["promote", NAME]);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.succeed(&["pause", NAME]);
        installation.succeed(&["resume", NAME]);
        // Nobody has applied it yet.
        let data = json!({"customer_id": "anna", "amount_cents": 5});
        installation.append("Order-0", "PaymentReceived", &data);
        let skip = ["dead-letters", "skip", NAME, "--position", "4"];
        installation.succeed(&[&skip[..], &["--reason", "twice"]].concat());
        installation.succeed(&["remove", NAME, "--drop"]);
        let all = history(&installation, &[]);
        assert_eq!(
            actions(&all),
            [
                "deployed",
                "promoted",
                "rebuilt",
                "promotion-requested",
                "promoted",
                "paused",
                "resumed",
                "event-skipped",
                "dropped",
                "generation-dropped",
                "generation-dropped",
            ],
            "{system:?}"
        );
        let host = all[0]["actor"].as_str().unwrap();
        assert!(!host.contains('@'), "{host}");
        for by_a_user in [2, 3, 5, 6, 7, 8] {
            let actor = all[by_a_user]["actor"].as_str().unwrap();
            assert!(actor.contains('@'), "{by_a_user}: {actor}");
        }
        assert_eq!(all[0]["module"], all[2]["module"]);
        assert_eq!(all[2]["detail"], "held");
        assert_eq!(
            (&all[7]["position"], &all[7]["detail"]),
            (&json!(4), &json!("twice"))
        );
        // The projection is gone, and its history is not.
        assert_eq!(history(&installation, &[NAME]), all);
        let newest = history(&installation, &[NAME, "--limit", "2"]);
        assert_eq!(newest, all[9..]);
        let shown = installation.succeed(&["history"]);
        assert!(
            shown.contains("rebuilt") && shown.contains("twice"),
            "{shown}"
        );
    }
}

#[test]
fn a_projection_that_never_was_has_no_history() {
    let installation = installation(System::Sqlite);
    installation.fail(&["history"], &["there are no projections at"]);
    installation.succeed(&["run", "--until-caught-up"]);
    installation.fail(&["history", "spendin"], &["did you mean `spending`?"]);
}
