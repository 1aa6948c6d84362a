//! Every rule of the normal form; that they are PostgreSQL's is tested in the
//! host, against a real one.

use super::*;

fn normalise(text: &str) -> Result<String, InvalidJson> {
    super::normalise(text, 100 << 20)
}

fn normal(text: &str) -> String {
    normalise(text).unwrap()
}

#[test]
fn objects_are_sorted_by_length_then_bytes_and_the_last_key_wins() {
    assert_eq!(
        normal(r#"{"bb":[1,2], "a" :1,"a":{"z":null,"y":[]},"é":"x","c":2}"#),
        r#"{"a": {"y": [], "z": null}, "c": 2, "bb": [1, 2], "é": "x"}"#
    );
    // The second key is the first one in another spelling.
    assert_eq!(normal(r#"{"a":1,"\u0061":2}"#), r#"{"a": 2}"#);
    assert_eq!(normal(" { } "), "{}");
    assert_eq!(normal("[ ]"), "[]");
}

#[test]
fn numbers_keep_every_digit_and_lose_their_exponent() {
    for (text, shown) in [
        ("-0", "0"),
        ("-0.0", "0.0"),
        ("1.50", "1.50"),
        ("1.5e3", "1500"),
        ("1.500e1", "15.00"),
        ("-12.345E-2", "-0.12345"),
        ("0.0001e5", "10"),
        ("0e-5", "0.00000"),
        ("0e1000000", "0"),
        ("9007199254740993", "9007199254740993"),
        ("-9223372036854775808", "-9223372036854775808"),
        ("1e+2", "100"),
    ] {
        assert_eq!(normal(text), shown, "{text}");
    }
    for (text, characters) in [
        ("1e999", 1_000),
        ("-1.5e999", 1_001),
        ("1e-999", 1_001),
        ("0e-999", 1_001),
        // What is written out may be as long as `numeric` holds.
        (&"9".repeat(131_072), 131_072),
        (&format!("0.{}", "1".repeat(16_383)), 16_385),
        // The ends of the 64-bit floats.
        ("1.7976931348623157e308", 309),
        ("5e-324", 326),
    ] {
        assert_eq!(normal(text).len(), characters, "{text}");
    }
    for text in ["1e1000", "-1e1000", "1e131071", "1e-1000", "0e-1000"] {
        assert_eq!(normalise(text), Err(InvalidJson::LongNumber), "{text}");
    }
    for text in [
        "1e131072",
        "1e-16384",
        "0e-20000",
        "1e99999999999999999999",
        "0e1073741823",
    ] {
        assert_eq!(normalise(text), Err(InvalidJson::OutOfRange), "{text}");
    }
}

#[test]
fn strings_are_escaped_only_where_they_must_be() {
    assert_eq!(
        normal(r#""\/\"\\\b\f\n\r\t\u001F\u007f\u00e9\ud83d\ude00""#),
        "\"/\\\"\\\\\\b\\f\\n\\r\\t\\u001f\u{7f}é😀\""
    );
    assert_eq!(normalise(r#"{"a\u0000":1}"#), Err(InvalidJson::Nul));
}

#[test]
fn what_is_not_json_is_refused_with_its_place() {
    for text in [
        "",
        " ",
        "tru",
        "truex",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "-",
        "[1,]",
        "[1",
        "{\"a\"}",
        "{\"a\":1,}",
        "{a:1}",
        "\"\u{1}\"",
        "\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\\ud800x\"",
        "1 2",
        "NaN",
        "1\"a\"",
    ] {
        assert!(
            matches!(normalise(text), Err(InvalidJson::Syntax { .. })),
            "{text}"
        );
    }
    assert_eq!(
        normalise("{\n \"a\": x}").unwrap_err().to_string(),
        "not JSON: found 'x' where a value should be (line 2, column 7)"
    );
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert_eq!(normal(&nested(MAX_DEPTH)).len(), 2 * MAX_DEPTH);
    assert!(normalise(&nested(MAX_DEPTH + 1)).is_err());
    assert!(normalise(&nested(1_000_000)).is_err());
}

/// Objects in each other, of which each has its keys in the wrong order, twice.
fn deep_and_unsorted(depth: usize, padding: &str) -> (String, String) {
    let (mut given, mut normal) = ("0".to_owned(), "0".to_owned());
    for level in 0..depth {
        given = format!(
            r#"{{"c":{given},"b":[1],"a":"x","c":{given_last},"b":"{padding}{level}"}}"#,
            given = "true",
            given_last = given
        );
        normal = format!(r#"{{"a": "x", "b": "{padding}{level}", "c": {normal}}}"#);
    }
    (given, normal)
}

#[test]
fn large_objects_are_sorted_like_small_ones() {
    for padding in ["", "y", &"y".repeat(100), &"y".repeat(3_000)] {
        for depth in [1, 2, 3, 20, MAX_DEPTH - 3] {
            let (given, expected) = deep_and_unsorted(depth, padding);
            assert_eq!(normal(&given), expected, "{depth}, {}", padding.len());
            assert_eq!(normal(&expected), expected);
            let list = normal(&format!("[{given},{{\"k\":{given}}},{given}]"));
            assert_eq!(
                list,
                format!("[{expected}, {{\"k\": {expected}}}, {expected}]")
            );
        }
    }
}

#[test]
fn a_document_takes_no_more_than_its_caller_allows() {
    let bombs = [
        format!("[{}0]", "1e999,".repeat(10_000)),
        // Each key is remembered until its object ends.
        format!("{{{}\"\":0}}", "\"\":0,".repeat(10_000)),
    ];
    for bomb in bombs {
        let bytes_max = bomb.len() * 2;
        assert_eq!(
            super::normalise(&bomb, bytes_max),
            Err(InvalidJson::TooLong { bytes_max })
        );
        assert!(normalise(&bomb).is_ok());
    }
    let document = r#"{"a": [1, 2, 3], "b": "c"}"#;
    assert_eq!(super::normalise(document, 200).unwrap(), document);
    assert!(super::normalise(document, 20).is_err());
}
