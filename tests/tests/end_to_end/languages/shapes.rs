//! What columns take, and what they refuse: the same in every language, with
//! messages that name the same things.
//!
//! Cells come from events, where JSON has what shape it likes, and from the
//! authors' code, by all ways that a language has to make a value. The events are
//! written by another program, as they stand here: a store of our own would have
//! brought them to its normal form.

use std::cell::RefCell;
use std::collections::BTreeMap;

use gnomon_tests::harness::{Installation, System};
use serde_json::{Value, json};

use super::values::floats;
use super::{Language, in_every_language};

/// What becomes of a cell.
#[derive(Clone, Debug, PartialEq)]
enum Cell {
    /// The column holds what is shown so.
    Holds(String),
    /// The event is rejected; the message has these.
    Refused(Vec<String>),
}

use Cell::{Holds, Refused};

/// The columns that JSON has a form for, with the event that fills them.
const COLUMNS: [(&str, &str); 9] = [
    ("truth", "TruthGiven"),
    ("whole", "WholeGiven"),
    ("fraction", "FractionGiven"),
    ("exact", "ExactGiven"),
    ("words", "WordsGiven"),
    ("moment", "MomentGiven"),
    ("day", "DayGiven"),
    ("identity", "IdentityGiven"),
    ("document", "DocumentGiven"),
];

const PLACES: [&str; 12] = [
    "name", "truth", "whole", "fraction", "exact", "words", "octets", "moment", "day", "identity",
    "document", "",
];

const DIGITS_80: &str =
    "12345678901234567890123456789012345678901234567890123456789012345678901234567890";
const PLACES_100: &str = "\"-0.1234567890123456789012345678901234567890123456789012345678901234567890\
    123456789012345678901234567891\"";
const TIME: &str = "\"2025-01-15T10:30:00.123456Z\"";
const ID: &str = "\"f47ac10b-58cc-4372-a567-0e02b2c3d479\"";
const HALF: &str = "\"\\ud800\"";
const NUL: &str = "\"a\\u0000b\"";

/// Cells as JSON; of a list or an object in its normal form.
const CELLS: [&str; 41] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "5",
    "-7",
    "5.0",
    "1.10",
    "1e3",
    "0.1",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775809",
    DIGITS_80,
    "1e400",
    "\"\"",
    "\" \"",
    "\"5\"",
    "\"-12.50\"",
    "\"1e3\"",
    "\"+1\"",
    "\".5\"",
    "\"true\"",
    "\"null\"",
    "\"👟\"",
    PLACES_100,
    "\"2025-01-15\"",
    "\"2025-02-30\"",
    TIME,
    "\"2025-01-15T10:30:00\"",
    ID,
    "\"F47AC10B-58CC-4372-A567-0E02B2C3D479\"",
    "\"f47ac10b58cc4372a5670e02b2c3d479\"",
    NUL,
    HALF,
    "[]",
    "[\"x\"]",
    "{}",
    "{\"to\": \"x\"}",
];

