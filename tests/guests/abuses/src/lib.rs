//! A projection that does what an event's type tells it to, however bad.
//!
//! It has the raw bindings of the contract, as a typed SDK prevents most of
//! this. An event of an unknown type becomes a row, made of what is in the
//! event and nothing else.
#![cfg(target_family = "wasm")]
#![expect(
    unsafe_code,
    reason = "lists that claim more memory than there is exist only outside of Rust's rules"
)]

use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicI64, Ordering};

#[allow(
    clippy::all,
    clippy::restriction,
    missing_docs,
    unreachable_pub,
    reason = "generated"
)]
mod bindings {
    wit_bindgen::generate!({ path: "../../../wit", world: "projection" });
}

use bindings::gnomon::projection::log::{self, Level};
use bindings::gnomon::projection::read_model::{Change, Table};
use bindings::gnomon::projection::types::{
    Column, ColumnType, Description, Event, Payload, Rejection, Subscription, TableSchema, Value,
};

const MIB: usize = 1 << 20;

/// What [`Abuse::KeepsStateInAGlobal`] keeps.
static CALLS: AtomicI64 = AtomicI64::new(0);

struct Abuses;

bindings::export!(Abuses with_types_in bindings);

impl bindings::Guest for Abuses {
    fn describe() -> Description {
        let column = |name: &str, column_type, nullable| Column {
            name: name.to_owned(),
            column_type,
            nullable,
        };
        Description {
            name: "abuses".to_owned(),
            version: 1,
            subscription: Subscription {
                event_types: Vec::new(),
                categories: vec!["Abuse".to_owned()],
                metadata: false,
            },
            tables: vec![TableSchema {
                name: "abuse_notes".to_owned(),
                columns: vec![
                    column("id", ColumnType::Text, false),
                    column("label", ColumnType::Text, false),
                    column("amount", ColumnType::Integer, false),
                    column("ratio", ColumnType::Float, true),
                    column("price", ColumnType::Decimal, true),
                    column("owner", ColumnType::Uuid, true),
                    column("at", ColumnType::Timestamp, true),
                    column("document", ColumnType::Json, true),
                    column("payload", ColumnType::Bytes, true),
                ],
                primary_key: vec!["id".to_owned()],
                indexes: vec![vec!["amount".to_owned()]],
            }],
        }
    }

    fn apply(events: Vec<Event>) -> Result<(), Rejection> {
        let calls = CALLS.fetch_add(1, Ordering::Relaxed);
        for event in &events {
            apply(event, calls, events.len())?;
        }
        Ok(())
    }
}

fn notes() -> Table {
    Table::new("abuse_notes")
}

/// A row that keeps all rules; an abuse breaks one of them.
fn row(id: &str) -> Vec<Value> {
    let mut row = vec![Value::Null; 9];
    row[0] = Value::Text(id.to_owned());
    row[1] = Value::Text(String::new());
    row[2] = Value::Integer(0);
    row
}

/// Puts a row with one wrong cell.
fn put_with(column: usize, value: Value) {
    let mut row = row("a");
    row[column] = value;
    notes().put(&row);
}

/// A list of this number, so many times.
fn repeated(number: &str, times: usize) -> Value {
    let number = format!("{number},");
    Value::Json(format!("[{}0]", number.repeat(times)))
}

fn key(id: &str) -> Vec<Value> {
    vec![Value::Text(id.to_owned())]
}

fn reject<T>(event: &Event, message: impl Into<String>) -> Result<T, Rejection> {
    Err(Rejection {
        position: event.position,
        message: message.into(),
    })
}

