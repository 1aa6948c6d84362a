//! A host that runs: it wakes up for new events, and goes when it is told to.

use std::time::{Duration, Instant};

use gnomon_tests::harness::{Installation, System};
use serde_json::json;

/// What DESIGN promises is 50 ms; a busy machine gets some more, and a host that
/// only looks every second is still caught.
const WAKE_UP_LIMIT: Duration = Duration::from_millis(500);
const EXIT_LIMIT: Duration = Duration::from_secs(5);

fn order(number: u32) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn place(installation: &Installation, number: u32) -> i64 {
    let order_id = order(number);
    let data = json!({
        "order_id": order_id, "customer_id": "C-1", "total_cents": 500, "currency": "EUR",
        "items": [{"sku": "SKU-1", "qty": 2, "price_cents": 250}],
    });
    installation.append(&format!("Order-{order_id}"), "OrderPlaced", &data);
    installation.head()
}

#[test]
fn a_running_host_wakes_up_for_an_append() {
    for (source, target) in [
        (System::Sqlite, System::Postgres),
        (System::Postgres, System::Sqlite),
    ] {
        let installation = Installation::new(source, target).with_examples();
        let mut host = installation.start_host();
        let first = place(&installation, 1);
        installation.wait_for("order_summary", first);
        let mut delays = Vec::new();
        for number in 2..12 {
            let position = place(&installation, number);
            let appended = Instant::now();
            installation.wait_for("order_summary", position);
            delays.push(appended.elapsed());
        }
        delays.sort();
        assert!(
            delays[delays.len() / 2] < WAKE_UP_LIMIT,
            "{source:?}: {delays:?}"
        );
        assert!(host.is_running());
        for projection in ["customer_value", "daily_revenue"] {
            installation.wait_for(projection, installation.head());
        }
        let (ended, _) = host.terminate(EXIT_LIMIT);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let rows = installation.read_models.rows(match target {
            System::Sqlite => "SELECT orders FROM customer_value",
            System::Postgres => "SELECT orders FROM customer_value.customer_value",
        });
        assert_eq!(rows, [[Some("11".to_owned())]]);
    }
}

#[test]
fn a_host_that_is_told_to_go_is_gone_within_five_seconds_and_leaves_right_rows() {
    for system in [System::Sqlite, System::Postgres] {
        let installation = Installation::new(system, system)
            .with_examples()
            .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 100);
        installation.append_orders(20_000, 3);
        let host = installation.start_host();
        // In the middle of the log.
        installation.wait_for("customer_value", 1_000);
        let (ended, took) = host.terminate(EXIT_LIMIT);
        assert_eq!(ended.code, Some(0), "{system:?}, after {took:?}: {ended:?}");
        installation.succeed(&["run", "--until-caught-up"]);
        installation.assert_rows_are_right(&format!("after SIGTERM on {system:?}"));
    }
}

#[test]
fn a_second_run_has_nothing_to_do_and_changes_nothing() {
    for system in [System::Sqlite, System::Postgres] {
        let installation = Installation::new(system, system).with_examples();
        installation.append_orders(500, 4);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.assert_rows_are_right("after a second run");
    }
}
