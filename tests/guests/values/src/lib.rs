//! Copies values of every column type from events to rows and from row to row.
//! `tests/tests/end_to_end/languages.rs` defines it, for all languages.

use std::str::FromStr;

use gnomon_sdk::prelude::*;
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

/// The projection.
pub struct ValueCopies;

impl Projection for ValueCopies {
    const NAME: &'static str = "value_copies";
    const VERSION: u32 = 1;
    type Event = ValueEvent;
    type Tables = (ValueCopy,);

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
        }
        Ok(())
    }
}

gnomon_sdk::export!(ValueCopies);
