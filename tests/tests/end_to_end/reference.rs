//! What `--json` prints has the names that docs/reference/json.md lists.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{Installation, PATIENCE, System, example, guest};
use serde_json::{Value, json};

const PAGE: &str = include_str!("../../../docs/reference/json.md");

/// The fields in the table below a heading.
fn documented(heading: &str) -> BTreeSet<String> {
    let mut lines = PAGE.lines().skip_while(|line| {
        let title = line.trim_start_matches('#');
        title.len() == line.len() || title.trim() != heading
    });
    assert!(lines.next().is_some(), "json.md has no heading {heading}");
    lines
        .take_while(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .map(ToOwned::to_owned)
        .collect()
}

/// Fields whose values are words, all of which the page lists.
const WORDS: [&str; 8] = [
    "action",
    "desired_state",
    "difference",
    "done",
    "generation_state",
    "kind",
    "state",
    "wish",
];

/// Compares an object with the table below a heading.
fn check(heading: &str, shown: &Value) {
    for (field, value) in shown.as_object().unwrap() {
        if WORDS.contains(&field.as_str())
            && let Some(word) = value.as_str()
        {
            let row = PAGE.lines().find(|line| {
                line.starts_with(&format!("| `{field}` |")) && line.contains(&format!("`{word}`"))
            });
            assert!(row.is_some(), "json.md does not have {field} `{word}`");
        }
    }
    let found: BTreeSet<String> = shown
        .as_object()
        .unwrap_or_else(|| panic!("{heading}: {shown}"))
        .keys()
        .cloned()
        .collect();
    assert_eq!(found, documented(heading), "{heading}");
}

/// The last object that a command prints.
fn last(installation: &Installation, arguments: &[&str]) -> Value {
    installation.json_lines(arguments).pop().unwrap()
}

fn one_of_two(mut fields: BTreeSet<String>, other: &str) -> BTreeSet<String> {
    assert!(fields.remove(other));
    fields
}

fn paid(installation: &Installation, order: u32, cents: &Value) {
    let data = json!({"customer_id": "anna", "amount_cents": cents});
    installation.append(&format!("Order-{order}"), "PaymentReceived", &data);
}

#[test]
fn status_has_the_fields_of_the_reference() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_guest("spending");
    paid(&installation, 1, &json!(5));
    installation.succeed(&["run", "--until-caught-up"]);
    check("`status`", &installation.status("spending"));

    std::fs::write(installation.path("2.wasm"), guest("spending-2")).unwrap();
    let file = installation.path("2.wasm");
    let _host = installation.start_host();
    installation.succeed(&["deploy", file.to_str().unwrap(), "--hold"]);
    installation.succeed(&["diff", "spending"]);
    let status = installation.status("spending");
    check("`candidate` of `status`", &status["candidate"]);
    check("An element of `wishes` of `status`", &status["wishes"][0]);
    installation.succeed(&["promote", "spending"]);
    let status = installation.status("spending");
    check("`retired` of `status`", &status["retired"]);
    installation.put_module("broken.wasm", b"no module");
    let started = Instant::now();
    let refused = loop {
        let statuses = installation.json_lines(&["status"]);
        let refused = statuses.into_iter().find(|status| status["name"].is_null());
        if let Some(refused) = refused {
            break refused;
        }
        assert!(started.elapsed() < PATIENCE, "no file is refused");
        std::thread::sleep(Duration::from_millis(50));
    };
    check(
        "An element of `refused` of `status`",
        &refused["refused"][0],
    );
}

#[test]
fn changes_of_generations_have_the_fields_of_the_reference() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_guest("spending");
    paid(&installation, 1, &json!(5));
    check("`run`", &last(&installation, &["run", "--until-caught-up"]));
    let file = installation.path("2.wasm");
    std::fs::write(&file, guest("spending-2")).unwrap();
    let file = file.to_str().unwrap();
    let _host = installation.start_host();
    check("`wait`", &installation.json(&["wait", "spending"]));

    let deployed = installation.json(&["deploy", file, "--hold"]);
    check("`deploy`", &deployed);
    check(
        "`overtaken` of `deploy` and `rebuild`",
        &deployed["overtaken"],
    );
    let diff = installation.json(&["diff", "spending"]);
    let fields = documented("`diff` and `verify`");
    let keys = |value: &Value| -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(keys(&diff), one_of_two(fields.clone(), "rebuilt"));
    check("An element of `tables`", &diff["tables"][0]);
    check(
        "`promote` and `rollback`",
        &installation.json(&["promote", "spending"]),
    );
    check(
        "`promote` and `rollback`",
        &installation.json(&["rollback", "spending"]),
    );
    let verified = installation.json(&["verify", "spending"]);
    assert_eq!(keys(&verified), one_of_two(fields, "candidate"));
    let rebuilt = installation.json_lines(&["rebuild", "spending", "--wait"]);
    check("`rebuild`", &rebuilt[0]);
    check("`promote` and `rollback`", rebuilt.last().unwrap());
    check(
        "`pause` and `resume`",
        &installation.json(&["pause", "spending"]),
    );
    check(
        "`pause` and `resume`",
        &installation.json(&["resume", "spending"]),
    );
    check("`remove`", &installation.json(&["remove", "spending"]));
}

