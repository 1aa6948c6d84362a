//! Values of all kinds, as events have them and as databases show them.

use gnomon_tests::harness::Rows;
use serde_json::{Map, Value, json};

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

/// Columns and what is in them.
type Cells<'a> = Vec<(&'a str, &'a str)>;

/// A row in which the columns that are not given are null.
pub(super) fn row(name: &str, shown: &[(&str, &str)]) -> Vec<Option<String>> {
    let cell = |column: &&str| {
        let given = shown.iter().find(|(of, _)| of == column);
        given.map(|(_, value)| (*value).to_owned())
    };
    let mut row = vec![Some(name.to_owned())];
    row.extend(COLUMNS.iter().map(cell));
    row
}

/// The event that gives it; half of the columns that are null are missing.
pub(super) fn seen(name: &str, given: &[(&str, &str)]) -> (&'static str, Value) {
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
pub(super) fn values() -> (Vec<(&'static str, Value)>, Rows) {
    let mut rows: Vec<(String, Cells<'_>, Cells<'_>)> = VALUES
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
pub(super) fn floats() -> Vec<String> {
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
