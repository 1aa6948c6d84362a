//! Copies values of every column type from events to rows and from row to row.
//! `tests/tests/end_to_end/languages.rs` defines it, for all languages.

use std::str::FromStr;

use gnomon_sdk::prelude::*;
use gnomon_sdk::{Cell, Change, Column};
use serde::Deserialize;

/// A value of every type.
#[derive(Row, Debug, PartialEq)]
#[row(table = "value_copies")]
pub struct ValueCopy {
    /// What the events call it.
    #[key]
    pub name: String,
    /// A boolean.
    pub truth: Option<bool>,
    /// An integer.
    pub whole: Option<i64>,
    /// A float.
    pub fraction: Option<f64>,
    /// A decimal.
    pub exact: Option<Decimal>,
    /// A text.
    pub words: Option<String>,
    /// Bytes.
    pub octets: Option<Vec<u8>>,
    /// A timestamp.
    pub moment: Option<Timestamp>,
    /// A date.
    pub day: Option<Date>,
    /// A UUID.
    pub identity: Option<Uuid>,
    /// A JSON document.
    pub document: Option<Json>,
}

/// A value of every type, of which none is null.
#[derive(Row)]
#[row(table = "value_cells")]
#[expect(missing_docs, reason = "as in a `ValueCopy`")]
pub struct ValueCell {
    #[key]
    pub name: String,
    pub truth: bool,
    pub whole: i64,
    pub fraction: f64,
    pub exact: Decimal,
    pub words: String,
    pub octets: Vec<u8>,
    pub moment: Timestamp,
    pub day: Date,
    pub identity: Uuid,
    pub document: Json,
}

/// A value as an event has it.
#[derive(Deserialize)]
pub struct Given<T> {
    name: String,
    cell: T,
}

impl<T: Cell> Given<T> {
    fn fill<R: Row<Key = String>>(self, column: Column<R, T>, tables: &mut Tables) {
        tables.merge::<R>(self.name, [column.set(self.cell)]);
    }
}

/// The same as it stands in an event.
#[derive(Deserialize)]
pub struct ValueTexts {
    name: String,
    truth: Option<String>,
    whole: Option<String>,
    fraction: Option<String>,
    exact: Option<String>,
    words: Option<String>,
    octets: Option<String>,
    moment: Option<String>,
    day: Option<String>,
    identity: Option<String>,
    document: Option<String>,
}

/// What the projection reads.
#[derive(Events)]
#[expect(missing_docs, reason = "languages.rs says it")]
pub enum ValueEvent {
    ValueSeen(Box<ValueTexts>),
    ValueCopied { from: String, to: String },
    LineSaid { line: String },
    EventRefused { why: String },
    FaultMet {},
    ValueMade { name: String, how: String },
    TruthGiven(Given<bool>),
    MaybeTruthGiven(Given<Option<bool>>),
    WholeGiven(Given<i64>),
    MaybeWholeGiven(Given<Option<i64>>),
    FractionGiven(Given<f64>),
    MaybeFractionGiven(Given<Option<f64>>),
    ExactGiven(Given<Decimal>),
    MaybeExactGiven(Given<Option<Decimal>>),
    WordsGiven(Given<String>),
    MaybeWordsGiven(Given<Option<String>>),
    MomentGiven(Given<Timestamp>),
    MaybeMomentGiven(Given<Option<Timestamp>>),
    DayGiven(Given<Date>),
    MaybeDayGiven(Given<Option<Date>>),
    IdentityGiven(Given<Uuid>),
    MaybeIdentityGiven(Given<Option<Uuid>>),
    DocumentGiven(Given<Json>),
    MaybeDocumentGiven(Given<Option<Json>>),
}

fn parsed<T>(text: Option<String>) -> Result<Option<T>>
where
    T: FromStr<Err: std::error::Error>,
{
    Ok(text.map(|text| text.parse()).transpose()?)
}

fn octets(text: &str) -> Result<Vec<u8>> {
    (0..text.len())
        .step_by(2)
        .map(|at| {
            let pair = text.get(at..at + 2).unwrap_or_default();
            Ok(u8::from_str_radix(pair, 16)?)
        })
        .collect()
}

impl ValueTexts {
    fn into_row(self) -> Result<ValueCopy> {
        Ok(ValueCopy {
            name: self.name,
            truth: parsed(self.truth)?,
            whole: parsed(self.whole)?,
            fraction: parsed(self.fraction)?,
            exact: parsed(self.exact)?,
            words: self.words,
            octets: self.octets.as_deref().map(octets).transpose()?,
            moment: parsed(self.moment)?.map(Timestamp::from_microseconds),
            day: parsed(self.day)?.map(Date::from_days),
            identity: parsed(self.identity)?,
            document: match self.document {
                Some(text) => Some(serde_json::from_str(&text)?),
                None => None,
            },
        })
    }
}

