//! Decisions about events that a projection cannot apply: they belong to the
//! projection, so every generation, copy and comparison of it makes them too.
//! The module `picky` refuses those that ask for it; `picky-mended` is the same
//! after its author has mended it.

use std::time::Duration;

use gnomon_tests::harness::{Host, Installation, Rows, System, guest};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const LIMIT: Duration = Duration::from_secs(60);
const NAME: &str = "picky";

fn installation(system: System, settings: &str) -> Installation {
    Installation::in_one_database(system)
        .with_guest("picky")
        .with_configuration(&format!("[projection.picky]\n{settings}"))
        .with_variable("GNOMON_LIMITS_LEASE_TIME", "1s")
}

/// Appends a note; `fault` is what it asks `picky` to do.
fn note(installation: &Installation, stream: &str, note: &str, fault: Option<&str>) {
    let data = json!({"note": note, "fault": fault});
    installation.append(stream, "Noted", &data);
}

/// The notes that were applied, in the order of their positions.
fn applied(installation: &Installation, projection: &str) -> Vec<String> {
    let database = &installation.read_models;
    let table = match (database.system(), projection) {
        (System::Sqlite, NAME) => "seen".to_owned(),
        (System::Sqlite, copy) => format!("{copy}_seen"),
        (System::Postgres, name) => format!("{name}.seen"),
    };
    let mut rows: Rows = database.rows(&format!("SELECT * FROM {table}"));
    rows.sort_by_key(|row| row[0].as_ref().unwrap().parse::<u64>().unwrap());
    rows.into_iter()
        .map(|row| row[3].clone().unwrap())
        .collect()
}

fn positions(installation: &Installation, arguments: &[&str]) -> Vec<u64> {
    installation
        .json_lines(arguments)
        .iter()
        .map(|line| line["global_position"].as_u64().unwrap())
        .collect()
}

fn waiting(installation: &Installation) -> Vec<u64> {
    positions(installation, &["dead-letters", "list", NAME])
}

fn working_host(installation: &Installation) -> Host {
    let host = installation.start_host();
    installation.wait_for_status(NAME, LIMIT, |status| {
        status["host"].is_string() && status["state"] == "running"
    });
    host
}

fn assert_verified(installation: &Installation) {
    let verified = installation.json(&["verify", NAME]);
    assert_eq!(verified["equal"], true, "{verified}");
}

#[test]
fn a_discard_holds_for_rebuilds_comparisons_and_copies() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'park'");
        note(&installation, "Note-a", "a1", None);
        note(&installation, "Note-b", "b1", Some("reject"));
        note(&installation, "Note-b", "b2", None);
        let _host = installation.start_host();
        installation.wait_for(NAME, 3);
        assert_eq!(waiting(&installation), [2, 3]);
        let discard = ["dead-letters", "discard", NAME, "--position", "2"];
        let discarded = installation.json(&[&discard[..], &["--reason", "a mistake"]].concat());
        assert_eq!(discarded["done"], true, "{discarded}");
        // What waited behind it is applied.
        assert_eq!(waiting(&installation), [0; 0]);
        note(&installation, "Note-b", "b3", None);
        installation.wait_for(NAME, 4);
        let expected = ["a1", "b2", "b3"];
        assert_eq!(applied(&installation, NAME), expected);
        assert_verified(&installation);
        let rebuilt = ["rebuild", NAME, "--wait", "--timeout", "60s"];
        installation.succeed(&rebuilt);
        assert_eq!(applied(&installation, NAME), expected, "{system:?}");
        let copy = ["rebuild", NAME, "--until", "4", "--as", "copied"];
        installation.succeed(&[&copy[..], &["--wait", "--timeout", "60s"]].concat());
        assert_eq!(applied(&installation, "copied"), expected, "{system:?}");
        let skips = installation.json(&["dead-letters", "skips", NAME]);
        assert_eq!(
            (
                &skips["global_position"],
                &skips["reason"],
                &skips["stream_id"]
            ),
            (&json!(2), &json!("a mistake"), &json!("Note-b"))
        );
        assert!(skips["actor"].as_str().unwrap().contains('@'), "{skips}");
        // Of the copy's they are too.
        assert_eq!(
            positions(&installation, &["dead-letters", "skips", "copied"]),
            [2]
        );
    }
}

