//! Events that cannot be read, as somebody else may write them, and events that
//! cannot even be parked.

use std::time::Duration;

use gnomon_tests::harness::{Installation, System};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const LIMIT: Duration = Duration::from_secs(20);
const NAME: &str = "picky";

fn installation(events: System, read_models: System, policy: &str) -> Installation {
    Installation::new(events, read_models)
        .with_guest("picky")
        .with_configuration(&format!("[projection.picky]\non-error = '{policy}'"))
}

fn note(installation: &Installation, stream: &str, note: &str) {
    installation.append(stream, "Noted", &json!({"note": note, "fault": null}));
}

/// Writes a row past all that keeps the table in order.
fn write(installation: &Installation, stream: &str, fault: Option<&str>, time: &str) {
    let data = json!({"note": "b1", "fault": fault});
    let insert = format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version, created_at)
         VALUES ('0190a5a0-7c00-7000-8000-000000000001', {stream}, 'Note', 'Noted', '{data}', 1, {time})"
    );
    installation
        .events
        .execute(&match installation.events.system() {
            System::Sqlite => format!("PRAGMA ignore_check_constraints = ON; {insert}"),
            System::Postgres => {
                format!("ALTER TABLE events DROP CONSTRAINT events_created_at_check; {insert}")
            }
        });
}

/// Writes three events, the second of which has no time that can be read.
fn write_one_that_cannot_be_read(installation: &Installation) {
    note(installation, "Note-a", "a1");
    let time = match installation.events.system() {
        System::Sqlite => "'15.01.2025 10:30'",
        System::Postgres => "'infinity'",
    };
    write(installation, "'Note-b'", None, time);
    note(installation, "Note-a", "a2");
}

/// Gives it one.
fn correct(installation: &Installation) {
    let unlock = match installation.events.system() {
        System::Sqlite => "DROP TRIGGER events_refuse_update",
        System::Postgres => "DROP TRIGGER events_refuse_change ON events",
    };
    installation.events.execute(&format!(
        "{unlock}; UPDATE events SET created_at = '2025-01-15 10:30:00Z' WHERE global_position = 2"
    ));
}

/// The notes that were applied, in order.
fn applied(installation: &Installation) -> Vec<String> {
    let table = match installation.read_models.system() {
        System::Sqlite => "seen",
        System::Postgres => "picky.seen",
    };
    let mut rows = installation
        .read_models
        .rows(&format!("SELECT * FROM {table}"));
    rows.sort_by_key(|row| row[0].as_ref().unwrap().parse::<u64>().unwrap());
    rows.into_iter()
        .map(|row| row[3].clone().unwrap())
        .collect()
}

#[test]
fn a_projection_halts_on_an_event_that_cannot_be_read_until_it_can() {
    for system in SYSTEMS {
        let installation = installation(system, system, "halt");
        write_one_that_cannot_be_read(&installation);
        installation.fail(
            &["run", "--until-caught-up"],
            &["event 2", "Note-b", "`created_at`"],
        );
        let host = installation.start_host();
        let status =
            installation.wait_for_status(NAME, LIMIT, |status| status["state"] == "halted");
        let cause = status["cause"].as_str().unwrap();
        for fragment in ["event 2", "Noted", "Note-b", "`created_at`"] {
            assert!(cause.contains(fragment), "`{fragment}` is not in: {cause}");
        }
        assert_eq!(status["position"], 1, "{status}");
        correct(&installation);
        installation.succeed(&["resume", NAME]);
        installation.wait_for_status(NAME, LIMIT, |status| {
            status["position"] == 3 && status["generation_state"] == "live"
        });
        assert_eq!(applied(&installation), ["a1", "b1", "a2"]);
        drop(host);
    }
}

#[test]
fn an_event_that_cannot_be_read_is_parked_and_applied_when_it_can_be() {
    for system in SYSTEMS {
        let installation = installation(system, system, "park");
        write_one_that_cannot_be_read(&installation);
        installation.succeed(&["run", "--until-caught-up"]);
        assert_eq!(applied(&installation), ["a1", "a2"]);
        let parked = || installation.json_lines(&["dead-letters", "list", NAME]);
        let check_parked = |when: &str| {
            let parked = parked();
            assert_eq!(parked.len(), 1, "{when}: {parked:?}");
            assert_eq!(parked[0]["global_position"], 2, "{when}");
            let error = parked[0]["error"].as_str().unwrap();
            assert!(error.contains("`created_at`"), "{when}: {error}");
        };
        check_parked("at first");
        let host = installation.start_host();
        installation.wait_for_status(NAME, LIMIT, |status| status["host"].is_string());
        installation.succeed(&["dead-letters", "retry", NAME]);
        check_parked("after a retry");
        correct(&installation);
        installation.succeed(&["dead-letters", "retry", NAME]);
        assert!(parked().is_empty(), "{:?}", parked());
        assert_eq!(applied(&installation), ["a1", "b1", "a2"]);
        drop(host);
    }
}

