//! How fast a projection goes, as `status` says it.

use std::time::Duration;

use gnomon_tests::harness::{Installation, System};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
const NAME: &str = "picky";
/// Without an event, behind the first of them.
const HOLE: i64 = 1_000_000_000_000;

fn write_far_behind(installation: &Installation) {
    let id = "0190a5a0-7c00-7000-8000-000000000002";
    let data = json!({"note": "far", "fault": null});
    let stream = "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version,
                      global_position)";
    let move_sequence = match installation.events.system() {
        System::Sqlite => String::new(),
        System::Postgres => {
            format!("SELECT setval('events_global_position_seq', {HOLE} + 1, false);")
        }
    };
    installation.events.execute(&format!(
        "{move_sequence} {stream} VALUES ('{id}', 'Note-2', 'Note', 'Noted', '{data}', 1, {HOLE} + 1)"
    ));
    if installation.events.system() == System::Postgres {
        let sequence = "SELECT setval('events_global_position_seq', max(global_position))";
        installation
            .events
            .execute(&format!("{sequence} FROM events"));
    }
}

fn rate(status: &Value) -> Option<f64> {
    status["rate"].as_f64()
}

#[test]
fn it_is_a_rate_of_events_and_ends_with_them() {
    for system in [System::Sqlite, System::Postgres] {
        let installation = Installation::new(system, system).with_guest("picky");
        let data = json!({"note": "near", "fault": null});
        installation.append("Note-1", "Noted", &data);
        let host = installation.start_host();
        installation.wait_for(NAME, 1);
        write_far_behind(&installation);
        let status = installation.wait_for_status(NAME, LIMIT, |status| {
            status["position"] == HOLE + 1 && rate(status).is_some()
        });
        // Whatever the machine, it passes neither a thousand events in this second,
        // of which there are two, nor all positions between them in years.
        let shown = rate(&status).unwrap();
        assert!(shown > 0.0 && shown < 10_000.0, "{status}");
        // Nothing comes any more, and the host is there.
        let status = installation.wait_for_status(NAME, LIMIT, |status| rate(status).is_none());
        assert_eq!(status["state"], "running", "{status}");
        drop(host);
    }
}