#[test]
fn a_skip_lets_a_halted_projection_go_on_at_once() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'halt'");
        for (number, fault) in [None, Some("panic"), None, Some("unwritable"), None]
            .into_iter()
            .enumerate()
        {
            note(&installation, "Note-a", &format!("a{}", number + 1), fault);
        }
        let host = installation.start_host();
        let halted = |status: &Value| status["state"] == "halted" && status["host"].is_string();
        let status = installation.wait_for_status(NAME, LIMIT, halted);
        let advice = "gnomon dead-letters skip picky --position 2";
        let cause = status["cause"].as_str().unwrap();
        assert!(
            cause.contains(advice) && cause.contains("gnomon resume picky"),
            "{cause}"
        );
        let skipped = installation.json(&["dead-letters", "skip", NAME, "--position", "2"]);
        assert_eq!(
            (&skipped["done"], &skipped["new"]),
            (&json!(true), &json!(true)),
            "{skipped}"
        );
        installation.wait_for_status(NAME, LIMIT, |status| {
            halted(status) && status["position"] == 3
        });
        // One that no host hears is made by the next.
        let _ = host.kill();
        installation.succeed(&["dead-letters", "skip", NAME, "--position", "4"]);
        installation.succeed(&["run", "--until-caught-up"]);
        let _host = working_host(&installation);
        assert_eq!(
            applied(&installation, NAME),
            ["a1", "a3", "a5"],
            "{system:?}"
        );
        assert_verified(&installation);
    }
}

#[test]
fn a_skip_is_done_although_the_projection_halts_at_the_next_event() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'halt'");
        for number in 1..=3 {
            note(
                &installation,
                "Note-a",
                &format!("a{number}"),
                Some("reject"),
            );
        }
        let _host = installation.start_host();
        let halted_at = |position: u64| {
            move |status: &Value| {
                let cause = status["cause"].as_str().unwrap_or_default();
                cause.starts_with(&format!("halted on event {position} "))
            }
        };
        installation.wait_for_status(NAME, LIMIT, halted_at(1));
        for position in ["1", "2"] {
            let skip = ["dead-letters", "skip", NAME, "--position", position];
            let skipped = installation.json(&skip);
            assert_eq!(skipped["done"], true, "{system:?}: {skipped}");
        }
        let status = installation.wait_for_status(NAME, LIMIT, halted_at(3));
        assert_eq!(status["position"], 2, "{status}");
        // Who says it again is told that it is so.
        let again = installation.json(&["dead-letters", "skip", NAME, "--position", "1"]);
        assert_eq!(
            (&again["done"], &again["new"]),
            (&json!(true), &json!(false)),
            "{again}"
        );
    }
}

#[test]
fn a_projection_that_was_removed_skips_when_it_comes_back() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'halt'");
        note(&installation, "Note-a", "a1", None);
        note(&installation, "Note-a", "a2", Some("reject"));
        note(&installation, "Note-a", "a3", None);
        let _host = installation.start_host();
        installation.wait_for_status(NAME, LIMIT, |status| status["state"] == "halted");
        installation.succeed(&["remove", NAME]);
        let skip = ["dead-letters", "skip", NAME, "--position", "2"];
        installation.succeed(&skip);
        for refused in [&["verify", NAME][..], &["rebuild", NAME], &["diff", NAME]] {
            installation.fail(refused, &["was removed", "gnomon resume picky"]);
        }
        let status = installation.status(NAME);
        let cause = status["cause"].as_str().unwrap();
        assert!(cause.contains("was removed"), "{system:?}: {status}");
        installation.succeed(&["resume", NAME]);
        installation.wait_for(NAME, 3);
        assert_eq!(applied(&installation, NAME), ["a1", "a3"], "{system:?}");
    }
}

