//! What the table takes, and that it takes nothing that cannot be read.

use gnomon_model::PayloadRef;
use rusqlite::Connection;
use rusqlite::types::Value;
use tempfile::TempDir;

use super::{EVENTS, SNAPSHOTS, open_or_make};
use crate::table::sqlite::{Columns, Scratch, event_columns, read_event};

/// A row that the table takes.
const ROW: [(&str, &str); 7] = [
    ("id", "0190a5a0-7c00-7000-8000-000000000001"),
    ("stream_id", "S-1"),
    ("stream_type", "S"),
    ("event_type", "T"),
    ("event_data", "{\"a\":1}"),
    ("metadata", "{\"b\":2}"),
    ("created_at", "2025-01-15T10:30:00Z"),
];

fn store() -> (TempDir, Connection, Columns) {
    let directory = tempfile::tempdir().unwrap();
    let (connection, columns) = open_or_make(&directory.path().join("events.db")).unwrap();
    (directory, connection, columns)
}

/// Writes the row with another value in one column; says whether the table took
/// it.
fn takes(connection: &Connection, column: &str, value: Value) -> bool {
    let mut columns: Vec<(&str, Value)> = ROW
        .iter()
        .map(|(name, text)| (*name, Value::Text((*text).to_owned())))
        .collect();
    columns.push(("version", Value::Integer(1)));
    columns.retain(|(name, _)| *name != column);
    columns.push((column, value));
    let names: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    let places = vec!["?"; columns.len()].join(", ");
    let insert = format!(
        "INSERT INTO events ({}) VALUES ({places})",
        names.join(", ")
    );
    let values = rusqlite::params_from_iter(columns.into_iter().map(|(_, value)| value));
    match connection.execute(&insert, values) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(
                error.sqlite_error_code(),
                Some(rusqlite::ErrorCode::ConstraintViolation),
                "{column}: {error}"
            );
            false
        }
    }
}

/// Why the only event cannot be read, if it cannot.
fn unreadable(connection: &Connection, columns: &Columns) -> Option<String> {
    let select = format!("SELECT {} FROM events AS e", event_columns(columns, true));
    connection
        .query_row(&select, [], |row| {
            let mut scratch = Scratch::default();
            let event = read_event(row, columns, &mut scratch)?;
            Ok(match event.data {
                PayloadRef::Unreadable(reason) => Some(reason.to_owned()),
                _ => None,
            })
        })
        .unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn what_the_table_takes_can_be_read() {
    let taken = [
        ("created_at", text("2025-01-15T10:30:00Z")),
        ("created_at", text("2025-01-15 10:30:00")),
        ("created_at", text("2025-01-15T10:30:00.5+14:00")),
        ("created_at", text("2025-01-15 10:30")),
        ("created_at", text("2025-01-15T10:30Z")),
        ("created_at", text("2025-01-15")),
        ("created_at", text("2024-02-29T00:00:00Z")),
        ("created_at", text("2025-01-15T10:30:00.1234567890123Z")),
        ("created_at", text("9999-12-31T23:59:59Z")),
        ("created_at", text("9999-12-31T23:59:59.999999Z")),
        ("created_at", text("0001-01-01T00:00:00Z")),
        ("metadata", Value::Null),
        ("metadata", text(" {} ")),
        ("stream_id", text("Straße-\u{1f600}")),
        ("version", text("7")),
    ];
    for (column, value) in taken {
        let (_directory, connection, columns) = store();
        assert!(
            takes(&connection, column, value.clone()),
            "{column}: {value:?}"
        );
        assert_eq!(
            unreadable(&connection, &columns),
            None,
            "{column}: {value:?}"
        );
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let (_directory, connection, _) = store();
    let refused = [
        ("created_at", text("2026-02-31T00:00:00Z")),
        ("created_at", text("2025-02-29")),
        ("created_at", text("2025-01-15T24:00:00Z")),
        ("created_at", text("2025-01-15T23:60:00Z")),
        ("created_at", text("2025-01-15T")),
        ("created_at", text("2025-01-15  10:30:00")),
        ("created_at", text("2025-01-15T10:30:00 +01:00")),
        ("created_at", text("2025-01-15T10:30:00Z ")),
        ("created_at", text("2025-01-15T10:30:00Z\0")),
        ("created_at", text("2025-01-15T10:30:00\n")),
        ("created_at", text("15.01.2025 10:30")),
        ("created_at", text("now")),
        ("created_at", Value::Real(2_460_690.5)),
        ("created_at", Value::Blob(b"2025-01-15T10:30:00Z".to_vec())),
        ("id", Value::Blob(vec![1; 16])),
        ("id", text("a\0b")),
        ("stream_id", text("S-\0")),
        ("stream_id", Value::Blob(b"S-1".to_vec())),
        ("event_type", text("T\0x")),
        ("event_data", Value::Blob(b"{}".to_vec())),
        ("event_data", text("{}x")),
        ("event_data", text("{}\0")),
        ("metadata", text("{}\0")),
        ("metadata", text("{}x")),
        ("metadata", text("")),
        ("metadata", text("[1]")),
        ("metadata", Value::Integer(7)),
        ("metadata", Value::Blob(b"{}".to_vec())),
        ("version", text("first")),
        ("version", Value::Real(1.5)),
        ("schema_version", text("first")),
    ];
    for (column, value) in refused {
        assert!(
            !takes(&connection, column, value.clone()),
            "taken: {column}: {value:?}"
        );
    }
}

#[test]
fn the_reference_shows_the_tables_that_are_made() {
    let page = include_str!("../../../../../../docs/reference/events.md");
    for table in [EVENTS, SNAPSHOTS] {
        assert!(page.contains(table.trim()), "{table}");
    }
}