/// A value that the code makes, and no event has.
fn made(how: &str) -> Result<Change<ValueCell>> {
    Ok(match how {
        "nan" => ValueCell::fraction.set(f64::NAN),
        "infinity" => ValueCell::fraction.set(f64::INFINITY),
        "negative infinity" => ValueCell::fraction.set(f64::NEG_INFINITY),
        "negative zero" => ValueCell::fraction.set(-0.0),
        "80 digits" => ValueCell::exact.set("1234567890".repeat(8).parse::<Decimal>()?),
        "100 places" => {
            ValueCell::exact.set(format!("-0.{}", "1234567890".repeat(10)).parse::<Decimal>()?)
        }
        "a whole number as a decimal" => ValueCell::exact.set(Decimal::from(-5)),
        "a fraction as a decimal" => ValueCell::exact.set("1e3".parse::<Decimal>()?),
        "empty" => ValueCell::words.set(""),
        "nul" => ValueCell::words.set("a\0b"),
        "the day of a moment" => {
            let at: Timestamp = "2025-01-15T23:30:00-01:00".parse()?;
            ValueCell::day.set(Date::from(at))
        }
        "a day too far" => ValueCell::day.set(Date::from_days(i32::MAX)),
        "a moment too far" => ValueCell::moment.set(Timestamp::from_microseconds(i64::MAX)),
        other => reject!("there is no `{other}`"),
    })
}

/// The projection.
pub struct ValueCopies;

impl Projection for ValueCopies {
    const NAME: &'static str = "value_copies";
    const VERSION: u32 = 1;
    type Event = ValueEvent;
    type Tables = (ValueCopy, ValueCell);

    fn apply(event: ValueEvent, _: &EventContext, tables: &mut Tables) -> Result<()> {
        match event {
            ValueEvent::ValueSeen(texts) => tables.put(texts.into_row()?),
            ValueEvent::ValueCopied { from, to } => {
                let Some(row) = tables.get::<ValueCopy>(from.as_str())? else {
                    reject!("there is no value `{from}`");
                };
                tables.put(ValueCopy { name: to, ..row });
            }
            ValueEvent::LineSaid { line } => log::info(line),
            ValueEvent::EventRefused { why } => reject!("{why}"),
            ValueEvent::FaultMet {} => {
                let nothing: Option<ValueCopy> = tables.get("no such value")?;
                #[expect(clippy::unwrap_used, reason = "this is the fault")]
                tables.put(nothing.unwrap());
            }
            ValueEvent::ValueMade { name, how } => tables.merge(name, [made(&how)?]),
            ValueEvent::TruthGiven(given) => given.fill(ValueCell::truth, tables),
            ValueEvent::MaybeTruthGiven(given) => given.fill(ValueCopy::truth, tables),
            ValueEvent::WholeGiven(given) => given.fill(ValueCell::whole, tables),
            ValueEvent::MaybeWholeGiven(given) => given.fill(ValueCopy::whole, tables),
            ValueEvent::FractionGiven(given) => given.fill(ValueCell::fraction, tables),
            ValueEvent::MaybeFractionGiven(given) => given.fill(ValueCopy::fraction, tables),
            ValueEvent::ExactGiven(given) => given.fill(ValueCell::exact, tables),
            ValueEvent::MaybeExactGiven(given) => given.fill(ValueCopy::exact, tables),
            ValueEvent::WordsGiven(given) => given.fill(ValueCell::words, tables),
            ValueEvent::MaybeWordsGiven(given) => given.fill(ValueCopy::words, tables),
            ValueEvent::MomentGiven(given) => given.fill(ValueCell::moment, tables),
            ValueEvent::MaybeMomentGiven(given) => given.fill(ValueCopy::moment, tables),
            ValueEvent::DayGiven(given) => given.fill(ValueCell::day, tables),
            ValueEvent::MaybeDayGiven(given) => given.fill(ValueCopy::day, tables),
            ValueEvent::IdentityGiven(given) => given.fill(ValueCell::identity, tables),
            ValueEvent::MaybeIdentityGiven(given) => given.fill(ValueCopy::identity, tables),
            ValueEvent::DocumentGiven(given) => given.fill(ValueCell::document, tables),
            ValueEvent::MaybeDocumentGiven(given) => given.fill(ValueCopy::document, tables),
        }
        Ok(())
    }
}

gnomon_sdk::export!(ValueCopies);