fn is_number(source: &str) -> bool {
    source.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

fn is_whole(source: &str) -> bool {
    is_number(source) && !source.contains(['.', 'e'])
}

/// What a language that has no numbers but floats of 64 bits makes of one.
fn has_only_floats(language: &str) -> bool {
    matches!(language, "javascript" | "typescript")
}

/// What the column holds, shown as SQLite shows it, if it takes the cell.
fn held(language: &str, column: &str, source: &str) -> Option<String> {
    // The data as a whole is refused, so that no number becomes an infinity.
    if source == "1e400" && (has_only_floats(language) || language == "python") {
        return None;
    }
    // It cannot see how a number was written.
    let source = match source {
        "5.0" if has_only_floats(language) => "5",
        "1e3" if has_only_floats(language) => "1000",
        "1.10" if has_only_floats(language) => "1.1",
        // The document is what was read and written again; `data_text` has the
        // digits.
        "1.10" if language == "python" && column == "document" => "1.1",
        "1e3" if language == "python" && column == "document" => "1000.0",
        source => source,
    };
    let text: Option<String> = serde_json::from_str(source).ok();
    let no_sign = |source: &str| source.replace("-0", "0");
    match column {
        "truth" => match source {
            "true" => Some("1".to_owned()),
            "false" => Some("0".to_owned()),
            _ => None,
        },
        // serde_json reads it as a float.
        "whole" if language == "rust" && source == "-0" => None,
        "whole" if is_whole(source) => source.parse::<i64>().ok().map(|number| number.to_string()),
        "fraction" if is_number(source) && source != "1e400" => source
            .parse::<f64>()
            .ok()
            .map(|number| format!("{:?}", number + 0.0)),
        "exact" if is_whole(source) => Some(if source == "-0" {
            no_sign(source)
        } else {
            source.to_owned()
        }),
        "exact" => text.filter(|text| {
            let digits = text.strip_prefix('-').unwrap_or(text);
            let parts: Vec<&str> = digits.split('.').collect();
            parts.len() <= 2
                && parts
                    .iter()
                    .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
        }),
        "words" => text.filter(|text| !text.contains('\0')),
        // An integer that a number cannot hold is a BigInt, and so are microseconds.
        "moment" if has_only_floats(language) && source == "9007199254740993" => {
            Some("2255-06-05T23:47:34.740993Z".to_owned())
        }
        "moment" if source == TIME => text,
        "day" if source == "\"2025-01-15\"" => text,
        "identity" if source.eq_ignore_ascii_case(ID) => text.map(|text| text.to_lowercase()),
        "document" if source == NUL || source == HALF => None,
        "document" => Some(match source {
            "-0" => "0".to_owned(),
            "1e3" => "1000".to_owned(),
            "1e400" => format!("1{}", "0".repeat(400)),
            source => source.to_owned(),
        }),
        _ => None,
    }
}

/// What a message has of the value at fault.
fn shown(source: &str) -> String {
    let content = source.trim_matches('"').trim_start_matches('-');
    match source {
        "1e400" => source.to_owned(),
        "true" => "rue".to_owned(),
        "false" => "alse".to_owned(),
        source if source.starts_with(['[', '{', 'n']) || source == HALF => String::new(),
        _ => content.chars().take(1).collect(),
    }
}

/// An event, and what is to become of its cell.
struct Case {
    event_type: String,
    data: String,
    table: &'static str,
    column: &'static str,
    cell: Cell,
}

fn given(language: &str) -> Vec<Case> {
    let mut cases = Vec::new();
    for (column, event_type) in COLUMNS {
        for source in CELLS {
            let name = json!(format!("{column} {source}"));
            let cell = match held(language, column, source) {
                Some(text) => Holds(text),
                None if source == "1e400" => Refused(vec![shown(source)]),
                None => Refused(vec!["cell".to_owned(), shown(source)]),
            };
            cases.push(Case {
                event_type: event_type.to_owned(),
                data: format!("{{\"name\": {name}, \"cell\": {source}}}"),
                table: "value_cells",
                column,
                cell,
            });
        }
        let missing = |event_type: &str, data: &str, table, cell| Case {
            event_type: event_type.to_owned(),
            data: data.to_owned(),
            table,
            column,
            cell,
        };
        let name = format!("{{\"name\": \"{column} is missing\"}}");
        let refused = || Refused(vec!["cell".to_owned()]);
        cases.push(missing(event_type, &name, "value_cells", refused()));
        // Where null may be, it is null, whether it is there or not; nothing else
        // is.
        let maybe = format!("Maybe{event_type}");
        let null = || Holds("NULL".to_owned());
        cases.push(missing(&maybe, &name, "value_copies", null()));
        let data = format!("{{\"name\": \"{column} is null\", \"cell\": null}}");
        cases.push(missing(&maybe, &data, "value_copies", null()));
        if column != "document" {
            let data = format!("{{\"name\": \"{column} is a list\", \"cell\": [\"x\"]}}");
            let refused = Refused(vec![String::new()]);
            cases.push(missing(&maybe, &data, "value_copies", refused));
        }
    }
    // Each is the nearest float, to the last bit.
    for float in floats() {
        cases.push(Case {
            event_type: "FractionGiven".to_owned(),
            data: format!("{{\"name\": \"float {float}\", \"cell\": {float}}}"),
            table: "value_cells",
            column: "fraction",
            cell: Holds(float),
        });
    }
    for data in [
        "[\"a\", \"x\"]",
        "[]",
        "\"a\"",
        "5",
        "null",
        "[{\"name\": \"a\", \"cell\": \"x\"}]",
    ] {
        cases.push(Case {
            event_type: "WordsGiven".to_owned(),
            data: data.to_owned(),
            table: "value_cells",
            column: "words",
            cell: Refused(vec![]),
        });
    }
    cases
}

/// Writes the events as another program would, each in a stream of its own, runs
/// the projection, and compares what became of them.
fn compare(language: &Language, cases: &[Case]) -> Vec<String> {
    let installation = Installation::in_one_database(System::Sqlite)
        .with_module("values.wasm", &language.values())
        .with_configuration("[projection.value_copies]\non-error = 'park'");
    // Makes the table.
    installation.append("Other-1", "Unrelated", &json!({}));
    let rows: Vec<String> = (2..)
        .zip(cases)
        .map(|(position, case)| {
            let data = case.data.replace('\'', "''");
            format!(
                "('00000000-0000-4000-8000-{position:012}', 'Value-{position}', 'Value', '{}', '{data}', 1)",
                case.event_type
            )
        })
        .collect();
    installation.events.execute(&format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, version) VALUES {}",
        rows.join(", ")
    ));
    let ended = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(0), "{}: {}", language.name, ended.stderr);

    let letters = installation
        .read_models
        .rows("SELECT position, error FROM gnomon_dead_letters");
    let letters: BTreeMap<usize, String> = letters
        .into_iter()
        .map(|letter| {
            let [position, error] = <[Option<String>; 2]>::try_from(letter).unwrap();
            (position.unwrap().parse().unwrap(), error.unwrap())
        })
        .collect();
    let mut tables: BTreeMap<(&str, String), Vec<Option<String>>> = BTreeMap::new();
    for table in ["value_cells", "value_copies"] {
        for row in installation.rows_of("value_copies", table) {
            tables.insert((table, row[0].clone().unwrap()), row);
        }
    }
    let mut wrong = Vec::new();
    for (position, case) in (2..).zip(cases) {
        let name = serde_json::from_str::<Value>(&case.data)
            .ok()
            .and_then(|data| Some(data.get("name")?.as_str()?.to_owned()))
            .unwrap_or_else(|| name_in(&case.data));
        let place = PLACES
            .iter()
            .position(|place| *place == case.column)
            .unwrap();
        let found = tables
            .get(&(case.table, name))
            .map(|row| row[place].clone().unwrap_or_else(|| "NULL".to_owned()));
        let letter = letters.get(&position);
        let is_right = match (&case.cell, &found, letter) {
            (Holds(expected), Some(found), None) => expected == found,
            (Refused(fragments), None, Some(error)) => {
                // What the host refuses, it names with its event elsewhere.
                let is_named = error.contains(&case.event_type)
                    || error.starts_with("it broke its schema: table `")
                    || error.starts_with("it passed a bad value: table `");
                is_named && fragments.iter().all(|fragment| error.contains(fragment))
            }
            _ => false,
        };
        if !is_right {
            wrong.push(format!(
                "{}: {} {}: expected {:?}, found {found:?}, {letter:?}",
                language.name, case.event_type, case.data, case.cell
            ));
        }
    }
    wrong
}