#[test]
fn a_skip_is_of_the_event_that_it_names_and_of_no_other_at_its_position() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'halt'");
        note(&installation, "Note-a", "a1", None);
        installation.succeed(&["run", "--until-caught-up"]);
        note(&installation, "Note-a", "a2", None);
        note(&installation, "Note-a", "a3", None);
        for position in ["2", "3"] {
            installation.succeed(&["dead-letters", "skip", NAME, "--position", position]);
        }
        let unlock = match system {
            System::Sqlite => "DROP TRIGGER events_refuse_update",
            System::Postgres => "DROP TRIGGER events_refuse_change ON events",
        };
        installation.events.execute(&format!(
            "{unlock}; UPDATE events SET id = '0190a5a0-7c00-7000-8000-000000000001' \
             WHERE global_position = 2"
        ));
        let ended = installation.run(&["run", "--until-caught-up"]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(
            ended
                .stderr
                .contains("event 2 was to be skipped when it was"),
            "{ended:?}"
        );
        assert_eq!(applied(&installation, NAME), ["a1", "a2"], "{system:?}");
    }
}

/// More than a host reads of them at a time.
#[test]
fn thousands_of_events_are_skipped_by_every_generation() {
    const BAD: usize = 2_100;
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'park'");
        let lines: String = (1..=BAD)
            .map(|number| {
                let event = json!({
                    "event_id": format!("00000000-0000-4000-8000-{number:012x}"),
                    "stream_id": "Note-b", "event_type": "Noted",
                    "data": {"note": "b", "fault": (number == 1).then_some("reject")},
                });
                format!("{event}\n")
            })
            .collect();
        std::fs::write(installation.path("notes.ndjson"), lines).unwrap();
        installation.succeed(&["append", "--file", "notes.ndjson"]);
        note(&installation, "Note-a", "a1", None);
        installation.succeed(&["run", "--until-caught-up"]);
        let discard = ["dead-letters", "discard", NAME, "--stream", "Note-b"];
        assert_eq!(installation.json(&discard)["skipped"], BAD);
        for what in ["the live generation", "a rebuild"] {
            installation.succeed(&["run", "--until-caught-up"]);
            assert_eq!(applied(&installation, NAME), ["a1"], "{what}, {system:?}");
            assert_eq!(waiting(&installation), [0; 0], "{what}, {system:?}");
            installation.succeed(&["rebuild", NAME]);
        }
    }
}

#[test]
fn an_event_that_is_to_come_can_be_skipped_and_one_that_was_applied_cannot() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'halt'");
        note(&installation, "Note-a", "a1", None);
        installation.succeed(&["run", "--until-caught-up"]);
        note(&installation, "Note-a", "a2", None);
        let skip = |at| ["dead-letters", "skip", NAME, "--position", at];
        installation.fail(&skip("1"), &["event 1", "has applied it"]);
        installation.fail(&skip("7"), &["there is no event 7"]);
        installation.succeed(&skip("2"));
        let _host = working_host(&installation);
        installation.wait_for(NAME, 2);
        assert_eq!(applied(&installation, NAME), ["a1"], "{system:?}");
        // Taken back, it stays left out until a rebuild.
        let unskip = ["dead-letters", "unskip", NAME, "--position", "2"];
        let taken_back = installation.json(&unskip);
        assert_eq!(taken_back["rebuild_needed"], true, "{taken_back}");
        installation.fail(&unskip, &["does not skip event 2"]);
        assert_eq!(applied(&installation, NAME), ["a1"]);
        assert_eq!(installation.status(NAME)["changed_skips"], 1);
        installation.succeed(&["rebuild", NAME, "--wait", "--timeout", "60s"]);
        assert_eq!(applied(&installation, NAME), ["a1", "a2"], "{system:?}");
        assert_eq!(installation.status(NAME)["changed_skips"], 0);
    }
}

#[test]
fn all_are_discarded_only_when_that_is_meant() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'park'");
        for stream in ["Note-a", "Note-b", "Note-c"] {
            note(&installation, stream, "bad", Some("reject"));
            note(&installation, stream, "good", None);
        }
        let _host = installation.start_host();
        installation.wait_for(NAME, 6);
        assert_eq!(waiting(&installation), [1, 2, 3, 4, 5, 6]);
        let nothing_named = installation.run(&["dead-letters", "discard", NAME]);
        assert_eq!(nothing_named.code, Some(2), "{nothing_named:?}");
        let all = ["dead-letters", "discard", NAME, "--all"];
        installation.fail(&all, &["--yes", "6 dead letters"]);
        assert_eq!(waiting(&installation), [1, 2, 3, 4, 5, 6]);
        let stream = ["dead-letters", "discard", NAME, "--stream", "Note-b"];
        assert_eq!(installation.json(&stream)["skipped"], 2);
        installation.fail(&stream, &["no event of stream Note-b waits"]);
        assert_eq!(waiting(&installation), [1, 2, 5, 6]);
        let all = installation.json(&[&all[..], &["--yes"]].concat());
        assert_eq!(
            (&all["skipped"], &all["dead_letters"]),
            (&json!(4), &json!(0)),
            "{all}"
        );
        note(&installation, "Note-a", "a3", None);
        installation.wait_for(NAME, 7);
        assert_eq!(applied(&installation, NAME), ["a3"], "{system:?}");
        assert_verified(&installation);
    }
}

