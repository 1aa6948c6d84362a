//! What commands print, and the promises of `append`.

use std::fs;

use gnomon_tests::harness::{Installation, System};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];

/// The results of a command that prints one JSON value a line.
fn lines(stdout: &str) -> Vec<Value> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn status_names_everything_that_the_design_names() {
    for system in SYSTEMS {
        let installation = Installation::new(system, system).with_examples();
        installation.append_orders(300, 5);
        installation.succeed(&["run", "--until-caught-up"]);
        let statuses = installation.json_lines(&["status"]);
        let names: Vec<&str> = statuses
            .iter()
            .map(|status| status["name"].as_str().unwrap())
            .collect();
        assert_eq!(names, ["customer_value", "daily_revenue", "order_summary"]);
        for status in &statuses {
            for key in [
                "name",
                "version",
                "module",
                "generation",
                "state",
                "cause",
                "position",
                "head",
                "lag_events",
                "lag_seconds",
                "dead_letters",
                "host",
                "candidate",
            ] {
                assert!(status.get(key).is_some(), "`{key}` is missing: {status}");
            }
            assert_eq!(status["position"], 300);
            assert_eq!(status["head"], 300);
            assert_eq!(status["lag_events"], 0);
            assert_eq!(status["candidate"], Value::Null);
        }
        let one = installation.json(&["status", "order_summary"]);
        assert_eq!(one["name"], "order_summary");
        installation.fail(&["status", "order_sumary"], &["order_sumary"]);
    }
}

#[test]
fn waiting_for_an_event_that_never_comes_ends_in_time_and_says_so() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_examples();
    installation.append_orders(10, 6);
    installation.succeed(&["run", "--until-caught-up"]);
    installation.succeed(&["wait", "order_summary", "--position", "10"]);
    installation.fail(
        &[
            "wait",
            "order_summary",
            "--position",
            "11",
            "--timeout",
            "100ms",
        ],
        &["order_summary", "11"],
    );
    installation.fail(
        &["wait", "nobody", "--position", "1", "--timeout", "100ms"],
        &["nobody"],
    );
}

#[test]
fn events_come_back_as_the_envelopes_that_went_in() {
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        installation.append_orders(200, 7);
        let stdout = installation.succeed(&["events", "--json", "--limit", "1000"]);
        let found = lines(&stdout);
        let file = fs::read_to_string(installation.path("orders.ndjson")).unwrap();
        let given = lines(&file);
        assert_eq!(found.len(), given.len());
        for (number, (found, given)) in found.iter().zip(&given).enumerate() {
            for key in [
                "event_id",
                "stream_id",
                "event_type",
                "version",
                "schema_version",
                "data",
                "metadata",
            ] {
                assert_eq!(found[key], given[key], "`{key}` of line {}", number + 1);
            }
            let time = |event: &Value| -> jiff::Timestamp {
                event["recorded_at"].as_str().unwrap().parse().unwrap()
            };
            assert_eq!(time(found), time(given));
            assert_eq!(found["global_position"], number + 1);
        }
        let stream = found[0]["stream_id"].as_str().unwrap();
        let of_stream = installation.json_lines(&["events", "--stream", stream]);
        assert!(!of_stream.is_empty());
        assert!(of_stream.iter().all(|event| event["stream_id"] == stream));
        let page =
            lines(&installation.succeed(&["events", "--json", "--after", "10", "--limit", "5"]));
        let positions: Vec<i64> = page
            .iter()
            .map(|event| event["global_position"].as_i64().unwrap())
            .collect();
        assert_eq!(positions, [11, 12, 13, 14, 15]);
    }
}

#[test]
fn appending_the_same_file_again_appends_nothing() {
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        installation.append_orders(1_000, 8);
        installation.append_orders(1_000, 8);
        assert_eq!(installation.head(), 1_000, "{system:?}");
    }
}

#[test]
fn appending_the_same_event_again_gives_the_first_position() {
    const ID: &str = "0190c2a4-0000-7000-8000-000000000001";
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        let append = |stream| {
            [
                "append", "--stream", stream, "--type", "T", "--data", "{}", "--id", ID,
            ]
        };
        let first = installation.json(&append("A-1"));
        let again = installation.json(&append("A-1"));
        assert_eq!(first["position"], again["position"], "{first} {again}");
        assert_eq!(installation.head(), 1);
        // The same id elsewhere is a mistake, not a retry.
        installation.fail(&append("B-1"), &[ID, "A-1"]);
        assert_eq!(installation.head(), 1);
    }
}

#[test]
fn a_wrong_expected_version_is_a_conflict_that_names_both() {
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        let append = |expected| {
            [
                "append",
                "--stream",
                "A-1",
                "--type",
                "T",
                "--data",
                "{}",
                "--expected-version",
                expected,
            ]
        };
        installation.succeed(&append("0"));
        installation.succeed(&append("1"));
        let said = installation.fail(&append("7"), &["A-1", "7"]);
        assert!(said.contains('2'), "{said}");
        assert_eq!(installation.head(), 2);
    }
}

#[test]
fn integers_at_both_ends_of_64_bits_survive() {
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        let data = json!({"least": i64::MIN, "largest": i64::MAX, "unsigned": u64::MAX});
        installation.append("A-1", "T", &data);
        let found = installation.json_lines(&["events"]);
        assert_eq!(found[0]["data"], data);
    }
}

#[test]
fn init_makes_what_the_other_commands_need() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    installation.succeed(&["init", "shop"]);
    let configuration = installation.path("shop/gnomon.toml");
    let configuration = configuration.to_str().unwrap();
    installation.succeed(&[
        "--config",
        configuration,
        "append",
        "--stream",
        "A-1",
        "--type",
        "T",
        "--data",
        "{}",
    ]);
    assert!(
        installation.path("shop/events.db").exists(),
        "paths are relative to the file"
    );
    installation.fail(&["init", "shop"], &["gnomon.toml", "already"]);
}

#[test]
fn wrong_usage_exits_with_2() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    for arguments in [
        &["nonsense"][..],
        &["append", "--stream", "A-1"],
        &["wait", "order_summary"],
    ] {
        assert_eq!(installation.run(arguments).code, Some(2), "{arguments:?}");
    }
}
