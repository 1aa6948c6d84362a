//! What a guest passes, read where it lies in its memory.
//!
//! All of it is hostile. Sizes and offsets are those that the canonical ABI
//! gives the contract's types on 32 bits; a list's elements and a record are
//! read as so many words of their alignment.

use std::str::Utf8Error;

use gnomon_model::{Change, Decimal, InvalidValue, Value};

use super::super::bad_value::BadValue;
use super::super::bindings::gnomon::projection::log::Level;
use super::super::bindings::gnomon::projection::types;
use super::super::call::{Call, Fault, TRANSFER_EXCEEDED};

/// Why something cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LiftError {
    /// It is not in the memory.
    #[error("{0} out of bounds of memory")]
    OutOfBounds(&'static str),
    /// It is at an odd place.
    #[error("{0} not aligned")]
    Unaligned(&'static str),
    /// There is no such case.
    #[error("unexpected discriminant: {0}")]
    Discriminant(u32),
    /// A result is neither good nor bad.
    #[error("invalid expected discriminant")]
    Outcome,
    /// A text is none.
    #[error(transparent)]
    Text(#[from] Utf8Error),
    /// One call passes too much.
    #[error("{TRANSFER_EXCEEDED}")]
    TooMuch,
    /// No column can hold a value.
    #[error("no column can hold a value")]
    Value(BadValue),
}

impl LiftError {
    /// Ends the call with this reason.
    pub(super) fn end(self, call: &mut Call) -> wasmtime::Error {
        match self {
            Self::TooMuch => call.end(Fault::guest(TRANSFER_EXCEEDED)),
            _ => wasmtime::Error::msg(self.to_string()),
        }
    }
}

/// Where a list or a text lies, and how many elements it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) at: u32,
    pub(super) len: u32,
}

impl Span {
    /// Of nothing.
    pub(super) const NONE: Self = Self { at: 0, len: 0 };

    /// Its two words in memory.
    pub(super) const fn words(self) -> [[u8; 4]; 2] {
        [self.at.to_le_bytes(), self.len.to_le_bytes()]
    }

    /// The same, in a memory that is written in steps of eight bytes.
    pub(super) const fn word(self) -> [u8; 8] {
        let [[a, b, c, d], [e, f, g, h]] = self.words();
        [a, b, c, d, e, f, g, h]
    }

    /// From its two words in memory.
    const fn of_words([at, len]: [[u8; 4]; 2]) -> Self {
        Self {
            at: u32::from_le_bytes(at),
            len: u32::from_le_bytes(len),
        }
    }

    /// The same, in a memory that is read in steps of eight bytes.
    const fn of_word([a, b, c, d, e, f, g, h]: [u8; 8]) -> Self {
        Self::of_words([[a, b, c, d], [e, f, g, h]])
    }
}

/// A guest's memory, and how much of it may still be passed.
pub(super) struct Lift<'a> {
    memory: &'a [u8],
    left: usize,
}

impl<'a> Lift<'a> {
    pub(super) const fn new(memory: &'a [u8], left: usize) -> Self {
        Self { memory, left }
    }

    /// Lists may overlap, so what they hold together is not bounded by the
    /// memory.
    fn spend(&mut self, bytes: Option<usize>) -> Result<(), LiftError> {
        self.left = bytes
            .and_then(|bytes| self.left.checked_sub(bytes))
            .ok_or(LiftError::TooMuch)?;
        Ok(())
    }