/// The name in data that serde_json does not read as a whole, such as half of a
/// surrogate pair.
fn name_in(data: &str) -> String {
    let start = data.strip_prefix("{\"name\": ").unwrap_or_default();
    let mut names = serde_json::Deserializer::from_str(start).into_iter::<String>();
    names.next().and_then(Result::ok).unwrap_or_default()
}

/// Compares what becomes of cases in all languages, and shows all that is wrong.
fn compare_all(what: &str, cases: impl Fn(&Language) -> Vec<Case>) {
    let wrong = RefCell::new(Vec::new());
    in_every_language(what, |language| {
        let cases = cases(language);
        if !cases.is_empty() {
            wrong.borrow_mut().extend(compare(language, &cases));
        }
    });
    let wrong = wrong.into_inner();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_language_takes_the_same_cells_from_events() {
    compare_all("cells of events", |language| given(language.name));
}

/// A value that an author's code makes: how, the column, what becomes of it, and
/// the languages that have it.
type Made = (
    &'static str,
    &'static str,
    Result<&'static str, &'static [&'static str]>,
    &'static str,
);

/// TypeScript has JavaScript's SDK.
const ALL: &str = "rust c go javascript python";

/// A column that is named by a host or by an SDK, and what is wrong.
const MADE: &[Made] = &[
    // On SQLite.
    ("nan", "fraction", Err(&["NaN"]), ALL),
    ("infinity", "fraction", Ok("inf"), ALL),
    ("negative infinity", "fraction", Ok("-inf"), ALL),
    ("negative zero", "fraction", Ok("0.0"), ALL),
    ("80 digits", "exact", Ok(DIGITS_80), ALL),
    (
        "100 places",
        "exact",
        Ok(concat!(
            "-0.1234567890123456789012345678901234567890",
            "123456789012345678901234567890123456789012345678901234567890"
        )),
        ALL,
    ),
    ("a whole number as a decimal", "exact", Ok("-5"), ALL),
    ("a fraction as a decimal", "exact", Err(&["ecimal"]), ALL),
    ("empty", "words", Ok(""), ALL),
    (
        "nul",
        "words",
        Err(&["`words` of type text", "`a\\0b` has U+0000"]),
        ALL,
    ),
    // Rust's and C's types keep the rest apart when they compile.
    (
        "no decimal",
        "exact",
        Err(&["value_cells", "exact", "ecimal"]),
        "c go javascript python",
    ),
    (
        "another type",
        "whole",
        Err(&["value_cells", "whole", "5"]),
        "c go javascript python",
    ),
    (
        "a boolean",
        "whole",
        Err(&["value_cells.whole", "rue"]),
        "go javascript python",
    ),
    (
        "a whole float",
        "whole",
        Err(&["value_cells.whole: 5"]),
        "go python",
    ),
    // JavaScript has one type of numbers.
    ("a whole float", "whole", Ok("5"), "javascript"),
    (
        "a whole number as a float",
        "fraction",
        Ok("5.0"),
        "go javascript python",
    ),
    (
        "nothing",
        "whole",
        Err(&["value_cells.whole", "but the column is not nullable"]),
        "go javascript python",
    ),
    (
        "a number beyond 64 bits",
        "whole",
        Err(&["value_cells.whole: "]),
        "go javascript python",
    ),
    ("a number of its own type", "whole", Ok("5"), "go python"),
    // Go's and C's numbers have 64 bits.
    (
        "a whole number too large for a float",
        "fraction",
        Err(&["value_cells.fraction: 1000000"]),
        "javascript python",
    ),
    // Python's times end with the year 9999.
    (
        "a moment too far",
        "moment",
        Err(&["value_cells", "moment"]),
        "rust c go javascript",
    ),
    (
        "a day too far",
        "day",
        Err(&["value_cells", "day"]),
        "rust c go javascript",
    ),
    (
        "the day of a moment",
        "day",
        Ok("2025-01-16"),
        "rust go javascript",
    ),
    (
        "a moment in a zone",
        "moment",
        Ok("2025-01-15T08:30:00.123456Z"),
        "go javascript python",
    ),
    (
        "a moment as a day",
        "day",
        Err(&["value_cells.day", "2025"]),
        "go javascript python",
    ),
    (
        "a day as a moment",
        "moment",
        Err(&["value_cells.moment", "2025"]),
        "go python",
    ),
    // Only these have texts that are no UTF-8, or halves of characters.
    (
        "half a character",
        "words",
        Err(&["value_cells.words", "\\ud800"]),
        "javascript python",
    ),
    (
        "no UTF-8",
        "words",
        Err(&["value_cells.words", "\\xff"]),
        "go",
    ),
    // Bytes.
    (
        "bytes of a part",
        "octets",
        Ok("\\x0203"),
        "javascript python",
    ),
    (
        "bytes of a class",
        "octets",
        Ok("\\x0203"),
        "javascript python",
    ),
    (
        "a list of bytes",
        "octets",
        Err(&["value_cells.octets"]),
        "javascript python",
    ),
    ("a bytearray", "octets", Ok("\\x0203"), "python"),
    (
        "a text as bytes",
        "octets",
        Err(&["value_cells.octets: '23'"]),
        "python",
    ),
    (
        "bytes as a text",
        "words",
        Err(&["value_cells.words: b'five'"]),
        "python",
    ),
    (
        "clamped bytes",
        "octets",
        Err(&["value_cells.octets"]),
        "javascript",
    ),
    (
        "words of 16 bits",
        "octets",
        Err(&["value_cells.octets"]),
        "javascript",
    ),
    (
        "a buffer",
        "octets",
        Err(&["value_cells.octets"]),
        "javascript",
    ),
    ("no bytes", "octets", Ok("\\x"), "go"),
    // What Go's variables hold before they are set.
    ("a decimal that is not set", "exact", Ok("0"), "go"),
    (
        "a UUID that is not set",
        "identity",
        Ok("00000000-0000-0000-0000-000000000000"),
        "go",
    ),
    ("a document that is not set", "document", Ok("null"), "go"),
    (
        "no pointer",
        "whole",
        Err(&["value_cells.whole: null"]),
        "go",
    ),
    (
        "a text of its own type",
        "identity",
        Err(&["value_cells.identity", "f47ac10b"]),
        "go",
    ),
    (
        "no JSON",
        "document",
        Err(&["value_cells.document: { "]),
        "go",
    ),
    // JavaScript's objects.
    (
        "a text object",
        "words",
        Err(&["value_cells.words"]),
        "javascript",
    ),
    (
        "a number beyond 2^53",
        "whole",
        Err(&["value_cells.whole: 9007199254740992 "]),
        "javascript",
    ),
    (
        "a moment as a Date",
        "moment",
        Ok("2025-01-15T08:30:00.123000Z"),
        "javascript",
    ),
    (
        "a moment as a number",
        "moment",
        Err(&["value_cells.moment: 1736929800000"]),
        "javascript",
    ),
    (
        "no moment",
        "moment",
        Err(&["value_cells.moment"]),
        "javascript",
    ),
    ("JSON null", "document", Ok("null"), "javascript"),
    (
        "a map in JSON",
        "document",
        Err(&["JSON has no Map"]),
        "javascript",
    ),
    (
        "bytes in JSON",
        "document",
        Err(&["JSON has no Uint8Array"]),
        "javascript",
    ),
    (
        "a function in JSON",
        "document",
        Err(&["value_cells.document"]),
        "javascript",
    ),
    (
        "a large number in JSON",
        "document",
        Ok("{\"a\": 100000000000000000000, \"b\": 1.10}"),
        "javascript",
    ),
    // Python's classes.
    ("nan in JSON", "document", Err(&["NaN"]), "javascript"),
    ("nan in JSON", "document", Err(&["nan"]), "python"),
    (
        "nan in the text of JSON",
        "document",
        Err(&["NaN is no JSON"]),
        "python",
    ),
    (
        "half a character in JSON",
        "document",
        Err(&["value_cells.document"]),
        "python",
    ),
    (
        "a large number in JSON",
        "document",
        Ok("{\"a\": 100000000000000000000}"),
        "python",
    ),
    (
        "a dict as JSON",
        "document",
        Err(&["value_cells.document: {'a': 1}"]),
        "python",
    ),
    ("a decimal with an exponent", "exact", Ok("1000"), "python"),
    (
        "a decimal that is too long",
        "exact",
        Err(&["value_cells.exact: Decimal('1E+999999')"]),
        "python",
    ),
    (
        "a decimal that is no number",
        "exact",
        Err(&["value_cells.exact: Decimal('NaN')"]),
        "python",
    ),
    ("a decimal of a class", "exact", Ok("1.50"), "python"),
    (
        "a whole decimal",
        "whole",
        Err(&["value_cells.whole: Decimal('5')"]),
        "python",
    ),
    (
        "a number as a boolean",
        "truth",
        Err(&["value_cells.truth: 1 "]),
        "python",
    ),
    ("a text of its own type", "words", Ok("five"), "python"),
    ("a text of an enum", "words", Ok("five"), "python"),
    ("a text of an old enum", "words", Ok("five"), "python"),
    ("a day", "day", Ok("2025-01-15"), "python"),
    ("a day of a moment", "day", Ok("2025-01-15"), "python"),
    ("a day of a text", "day", Ok("2025-01-15"), "python"),
    ("a day of another form", "day", Ok("2025-01-15"), "python"),
    ("a day of a number", "day", Ok("2025-01-15"), "python"),
    ("a day of a week", "day", Ok("2025-01-15"), "python"),
    ("a day of a timestamp", "day", Ok("2025-01-15"), "python"),
    ("a day after another", "day", Ok("2025-01-15"), "python"),
    (
        "a day in the place of another",
        "day",
        Ok("2025-01-15"),
        "python",
    ),
    ("a day of a class", "day", Ok("2025-01-15"), "python"),
    ("the last day", "day", Ok("9999-12-31"), "python"),
    (
        "a moment without a zone",
        "moment",
        Err(&["value_cells.moment", "with a time zone"]),
        "python",
    ),
    (
        "a moment of a class",
        "moment",
        Ok("2025-01-15T08:30:00.123456Z"),
        "python",
    ),
    (
        "a moment put together",
        "moment",
        Ok("2025-01-15T08:30:00.123456Z"),
        "python",
    ),
    (
        "a moment of a timestamp",
        "moment",
        Ok("2025-01-15T08:30:00.000000Z"),
        "python",
    ),
    ("types are as ever", "truth", Ok("1"), "python"),
    (
        "a UUID",
        "identity",
        Ok("f47ac10b-58cc-4372-a567-0e02b2c3d479"),
        "python",
    ),
    (
        "no UUID",
        "identity",
        Err(&["value_cells.identity"]),
        "javascript python",
    ),
];

#[test]
fn every_language_takes_the_same_cells_from_code() {
    compare_all("cells of code", |language| {
        MADE.iter()
            .filter(|(.., languages)| languages.split(' ').any(|name| name == language.name))
            .map(|(how, column, cell, _)| Case {
                event_type: "ValueMade".to_owned(),
                data: json!({"name": how, "how": how}).to_string(),
                table: "value_cells",
                column,
                cell: match cell {
                    Ok(text) => Holds((*text).to_owned()),
                    Err(fragments) => {
                        Refused(fragments.iter().map(|part| (*part).to_owned()).collect())
                    }
                },
            })
            .collect()
    });
}
