//! The events that were read in one go.
//!
//! ```text
//! records: │ 7, type 0, at, lengths │ 8, type 1, at, lengths │ …
//!                       ▼                        ▼
//! chunks:  │id stream metadata data│id stream metadata data│ … │
//! types:   │Placed│Paid│ … │
//! ```
//!
//! Events are read on one thread and dropped on another one. A page costs them
//! a few allocations, where texts of their own would cost five for each event.

use crate::{EventRef, PayloadRef, Position, Subscription};

/// What a chunk of texts grows to, in bytes. A longer event has its own. Larger
/// ones are no quicker, and an event that does not fit leaves more of them
/// empty.
const CHUNK_BYTES: usize = 8 << 10;
/// So many types are looked through for that of an event, the latest first. A
/// log with more of them may have the same one several times in a page.
const TYPES_COMPARED: usize = 32;

/// Events in position order, and their texts.
#[derive(Clone, Debug, Default)]
pub struct EventPage {
    records: Vec<Record>,
    /// Chunks that are full. They are never moved, however many follow.
    full: Vec<String>,
    /// The chunk that the next texts go to.
    open: String,
    binaries: Vec<Box<[u8]>>,
    /// The types of the events, which repeat.
    types: Vec<Box<str>>,
    /// The places of events that cannot be read.
    unreadable: Vec<u32>,
}

/// An event without its texts. They lie in a chunk, one behind the other, in
/// the order of the lengths here.
#[derive(Clone, Debug)]
struct Record {
    position: Position,
    version: u64,
    schema_version: u32,
    recorded_at: i64,
    chunk: usize,
    start: usize,
    /// The place among the types.
    event_type: usize,
    id: usize,
    stream_id: usize,
    metadata: usize,
    data: Data,
}

#[derive(Clone, Debug)]
enum Data {
    /// The length of a text.
    Json(usize),
    /// The place among the binaries.
    Binary(usize),
    /// The length of the reason why the event cannot be read.
    Unreadable(usize),
}

impl EventPage {
    /// Adds an event.
    pub fn push(&mut self, event: EventRef<'_>) {
        let (data, json) = match event.data {
            PayloadRef::Json(text) => (Data::Json(text.len()), text),
            PayloadRef::Unreadable(reason) => {
                self.unreadable.extend(u32::try_from(self.records.len()));
                (Data::Unreadable(reason.len()), reason)
            }
            PayloadRef::Binary(bytes) => {
                self.binaries.push(bytes.into());
                (Data::Binary(self.binaries.len() - 1), "")
            }
        };
        let event_type = self.type_place(event.event_type);
        let texts = [event.id, event.stream_id, event.metadata, json];
        self.make_room(texts.iter().map(|text| text.len()).sum());
        self.records.push(Record {
            position: event.position,
            version: event.version,
            schema_version: event.schema_version,
            recorded_at: event.recorded_at,
            chunk: self.full.len(),
            start: self.open.len(),
            event_type,
            id: event.id.len(),
            stream_id: event.stream_id.len(),
            metadata: event.metadata.len(),
            data,
        });
        for text in texts {
            self.open.push_str(text);
        }
    }

    fn type_place(&mut self, event_type: &str) -> usize {
        let known = (self.types.iter().enumerate().rev().take(TYPES_COMPARED))
            .find(|(_, known)| ***known == *event_type)
            .map(|(place, _)| place);
        known.unwrap_or_else(|| {
            self.types.push(event_type.into());
            self.types.len() - 1
        })
    }

    /// Opens a chunk if so many bytes do not fit into the one that is open. A
    /// page of one event holds nothing beyond it.
    fn make_room(&mut self, bytes: usize) {
        let capacity = self.open.capacity();
        if bytes <= capacity - self.open.len() {
            return;
        }
        let next = String::with_capacity(bytes.max((2 * capacity).min(CHUNK_BYTES)));
        let last = std::mem::replace(&mut self.open, next);
        if !last.is_empty() {
            self.full.push(last);
        }
    }