#[test]
fn a_candidate_that_parks_more_than_the_live_generation_is_held() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'park'");
        installation.put_module("guest.wasm", &guest("picky-mended"));
        for number in 1..=4 {
            let fault = (number > 2).then_some("reject");
            note(&installation, &format!("Note-{number}"), "n", fault);
        }
        let _host = installation.start_host();
        installation.wait_for(NAME, 4);
        assert_eq!(applied(&installation, NAME).len(), 4);
        // A module that can apply less, of the same version.
        let before = installation.status(NAME)["module"].clone();
        installation.put_module("guest.wasm", &guest("picky"));
        installation.wait_for_status(NAME, LIMIT, |status| status["module"] != before);
        let rebuild = ["rebuild", NAME, "--wait", "--timeout", "60s"];
        let said = [
            "2 events wait in its dead-letter table",
            "gnomon promote picky",
        ];
        installation.fail(&rebuild, &said);
        assert_eq!(applied(&installation, NAME).len(), 4, "{system:?}");
        let candidate = installation.status(NAME)["candidate"].clone();
        assert_eq!(
            (&candidate["dead_letters"], &candidate["hold"]),
            (&json!(2), &json!(true)),
            "{candidate}"
        );
        let of_candidate = ["dead-letters", "list", NAME, "--candidate"];
        assert_eq!(positions(&installation, &of_candidate), [3, 4]);
        installation.succeed(&["promote", NAME]);
        assert_eq!(applied(&installation, NAME).len(), 2, "{system:?}");
    }
}

#[test]
fn a_projection_halts_when_too_many_events_wait() {
    for system in SYSTEMS {
        let settings = "on-error = 'park'\nmax-dead-letters = 2";
        let installation = installation(system, settings);
        note(&installation, "Note-a", "a1", None);
        note(&installation, "Note-b", "b1", Some("reject"));
        note(&installation, "Note-a", "a2", None);
        note(&installation, "Note-b", "b2", None);
        note(&installation, "Note-a", "a3", None);
        note(&installation, "Note-b", "b3", None);
        note(&installation, "Note-c", "c1", Some("panic"));
        let _host = installation.start_host();
        let at = |position: u64| {
            move |status: &Value| status["state"] == "halted" && status["position"] == position
        };
        let status = installation.wait_for_status(NAME, LIMIT, at(5));
        let cause = status["cause"].as_str().unwrap();
        assert!(
            cause.contains("event 6") && cause.contains("max-dead-letters = 2"),
            "{cause}"
        );
        assert_eq!(waiting(&installation), [2, 4]);
        // A decision about what waits makes room.
        installation.succeed(&["dead-letters", "discard", NAME, "--position", "2"]);
        installation.wait_for(NAME, 7);
        assert_eq!(waiting(&installation), [7]);
        let rows = applied(&installation, NAME);
        assert_eq!(rows, ["a1", "a2", "b2", "a3", "b3"], "{system:?}");
        // What comes to wait meanwhile is another matter.
        for stream in ["Note-d", "Note-e", "Note-f"] {
            note(&installation, stream, "n", Some("reject"));
        }
        installation.wait_for_status(NAME, LIMIT, |status| status["state"] == "halted");
        assert_eq!(waiting(&installation), [7, 8]);
        let all = installation.json(&["dead-letters", "discard", NAME, "--all", "--yes"]);
        assert_eq!(
            (&all["skipped"], &all["done"]),
            (&json!(2), &json!(true)),
            "{all}"
        );
        installation.wait_for(NAME, 10);
        assert_eq!(waiting(&installation), [9, 10]);
    }
}

