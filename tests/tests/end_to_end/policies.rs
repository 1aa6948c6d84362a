//! What becomes of events that a projection cannot apply. The module `picky`
//! refuses those that ask for it, in three ways; `picky-mended` is the same
//! after its author has mended it.

use std::time::Duration;

use gnomon_tests::harness::{Chance, Database, Host, Installation, Rows, System, guest};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const LIMIT: Duration = Duration::from_secs(20);
const NAME: &str = "picky";

fn installation(system: System, policy: &str) -> Installation {
    Installation::in_one_database(system)
        .with_guest("picky")
        .with_configuration(&format!("[projection.picky]\non-error = '{policy}'"))
        // A host that was killed shall not be waited for.
        .with_variable("GNOMON_LIMITS_LEASE_TIME", "1s")
}

/// Appends a note; `fault` is what it asks `picky` to do.
fn note(installation: &Installation, stream: &str, note: &str, fault: Option<&str>) {
    let data = json!({"note": note, "fault": fault});
    installation.append(stream, "Noted", &data);
}

/// The rows of a table.
fn rows(installation: &Installation, table: &str) -> Rows {
    let database: &Database = &installation.read_models;
    match database.system() {
        System::Sqlite => database.rows(&format!("SELECT * FROM {table}")),
        System::Postgres => database.rows(&format!("SELECT * FROM picky.{table}")),
    }
}

/// The notes that were applied, in the order of their positions.
fn applied(installation: &Installation) -> Vec<String> {
    let mut rows = rows(installation, "seen");
    rows.sort_by_key(|row| row[0].as_ref().unwrap().parse::<u64>().unwrap());
    rows.into_iter()
        .map(|row| row[3].clone().unwrap())
        .collect()
}