#[test]
fn a_cancelled_rollback_has_the_fields_of_the_reference() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_guest("spending");
    paid(&installation, 1, &json!(5));
    installation.succeed(&["run", "--until-caught-up"]);
    installation.put_module("guest.wasm", &guest("spending-2"));
    installation.succeed(&["run", "--until-caught-up"]);
    paid(&installation, 1, &json!(6));
    installation.succeed(&["run", "--until-caught-up"]);
    // Without a host it cannot catch up, so it is asked for and not done.
    let asked = installation.run(&["rollback", "spending"]);
    assert_eq!(asked.code, Some(1), "{asked:?}");
    check(
        "`rollback --cancel`",
        &installation.json(&["rollback", "spending", "--cancel"]),
    );
}

#[test]
fn dead_letters_have_the_fields_of_the_reference() {
    let installation = Installation::new(System::Sqlite, System::Sqlite)
        .with_guest("spending")
        .with_configuration("[projection.spending]\non-error = \"park\"");
    for order in 1..=4 {
        paid(&installation, order, &json!("many"));
    }
    let _host = installation.start_host();
    installation.wait_for("spending", 4);
    let letters = installation.json_lines(&["dead-letters", "list", "spending"]);
    check("`dead-letters list`", &letters[0]);
    let name = "spending";
    check(
        "`dead-letters retry`",
        &installation.json(&["dead-letters", "retry", name]),
    );
    check(
        "`dead-letters skip`",
        &installation.json(&["dead-letters", "skip", name, "--position", "1"]),
    );
    check(
        "`dead-letters skip`",
        &installation.json(&["dead-letters", "discard", name, "--position", "2"]),
    );
    check(
        "`dead-letters discard`",
        &installation.json(&["dead-letters", "discard", name, "--all", "--yes"]),
    );
    check(
        "`dead-letters skips`",
        &installation.json_lines(&["dead-letters", "skips", name])[0],
    );
    check(
        "`dead-letters unskip`",
        &installation.json(&["dead-letters", "unskip", name, "--position", "1"]),
    );
}

#[test]
fn history_has_the_fields_of_the_reference() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_guest("spending");
    paid(&installation, 1, &json!(5));
    installation.succeed(&["run", "--until-caught-up"]);
    for action in installation.json_lines(&["history"]) {
        check("`history`", &action);
    }
}

#[test]
fn events_and_projects_have_the_fields_of_the_reference() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    let data = json!({"customer_id": "anna", "amount_cents": 5});
    check(
        "`append`",
        &installation.append("Order-1", "PaymentReceived", &data),
    );
    check("`events`", &installation.json(&["events"]));
    let lines = installation.succeed(&["events", "--json"]);
    std::fs::write(installation.path("events.ndjson"), lines).unwrap();
    check(
        "`append --file`",
        &installation.json(&["append", "--file", "events.ndjson"]),
    );
    std::fs::write(installation.path("m.wasm"), example("order-summary")).unwrap();
    check("`inspect`", &installation.json(&["inspect", "m.wasm"]));
    check("`init`", &installation.json(&["init", "other"]));
    check("`init --events`", &installation.json(&["init", "--events"]));
    check(
        "`new`",
        &installation.json(&["new", "fresh", "--lang", "rust"]),
    );
    let fixture = json!({"given": [], "expect": {}}).to_string();
    std::fs::create_dir(installation.path("tests")).unwrap();
    std::fs::write(installation.path("tests/nothing.json"), fixture).unwrap();
    check("`test`", &installation.json(&["test", "m.wasm"]));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/picky");
    check(
        "`build`",
        &last(&installation, &["build", source, "-o", "p.wasm"]),
    );
}

#[test]
fn every_table_of_the_reference_is_compared() {
    let compared = include_str!("reference.rs");
    for line in PAGE.lines().filter(|line| line.starts_with("##")) {
        let heading = line.trim_start_matches('#').trim();
        assert!(compared.contains(&format!("\"{heading}\"")), "{heading}");
    }
}
