//! One contract, many languages: the same events give the same rows, whatever
//! a projection is written in.
//!
//! Each language has two modules: the example `customer-value-<language>`, and
//! `values-<language>` of `tests/guests`; those of Rust bear no suffix.
//!
//! # The projection `value_copies`, version 1
//!
//! It has one table of the same name. The key is the text `name`; the other
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
//! | `FaultMet` | nothing | gets the row `no such value`, which is not there, and uses it nevertheless |
//!
//! The strings of `ValueSeen` are `true` and `false`; whole numbers in decimal
//! digits, also for microseconds and days since the epoch; floats as any
//! language reads them, `-0` too; lower-case hexadecimal digits for bytes; and
//! for decimals, texts, UUIDs and JSON what the contract has. A field that is
//! missing is null.

use std::fs;
use std::io::Write as _;
use std::sync::Arc;

use gnomon_tests::harness::{
    CUSTOMER_VALUE, Database, Installation, Rows, System, example, guest, has_guest, shared_log,
};
use serde_json::{Map, Value, json};

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
        place: "File \"values.py\", line 86, in event_refused",
        fault: &["AttributeError", "'words'", "line 92, in fault_met"],
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
    writeln!(std::io::stderr(), "{what}, {language}: {verdict}").unwrap();
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

/// Column, value as `ValueSeen` has it, value as both databases show it.
const VALUES: [(&str, &str, &str); 46] = [
    ("truth", "false", "0"),
    ("truth", "true", "1"),
    ("whole", "0", "0"),
    ("whole", "-1", "-1"),
    ("whole", "9007199254740993", "9007199254740993"),
    ("whole", "-9007199254740993", "-9007199254740993"),
    ("whole", "9223372036854775807", "9223372036854775807"),
    ("whole", "-9223372036854775808", "-9223372036854775808"),
    ("fraction", "0", "0.0"),
    ("fraction", "-0", "0.0"),
    ("fraction", "-1.5", "-1.5"),
    ("fraction", "0.30000000000000004", "0.30000000000000004"),
    ("fraction", "5e-324", "5e-324"),
    (
        "fraction",
        "1.7976931348623157e308",
        "1.7976931348623157e308",
    ),
    (
        "fraction",
        "-1.7976931348623157e308",
        "-1.7976931348623157e308",
    ),
    ("exact", "0.000", "0.000"),
    ("exact", "-12.50", "-12.50"),
    (
        "exact",
        "123456789012345678901234567890",
        "123456789012345678901234567890",
    ),
    (
        "exact",
        "-0.123456789012345678901234567890",
        "-0.123456789012345678901234567890",
    ),
    ("words", "", ""),
    ("words", " ", " "),
    ("words", "null", "null"),
    (
        "words",
        "a \"quoted\" \\ back/slash",
        "a \"quoted\" \\ back/slash",
    ),
    (
        "words",
        "\u{1}\u{8}\t\n\u{c}\r\u{1f}\u{7f}",
        "\u{1}\u{8}\t\n\u{c}\r\u{1f}\u{7f}",
    ),
    (
        "words",
        "Ñandú, ελληνικά, 日本語",
        "Ñandú, ελληνικά, 日本語",
    ),
    (
        "words",
        "e\u{301}\u{feff}\u{fffd}\u{ffff}",
        "e\u{301}\u{feff}\u{fffd}\u{ffff}",
    ),
    ("words", "👟𝄞\u{10ffff}", "👟𝄞\u{10ffff}"),
    ("octets", "", "\\x"),
    ("octets", "00", "\\x00"),
    ("octets", EVERY_BYTE, EVERY_BYTE_SHOWN),
    ("moment", "0", "1970-01-01T00:00:00.000000Z"),
    ("moment", "1736937000123456", "2025-01-15T10:30:00.123456Z"),
    ("moment", "-1", "1969-12-31T23:59:59.999999Z"),
    (
        "moment",
        "-62135596800000000",
        "0001-01-01T00:00:00.000000Z",
    ),
    (
        "moment",
        "253402128000000001",
        "9999-12-30T00:00:00.000001Z",
    ),
    ("day", "0", "1970-01-01"),
    ("day", "-1", "1969-12-31"),
    ("day", "-719162", "0001-01-01"),
    ("day", "2932896", "9999-12-31"),
    (
        "identity",
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-000000000000",
    ),
    (
        "identity",
        "F47AC10B-58CC-4372-A567-0E02B2C3D479",
        "f47ac10b-58cc-4372-a567-0e02b2c3d479",
    ),
    ("document", "null", "null"),
    ("document", "\"\"", "\"\""),
    (
        "document",
        "123456789012345678901234567890.50",
        "123456789012345678901234567890.50",
    ),
    ("document", "[1,[2,[3,[]]],{}]", "[1, [2, [3, []]], {}]"),
    (
        "document",
        "{\"b\":{\"c\":[null,true,\"\\u0001\\ud83d\\udc5f\\\\\\\"\"]},\"a\":1.50,\"aa\":{}}",
        "{\"a\": 1.50, \"b\": {\"c\": [null, true, \"\\u0001👟\\\\\\\"\"]}, \"aa\": {}}",
    ),
];