/// What follows in the same batch, whether it waits, is skipped or is applied,
/// comes after the event on which the projection halts.
#[test]
fn nothing_behind_the_event_of_a_halt_is_passed() {
    for system in SYSTEMS {
        let settings = "on-error = 'park'\nmax-dead-letters = 1";
        let installation = installation(system, settings);
        note(&installation, "Note-a", "a1", None);
        installation.succeed(&["run", "--until-caught-up"]);
        note(&installation, "Note-b", "b1", Some("reject"));
        note(&installation, "Note-c", "c1", Some("reject"));
        note(&installation, "Note-a", "a2", None);
        note(&installation, "Note-d", "d1", Some("reject"));
        note(&installation, "Note-a", "a3", None);
        let skip = |position| {
            installation.succeed(&["dead-letters", "skip", NAME, "--position", position]);
        };
        skip("5");
        let host = installation.start_host();
        let status = installation.wait_for_status(NAME, LIMIT, |status| {
            status["state"] == "halted" && status["host"].is_string()
        });
        assert_eq!(status["position"], 2, "{system:?}: {status}");
        assert_eq!(waiting(&installation), [2], "{system:?}");
        assert_eq!(applied(&installation, NAME), ["a1"], "{system:?}");
        drop(host);
        skip("3");
        installation.succeed(&["run", "--until-caught-up"]);
        assert_eq!(waiting(&installation), [2], "{system:?}");
        let rows = applied(&installation, NAME);
        assert_eq!(rows, ["a1", "a2", "a3"], "{system:?}");
    }
}

#[test]
fn what_a_retry_applies_late_is_told_until_a_rebuild() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'park'");
        note(&installation, "Note-b", "b1", Some("reject"));
        note(&installation, "Note-b", "b2", None);
        note(&installation, "Note-a", "a1", None);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.put_module("guest.wasm", &guest("picky-mended"));
        let _host = working_host(&installation);
        assert_eq!(installation.status(NAME)["applied_late"], 0);
        let retried = installation.succeed(&["dead-letters", "retry", NAME]);
        assert!(
            retried.contains("2 events were applied late")
                && retried.contains("gnomon rebuild picky"),
            "{retried}"
        );
        assert_eq!(installation.status(NAME)["applied_late"], 2);
        assert!(installation.succeed(&["status"]).contains("applied late"));
        assert_eq!(installation.json(&["verify", NAME])["applied_late"], 2);
        installation.succeed(&["rebuild", NAME, "--wait", "--timeout", "60s"]);
        assert_eq!(installation.status(NAME)["applied_late"], 0, "{system:?}");
        assert_eq!(applied(&installation, NAME), ["b1", "b2", "a1"]);
    }
}

#[test]
fn crowds_of_bad_events_are_parked_in_order_and_in_few_lines_of_log() {
    for system in SYSTEMS {
        let installation = installation(system, "on-error = 'park'");
        let fault = |number: usize| match number % 10 {
            0 => Some("reject"),
            5 if number % 50 == 5 => Some("panic"),
            _ => None,
        };
        let lines: String = (1..=600)
            .map(|number| {
                let event = json!({
                    "event_id": format!("00000000-0000-4000-8000-{number:012x}"),
                    "stream_id": format!("Note-{number}"), "event_type": "Noted",
                    "data": {"note": "n", "fault": fault(number)},
                });
                format!("{event}\n")
            })
            .collect();
        std::fs::write(installation.path("notes.ndjson"), lines).unwrap();
        installation.succeed(&["append", "--file", "notes.ndjson"]);
        let finished = installation.run(&["run", "--until-caught-up"]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let bad: Vec<u64> = (1..=600_usize)
            .filter(|number| fault(*number).is_some())
            .map(|number| number as u64)
            .collect();
        assert_eq!(waiting(&installation), bad, "{system:?}");
        assert_eq!(applied(&installation, NAME).len(), 600 - bad.len());
        let lines = finished.stderr.matches("parked").count();
        assert!(
            lines >= 1 && lines < bad.len() / 2,
            "{lines} lines for {} events",
            bad.len()
        );
    }
}
