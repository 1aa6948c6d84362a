//! The page that lists every key says what the program does.

use std::collections::BTreeSet;

use bytesize::ByteSize;
use jiff::SignedDuration;

use super::*;

const PAGE: &str = include_str!("../../../docs/reference/configuration.md");

/// A row of a table of keys.
struct Row<'a> {
    section: &'a str,
    key: &'a str,
    default: &'a str,
    range: &'a str,
}

fn rows() -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    let mut section = "";
    for line in PAGE.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading
                .strip_prefix('[')
                .map_or("", |heading| heading.trim_end_matches(']'));
        }
        let cells: Vec<&str> = line.split(" | ").collect();
        if let [key, _, default, range, _] = cells[..]
            && let Some(key) = key.strip_prefix("| `")
            && !section.is_empty()
        {
            rows.push(Row {
                section: section.split('.').next().unwrap(),
                key: key.trim_end_matches('`'),
                default: default.trim_matches('`'),
                range,
            });
        }
    }
    rows
}

/// Whether a value is taken for a key.
fn takes(row: &Row<'_>, value: &str) -> bool {
    let mut text =
        "[events]\nurl = \"sqlite:e.db\"\n[read-models]\nurl = \"sqlite:r.db\"\n".to_owned();
    let line = format!("{} = {value}\n", row.key);
    match row.section {
        "events" => text = text.replace("[read-models]", &format!("{line}[read-models]")),
        "read-models" => text.push_str(&line),
        "projection" => text.push_str(&format!("[projection.one]\n{line}")),
        section => text.push_str(&format!("[{section}]\n{line}")),
    }
    let path = Path::new("/srv/shop/gnomon.toml");
    Configuration::read(path, Some(text.as_bytes()), &BTreeMap::new(), Vec::new()).is_ok()
}

/// The value that is a step below or above one.
fn beside(value: &str, step: i64) -> String {
    let bare = value.trim_matches('"');
    if let Ok(count) = bare.parse::<i64>() {
        return (count + step).to_string();
    }
    if let Ok(size) = bare.parse::<ByteSize>() {
        return (size.as_u64() as i64 + step).to_string();
    }
    let duration: SignedDuration = bare.parse().unwrap();
    format!("\"{}ms\"", duration.as_millis() + i128::from(step))
}

#[test]
fn the_reference_has_every_key_with_its_default_and_no_other() {
    let documented: BTreeSet<(&str, &str, &str)> = rows()
        .iter()
        .map(|row| (row.section, row.key, row.default))
        .collect();
    let of_one = keys::of_projection().filter(|key| key.section == keys::PROJECTION);
    let known: BTreeSet<(&str, &str, &str)> = keys::common()
        .chain(of_one)
        .map(|key| {
            let default = if key.required { "none" } else { key.usual };
            (key.section, key.name, default)
        })
        .collect();
    assert_eq!(documented, known);
}

#[test]
fn the_ranges_of_the_reference_are_those_that_are_checked() {
    let mut ranges = 0;
    for row in rows() {
        if row.default != "none" {
            assert!(takes(&row, row.default), "the default of {}", row.key);
        }
        if let Some((low, high)) = row.range.split_once("` to `") {
            let (low, high) = (low.trim_matches('`'), high.trim_matches('`'));
            ranges += 1;
            for end in [low, high] {
                assert!(takes(&row, end), "{} = {end}", row.key);
            }
            for outside in [beside(low, -1), beside(high, 1)] {
                assert!(!takes(&row, &outside), "{} = {outside}", row.key);
            }
        } else if let Some((one, other)) = row.range.split_once("` or `")
            && row.key != "url"
        {
            assert!(takes(&row, one.trim_matches('`')) && takes(&row, other.trim_matches('`')));
            assert!(!takes(&row, "\"neither\""));
        }
    }
    assert_eq!(ranges, 15);
}

#[test]
fn the_defaults_of_the_reference_are_those_that_are_used() {
    let path = Path::new("/srv/shop/gnomon.toml");
    let read = |text: &str| {
        Configuration::read(path, Some(text.as_bytes()), &BTreeMap::new(), Vec::new()).unwrap()
    };
    let bare =
        "[events]\nurl = \"sqlite:events.db\"\n[read-models]\nurl = \"sqlite:read-models.db\"\n";
    let mut spelled_out = String::new();
    for section in ["events", "read-models", "projections", "limits"] {
        spelled_out.push_str(&format!("[{section}]\n"));
        for row in rows().iter().filter(|row| row.section == section) {
            let value = match (row.section, row.default) {
                ("events", "none") => "\"sqlite:events.db\"",
                (_, "none") => "\"sqlite:read-models.db\"",
                (_, default) => default,
            };
            spelled_out.push_str(&format!("{} = {value}\n", row.key));
        }
    }
    assert_eq!(read(bare), read(&spelled_out));
}
