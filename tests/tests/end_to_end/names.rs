//! A projection's name that is spelt wrongly: every command says which one is
//! meant.

use gnomon_tests::harness::{Installation, System};

const NAME: &str = "order_summary";
const MISSPELT: &str = "ordr_summary";

/// Every command that takes the name of a projection, with what stands behind it.
const COMMANDS: [(&[&str], &[&str]); 22] = [
    (&["status"], &[]),
    (&["status", "--json", "--check"], &[]),
    (&["wait"], &[]),
    (&["wait"], &["--position", "1"]),
    (&["pause"], &[]),
    (&["resume"], &[]),
    (&["resume"], &["--accept-history"]),
    (&["rebuild"], &["--wait"]),
    (&["rebuild"], &["--as", "copy", "--until", "1"]),
    (&["promote"], &[]),
    (&["rollback"], &[]),
    (&["rollback"], &["--cancel"]),
    (&["remove"], &[]),
    (&["remove"], &["--drop"]),
    (&["remove"], &["--candidate"]),
    (&["diff"], &[]),
    (&["verify"], &[]),
    (&["dead-letters", "list"], &[]),
    (&["dead-letters", "retry"], &[]),
    (&["dead-letters", "skip"], &["--position", "1"]),
    (&["dead-letters", "discard"], &["--position", "1"]),
    (&["dead-letters", "unskip"], &["--position", "1"]),
];

#[test]
fn a_name_that_is_nearly_right_is_answered_with_the_right_one() {
    for system in [System::Sqlite, System::Postgres] {
        let installation = Installation::new(system, system).with_example("order-summary");
        installation.append("Order-1", "OrderPlaced", &serde_json::json!({}));
        installation.run(&["run", "--until-caught-up"]);
        for (command, behind) in COMMANDS {
            let said = |name| {
                let arguments = [command, &[name], behind].concat();
                let finished = installation.run(&arguments);
                assert_eq!(finished.code, Some(1), "{arguments:?}: {finished:?}");
                assert_eq!(finished.stdout, "", "{arguments:?}");
                finished.stderr
            };
            assert_eq!(
                said(MISSPELT),
                format!(
                    "error: there is no projection `{MISSPELT}`; did you mean `{NAME}`? `gnomon \
                     status` lists all\n"
                ),
                "{command:?} {behind:?}"
            );
            assert_eq!(
                said("invoices"),
                "error: there is no projection `invoices`; `gnomon status` lists all\n",
                "{command:?} {behind:?}"
            );
        }
    }
}

#[test]
fn what_was_removed_or_dropped_is_said_to_be() {
    for system in [System::Sqlite, System::Postgres] {
        let installation = Installation::new(system, system).with_example("order-summary");
        installation.append("Order-1", "OrderPlaced", &serde_json::json!({}));
        installation.run(&["run", "--until-caught-up"]);
        installation.succeed(&["remove", NAME]);
        installation.fail(&["pause", NAME], &["was removed", "gnomon resume"]);
        installation.succeed(&["remove", NAME, "--drop"]);
        for command in ["pause", "resume", "rebuild", "promote", "diff"] {
            installation.fail(&[command, NAME], &["was dropped", "gnomon deploy FILE"]);
        }
    }
}
