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
fn a_file_of_events_may_be_a_pipe_and_compressed() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    let shell = |script: &str| {
        let gnomon = installation.command(&[]);
        let mut command = std::process::Command::new("bash");
        command
            .args(["-c", script, "bash"])
            .arg(gnomon.get_program())
            .current_dir(installation.path("."));
        let ended = command.output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success(), "{script}: {said}");
        String::from_utf8(ended.stdout).unwrap()
    };
    let line = |number: usize| {
        format!(
            "{{\"event_id\": \"0190a5a0-7c00-7000-8000-{number:012}\", \"stream_id\": \"S\", \
             \"event_type\": \"T\", \"data\": {{}}}}\n"
        )
    };
    for (number, script) in [
        "cat file | \"$1\" append --json --file /dev/stdin",
        "\"$1\" append --json --file /dev/stdin < file",
        "cat file | \"$1\" append --json --file -",
        "\"$1\" append --json --file <(cat file)",
        "mkfifo fifo; cat file > fifo & \"$1\" append --json --file fifo",
        "gzip -k file; \"$1\" append --json --file file.gz",
        "gzip -c file | \"$1\" append --json --file -",
        "\"$1\" append --json --file <(gzip -c file)",
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(installation.path("file"), line(number)).unwrap();
        let _ = fs::remove_file(installation.path("file.gz"));
        let imported: Value = serde_json::from_str(&shell(script)).unwrap();
        assert_eq!(imported["imported"], 1, "{script}");
        assert_eq!(imported["last_position"], number + 1, "{script}");
    }
}

/// A table that another library writes, whose versions begin at 0.
#[test]
fn a_stream_that_begins_at_version_0_is_read_and_guarded() {
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        let types = match system {
            System::Sqlite => ["TEXT", "INTEGER PRIMARY KEY AUTOINCREMENT", "TEXT"],
            System::Postgres => ["UUID", "BIGSERIAL", "TIMESTAMPTZ"],
        };
        let [id, position, time] = types;
        let json = if system == System::Postgres {
            "JSONB"
        } else {
            "TEXT"
        };
        installation.events.execute(&format!(
            "DROP TABLE events;
             CREATE TABLE events (id {id} NOT NULL UNIQUE, stream_id VARCHAR(255) NOT NULL, \
               event_type VARCHAR(255) NOT NULL, event_data {json} NOT NULL, metadata {json}, \
               version BIGINT NOT NULL, global_position {position}, \
               created_at {time} NOT NULL DEFAULT CURRENT_TIMESTAMP, UNIQUE (stream_id, version));
             INSERT INTO events (id, stream_id, event_type, event_data, version) VALUES \
               ('0190a5a0-7c00-7000-8000-000000000001', 'S-1', 'Begun', '{{}}', 0), \
               ('0190a5a0-7c00-7000-8000-000000000002', 'S-1', 'Gone on', '{{}}', 1)"
        ));
        let versions = || -> Vec<Value> {
            let events = installation.json_lines(&["events", "--stream", "S-1"]);
            events
                .into_iter()
                .map(|mut event| event["version"].take())
                .collect()
        };
        assert_eq!(versions(), [0, 1], "{system:?}");
        let append = |expected| {
            [
                "append",
                "--stream",
                "S-1",
                "--type",
                "T",
                "--data",
                "{}",
                "--expected-version",
                expected,
            ]
        };
        installation
            .events
            .execute("DELETE FROM events WHERE version = 1");
        installation.fail(
            &append("0"),
            &[
                "S-1",
                "expected version 0",
                "one event, the last with version 0",
            ],
        );
        installation.succeed(&append("1"));
        assert_eq!(versions(), [0, 1], "{system:?}");
        installation.fail(
            &append("1"),
            &[
                "S-1",
                "expected version 1",
                "2 events, the last with version 1",
            ],
        );
    }
}

/// Rows that no reader is shown, as somebody else may write them.
#[test]
fn rows_without_a_position_are_not_left_out_in_silence() {
    for system in SYSTEMS {
        for position in ["0", "-7", "NULL"] {
            let installation = Installation::new(system, System::Sqlite);
            let (table, time, [stream_type, category]) = match system {
                System::Sqlite => (
                    "DROP TABLE events; CREATE TABLE events (id TEXT, stream_id TEXT, \
                     event_type TEXT, event_data TEXT, metadata TEXT, version INTEGER, \
                     global_position INTEGER UNIQUE, created_at TEXT)",
                    "'2025-01-15T10:30:00Z'",
                    ["", ""],
                ),
                System::Postgres => (
                    "ALTER TABLE events ALTER global_position DROP NOT NULL",
                    "now()",
                    ["stream_type, ", "'S', "],
                ),
            };
            let row = |id: u64, position: &str| {
                format!(
                    "INSERT INTO events (id, stream_id, {stream_type}event_type, event_data, \
                       version, global_position, created_at) \
                     VALUES ('0190a5a0-7c00-7000-8000-00000000000{id}', 'S-{id}', {category}'T', \
                       '{{}}', 1, {position}, {time});",
                )
            };
            let rows = row(1, "1") + &row(2, position);
            installation.events.execute(&format!("{table}; {rows}"));
            let finished = installation.run(&["events", "--json"]);
            let when = format!("{position} on {system:?}: {finished:?}");
            assert_eq!(finished.code, Some(1), "{when}");
            assert_eq!(finished.stdout.lines().count(), 1, "{when}");
            assert!(finished.stdout.contains("\"S-1\""), "{when}");
            assert!(finished.stderr.contains("never be delivered"), "{when}");
            installation.fail(&["run", "--until-caught-up"], &["never be delivered"]);
        }
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
fn a_configuration_is_found_in_a_directory_above() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    installation.append("A-1", "T", &json!({}));
    let below = installation.path("projections/deep");
    fs::create_dir_all(&below).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = installation.command(arguments);
        command.current_dir(&below);
        installation.run_command(command)
    };
    let found = run(&["events", "--json"]);
    assert_eq!(found.code, Some(0), "{found:?}");
    assert_eq!(lines(&found.stdout)[0]["stream_id"], "A-1");
    let file = installation.path("gnomon.toml").canonicalize().unwrap();
    let said = format!("using {}", file.display());
    assert!(found.stderr.contains(&said), "{found:?}");
    // The nearest one counts, and one that is named is not looked for.
    fs::write(below.join("gnomon.toml"), "[evnts]\n").unwrap();
    let nearest = run(&["events"]);
    assert_eq!(nearest.code, Some(1), "{nearest:?}");
    assert!(nearest.stderr.contains("evnts"), "{nearest:?}");
    let named = run(&["events", "--config", "nowhere.toml"]);
    assert_eq!(named.code, Some(1), "{named:?}");
    assert!(named.stderr.contains("nowhere.toml"), "{named:?}");
    let here = installation.run(&["events"]);
    assert!(!here.stderr.contains("using"), "{here:?}");
}

