//! What bad input gets: a sentence that says where, exit code 1, and nothing
//! half-written.

use std::fs;
use std::io::Write as _;

use gnomon_demo::Orders;
use gnomon_tests::harness::{Installation, System};
use serde_json::json;

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];

fn fail_to_append(data: &str, stream: &str, event_type: &str, said: &[&str]) {
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        // So that there is a table to count in.
        installation.append("A-1", "T", &json!({}));
        let arguments = [
            "append", "--stream", stream, "--type", event_type, "--data", data,
        ];
        installation.fail(&arguments, said);
        assert_eq!(installation.head(), 1, "{system:?}: something was appended");
    }
}

#[test]
fn data_that_is_not_json_is_refused() {
    fail_to_append("{\"a\": ", "A-2", "T", &["data is not JSON", "column 7"]);
}

#[test]
fn text_with_u_0000_is_refused() {
    fail_to_append(r#"{"a": "\u0000"}"#, "A-2", "T", &["U+0000"]);
}

#[test]
fn a_stream_name_of_300_characters_is_refused() {
    fail_to_append(
        "{}",
        &format!("A-{}", "x".repeat(298)),
        "T",
        &["300", "255"],
    );
}

#[test]
fn an_event_without_a_type_is_refused() {
    fail_to_append("{}", "A-2", "", &["type"]);
}

/// A file of 50,000 events whose line 40,123 is another.
fn fail_to_import(line: &str, said: &[&str]) {
    for system in SYSTEMS {
        let installation = Installation::new(system, System::Sqlite);
        installation.append("A-1", "T", &json!({}));
        let mut file =
            std::io::BufWriter::new(fs::File::create(installation.path("bad.ndjson")).unwrap());
        for (number, envelope) in Orders::new(1).take(50_000).enumerate() {
            if number + 1 == 40_123 {
                writeln!(file, "{line}").unwrap();
            } else {
                serde_json::to_writer(&mut file, &envelope).unwrap();
                writeln!(file).unwrap();
            }
        }
        file.into_inner().unwrap();
        let said = [&["bad.ndjson", "40123"], said].concat();
        // People may be shown the number with separators.
        let stderr = installation.run(&["append", "--file", "bad.ndjson"]);
        assert_eq!(stderr.code, Some(1), "{stderr:?}");
        let plain = stderr.stderr.replace("40,123", "40123");
        for fragment in said {
            assert!(
                plain.contains(fragment),
                "it does not say `{fragment}`: {plain}"
            );
        }
        assert_eq!(installation.head(), 1, "{system:?}: something was appended");
    }
}

#[test]
fn a_line_that_is_not_json_is_named_and_nothing_of_its_file_is_appended() {
    fail_to_import("{\"stream_id\": ", &["JSON"]);
}

#[test]
fn a_line_without_a_type_is_named_and_nothing_of_its_file_is_appended() {
    fail_to_import(
        r#"{"event_id": "0190c2a4-0000-7000-8000-000000000001", "stream_id": "A-2", "data": {}}"#,
        &["event_type"],
    );
}

#[test]
fn a_line_with_u_0000_is_named_and_nothing_of_its_file_is_appended() {
    fail_to_import(
        r#"{"event_id": "0190c2a4-0000-7000-8000-000000000001", "stream_id": "A-2",
            "event_type": "T", "data": {"a": "\u0000"}}"#
            .replace('\n', " ")
            .as_str(),
        &["U+0000"],
    );
}

#[test]
fn a_file_that_is_missing_is_named() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    installation.fail(&["append", "--file", "nowhere.ndjson"], &["nowhere.ndjson"]);
}

#[test]
fn an_unknown_key_is_named_with_the_one_that_was_meant() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    let file = installation.path("gnomon.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{text}[limits]\nbatch-event = 7\n")).unwrap();
    installation.fail(
        &["status"],
        &["gnomon.toml:6", "limits.batch-event", "`batch-events`"],
    );
}

#[test]
fn a_missing_configuration_names_init() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    installation.fail(
        &["--config", "nowhere.toml", "status"],
        &["nowhere.toml", "gnomon init"],
    );
}

#[test]
fn an_unreachable_database_is_named_without_its_password() {
    // Nothing listens on port 1.
    let url = "postgres://reader:s3cret@127.0.0.1:1/events";
    for variable in ["GNOMON_EVENTS_URL", "GNOMON_READ_MODELS_URL"] {
        let installation = Installation::new(System::Sqlite, System::Sqlite)
            .with_examples()
            .with_variable(variable, url);
        let said = installation.fail(&["run", "--until-caught-up"], &["127.0.0.1:1"]);
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_wrong_password_is_never_printed() {
    let installation = Installation::new(System::Postgres, System::Postgres);
    let right = installation.events.url();
    let password = right.split([':', '@']).nth(2).unwrap();
    let wrong = right.replace(password, "s3cret");
    assert_ne!(
        right, wrong,
        "the URL of the test server has no password; `make test` sets one that has"
    );
    let installation = Installation::new(System::Postgres, System::Postgres).with_examples();
    installation.succeed(&["run", "--until-caught-up"]);
    let installation = installation.with_variable("GNOMON_EVENTS_URL", wrong);
    for arguments in [&["run"][..], &["events"]] {
        let said = installation.fail(arguments, &["password"]);
        assert!(!said.contains("s3cret"), "{said}");
    }
    // What is known without the events is still worth showing.
    let status = installation.run(&["status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stderr.contains("password"), "{status:?}");
    assert!(!status.stderr.contains("s3cret"), "{status:?}");
}

#[test]
fn an_unwritable_directory_is_named() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    // A file where a directory is needed stops root too.
    fs::write(installation.path("file"), "").unwrap();
    installation.fail(&["init", "file/shop"], &["file/shop"]);
    let installation = installation.with_variable("GNOMON_EVENTS_URL", "sqlite:file/events.db");
    installation.fail(
        &["append", "--stream", "A-1", "--type", "T", "--data", "{}"],
        &["file/events.db"],
    );
}