#[test]
fn events_are_shown_but_for_those_that_cannot_be_read_which_are_named() {
    for system in SYSTEMS {
        let installation = installation(system, system, "halt");
        write_one_that_cannot_be_read(&installation);
        let finished = installation.run(&["events", "--json"]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let lines: Vec<&str> = finished.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{finished:?}");
        assert!(lines[0].contains("\"global_position\": 1"), "{finished:?}");
        assert!(lines[1].contains("\"global_position\": 3"), "{finished:?}");
        for fragment in ["event 2", "Note-b", "`created_at`"] {
            assert!(finished.stderr.contains(fragment), "{finished:?}");
        }
        installation.fail(&["events"], &["event 2"]);
    }
}

#[test]
fn an_event_that_cannot_be_parked_halts_and_says_so() {
    let installation = installation(System::Sqlite, System::Postgres, "park");
    note(&installation, "Note-a", "a1");
    write(
        &installation,
        "'Note-' || hex(randomblob(4096))",
        Some("reject"),
        "'2025-01-15T10:30:00Z'",
    );
    note(&installation, "Note-a", "a2");
    let _host = installation.start_host();
    let status = installation.wait_for_status(NAME, LIMIT, |status| status["state"] == "halted");
    let cause = status["cause"].as_str().unwrap();
    for fragment in ["event 2", "asks to be rejected", "cannot be parked"] {
        assert!(cause.contains(fragment), "`{fragment}` is not in: {cause}");
    }
    assert_eq!(status["position"], 1, "{status}");
    // The way out that it names is one.
    installation.succeed(&["dead-letters", "skip", NAME, "--position", "2"]);
    installation.wait_for(NAME, 3);
    assert_eq!(applied(&installation), ["a1", "a2"]);
}

#[test]
fn an_event_of_a_stream_with_u0000_is_parked_and_skipped_in_every_database() {
    for target in SYSTEMS {
        for policy in ["park", "halt"] {
            let installation = installation(System::Sqlite, target, policy);
            let time = "'2025-01-15T10:30:00Z'";
            let stream = "'Note-' || char(0) || 'b'";
            note(&installation, "Note-a", "a1");
            write(&installation, stream, Some("reject"), time);
            note(&installation, "Note-a", "a2");
            // Not the same stream, nor one that looks so where it is stored.
            note(&installation, "Note-\u{1a}0b", "other");
            let host = installation.start_host();
            if policy == "park" {
                installation.wait_for(NAME, 4);
                let listed = installation.json_lines(&["dead-letters", "list", NAME]);
                let streams: Vec<_> = listed.iter().map(|line| &line["stream_id"]).collect();
                assert_eq!(streams, ["Note-\0b"], "{target:?}");
            } else {
                let is_halted = |status: &Value| status["state"] == "halted";
                installation.wait_for_status(NAME, LIMIT, is_halted);
            }
            let skip = ["dead-letters", "skip", NAME, "--position", "2"];
            let skipped = installation.json(&skip);
            assert_eq!(skipped["done"], true, "{target:?} {policy}: {skipped}");
            installation.wait_for(NAME, 4);
            assert_eq!(applied(&installation), ["a1", "a2", "other"]);
            assert_eq!(installation.status(NAME)["dead_letters"], 0);
            let skips = installation.json_lines(&["dead-letters", "skips", NAME]);
            assert_eq!(skips[0]["stream_id"], "Note-\0b", "{target:?}");
            drop(host);
        }
    }
}

/// Somebody else's table, whose metadata is any text.
#[test]
fn metadata_that_is_no_json_is_not_lost() {
    let installation = Installation::in_one_database(System::Sqlite);
    note(&installation, "Note-a", "a1");
    installation.events.execute(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET sql = replace(sql, 'CASE WHEN json_valid(metadata) THEN', 'CASE WHEN 1 THEN')
         WHERE name = 'events';
         PRAGMA writable_schema = OFF;",
    );
    installation.events.execute(
        "PRAGMA ignore_check_constraints = ON;
         INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version)
         VALUES ('0190a5a0-7c00-7000-8000-000000000001', 'Note-b', 'Note', 'Noted', '{}', '{}x', 1)",
    );
    let ended = installation.run(&["events", "--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    for said in ["event 2", "Note-b", "`metadata` is"] {
        assert!(ended.stderr.contains(said), "{said}: {ended:?}");
    }
}

#[test]
fn a_time_that_cannot_be_read_is_not_shown_as_another_one() {
    for system in SYSTEMS {
        let installation = installation(system, system, "halt");
        write_one_that_cannot_be_read(&installation);
        let ended = installation.run(&["events"]);
        let line = ended.stdout.lines().find(|line| line.contains("Note-b"));
        let line = line.unwrap();
        assert!(line.contains("unreadable"), "{line}");
        assert!(!line.contains("1970"), "{line}");
    }
}

/// As far as a year goes that RFC 3339 can write.
#[test]
fn the_last_moment_of_the_year_9999_is_a_time_everywhere() {
    for system in SYSTEMS {
        let installation = installation(system, system, "halt");
        let last = "9999-12-31T23:59:59.999999Z";
        let envelope = json!({
            "event_id": "0190a5a0-7c00-7000-8000-000000000001", "stream_id": "Note-a",
            "event_type": "Noted", "data": {"note": "a1", "fault": null}, "recorded_at": last,
        });
        let file = installation.path("last.ndjson");
        std::fs::write(&file, format!("{envelope}\n")).unwrap();
        installation.succeed(&["append", "--file", file.to_str().unwrap()]);
        installation.events.execute(
            "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version, created_at)
             VALUES ('0190a5a0-7c00-7000-8000-000000000002', 'Note-b', 'Note', 'Noted',
                 '{\"note\": \"b1\", \"fault\": null}', '{}', 1, '9999-12-31T23:59:59Z')",
        );
        installation.succeed(&["run", "--until-caught-up"]);
        assert_eq!(applied(&installation), ["a1", "b1"]);
        let exported = installation.succeed(&["events", "--json"]);
        assert!(exported.contains(last), "{exported}");
        let copy = Installation::in_one_database(system);
        let file = copy.path("copy.ndjson");
        std::fs::write(&file, &exported).unwrap();
        copy.succeed(&["append", "--file", file.to_str().unwrap()]);
        assert_eq!(copy.succeed(&["events", "--json"]), exported);
    }
}
