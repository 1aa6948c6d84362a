//! `rebuild --until --as`: a read model as it stood then, beside the one of
//! today.

use gnomon_tests::harness::{Installation, Spending, System};
use serde_json::json;

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const EVENTS: usize = 3_000;
const FIRST: Spending = Spending::version(1);

fn installation(system: System) -> Installation {
    let installation = Installation::new(system, system);
    installation.append_orders(EVENTS, 1);
    FIRST.deploy(&installation, &[]);
    installation.succeed(&["run", "--until-caught-up"]);
    installation
}

/// When an event was recorded, as RFC 3339, and the last event of that time.
fn time_of(installation: &Installation, position: i64) -> (String, i64) {
    let envelopes = installation.json_lines(&["events", "--limit", "1000000"]);
    let time = |number: usize| envelopes[number]["recorded_at"].as_str().unwrap();
    let then = time(usize::try_from(position).unwrap() - 1).to_owned();
    let last = (0..envelopes.len())
        .filter(|number| time(*number) == then)
        .max();
    (then, i64::try_from(last.unwrap()).unwrap() + 1)
}

#[test]
fn a_copy_has_the_rows_of_then_beside_those_of_today() {
    for system in SYSTEMS {
        let installation = installation(system);
        let host = installation.start_host();
        let (time, last) = time_of(&installation, 2_000);
        let mut copies = Vec::new();
        for (name, until, last) in [
            ("spending_before", "1234", 1_234),
            ("spending_then", time.as_str(), last),
        ] {
            let arguments = ["rebuild", "spending", "--until", until, "--as", name];
            let copied = installation.json(&arguments);
            assert_eq!(copied["name"], name, "{copied}");
            assert_eq!(copied["until"], last, "{copied}");
            installation.wait_for(name, last);
            copies.push(FIRST.copied(name, last));
        }
        wait_until_live(&installation, &["spending_before", "spending_then"]);
        let event = json!({"customer_id": "C-new", "amount_cents": 123});
        installation.append("Order-new", "PaymentReceived", &event);
        installation.wait_for("spending", installation.head());
        let assert_right = |when: &str| {
            FIRST.assert_right(&installation, when);
            for copy in &copies {
                copy.assert_right(&installation, when);
            }
        };
        assert_right("with copies");
        let _ = host.kill();
        let host = installation.start_host();
        installation.append("Order-new", "PaymentReceived", &event);
        installation.wait_for("spending", installation.head());
        assert_right("with copies, after another start");
        // The original may change and the copy go.
        Spending::version(2).deploy(&installation, &["--wait", "--timeout", "120s"]);
        Spending::version(2).assert_right(&installation, "beside copies of version 1");
        copies[1].assert_right(&installation, "beside version 2");
        installation.succeed(&["remove", "spending_before", "--drop"]);
        copies[1].assert_right(&installation, "after the other copy went");
        let names = installation.json_lines(&["status"]);
        assert_eq!(names.len(), 2, "{names:?}");
        drop(host);
    }
}

#[test]
fn a_copy_can_be_made_before_a_host_runs() {
    for system in SYSTEMS {
        let installation = installation(system);
        installation.succeed(&[
            "rebuild",
            "spending",
            "--until",
            "500",
            "--as",
            "early_spending",
        ]);
        installation.succeed(&["run", "--until-caught-up"]);
        FIRST
            .copied("early_spending", 500)
            .assert_right(&installation, "built by the next host");
        FIRST.assert_right(&installation, "beside a copy");
    }
}

#[test]
fn a_copy_that_cannot_be_made_is_refused_with_the_reason() {
    for system in SYSTEMS {
        let installation = installation(system);
        for usage in [
            &["--until", "5"][..],
            &["--as", "copy"],
            &["--until", "yesterday", "--as", "copy"],
            &["--until", "5", "--as", "copy", "--hold"],
        ] {
            let arguments = [&["rebuild", "spending"], usage].concat();
            assert_eq!(installation.run(&arguments).code, Some(2), "{arguments:?}");
        }
        let refused = |until: &str, name: &str, said: &[&str]| {
            installation.fail(
                &["rebuild", "spending", "--until", until, "--as", name],
                said,
            );
        };
        refused("5", "Copy Of It", &["`Copy Of It`", "lower-case letters"]);
        refused("5", "spending", &["spending", "another name"]);
        refused("3001", "copy", &["3000", "3001"]);
        installation.fail(
            &["rebuild", "nobody", "--until", "5", "--as", "copy"],
            &["no projection `nobody`"],
        );
        // None of them has left anything.
        assert_eq!(installation.read_models.generations().len(), 1);
        assert_eq!(installation.read_models.generations_with_tables().len(), 1);
    }
}

fn wait_until_live(installation: &Installation, projections: &[&str]) {
    let limit = std::time::Duration::from_secs(120);
    for projection in projections {
        installation.wait_for_status(projection, limit, |status| {
            status["generation_state"] == "live"
        });
    }
}
