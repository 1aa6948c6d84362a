//! One contract, many languages: the same events give the same rows, whatever
//! a projection is written in.
//!
//! Each language has these modules: the example `customer-value-<language>`, and
//! `values-<language>` of `tests/guests`; those of Rust bear no suffix. The
//! third, `operations-<language>`, is defined in `languages/operations.rs`.
//!
//! # The projection `value_copies`, version 1
//!
//! It has a table of the same name, and another one. The key is the text `name`; the other
//! columns are nullable, in this order: `truth` boolean, `whole` integer,
//! `fraction` float, `exact` decimal, `words` text, `octets` bytes, `moment`
//! timestamp, `day` date, `identity` uuid, `document` json.
//!
//! | event | data | what it does |
//! | --- | --- | --- |
//! | `ValueSeen` | `name`, and a string or null for each column | puts the row |
//! | `ValueCopied` | `from`, `to` | gets the row `from`, puts it under the name `to`; without such a row, refuses |
//! | `LineSaid` | `line` | writes it as the language prints: `print`, `console.log`, … |
//! | `EventRefused` | `why` | refuses the event with that message, as the language does it: `raise`, `throw`, … |
//! | `WholeGiven`, and so on for all columns but `octets` | `name`, `cell` of the column's type | sets the column in the row `name` of `value_cells` by a merge; the table has the same columns, none of them nullable |
//! | `MaybeWholeGiven`, and so on | the same, but `cell` may be null or missing | the same in `value_copies` |
//! | `ValueMade` | `name`, `how` | sets a column in the row `name` of `value_cells` to what the code makes, see `languages/shapes.rs`; not in TypeScript |
//! | `FaultMet` | nothing | gets the row `no such value`, which is not there, and uses it nevertheless |
//!
//! The strings of `ValueSeen` are `true` and `false`; whole numbers in decimal
//! digits, also for microseconds and days since the epoch; floats as any
//! language reads them, `-0` too; lower-case hexadecimal digits for bytes; and
//! for decimals, texts, UUIDs and JSON what the contract has. A field that is
//! missing is null.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use gnomon_tests::harness::{
    CUSTOMER_VALUE, Database, Installation, System, example, guest, has_guest, shared_log,
};
use serde_json::{Value, json};

mod operations;
mod shapes;
mod values;

use values::{row, seen, values};

/// A language, and what tells of its errors.
struct Language {
    name: &'static str,
    /// What the names of its modules end with.
    suffix: &'static str,
    /// What a refusal names as its place.
    place: &'static str,
    /// What is said of a fault that nobody planned, in the reason or in the
    /// host's log.
    fault: &'static [&'static str],
}

const LANGUAGES: [Language; 6] = [
    Language {
        name: "rust",
        suffix: "",
        place: "values/src/lib.rs:",
        fault: &["values/src/lib.rs:", "`Option::unwrap()` on a `None`"],
    },
    Language {
        name: "c",
        suffix: "-c",
        place: "/values.c:",
        fault: &["FaultMet: a null pointer is used", "/values.c:"],
    },
    Language {
        name: "go",
        suffix: "-go",
        place: "values.go:",
        fault: &[
            "FaultMet: panic: runtime error",
            "nil pointer",
            "values.go:",
        ],
    },
    Language {
        name: "javascript",
        suffix: "-javascript",
        place: "at EventRefused (values.js:",
        fault: &["TypeError", "'words'", "at FaultMet (values.js:"],
    },
    Language {
        name: "typescript",
        suffix: "-typescript",
        place: "at EventRefused (values.ts:",
        fault: &["TypeError", "'words'", "at FaultMet (values.ts:"],
    },
    Language {
        name: "python",
        suffix: "-python",
        place: "File \"values.py\", line 246, in event_refused",
        fault: &["AttributeError", "'words'", "line 252, in fault_met"],
    },
];

impl Language {
    fn customer_value(&self) -> Vec<u8> {
        example(&format!("customer-value{}", self.suffix))
    }

    fn values(&self) -> Vec<u8> {
        guest(&format!("values{}", self.suffix))
    }
}

/// Whether modules in a language were built, of which this guest is one; says
/// so where they were not. `make test` says for which languages it has a
/// toolchain; nobody else needs all of them.
pub(super) fn can_be_tested(language: &str, its_guest: &str, what: &str) -> bool {
    let is_there = match std::env::var("GNOMON_TEST_LANGUAGES") {
        Ok(languages) => languages.split_whitespace().any(|name| name == language),
        Err(_) => has_guest(its_guest),
    };
    let verdict = if is_there {
        "tested"
    } else {
        "not tested: its toolchain is missing"
    };
    // Not by `println!`: who runs the tests shall see it when they pass.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "{what}, {language}: {verdict}").unwrap();
    is_there
}

/// Does something for every language, and says for which.
fn in_every_language(what: &str, test: impl Fn(&Language)) {
    for language in &LANGUAGES {
        if can_be_tested(language.name, &format!("values{}", language.suffix), what) {
            test(language);
        }
    }
}

