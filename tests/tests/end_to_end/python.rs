//! Projections in Python: whatever an author does wrong is a rejection of the
//! right event, with its message and its place.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::faulty::{Fault, assert_all_rejected, report};
use super::languages::can_be_tested;

const FAULTS: [Fault; 40] = [
    (
        "RaisesError",
        &[
            "ValueError: out of \"range\" 👟\n    File \"faults.py\", line 56, in raises_error",
            "caused by KeyError: 'the cause'\n    File \"faults.py\", line 54, in raises_error",
        ],
    ),
    ("Exits", &["SystemExit: gone", "line 61, in exits"]),
    (
        "RaisesUnshowable",
        &[
            "Unshowable: its message cannot be shown",
            "line 66, in raises_unshowable",
        ],
    ),
    ("RaisesHalfACharacter", &["ValueError: half \\ud83d"]),
    (
        "MeetsNone",
        &[
            "AttributeError: 'NoneType' object has no attribute 'field'",
            "File \"deep.py\", line 9, in deep",
            "File \"deep.py\", line 10, in deep",
            "File \"faults.py\", line 76, in meets_none",
        ],
    ),
    (
        "RecursForEver",
        &[
            "RecursionError: maximum recursion depth exceeded",
            "line 81, in recurs_for_ever",
        ],
    ),
    ("IsAsynchronous", &["the handler is asynchronous"]),
    (
        "ImportsLate",
        &[
            "csv is imported while an event is applied",
            "import it at the top",
            "line 91, in imports_late",
        ],
    ),
    (
        "ParsesNoJson",
        &["JSONDecodeError: Expecting property name", "line 107"],
    ),
    (
        "AsksForTheTime",
        &["a projection has no clock", "event.recorded_at", "line 108"],
    ),
    ("AsksForTheDatetime", &["a projection has no clock"]),
    ("AsksForTheDate", &["a projection has no clock"]),
    ("MeasuresTime", &["a projection has no clock"]),
    ("AsksForLocalTime", &["a projection has no clock"]),
    ("Sleeps", &["a projection has no clock"]),
    (
        "ThrowsDice",
        &["a projection has no randomness", "line 114"],
    ),
    ("AsksForRandomBytes", &["a projection has no randomness"]),
    ("MakesAUuid", &["a projection has no randomness"]),
    ("AsksForMetadata", &["Projection(…, metadata=True)"]),
    (
        "AsksForAnotherTable",
        &["the projection has no table of int"],
    ),
    (
        "PutsAFraction",
        &["TypeError: notes.whole: 1.5 is not an int from -2**63 to 2**63-1"],
    ),
    ("PutsTrueAsNumber", &["notes.whole: True is not an int"]),
    (
        "PutsTooLargeAnInteger",
        &["notes.whole: 9223372036854775808 is not an int"],
    ),
    (
        "PutsTooSmallAnInteger",
        &["notes.whole: -9223372036854775809 is not an int"],
    ),
    ("PutsATooLargeNumber", &["notes.fraction: 1000000000"]),
    (
        "PutsAFloatAsDecimal",
        &["notes.exact: 0.1 is not a finite Decimal"],
    ),
    (
        "PutsNoDecimal",
        &["notes.exact: Decimal('NaN') is not a finite Decimal"],
    ),
    ("PutsATextAsBytes", &["notes.octets: 'text' is not bytes"]),
    (
        "PutsANaiveTime",
        &["2025, 1, 15, 0, 0) is not a datetime with a time zone"],
    ),
    ("PutsATimeAsDay", &["is not a date"]),
    ("PutsADictAsJson", &["notes.document: {} is not a Json"]),
    (
        "PutsHalfACharacter",
        &["notes.id: '\\ud83d' is not a str without half characters"],
    ),
    (
        "PutsNoneIntoTheKey",
        &["notes.id: None, but the column is not nullable"],
    ),
    ("PutsADict", &["notes: {'id': 'a'} is no Note"]),
    (
        "AddsNothing",
        &["notes.whole: None cannot be the operand of add"],
    ),
    ("AddsAText", &["notes.whole: '1' is not an int"]),
    (
        "ChangesAnUnknownColumn",
        &["the table notes has no column nonsense"],
    ),
    ("FindsWithoutALimit", &["notes: -1 is no limit"]),
    (
        "TakesATextForAPair",
        &["pairs: 'left' is no key, which is (left, right)"],
    ),
    ("BreaksItsSchema", &["it broke its schema"]),
];

#[test]
fn whatever_goes_wrong_in_python_is_a_rejection_with_message_and_place() {
    assert_all_rejected("python", &FAULTS);
}

#[test]
fn every_operation_works_in_python_and_what_it_prints_is_in_the_log() {
    let logged = [
        "INFO printed while the module was loaded",
        "INFO a text 7 None",
        "INFO two",
        "INFO lines",
        "ERROR in red",
        "INFO shop: logged 7",
        "WARN root: half \\ud83d",
    ];
    let Some((report, rows)) = report("python", &logged) else {
        return;
    };
    assert_eq!(
        report,
        json!({
            "whole": i64::MAX,
            "json": true,
            "none": true,
            "octets": [0, 255],
            "day": "1969-12-31",
            "tomorrow": "1970-01-01",
            "found": ["b", "c"],
            "pair": 1,
            "event": ["Fault-1", "Fault", "1", 1, r#"{"whole": 9223372036854775807}"#],
        })
    );
    let third: Vec<Option<&str>> = rows[2].iter().map(Option::as_deref).collect();
    assert_eq!(
        third[1..7],
        [
            Some("7"),
            Some("0.5"),
            Some("1000"),
            None,
            Some("1969-12-31T23:59:59.999999Z"),
            Some("1970-01-01"),
        ]
    );
}

/// What mypy says of the Python in a folder of this repository, with the
/// settings of its `pyproject.toml`.
fn checked(mypy: &str, folder: &str) -> (bool, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("python3")
        .args(["-m", "mypy", "--strict", "--cache-dir", "/dev/null", "."])
        .current_dir(root.join(folder))
        .env("PYTHONPATH", mypy)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("MYPYPATH", root.join("guest-sdk/python"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), said)
}

#[test]
fn the_python_sdk_and_what_is_written_with_it_have_sound_types() {
    if !can_be_tested("python", "faults-python", "types") {
        return;
    }
    let mypy = std::env::var("GNOMON_TEST_MYPY").expect("`tests/run` says where mypy is");
    for folder in [
        "guest-sdk/python",
        "projections/customer-value-python",
        "tests/guests/values-python",
        "tests/guests/operations-python",
        "tests/guests/faults-python",
        "host/workbench/templates/python",
    ] {
        let (is_sound, said) = checked(&mypy, folder);
        assert!(is_sound, "{folder}: {said}");
    }
}