fn apply(event: &Event, calls: i64, batch: usize) -> Result<(), Rejection> {
    match event.event_type.as_str() {
        // Time.
        "LoopsForever" => loop {
            black_box(());
        },
        "LoopsInTheHost" => {
            let notes = notes();
            loop {
                notes.get(&key("a"));
            }
        }
        "ReadsTheDatabaseWithoutEnd" => {
            let notes = notes();
            loop {
                notes.find(&["amount".to_owned()], &[Value::Integer(-1)], 1);
            }
        }

        // Memory.
        "EatsMemory" => {
            let mut eaten = Vec::new();
            loop {
                eaten.push(black_box(vec![1_u8; MIB]));
            }
        }
        "RecursesForever" => {
            black_box(recurse(1));
        }
        "RepliesWithFourGigabytes" => return reject(event, four_gigabytes()),
        "LogsFourGigabytesAtOnce" => log::write(Level::Info, &ManuallyDrop::new(four_gigabytes())),
        "PassesOneMegabyteAThousandTimes" => pass_often(event),
        "OpensTablesWithoutEnd" => loop {
            std::mem::forget(notes());
        },
        "ReadsOneRowAHundredThousandTimes" => {
            let keys = vec![key("large"); 100_000];
            black_box(notes().get_many(&keys));
        }
        "MakesALargeRow" => {
            let mut large = row("large");
            large[8] = Value::Bytes(vec![1; MIB]);
            notes().put(&large);
        }

        // Writes.
        "MakesTenMillionWrites" => {
            let notes = notes();
            for number in 0..10_000_000 {
                notes.put(&row(&number.to_string()));
            }
        }
        "WritesAHundredMegabyteCell" => put_with(8, Value::Bytes(vec![1; 100 * MIB])),
        "WritesAHundredMegabytes" => {
            let notes = notes();
            for number in 0..100 {
                let mut row = row(&number.to_string());
                row[8] = Value::Bytes(vec![1; MIB]);
                notes.put(&row);
            }
        }

        // The schema.
        "WritesToAnUndeclaredTable" => Table::new("customer_value").put(&row("a")),
        "NamesATableInControlCharacters" => {
            Table::new("\u{1b}[2J\0\nforged: line\u{202e}").put(&row("a"));
        }
        "NamesAColumnOfTenMegabytes" => {
            notes().patch(
                &key("a"),
                &[Change::Set(("\u{7}".repeat(10 * MIB), Value::Null))],
            );
        }
        "FindsByAMillionColumns" => {
            notes().find(&vec!["amount".to_owned(); 500_000], &[], 1);
        }
        "WritesTooFewCells" => notes().put(&key("a")),
        "WritesTooManyCells" => notes().put(&[row("a"), row("a")].concat()),
        "WritesAnotherType" => put_with(2, Value::Text("1".to_owned())),
        "WritesANullKey" => put_with(0, Value::Null),
        "WritesANullWhereNoneMayBe" => put_with(1, Value::Null),
        "WritesANul" => put_with(1, Value::Text("a\0b".to_owned())),
        "WritesAnImpossibleTime" => put_with(6, Value::Timestamp(i64::MAX)),
        "WritesAMalformedDecimal" => put_with(4, Value::Decimal("1e9; DROP TABLE x".to_owned())),
        "WritesAMalformedUuid" => put_with(5, Value::Uuid("'; DROP TABLE x; --".to_owned())),
        "WritesMalformedJson" => put_with(7, Value::Json("{\"a\": ".to_owned())),
        "WritesABombOfNumbers" => put_with(7, repeated("1e131071", 400_000)),
        "WritesManyLongNumbers" => put_with(7, repeated("1e999", 100_000)),
        "WritesTwoMillionKeys" => {
            put_with(
                7,
                Value::Json(format!("{{{}\"\":0}}", "\"\":0,".repeat(2_000_000))),
            );
        }
        "NestsUnsortedKeys" => {
            let mut document = "\"x\"".to_owned();
            for _ in 0..400 {
                document = format!(
                    "{{\"b\":\"{}\",\"c\":{document},\"a\":0}}",
                    "x".repeat(5_000)
                );
            }
            let mut row = row(&event.stream_id);
            row[7] = Value::Json(document);
            notes().put(&row);
        }
        "AddsToALongDecimal" => {
            put_with(4, Value::Decimal("9".repeat(131_000)));
            let add = Change::Add(("price".to_owned(), Value::Decimal("-1".to_owned())));
            notes().patch(&key("a"), &vec![add; 100_000]);
        }
        "AddsToALongDecimalOneByOne" => {
            put_with(4, Value::Decimal("9".repeat(131_000)));
            let add = Change::Add(("price".to_owned(), Value::Decimal("-1".to_owned())));
            for _ in 0..100_000 {
                notes().patch(&key("a"), std::slice::from_ref(&add));
            }
        }
        "MakesALongDecimal" => {
            let mut row = row("long");
            row[4] = Value::Decimal("9".repeat(131_000));
            notes().put(&row);
        }
        "AddsToALongDecimalThatIsNotRead" => {
            let add = Change::Add(("price".to_owned(), Value::Decimal("-1".to_owned())));
            notes().patch(&key("long"), &vec![add; 100_000]);
        }
        "UsesKeysOfTenMegabytes" => {
            let long = key(&"x".repeat(10 * MIB));
            let notes = notes();
            assert!(notes.get(&long).is_none());
            assert!(
                notes
                    .get_many(&[long.clone(), key("nobody")])
                    .iter()
                    .all(Option::is_none)
            );
            notes.patch(
                &long,
                &[Change::Set(("amount".to_owned(), Value::Integer(1)))],
            );
            notes.remove(&long);
            note(event, "long keys");
        }
        "MergesAKeyOfTenMegabytes" => {
            let change = Change::Set(("amount".to_owned(), Value::Integer(1)));
            notes().merge(&key(&"x".repeat(10 * MIB)), &[change]);
        }
        "NestsJsonAMillionTimes" => put_with(7, Value::Json("[".repeat(1_000_000))),
        "AddsToAText" => notes().merge(
            &key("a"),
            &[Change::Add((
                "label".to_owned(),
                Value::Text("1".to_owned()),
            ))],
        ),
        "OverflowsACounter" => notes().merge(
            &key("a"),
            &[
                Change::Add(("amount".to_owned(), Value::Integer(i64::MAX))),
                Change::Add(("amount".to_owned(), Value::Integer(1))),
            ],
        ),
        "ChangesItsKey" => notes().patch(
            &key("a"),
            &[Change::Set(("id".to_owned(), Value::Text("b".to_owned())))],
        ),
        "FindsWithoutAnIndex" => {
            notes().find(&["label".to_owned()], &[Value::Text(String::new())], 1);
        }

        // What it says.
        "LogsAGigabyte" => {
            let megabyte = "x".repeat(MIB);
            for _ in 0..1024 {
                log::write(Level::Info, &megabyte);
            }
        }
        "LogsAMillionEmptyLines" => {
            for _ in 0..1_000_000 {
                log::write(Level::Info, "");
            }
        }
        "ForgesTheLog" => log::write(
            Level::Info,
            "one\n2000-01-01T00:00:00Z ERROR forged\u{1b}[31m",
        ),
        "RejectsInControlCharacters" => {
            return reject(event, "\u{1b}[2J\0\u{7}\u{9b}31m\u{202e}\r\nno");
        }
        "RejectsInTenMegabytes" => return reject(event, "n\0".repeat(5 * MIB)),
        "RejectsAnEventOfAnotherBatch" => {
            return Err(Rejection {
                position: event.position + 1_000_000,
                message: "not mine".to_owned(),
            });
        }
        "RejectsAnImpossiblePosition" => {
            return Err(Rejection {
                position: u64::MAX,
                message: "nobody's".to_owned(),
            });
        }
        "Traps" => core::arch::wasm32::unreachable(),
        "TrapsOnThirdCall" if calls >= 2 => core::arch::wasm32::unreachable(),

        "TrapsInCompany" if batch > 1 => core::arch::wasm32::unreachable(),
        "LooksAtItsBatch" => {
            let mut row = row(&event.id);
            row[2] = Value::Integer(i64::try_from(batch).unwrap_or(i64::MAX));
            notes().put(&row);
        }

        // No abuse, or none that works.
        "Counts" => {
            let mut row = row(&event.stream_id);
            row[1] = Value::Text("calls before this one".to_owned());
            row[2] = Value::Integer(calls);
            notes().put(&row);
        }
        "ComputesNotANumber" => {
            let zero = black_box(0.0_f64);
            let payload = black_box(f64::from_bits(0xfff8_dead_beef_cafe));
            let nan = payload + zero / zero;
            let mut row = row(&event.stream_id);
            row[1] = Value::Text(format!("{:016x}", nan.to_bits()));
            row[3] = Value::Float(nan);
            notes().put(&row);
        }
        other => note(event, other),
    }
    Ok(())
}