    /// How many events it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Roughly what it takes in memory, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let full: usize = self.full.iter().map(String::capacity).sum();
        let binaries: usize = self.binaries.iter().map(|bytes| bytes.len()).sum();
        let types: usize = self.types.iter().map(|text| text.len()).sum();
        let texts = full + self.open.capacity() + binaries + types;
        self.records.capacity() * size_of::<Record>() + texts
    }

    /// The event at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<EventRef<'_>> {
        self.event(self.records.get(place)?)
    }

    /// The position of the event at a place.
    #[must_use]
    pub fn position(&self, place: usize) -> Option<Position> {
        Some(self.records.get(place)?.position)
    }

    /// The last event at or below a position.
    #[must_use]
    pub fn last_up_to(&self, position: Position) -> Option<EventRef<'_>> {
        let behind = (self.records).partition_point(|record| record.position <= position);
        self.get(behind.checked_sub(1)?)
    }

    /// The events.
    pub fn iter(&self) -> impl Iterator<Item = EventRef<'_>> {
        let event = |record| self.event(record);
        self.records.iter().filter_map(event)
    }

    /// The places of the events that cannot be read, in order.
    #[must_use]
    pub fn unreadable(&self) -> &[u32] {
        &self.unreadable
    }

    /// The places of the events after a position that a subscription wants.
    #[must_use]
    pub fn wanted(&self, after: Position, subscription: &Subscription) -> Vec<u32> {
        // A page has few types, so events are not asked for theirs.
        let types = self.types.iter();
        let types: Vec<bool> = types.map(|name| subscription.wants_type(name)).collect();
        let wants = |record: &Record| {
            types.get(record.event_type) == Some(&true)
                && (subscription.categories.is_empty()
                    || (self.event(record))
                        .is_some_and(|event| subscription.wants_stream(event.stream_id)))
        };
        let start = (self.records).partition_point(|record| record.position <= after);
        let records = (0..).zip(&self.records).skip(start);
        let wanted = records.filter(|(_, record)| wants(record));
        wanted.map(|(place, _)| place).collect()
    }

    /// Always there for a record of this page.
    fn event(&self, record: &Record) -> Option<EventRef<'_>> {
        let chunk = self.full.get(record.chunk).unwrap_or(&self.open);
        let texts = chunk.get(record.start..)?;
        let (id, texts) = texts.split_at_checked(record.id)?;
        let (stream_id, texts) = texts.split_at_checked(record.stream_id)?;
        let (metadata, texts) = texts.split_at_checked(record.metadata)?;
        Some(EventRef {
            position: record.position,
            id,
            stream_id,
            event_type: self.types.get(record.event_type)?,
            version: record.version,
            schema_version: record.schema_version,
            data: match record.data {
                Data::Json(length) => PayloadRef::Json(texts.get(..length)?),
                Data::Binary(place) => PayloadRef::Binary(self.binaries.get(place)?),
                Data::Unreadable(length) => PayloadRef::Unreadable(texts.get(..length)?),
            },
            metadata,
            recorded_at: record.recorded_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use crate::{Event, Payload};

    use super::*;

    /// An event whose texts have different lengths, none of them a multiple of
    /// a character's.
    fn event(number: u64, data: Payload) -> Event {
        let text = |length: u64| {
            "aä€🦀"
                .chars()
                .cycle()
                .take(usize::try_from(length).unwrap())
                .collect()
        };
        Event {
            position: Position::new(number).unwrap(),
            id: text(number % 3),
            stream_id: text(number % 5),
            event_type: text(number % 70),
            version: number + 1,
            schema_version: 2,
            data,
            metadata: text(number % 11),
            recorded_at: -3,
        }
    }

    fn page(events: &[Event]) -> EventPage {
        let mut page = EventPage::default();
        for event in events {
            page.push(event.into());
        }
        page
    }

    #[test]
    fn events_come_back_as_they_were() {
        let lengths = [0, 1, 300, 20_000, CHUNK_BYTES, CHUNK_BYTES * 2, 5];
        let events: Vec<Event> = (0..2_000)
            .zip(lengths.iter().cycle())
            .map(|(number, length)| {
                let data = match number % 4 {
                    0 => Payload::Binary(vec![0xff; *length]),
                    _ => Payload::Json("x".repeat(*length)),
                };
                event(number, data)
            })
            .collect();
        let page = page(&events);
        assert!(page.full.len() > 10, "only {} chunks", page.full.len());
        let read: Vec<Event> = page.iter().map(Event::from).collect();
        assert!(read == events);
        assert_eq!(page.len(), events.len());
        for (place, event) in events.iter().enumerate() {
            assert_eq!(page.get(place), Some(event.into()));
            assert_eq!(page.position(place), Some(event.position));
        }
        assert_eq!(page.get(events.len()), None);
    }

    #[test]
    fn a_page_takes_little_more_than_its_events() {
        // The row of the records doubles, and so does the first chunk.
        for count in [1, 2, 3, 10, 1_000, 10_000] {
            for length in [0, 100, CHUNK_BYTES / 3, CHUNK_BYTES] {
                let data = || Payload::Json("x".repeat(length));
                let events: Vec<Event> = (0..count.min(20_000_000 / (length as u64 + 1)))
                    .map(|number| event(number, data()))
                    .collect();
                let sizes = events.iter().map(|event| EventRef::from(event).size());
                let (size, bytes) = (sizes.sum::<usize>(), page(&events).bytes());
                let records = 4 * size_of::<Record>();
                assert!(
                    bytes <= 2 * size + records && 2 * bytes >= size,
                    "{bytes} for {count} events of {length}, {size} together"
                );
            }
        }
    }

    #[test]
    fn many_events_cost_few_allocations() {
        let data = || Payload::Json("x".repeat(200));
        let events = (0..10_000).map(|number| Event {
            event_type: format!("Type{}", number * number % TYPES_COMPARED as u64),
            ..event(number, data())
        });
        let events: Vec<Event> = events.collect();
        let types: HashSet<&str> = events.iter().map(|event| &*event.event_type).collect();
        let page = page(&events);
        assert_eq!(page.types.len(), types.len());
        let texts: usize = page.full.iter().map(String::len).sum();
        assert!(
            page.full.len() <= texts / CHUNK_BYTES * 11 / 10 + 10,
            "{} chunks for {texts} bytes",
            page.full.len()
        );
    }
}