/// Positions and reasons of what waits.
fn waiting(installation: &Installation) -> Vec<(u64, String)> {
    installation
        .json_lines(&["dead-letters", "list", NAME])
        .iter()
        .map(|letter| {
            (
                letter["global_position"].as_u64().unwrap(),
                letter["error"].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

fn positions(installation: &Installation) -> Vec<u64> {
    waiting(installation)
        .into_iter()
        .map(|(position, _)| position)
        .collect()
}

/// Starts a host and waits until it has the lease.
fn working_host(installation: &Installation) -> Host {
    let host = installation.start_host();
    installation.wait_for_status(NAME, LIMIT, |status| {
        status["host"].is_string() && status["state"] == "running"
    });
    host
}

fn stop(host: Host) {
    let (ended, _) = host.terminate(Duration::from_secs(5));
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn halt_names_the_event_and_goes_on_after_the_module_was_mended() {
    for system in SYSTEMS {
        for (fault, said) in FAULTS {
            let installation = installation(system, "halt");
            for number in 1..=5 {
                note(&installation, "Note-a", &format!("a{number}"), None);
            }
            note(&installation, "Note-b", "b1", Some(fault));
            note(&installation, "Note-a", "a6", None);
            let host = installation.start_host();
            let halted = |status: &Value| status["state"] == "halted";
            let status = installation.wait_for_status(NAME, LIMIT, halted);
            let cause = status["cause"].as_str().unwrap();
            for fragment in ["6", "Noted", "Note-b", said] {
                assert!(cause.contains(fragment), "`{fragment}` is not in: {cause}");
            }
            assert_eq!(status["position"], 5, "{status}");
            // Another try with the same module ends in the same place.
            installation.succeed(&["resume", NAME]);
            installation.fail(&["wait", NAME, "--position", "6"], &["halted"]);
            installation.wait_for_status(NAME, LIMIT, halted);
            let _ = host.kill();
            // So it does after a restart.
            let host = installation.start_host();
            installation.wait_for_status(NAME, LIMIT, |status| {
                halted(status) && !status["host"].is_null()
            });
            stop(host);
            installation.put_module("guest.wasm", &guest("picky-mended"));
            installation.succeed(&["run", "--until-caught-up"]);
            let expected = ["a1", "a2", "a3", "a4", "a5", "b1", "a6"];
            assert_eq!(applied(&installation), expected, "{system:?}, {fault}");
        }
    }
}

/// The ways to refuse an event, and what is then said.
const FAULTS: [(&str, &str); 3] = [
    ("reject", "the note asks to be rejected"),
    ("panic", "it trapped"),
    ("unwritable", "may hold 2500 bytes"),
];

#[test]
fn resume_tries_again_when_what_was_wrong_is_right() {
    for system in SYSTEMS {
        let installation = installation(system, "halt");
        note(&installation, "Note-a", "a1", Some("reject"));
        let host = installation.start_host();
        installation.wait_for_status(NAME, LIMIT, |status| status["state"] == "halted");
        installation.succeed(&["pause", NAME]);
        stop(host);
        installation.put_module("guest.wasm", &guest("picky-mended"));
        let _host = installation.start_host();
        installation.wait_for_status(NAME, LIMIT, |status| {
            status["state"] == "paused" && !status["host"].is_null()
        });
        assert_eq!(applied_before_promotion(&installation), 0);
        installation.succeed(&["resume", NAME]);
        installation.wait_for(NAME, 1);
        assert_eq!(applied(&installation), ["a1"]);
    }
}

/// Rows of the generation that readers do not see yet.
fn applied_before_promotion(installation: &Installation) -> i64 {
    installation.status(NAME)["position"].as_i64().unwrap()
}

#[test]
fn park_keeps_a_stream_in_order_and_lets_the_others_go_on() {
    for system in SYSTEMS {
        let installation = installation(system, "park");
        note(&installation, "Note-a", "a1", None);
        note(&installation, "Note-b", "b1", Some("reject"));
        note(&installation, "Note-a", "a2", None);
        note(&installation, "Note-b", "b2", None);
        note(&installation, "Note-c", "c1", Some("panic"));
        note(&installation, "Note-c", "c2", None);
        note(&installation, "Note-a", "a3", None);
        let host = installation.start_host();
        installation.wait_for(NAME, 7);
        assert_eq!(applied(&installation), ["a1", "a2", "a3"]);
        let letters = waiting(&installation);
        let reasons: Vec<&str> = letters.iter().map(|(_, reason)| reason.as_str()).collect();
        assert_eq!(positions(&installation), [2, 4, 5, 6]);
        assert!(reasons[0].contains("asks to be rejected"), "{reasons:?}");
        assert!(reasons[1].contains("waits behind"), "{reasons:?}");
        assert!(reasons[2].contains("it trapped"), "{reasons:?}");
        assert_eq!(installation.status(NAME)["dead_letters"], 4);
        // New events of a parked stream wait too, also in the next host.
        note(&installation, "Note-b", "b3", None);
        installation.wait_for(NAME, 8);
        let _ = host.kill();
        let host = installation.start_host();
        note(&installation, "Note-c", "c3", None);
        note(&installation, "Note-a", "a4", None);
        installation.wait_for(NAME, 10);
        assert_eq!(positions(&installation), [2, 4, 5, 6, 8, 9]);
        // A retry with the same module changes nothing but the reasons.
        let retried = installation.json(&["dead-letters", "retry", NAME]);
        assert_eq!(retried["done"], true, "{retried}");
        assert_eq!(positions(&installation), [2, 4, 5, 6, 8, 9]);
        assert_eq!(applied(&installation), ["a1", "a2", "a3", "a4"]);
        // One stream is given up; its later events are applied.
        let discard = ["dead-letters", "discard", NAME, "--stream", "Note-c"];
        let discarded = installation.json(&discard);
        assert_eq!(
            (&discarded["done"], &discarded["dead_letters"]),
            (&json!(true), &json!(3))
        );
        note(&installation, "Note-c", "c4", None);
        installation.wait_for(NAME, 11);
        assert_eq!(positions(&installation), [2, 4, 8]);
        stop(host);
        // The mended module applies the other one, in order.
        installation.put_module("guest.wasm", &guest("picky-mended"));
        let _host = working_host(&installation);
        let retried = installation.json(&["dead-letters", "retry", NAME]);
        assert_eq!(retried["dead_letters"], 0, "{retried}");
        installation.wait_for(NAME, 11);
        assert_eq!(
            applied(&installation),
            ["a1", "b1", "a2", "b2", "a3", "b3", "a4", "c4"]
        );
        let stream_b = rows(&installation, "streams")
            .into_iter()
            .find(|row| row[0].as_deref() == Some("Note-b"))
            .unwrap();
        let counts: Vec<&str> = stream_b[1..4]
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        assert_eq!(
            counts,
            ["3", "3", "0"],
            "events, last version, out of order"
        );
    }
}

#[test]
fn a_request_that_no_host_hears_is_carried_out_by_the_next_one() {
    for system in SYSTEMS {
        let installation = installation(system, "park");
        note(&installation, "Note-a", "a1", Some("reject"));
        installation.succeed(&["run", "--until-caught-up"]);
        assert_eq!(positions(&installation), [1]);
        let asked = installation.json(&["dead-letters", "discard", NAME, "--all", "--yes"]);
        assert_eq!(asked["done"], false, "{asked}");
        let _host = installation.start_host();
        installation.wait_for_status(NAME, LIMIT, |status| status["dead_letters"] == 0);
        assert_eq!(positions(&installation), Vec::<u64>::new());
    }
}

#[test]
fn a_value_that_is_still_refused_goes_on_waiting_after_a_retry() {
    let installation = installation(System::Postgres, "park");
    note(&installation, "Note-a", "a1", Some("unwritable"));
    note(&installation, "Note-a", "a2", None);
    note(&installation, "Note-b", "b1", Some("reject"));
    note(&installation, "Note-c", "c1", None);
    let _host = installation.start_host();
    installation.wait_for(NAME, 4);
    for _ in 0..2 {
        let retried = installation.json(&["dead-letters", "retry", NAME]);
        assert_eq!(retried["done"], true, "{retried}");
        assert_eq!(positions(&installation), [1, 2, 3]);
    }
    let letters = waiting(&installation);
    assert!(letters[0].1.contains("may hold 2500 bytes"), "{letters:?}");
    note(&installation, "Note-c", "c2", None);
    installation.wait_for(NAME, 5);
    assert_eq!(applied(&installation), ["c1", "c2"]);
}

#[test]
fn poison_that_is_parked_and_retried_leaves_the_rows_of_a_run_without_it() {
    for system in SYSTEMS {
        let mut chance = Chance::new();
        let installation = installation(system, "park")
            .with_variable("GNOMON_LIMITS_BATCH_EVENTS", chance.number(1..60));
        append_notes(&installation, &mut chance, 400);
        let host = installation.start_host();
        installation.wait_for(NAME, 400);
        assert!(!positions(&installation).is_empty(), "there was no poison");
        // More events, a host that dies, and a retry that helps nobody.
        append_notes(&installation, &mut chance, 200);
        let _ = host.kill();
        let host = installation.start_host();
        installation.wait_for(NAME, 600);
        installation.succeed(&["dead-letters", "retry", NAME]);
        stop(host);
        installation.put_module("guest.wasm", &guest("picky-mended"));
        let host = working_host(&installation);
        append_notes(&installation, &mut chance, 100);
        let retried = installation.json(&["dead-letters", "retry", NAME]);
        assert_eq!(retried["dead_letters"], 0, "{retried}");
        installation.wait_for(NAME, 700);
        stop(host);
        // The same events in a run in which nothing is refused.
        let never = Installation::on(
            installation.events.clone(),
            std::sync::Arc::new(Database::new(system)),
        )
        .with_guest("picky-mended");
        never.succeed(&["run", "--until-caught-up"]);
        for table in ["seen", "streams"] {
            assert_eq!(
                rows(&installation, table),
                rows(&never, table),
                "{table} on {system:?}, seed {}",
                chance.seed
            );
        }
    }
}

/// Appends notes to 30 streams; one of 25 is poison.
fn append_notes(installation: &Installation, chance: &mut Chance, count: usize) {
    let lines: String = (0..count)
        .map(|_| {
            let fault = (chance.number(0..25) == 0)
                .then(|| FAULTS[usize::try_from(chance.number(0..FAULTS.len() as u64)).unwrap()].0);
            let stream = format!("Note-{}", chance.number(0..30));
            let data = json!({"note": format!("{:x}", chance.number(0..1 << 40)), "fault": fault});
            let event = json!({
                "event_id": format!("00000000-0000-4000-8000-{:012x}", chance.number(0..1 << 47)),
                "stream_id": stream, "event_type": "Noted", "data": data,
            });
            format!("{event}\n")
        })
        .collect();
    std::fs::write(installation.path("notes.ndjson"), lines).unwrap();
    installation.succeed(&["append", "--file", "notes.ndjson"]);
}
