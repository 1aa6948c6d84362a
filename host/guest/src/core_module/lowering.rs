//! What a guest is given, written into memory that it allocates itself.

use std::num::TryFromIntError;

use gnomon_model::{EventList, EventRef, PayloadRef, Row, Value};
use uuid::fmt::Hyphenated;
use wasmtime::StoreContextMut;

use super::super::call::Call;
use super::lifting::Span;
use super::{CoreCall, cannot_leave};

/// An event, as the contract has it: words of its alignment.
type EventRecord = [[u8; 8]; 9];
/// How many texts an event has; a payload counts as one.
const TEXTS: usize = 5;

/// The instance that is written to.
pub(super) struct Lower<'a> {
    store: StoreContextMut<'a, Call>,
    core: CoreCall,
}

impl<'a> Lower<'a> {
    /// Until it ends, the instance may not call the host.
    pub(super) fn begin(mut store: StoreContextMut<'a, Call>) -> wasmtime::Result<Self> {
        let core = store.data_mut().core.take().ok_or_else(cannot_leave)?;
        Ok(Self { store, core })
    }

    pub(super) fn end(mut self) {
        self.store.data_mut().core = Some(self.core);
    }

    fn allocate(&mut self, align: u32, bytes: usize) -> wasmtime::Result<u32> {
        let arguments = (0, 0, align, u32::try_from(bytes)?);
        let at = self.core.realloc.call(&mut self.store, arguments)?;
        if !at.is_multiple_of(align) {
            return Err(wasmtime::Error::msg("realloc return: result not aligned"));
        }
        let end = (at as usize).checked_add(bytes);
        if end.is_none_or(|end| end > self.core.memory.data_size(&self.store)) {
            return Err(beyond_memory());
        }
        Ok(at)
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> wasmtime::Result<()> {
        let start = at as usize;
        let place = start
            .checked_add(bytes.len())
            .and_then(|end| {
                self.core
                    .memory
                    .data_mut(&mut self.store)
                    .get_mut(start..end)
            })
            .ok_or_else(|| wasmtime::Error::msg("pointer out of bounds of memory"))?;
        place.copy_from_slice(bytes);
        Ok(())
    }

    fn bytes(&mut self, bytes: &[u8]) -> wasmtime::Result<Lowered> {
        let at = self.allocate(1, bytes.len())?;
        self.write(at, bytes)?;
        Lowered::new(at, bytes.len())
    }

    /// A list whose elements are so many words of their alignment, and are made
    /// one after the other.
    fn list<T, const WORD: usize, const WORDS: usize>(
        &mut self,
        elements: impl ExactSizeIterator<Item = T>,
        mut lower: impl FnMut(&mut Self, T) -> wasmtime::Result<[[u8; WORD]; WORDS]>,
    ) -> wasmtime::Result<Lowered> {
        let len = elements.len();
        let at = self.allocate(u32::try_from(WORD)?, len.saturating_mul(WORD * WORDS))?;
        for (element, place) in elements.zip((at..).step_by(WORD * WORDS)) {
            let element = lower(self, element)?;
            self.write(place, element.as_flattened())?;
        }
        Lowered::new(at, len)
    }

    /// The events of a batch.
    pub(super) fn events(&mut self, events: &EventList) -> wasmtime::Result<Span> {
        let events: Vec<EventRef<'_>> = events.iter().collect();
        let at = self.allocate(8, events.len().saturating_mul(size_of::<EventRecord>()))?;
        let lowered = Lowered::new(at, events.len())?;
        match self.core.allocate_texts.take() {
            Some(allocate_texts) => {
                let memory = self.core.memory.data_mut(&mut self.store);
                let places = records(memory, at, events.len())?;
                for (event, place) in events.iter().zip(places) {
                    *place = record(*event, lengths(texts(*event))?);
                }
                allocate_texts.call(&mut self.store, (lowered.0.at, lowered.0.len))?;
                let memory = self.core.memory.data_mut(&mut self.store);
                for (event, place) in events.iter().zip(records_from(at)) {
                    write_texts(memory, place, *event)?;
                }
                self.core.allocate_texts = Some(allocate_texts);
            }
            None => {
                for (event, place) in events.iter().zip(records_from(at)) {
                    let mut spans = [Span::NONE; TEXTS];
                    for (span, text) in spans.iter_mut().zip(texts(*event)) {
                        *span = self.bytes(text)?.0;
                    }
                    self.write(place, record(*event, spans).as_flattened())?;
                }
            }
        }
        Ok(lowered.0)
    }

    /// Writes what `get` gives to where the guest wants it.
    pub(super) fn row_to(&mut self, at: u32, row: Option<Row>) -> wasmtime::Result<()> {
        self.check_place::<4, 3>(at)?;
        match row {
            None => self.write(at, &[0]),
            Some(row) => {
                let row = self.row(row)?.words();
                self.write(at, &[1])?;
                self.write(at + 4, row.as_flattened())
            }
        }
    }

    /// What `get-many` gives.
    pub(super) fn optional_rows_to(
        &mut self,
        at: u32,
        rows: Vec<Option<Row>>,
    ) -> wasmtime::Result<()> {
        self.check_place::<4, 2>(at)?;
        let rows = self.list(rows.into_iter(), Self::optional_row)?;
        self.write(at, rows.words().as_flattened())
    }

    /// What `find` gives.
    pub(super) fn rows_to(&mut self, at: u32, rows: Vec<Row>) -> wasmtime::Result<()> {
        self.check_place::<4, 2>(at)?;
        let rows = self.list(rows.into_iter(), |lower, row| Ok(lower.row(row)?.words()))?;
        self.write(at, rows.words().as_flattened())
    }

    /// Checks where a guest wants so many words, before it is asked for more.
    fn check_place<const WORD: usize, const WORDS: usize>(&self, at: u32) -> wasmtime::Result<()> {
        let start = at as usize;
        if !start.is_multiple_of(WORD) {
            return Err(wasmtime::Error::msg("pointer not aligned"));
        }
        let end = start.checked_add(WORD * WORDS);
        if end.is_none_or(|end| end > self.core.memory.data_size(&self.store)) {
            return Err(wasmtime::Error::msg("pointer out of bounds"));
        }
        Ok(())
    }

    fn optional_row(&mut self, row: Option<Row>) -> wasmtime::Result<[[u8; 4]; 3]> {
        Ok(match row {
            None => [[0; 4]; 3],
            Some(row) => {
                let [at, len] = self.row(row)?.words();
                [[1, 0, 0, 0], at, len]
            }
        })
    }

    fn row(&mut self, row: Row) -> wasmtime::Result<Lowered> {
        self.list(row.into_iter(), Self::value)
    }

    fn value(&mut self, value: Value) -> wasmtime::Result<[[u8; 8]; 2]> {
        let (case, payload) = match value {
            Value::Null => (0, [0; 8]),
            Value::Boolean(value) => (1, u64::from(value).to_le_bytes()),
            Value::Integer(value) => (2, value.to_le_bytes()),
            Value::Float(value) => (3, value.to_le_bytes()),
            Value::Decimal(decimal) => (4, self.bytes(decimal.as_str().as_bytes())?.word()),
            Value::Text(text) => (5, self.bytes(text.as_bytes())?.word()),
            Value::Bytes(bytes) => (6, self.bytes(&bytes)?.word()),
            Value::Timestamp(at) => (7, at.to_le_bytes()),
            Value::Date(day) => (8, i64::from(day).to_le_bytes()),
            Value::Uuid(uuid) => {
                let mut text = [0; Hyphenated::LENGTH];
                let text = uuid.hyphenated().encode_lower(&mut text);
                (9, self.bytes(text.as_bytes())?.word())
            }
            Value::Json(text) => (10, self.bytes(text.as_bytes())?.word()),
        };
        Ok([[case, 0, 0, 0, 0, 0, 0, 0], payload])
    }
}

/// The places of so many events, which begin there.
fn records(memory: &mut [u8], at: u32, len: usize) -> wasmtime::Result<&mut [EventRecord]> {
    let start = at as usize;
    let places = len
        .checked_mul(size_of::<EventRecord>())
        .and_then(|bytes| start.checked_add(bytes))
        .and_then(|end| memory.get_mut(start..end))
        .ok_or_else(beyond_memory)?;
    Ok(places.as_chunks_mut().0.as_chunks_mut().0)
}

/// An event whose texts lie there.
fn record(event: EventRef<'_>, texts: [Span; TEXTS]) -> EventRecord {
    let [id, stream_id, event_type, data, metadata] = texts.map(Span::word);
    let case = match event.data {
        // What cannot be read is given to no guest.
        PayloadRef::Json(_) | PayloadRef::Unreadable(_) => 0,
        PayloadRef::Binary(_) => 1,
    };
    let [a, b, c, d] = event.schema_version.to_le_bytes();
    [
        event.position.get().to_le_bytes(),
        id,
        stream_id,
        event_type,
        event.version.to_le_bytes(),
        [a, b, c, d, case, 0, 0, 0],
        data,
        metadata,
        event.recorded_at.to_le_bytes(),
    ]
}

/// How long texts are, before there is a place for them.
fn lengths(texts: [&[u8]; TEXTS]) -> Result<[Span; TEXTS], TryFromIntError> {
    let mut spans = [Span::NONE; TEXTS];
    for (span, text) in spans.iter_mut().zip(texts) {
        span.len = text.len().try_into()?;
    }
    Ok(spans)
}

/// Writes the texts of an event to where the guest has made room for them.
fn write_texts(memory: &mut [u8], at: u32, event: EventRef<'_>) -> wasmtime::Result<()> {
    let record: EventRecord = (memory.get(at as usize..))
        .and_then(|bytes| bytes.as_chunks().0.first_chunk().copied())
        .ok_or_else(beyond_memory)?;
    let [_, id, stream_id, event_type, _, _, data, metadata, _] = record;
    let places = [id, stream_id, event_type, data, metadata];
    for ([a, b, c, d, ..], text) in places.into_iter().zip(texts(event)) {
        let start = u32::from_le_bytes([a, b, c, d]) as usize;
        let place = start
            .checked_add(text.len())
            .and_then(|end| memory.get_mut(start..end))
            .ok_or_else(beyond_memory)?;
        place.copy_from_slice(text);
    }
    Ok(())
}

fn beyond_memory() -> wasmtime::Error {
    wasmtime::Error::msg("realloc return: beyond end of memory")
}

/// Where the records of events stand, from the first one on.
fn records_from(at: u32) -> impl Iterator<Item = u32> {
    (at..).step_by(size_of::<EventRecord>())
}

/// The texts of an event, in the order of its record.
const fn texts(event: EventRef<'_>) -> [&[u8]; TEXTS] {
    let data = match event.data {
        PayloadRef::Json(text) | PayloadRef::Unreadable(text) => text.as_bytes(),
        PayloadRef::Binary(bytes) => bytes,
    };
    [
        event.id.as_bytes(),
        event.stream_id.as_bytes(),
        event.event_type.as_bytes(),
        data,
        event.metadata.as_bytes(),
    ]
}

/// Where a list or a text was written.
struct Lowered(Span);

impl Lowered {
    fn new(at: u32, len: usize) -> wasmtime::Result<Self> {
        let len = u32::try_from(len)?;
        Ok(Self(Span { at, len }))
    }

    const fn words(&self) -> [[u8; 4]; 2] {
        self.0.words()
    }

    const fn word(&self) -> [u8; 8] {
        self.0.word()
    }
}