const EVERY_BYTE: &str = "\
    000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\
    202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\
    404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f\
    606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f\
    808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f\
    a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf\
    c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
    e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff";

/// With the two characters that show that it is not text.
const EVERY_BYTE_SHOWN: &str = "\
    \\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1\
    e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3\
    e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5\
    e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7\
    e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9\
    e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdb\
    ebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcddd\
    edfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdf\
    eff";

/// The columns after the key.
const COLUMNS: [&str; 10] = [
    "truth", "whole", "fraction", "exact", "words", "octets", "moment", "day", "identity",
    "document",
];

/// A row in which the columns that are not given are null.
fn row(name: &str, shown: &[(&str, &str)]) -> Vec<Option<String>> {
    let cell = |column: &&str| {
        let given = shown.iter().find(|(of, _)| of == column);
        given.map(|(_, value)| (*value).to_owned())
    };
    let mut row = vec![Some(name.to_owned())];
    row.extend(COLUMNS.iter().map(cell));
    row
}

/// The event that gives it; half of the columns that are null are missing.
fn seen(name: &str, given: &[(&str, &str)]) -> (&'static str, Value) {
    let mut data = Map::new();
    data.insert("name".to_owned(), json!(name));
    for column in COLUMNS.iter().step_by(2) {
        data.insert((*column).to_owned(), Value::Null);
    }
    for (column, value) in given {
        data.insert((*column).to_owned(), json!(value));
    }
    ("ValueSeen", Value::Object(data))
}

/// The values, each in a row of its own, and all kinds of them in one row; then
/// each row again, as a copy.
fn values() -> (Vec<(&'static str, Value)>, Rows) {
    let mut rows: Vec<(String, Vec<(&str, &str)>, Vec<(&str, &str)>)> = VALUES
        .iter()
        .enumerate()
        .map(|(number, (column, given, shown))| {
            let name = format!("{number:02} {column} \"👟\" \\ \u{1}");
            (name, vec![(*column, *given)], vec![(*column, *shown)])
        })
        .collect();
    rows.push(("nothing".to_owned(), vec![], vec![]));
    let last = |column: &&'static str| VALUES.iter().rfind(|(of, ..)| of == column);
    let whole: Vec<_> = COLUMNS.iter().filter_map(last).collect();
    rows.push((
        "everything".to_owned(),
        whole.iter().map(|(of, given, _)| (*of, *given)).collect(),
        whole.iter().map(|(of, _, shown)| (*of, *shown)).collect(),
    ));
    let mut events: Vec<_> = rows
        .iter()
        .map(|(name, given, _)| seen(name, given))
        .collect();
    let mut expected: Rows = Vec::new();
    for (name, _, shown) in &rows {
        let copy = format!("copy of {name}");
        events.push(("ValueCopied", json!({"from": name, "to": copy})));
        expected.extend([row(name, shown), row(&copy, shown)]);
    }
    for float in floats() {
        let name = format!("float {float}");
        let cells = [("fraction", float.as_str())];
        events.push(seen(&name, &cells));
        expected.push(row(&name, &cells));
    }
    expected.sort();
    (events, expected)
}

/// Numbers of all sizes, in their shortest form, each with 15 to 17 digits.
fn floats() -> Vec<String> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut bits = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let floats = (0..300).map(|_| f64::from_bits(bits()));
    let finite = floats.filter(|float| float.is_finite());
    finite.map(|float| format!("{float:?}")).collect()
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