#[test]
fn a_wait_for_a_name_that_nobody_knows_ends_at_once() {
    for system in SYSTEMS {
        let installation = Installation::new(system, system).with_example("order-summary");
        installation.append_orders(10, 6);
        // The file may bring any name: it is waited for until a host has it.
        let coming = installation.run(&["wait", "order_summry", "--timeout", "300ms"]);
        assert_eq!(coming.code, Some(1), "{coming:?}");
        installation.succeed(&["run", "--until-caught-up"]);
        installation.succeed(&["wait", "order_summary"]);
        let started = std::time::Instant::now();
        installation.fail(
            &["wait", "order_summry", "--timeout", "10m"],
            &[
                "no projection `order_summry`",
                "did you mean `order_summary`?",
            ],
        );
        assert!(started.elapsed().as_secs() < 300);
        // A file that is new is waited for, and said.
        let waiting = installation.start_command(&["wait", "customer_value", "--timeout", "120s"]);
        let ended = waiting.finish();
        assert_eq!(ended.code, Some(1), "{ended:?}");
        let example = gnomon_tests::harness::example("customer-value");
        installation.put_module("customer-value.wasm", &example);
        let waiting = installation.start_command(&["wait", "customer_value", "--timeout", "120s"]);
        let started = std::time::Instant::now();
        while !waiting.log().contains("customer-value.wasm") {
            assert!(started.elapsed().as_secs() < 100, "{}", waiting.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let host = installation.start_host();
        let ended = waiting.finish();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stderr.contains("customer-value.wasm"), "{ended:?}");
        drop(host);
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    for arguments in [&["nonsense"][..], &["append", "--stream", "A-1"], &["wait"]] {
        assert_eq!(installation.run(arguments).code, Some(2), "{arguments:?}");
    }
}

/// The most memory of an import that refuses a line; the longest is 64 MiB.
const IMPORT_BYTES_MAX: u64 = 300 << 20;

#[test]
fn a_line_that_is_too_long_or_never_ends_is_refused_by_file_and_line() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    let line = |number: usize, data: &str| {
        format!(
            "{{\"event_id\": \"0190a5a0-7c00-7000-8000-{number:012}\", \"stream_id\": \"S\", \
             \"event_type\": \"T\", \"data\": \"{data}\"}}\n"
        )
    };
    for (name, bytes) in [("of-17.ndjson", 17 << 20), ("of-80.ndjson", 80 << 20)] {
        let text = line(1, "") + &line(2, &"x".repeat(bytes));
        std::fs::write(installation.path(name), text).unwrap();
    }
    for (file, said) in [
        ("of-17.ndjson", "of-17.ndjson, line 2: "),
        ("of-80.ndjson", "of-80.ndjson, line 2: longer than 64 MiB"),
        ("/dev/zero", "/dev/zero, line 1: longer than 64 MiB"),
    ] {
        let refused = installation.run(&["append", "--file", file]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains(said), "{file}: {}", refused.stderr);
        assert!(
            refused.memory < IMPORT_BYTES_MAX,
            "{file}: {}",
            refused.memory
        );
    }
    assert_eq!(installation.head(), 0);
}

#[test]
fn a_store_that_is_only_to_be_read_is_read_and_not_written_to() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_guest("picky");
    let data = serde_json::json!({"note": "n", "fault": null});
    installation.append("Note-1", "Noted", &data);
    let url = installation.events.url() + "?mode=ro";
    let installation = installation.with_variable("GNOMON_EVENTS_URL", &url);
    assert_eq!(installation.json_lines(&["events"]).len(), 1);
    installation.succeed(&["run", "--until-caught-up"]);
    assert_eq!(installation.status("picky")["head"], 1);
    installation.fail(
        &[
            "append", "--stream", "Note-1", "--type", "Noted", "--data", "{}",
        ],
        &["?mode=ro is only to be read", "leave out `?mode=ro`"],
    );
    assert_eq!(installation.head(), 1);
    // What is not there is not made.
    let missing = format!("sqlite:{}?mode=ro", installation.path("none.db").display());
    let installation = installation.with_variable("GNOMON_EVENTS_URL", &missing);
    installation.fail(&["events"], &["there is no event store"]);
    assert!(!installation.path("none.db?mode=ro").exists());
    assert!(!installation.path("none.db").exists());
    let models = installation.read_models.url() + "?mode=ro";
    let installation = installation.with_variable("GNOMON_READ_MODELS_URL", &models);
    installation.fail(&["status"], &["cannot be opened only to be read"]);
}
