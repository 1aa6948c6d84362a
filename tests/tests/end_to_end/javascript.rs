//! Projections in JavaScript: whatever an author does wrong is a rejection of
//! the right event, with its message and its place.

use std::fs;

use gnomon_tests::harness::{Installation, System};
use serde_json::json;

use super::faulty::{Fault, assert_all_rejected, report};
use super::languages::can_be_tested;

const FAULTS: [Fault; 35] = [
    (
        "ThrowsError",
        &[
            "RangeError: out of \"range\" 👟\n    at ThrowsError (faults.js:45:",
            "caused by Error: the cause\n    at ThrowsError (faults.js:45:",
        ],
    ),
    (
        "ThrowsText",
        &["only a text (a value of type string was thrown"],
    ),
    ("ThrowsNothing", &["undefined was thrown"]),
    ("ThrowsObject", &["{\"code\":\"7n\"}"]),
    ("ThrowsUnshowable", &["[object Object]"]),
    ("ThrowsHalfACharacter", &["half \u{fffd}", "faults.js:60:"]),
    (
        "MeetsNull",
        &[
            "TypeError: cannot read property 'field' of null\n    at deep (deep.js:6:",
            "    at deep (deep.js:8:",
            "    at MeetsNull (faults.js:62:",
        ],
    ),
    ("ParsesNoJson", &["SyntaxError: ", "faults.js:63:"]),
    ("IsAsynchronous", &["the handler is asynchronous"]),
    (
        "AsksForTheTime",
        &[
            "Error: a projection has no clock",
            "event.recordedAt",
            "faults.js:65:",
        ],
    ),
    (
        "AsksForTheDate",
        &["a projection has no clock", "faults.js:66:"],
    ),
    (
        "AsksForTheDateAsText",
        &["a projection has no clock", "faults.js:67:"],
    ),
    (
        "MeasuresTime",
        &["a projection has no clock", "faults.js:68:"],
    ),
    (
        "ThrowsDice",
        &["a projection has no randomness", "faults.js:69:"],
    ),
    ("AsksForMetadata", &["metadata: true", "faults.js:70:"]),
    (
        "PutsAFraction",
        &[
            "TypeError: notes.whole: 1.5 is not an integer",
            "faults.js:37:",
        ],
    ),
    (
        "PutsARoundedNumber",
        &["notes.whole: 9007199254740992 is not an integer"],
    ),
    (
        "PutsATextAsNumber",
        &["notes.whole: \"7\" is not an integer"],
    ),
    (
        "PutsTooLargeAnInteger",
        &["notes.whole: 9223372036854775808n is not an integer"],
    ),
    (
        "PutsTooSmallAnInteger",
        &["notes.whole: -9223372036854775809n is not an integer"],
    ),
    ("PutsATooLargeNumber", &["notes.fraction: 1000000000"]),
    (
        "PutsAListAsBytes",
        &["notes.octets: [1,2] is not a Uint8Array"],
    ),
    ("PutsNoTime", &["notes.moment: null is not microseconds"]),
    ("PutsNoDay", &["notes.day: \"2025-02-30\" is not a date"]),
    (
        "PutsAFunctionAsJson",
        &["notes.document: () => 1 is not what JSON can hold"],
    ),
    (
        "PutsHalfACharacter",
        &["notes.id: \"\\ud83d\" is not a text without half characters"],
    ),
    (
        "PutsNullIntoTheKey",
        &["notes.id: null, but the column is not nullable"],
    ),
    (
        "PutsAnUnknownColumn",
        &["the table notes has no column nonsense"],
    ),
    (
        "AddsNothing",
        &[
            "notes.whole: undefined cannot be an operand of add",
            "faults.js:84:",
        ],
    ),
    ("AddsAText", &["notes.whole: \"1\" is not an integer"]),
    (
        "ChangesAnUnknownColumn",
        &["the table notes has no column nonsense"],
    ),
    (
        "FindsWithoutALimit",
        &["notes.find: the limit is undefined"],
    ),
    (
        "TakesATextForAPair",
        &["the key of pairs is an object of left, right, not \"left\""],
    ),
    (
        "ReadsALargeNumber",
        &["RangeError: notes.safe: 9007199254740992 is beyond 2^53"],
    ),
    ("BreaksItsSchema", &["it broke its schema"]),
];