/// What is in the event, and nothing else.
fn note(event: &Event, label: &str) {
    let mut row = row(&event.stream_id);
    row[1] = Value::Text(label.to_owned());
    row[6] = Value::Timestamp(event.recorded_at);
    if let Payload::Json(document) = &event.data {
        row[7] = Value::Json(document.clone());
        row[8] = Value::Bytes(document.clone().into_bytes());
    }
    let notes = notes();
    notes.put(&row);
    notes.merge(
        &key("total"),
        &[Change::Add(("amount".to_owned(), Value::Integer(1)))],
    );
}

#[expect(unconditional_recursion, reason = "that is the abuse")]
fn recurse(depth: u64) -> u64 {
    black_box(depth) + black_box(recurse(black_box(depth + 1)))
}

/// A text whose length is a lie.
fn four_gigabytes() -> String {
    let true_text = ManuallyDrop::new(String::from("x"));
    // SAFETY: none; the host has to notice.
    unsafe { String::from_raw_parts(true_text.as_ptr().cast_mut(), 0x7fff_ffff, 0x7fff_ffff) }
}

/// A thousand cells that are one and the same megabyte.
fn pass_often(event: &Event) {
    let megabyte = ManuallyDrop::new(event.stream_id.repeat(MIB / event.stream_id.len()));
    let cells: Vec<Value> = (0..1_000)
        .map(|_| {
            // SAFETY: none of these is ever changed or freed.
            Value::Text(unsafe {
                String::from_raw_parts(
                    megabyte.as_ptr().cast_mut(),
                    megabyte.len(),
                    megabyte.capacity(),
                )
            })
        })
        .collect();
    notes().put(&ManuallyDrop::new(cells));
}