#[test]
fn every_language_gives_the_same_customers_as_rust_and_sql() {
    let log = shared_log(System::Sqlite, 20_000);
    for system in [System::Sqlite, System::Postgres] {
        let rows = |language: &Language| {
            let installation = Installation::on(Arc::clone(&log), Arc::new(Database::new(system)))
                .with_module("customer_value.wasm", &language.customer_value());
            installation.succeed(&["run", "--until-caught-up"]);
            CUSTOMER_VALUE.rows(&installation.read_models)
        };
        let expected = CUSTOMER_VALUE.expected(&log);
        assert!(expected.len() > 1_000, "{} customers", expected.len());
        in_every_language(&format!("customers on {system:?}"), |language| {
            assert!(
                rows(language) == expected,
                "{} on {system:?}",
                language.name
            );
        });
    }
}

/// Appends events, each in a stream of its own.
fn append(installation: &Installation, events: &[(&str, Value)]) {
    let lines: Vec<String> = (1..)
        .zip(events)
        .map(|(number, (event_type, data))| {
            let id = format!("00000000-0000-4000-8000-{number:012}");
            let stream = format!("Value-{number}");
            json!({"event_id": id, "stream_id": stream, "event_type": event_type, "data": data})
                .to_string()
        })
        .collect();
    fs::write(installation.path("values.ndjson"), lines.join("\n")).unwrap();
    installation.succeed(&["append", "--file", "values.ndjson"]);
}

/// The package compiles for the machine it is on, too, and so do its tests.
#[test]
fn the_go_sdk_passes_its_own_tests() {
    if !can_be_tested("go", "values-go", "the SDK's own tests") {
        return;
    }
    let tested = Command::new("go")
        .args(["test", "-count=1", "./..."])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../guest-sdk/go"))
        .output()
        .unwrap();
    assert!(tested.status.success(), "{tested:?}");
}

#[test]
fn every_language_carries_every_value_in_and_out_and_in_again() {
    let (events, expected) = values();
    for system in [System::Sqlite, System::Postgres] {
        in_every_language(&format!("values on {system:?}"), |language| {
            let installation = Installation::in_one_database(system)
                .with_module("values.wasm", &language.values());
            append(&installation, &events);
            installation.succeed(&["run", "--until-caught-up"]);
            let rows = installation.rows_of("value_copies", "value_copies");
            for (expected, found) in expected.iter().zip(&rows) {
                assert_eq!(found, expected, "{} on {system:?}", language.name);
            }
            assert_eq!(rows.len(), expected.len(), "{}", language.name);
        });
    }
}

#[test]
fn every_language_refuses_the_event_at_fault_and_says_why_and_where() {
    const LINE: &str = "a \"line\" with 👟";
    const WHY: &str = "it \"asks\" for it 👟";
    let events = [
        ("LineSaid", json!({"line": LINE})),
        seen("before", &[]),
        ("EventRefused", json!({"why": WHY})),
        ("ValueCopied", json!({"from": "nowhere", "to": "here"})),
        ("FaultMet", json!({})),
        seen("unreadable", &[("whole", "many")]),
        ("ValueCopied", json!({"from": 7})),
        seen("after", &[]),
    ];
    in_every_language("errors", |language| {
        let name = language.name;
        let installation = Installation::in_one_database(System::Sqlite)
            .with_module("values.wasm", &language.values())
            .with_configuration("[projection.value_copies]\non-error = 'park'");
        append(&installation, &events);
        let ended = installation.run(&["run", "--until-caught-up"]);
        let log = ended.stderr;
        assert_eq!(ended.code, Some(0), "{name}: {log}");
        assert!(log.contains(LINE), "{name} printed nothing: {log}");
        let parked: Vec<(u64, String)> = installation
            .json_lines(&["dead-letters", "list", "value_copies"])
            .iter()
            .map(|letter| {
                let error = letter["error"].as_str().unwrap().to_owned();
                (letter["global_position"].as_u64().unwrap(), error)
            })
            .collect();
        let positions: Vec<u64> = parked.iter().map(|(position, _)| *position).collect();
        assert_eq!(positions, [3, 4, 5, 6, 7], "{name}: {parked:?}");
        for (reason, said) in parked.iter().zip([
            ["EventRefused", WHY],
            ["ValueCopied", "nowhere"],
            ["", ""],
            ["ValueSeen", ""],
            ["ValueCopied", ""],
        ]) {
            for fragment in said {
                assert!(reason.1.contains(fragment), "{name}: {reason:?}, {said:?}");
            }
        }
        let place = language.place;
        assert!(parked[0].1.contains(place), "{name}: {:?}", parked[0]);
        for fragment in language.fault {
            let found = parked[2].1.contains(fragment) || log.contains(fragment);
            assert!(found, "{name}: `{fragment}` in {:?} or {log}", parked[2]);
        }
        let rows = installation.rows_of("value_copies", "value_copies");
        assert_eq!(rows, [row("after", &[]), row("before", &[])], "{name}");
    });
}