#[test]
fn whatever_goes_wrong_in_javascript_is_a_rejection_with_message_and_place() {
    assert_all_rejected("javascript", &FAULTS);
}

#[test]
fn every_operation_works_in_javascript_and_what_it_prints_is_in_the_log() {
    let logged = [
        "WARN printed while the module was loaded",
        "INFO a text 7 7n {\"list\":[1,\"2n\"]} null undefined Error: an error",
        "at Prints (faults.js:95:",
        "ERROR in red",
    ];
    let Some((report, rows)) = report("javascript", &logged) else {
        return;
    };
    assert_eq!(
        report,
        json!({
            "whole": i64::MAX,
            "json": true,
            "none": true,
            "safe": 7,
            "octets": [0, 255],
            "day": "1969-12-31",
            "found": ["b", "c"],
            "pair": 1,
            "event": ["Fault-1", "Fault", "1", 1, r#"{"whole": 9223372036854775807}"#],
        })
    );
    let third: Vec<Option<&str>> = rows[2].iter().map(Option::as_deref).collect();
    assert_eq!(
        third[1..6],
        [
            Some("7"),
            Some("9"),
            Some("0.5"),
            None,
            Some("1969-12-31T23:59:59.999000Z")
        ]
    );
}

/// A package in which `main` has this source, in a folder of its own.
fn package(installation: &Installation, name: &str, main: &str, source: &str) {
    let folder = installation.path(name);
    fs::create_dir(&folder).unwrap();
    let manifest = json!({"name": name, "type": "module", "main": main});
    fs::write(folder.join("package.json"), manifest.to_string()).unwrap();
    fs::write(folder.join(main), source).unwrap();
}

#[test]
fn a_package_that_is_no_projection_is_not_built_and_the_place_is_said() {
    if !can_be_tested("javascript", "faults-javascript", "builds") {
        return;
    }
    let installation = Installation::in_one_database(System::Sqlite).with_variable(
        "GNOMON_TOOLCHAINS",
        std::env::var("GNOMON_TOOLCHAINS").unwrap_or_default(),
    );
    let cases: [(&str, &str, &str, &[&str]); 6] = [
        (
            "throws",
            "index.js",
            "import 'gnomon';\n\nnull.field;\nexport default 1;",
            &[
                "cannot be loaded: Error: cannot read property 'field' of null",
                "index.js:3:",
            ],
        ),
        (
            "clock",
            "index.js",
            "import './clock.js';\nexport default 1;",
            &["Could not resolve \"./clock.js\"", "index.js:1:"],
        ),
        (
            "time",
            "index.js",
            "export const loaded = Date.now();\nexport default 1;",
            &["a projection has no clock", "index.js:1:"],
        ),
        (
            "nothing",
            "index.js",
            "export const nothing = 1;",
            &["No matching export", "for import \"default\""],
        ),
        (
            "unnamed",
            "index.js",
            "import { projection } from 'gnomon';\nexport default projection({ version: 1 });",
            &["projection: name is not a text", "index.js:2:"],
        ),
        (
            "types",
            "index.ts",
            "import { projection, table, text, add } from 'gnomon';\n\
             export default projection({\n\
               name: 'types', version: 1,\n\
               tables: { notes: table({ id: text(), n: text() }, { key: 'id' }) },\n\
               on: { Noted(_, { notes }) {\n\
                 notes.put({ id: 7, n: '' });\n\
                 notes.put({ id: 'a' });\n\
                 notes.merge('a', { id: 'b' });\n\
                 notes.merge('a', { n: add(1) });\n\
                 notes.get('a').n;\n\
               } },\n\
             });",
            &[
                "index.ts(6,",
                "index.ts(7,",
                "index.ts(8,",
                "index.ts(9,",
                "index.ts(10,",
                "the messages of tsc are above",
            ],
        ),
    ];
    for (name, main, source, said) in cases {
        package(&installation, name, main, source);
        let configuration =
            include_str!("../../../projections/customer-value-typescript/tsconfig.json");
        fs::write(installation.path(name).join("tsconfig.json"), configuration).unwrap();
        installation.fail(&["build", name], said);
        assert!(
            !installation
                .path(name)
                .join(format!("{name}.wasm"))
                .exists()
        );
    }
}