    fn slice(
        &self,
        at: u32,
        bytes: Option<usize>,
        what: &'static str,
    ) -> Result<&'a [u8], LiftError> {
        let start = at as usize;
        bytes
            .and_then(|bytes| start.checked_add(bytes))
            .and_then(|end| self.memory.get(start..end))
            .ok_or(LiftError::OutOfBounds(what))
    }

    /// The elements of a list, which take so many bytes each in the host.
    fn list<const WORD: usize, const WORDS: usize>(
        &mut self,
        span: Span,
        bytes_in_host: usize,
    ) -> Result<&'a [[[u8; WORD]; WORDS]], LiftError> {
        let len = span.len as usize;
        let bytes = self.slice(
            span.at,
            len.checked_mul(WORD * WORDS),
            "list pointer/length",
        )?;
        if !(span.at as usize).is_multiple_of(WORD) {
            return Err(LiftError::Unaligned("list pointer is"));
        }
        self.spend(len.checked_mul(bytes_in_host))?;
        let (words, _) = bytes.as_chunks::<WORD>();
        let (elements, _) = words.as_chunks::<WORDS>();
        Ok(elements)
    }

    fn record<const WORD: usize, const WORDS: usize>(
        &self,
        at: u32,
    ) -> Result<[[u8; WORD]; WORDS], LiftError> {
        if !(at as usize).is_multiple_of(WORD) {
            return Err(LiftError::Unaligned("return pointer"));
        }
        let bytes = self.slice(at, Some(WORD * WORDS), "pointer")?;
        let (words, _) = bytes.as_chunks::<WORD>();
        (words.first_chunk().copied()).ok_or(LiftError::OutOfBounds("pointer"))
    }

    fn bytes(&mut self, span: Span, what: &'static str) -> Result<&'a [u8], LiftError> {
        let bytes = self.slice(span.at, Some(span.len as usize), what)?;
        self.spend(Some(bytes.len()))?;
        Ok(bytes)
    }

    pub(super) fn text(&mut self, span: Span) -> Result<&'a str, LiftError> {
        Ok(std::str::from_utf8(
            self.bytes(span, "string pointer/length")?,
        )?)
    }

    fn string(&mut self, span: Span) -> Result<String, LiftError> {
        self.text(span).map(str::to_owned)
    }

    pub(super) fn texts(&mut self, span: Span) -> Result<Vec<String>, LiftError> {
        let texts = self.list::<4, 2>(span, size_of::<String>())?;
        texts
            .iter()
            .map(|text| self.string(Span::of_words(*text)))
            .collect()
    }

    fn value(
        &mut self,
        [case, payload]: [[u8; 8]; 2],
        bad: impl FnOnce(InvalidValue) -> BadValue,
    ) -> Result<Value, LiftError> {
        let bad = |reason| LiftError::Value(bad(reason));
        let [case, ..] = case;
        let [first, second, third, fourth, ..] = payload;
        let text = Span::of_word(payload);
        Ok(match case {
            0 => Value::Null,
            1 => Value::Boolean(first != 0),
            2 => Value::Integer(i64::from_le_bytes(payload)),
            3 => Value::Float(f64::from_le_bytes(payload)),
            4 => Value::Decimal(self.text(text)?.parse::<Decimal>().map_err(bad)?),
            5 => Value::Text(self.string(text)?),
            6 => Value::Bytes(self.bytes(text, "list pointer/length")?.to_vec()),
            7 => Value::Timestamp(i64::from_le_bytes(payload)),
            8 => Value::Date(i32::from_le_bytes([first, second, third, fourth])),
            9 => Value::uuid(self.text(text)?).map_err(bad)?,
            10 => Value::Json(self.string(text)?),
            other => return Err(LiftError::Discriminant(other.into())),
        })
    }

    pub(super) fn values(&mut self, span: Span) -> Result<Vec<Value>, LiftError> {
        let values = self.list::<8, 2>(span, size_of::<Value>())?;
        // To collect results would guess how much room they need.
        let mut lifted = Vec::with_capacity(values.len());
        for (place, value) in values.iter().enumerate() {
            lifted.push(self.value(*value, |reason| BadValue::at(place, reason))?);
        }
        Ok(lifted)
    }

    pub(super) fn keys(&mut self, span: Span) -> Result<Vec<Vec<Value>>, LiftError> {
        let keys = self.list::<4, 2>(span, size_of::<Vec<Value>>())?;
        keys.iter()
            .map(|key| self.values(Span::of_words(*key)))
            .collect()
    }

    pub(super) fn changes(&mut self, span: Span) -> Result<Vec<Change<'a>>, LiftError> {
        let changes = self.list::<8, 4>(span, size_of::<Change<'_>>())?;
        let mut lifted = Vec::with_capacity(changes.len());
        for [[case, ..], column, value @ ..] in changes {
            let change = match case {
                0 => Change::Set,
                1 => Change::Add,
                2 => Change::Min,
                3 => Change::Max,
                other => return Err(LiftError::Discriminant((*other).into())),
            };
            let column = self.text(Span::of_word(*column))?;
            let value = self.value(*value, |reason| BadValue::of(column, reason))?;
            lifted.push(change(column, value));
        }
        Ok(lifted)
    }

    pub(super) const fn level(level: u32) -> Result<Level, LiftError> {
        Ok(match level {
            0 => Level::Trace,
            1 => Level::Debug,
            2 => Level::Info,
            3 => Level::Warn,
            4 => Level::Error,
            other => return Err(LiftError::Discriminant(other)),
        })
    }

    /// What `apply` gives.
    pub(super) fn applied(&mut self, at: u32) -> Result<Result<(), types::Rejection>, LiftError> {
        let [[case, ..], position, message] = self.record::<8, 3>(at)?;
        Ok(match case {
            0 => Ok(()),
            1 => Err(types::Rejection {
                position: u64::from_le_bytes(position),
                message: self.string(Span::of_word(message))?,
            }),
            _ => return Err(LiftError::Outcome),
        })
    }

    /// What `describe` gives.
    pub(super) fn description(&mut self, at: u32) -> Result<types::Description, LiftError> {
        let [
            name,
            name_len,
            version,
            event_types,
            event_types_len,
            categories,
            categories_len,
            [metadata, ..],
            tables,
            tables_len,
        ] = self.record::<4, 10>(at)?;
        Ok(types::Description {
            name: self.string(Span::of_words([name, name_len]))?,
            version: u32::from_le_bytes(version),
            subscription: types::Subscription {
                event_types: self.texts(Span::of_words([event_types, event_types_len]))?,
                categories: self.texts(Span::of_words([categories, categories_len]))?,
                metadata: metadata != 0,
            },
            tables: self
                .list::<4, 8>(
                    Span::of_words([tables, tables_len]),
                    size_of::<types::TableSchema>(),
                )?
                .iter()
                .map(|table| self.table_schema(*table))
                .collect::<Result<_, _>>()?,
        })
    }

    fn table_schema(
        &mut self,
        [
            name,
            name_len,
            columns,
            columns_len,
            primary_key,
            primary_key_len,
            indexes,
            indexes_len,
        ]: [[u8; 4]; 8],
    ) -> Result<types::TableSchema, LiftError> {
        Ok(types::TableSchema {
            name: self.string(Span::of_words([name, name_len]))?,
            columns: self
                .list::<4, 3>(
                    Span::of_words([columns, columns_len]),
                    size_of::<types::Column>(),
                )?
                .iter()
                .map(|column| self.column(*column))
                .collect::<Result<_, _>>()?,
            primary_key: self.texts(Span::of_words([primary_key, primary_key_len]))?,
            indexes: self
                .list::<4, 2>(
                    Span::of_words([indexes, indexes_len]),
                    size_of::<Vec<String>>(),
                )?
                .iter()
                .map(|columns| self.texts(Span::of_words(*columns)))
                .collect::<Result<_, _>>()?,
        })
    }

    fn column(
        &mut self,
        [name, name_len, [column_type, nullable, ..]]: [[u8; 4]; 3],
    ) -> Result<types::Column, LiftError> {
        Ok(types::Column {
            name: self.string(Span::of_words([name, name_len]))?,
            column_type: match column_type {
                0 => types::ColumnType::Boolean,
                1 => types::ColumnType::Integer,
                2 => types::ColumnType::Float,
                3 => types::ColumnType::Decimal,
                4 => types::ColumnType::Text,
                5 => types::ColumnType::Bytes,
                6 => types::ColumnType::Timestamp,
                7 => types::ColumnType::Date,
                8 => types::ColumnType::Uuid,
                9 => types::ColumnType::Json,
                other => return Err(LiftError::Discriminant(other.into())),
            },
            nullable: nullable != 0,
        })
    }
}
