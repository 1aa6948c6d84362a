//! Projections beside one whose guest runs for as long as it is let: they are
//! not a batch late.

use std::time::{Duration, Instant};

use gnomon_demo::{Envelope, OrderEvent, Orders};
use gnomon_tests::harness::{Installation, READ_MODELS, System};
use serde_json::json;

/// Far longer, and far more reads, than the neighbours need for what comes
/// meanwhile.
const SETTINGS: &str = "
[projection.abuses]
batch-events = 1
batch-time = '150s'
batch-reads = 1_000_000_000
";
const LIMIT: Duration = Duration::from_secs(60);
/// Orders, the events of which come one after the other while the guest runs.
const ORDERS: usize = 3;

#[test]
fn beside_a_guest_that_loops_each_event_is_projected_at_once() {
    for (target, abuse) in [
        (System::Sqlite, "LoopsForever"),
        (System::Postgres, "LoopsForever"),
        (System::Postgres, "LoopsInTheHost"),
    ] {
        beside(target, abuse);
    }
}

fn beside(target: System, abuse: &str) {
    let when = format!("beside {abuse} on {target:?}");
    let installation = Installation::new(System::Sqlite, target)
        .with_examples()
        .with_guest("abuses")
        .with_configuration(SETTINGS);
    installation.append("Abuse-1", "Harmless", &json!({}));
    let _host = installation.start_host();
    installation.wait_for_status("abuses", LIMIT, |status| {
        status["position"] == 1 && status["generation_state"] == "live"
    });
    // It stays in this one, and what comes behind it waits.
    installation.append("Abuse-1", abuse, &json!({}));
    let started = Instant::now();
    let events = events_of_paid_orders();
    for envelope in &events {
        let line = serde_json::to_vec(envelope).unwrap();
        std::fs::write(installation.path("event.ndjson"), line).unwrap();
        installation.succeed(&["append", "--file", "event.ndjson"]);
        for read_model in READ_MODELS {
            installation.wait_for(read_model.projection, installation.head());
        }
    }
    println!(
        "{when}: {} events in {:.1?}",
        events.len(),
        started.elapsed()
    );
    installation.assert_rows_are_right(&when);
    let status = installation.status("abuses");
    assert_eq!(status["position"], 1, "{when}: {status}");
    assert_eq!(
        status["state"], "running",
        "{when}: it was stopped: {status}"
    );
}

/// All events of some orders that were paid.
fn events_of_paid_orders() -> Vec<Envelope> {
    let log: Vec<Envelope> = Orders::new(9).take(1_000).collect();
    let mut orders: Vec<&str> = log
        .iter()
        .filter(|envelope| matches!(envelope.event, OrderEvent::PaymentReceived { .. }))
        .map(|envelope| envelope.stream_id.as_str())
        .collect();
    orders.dedup();
    orders.truncate(ORDERS);
    log.iter()
        .filter(|envelope| orders.contains(&envelope.stream_id.as_str()))
        .cloned()
        .collect()
}
