//! Events as a projection sees them.

use serde::{Deserialize, Serialize};

/// An event's place in the global order of its source: strictly increasing,
/// with holes. Zero is the place before the first event.
///
/// SQL stores positions as signed 64-bit integers, so a position is never
/// larger than [`Position::MAX`].
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// The place before the first event.
    pub const START: Self = Self(0);
    /// The largest position that SQL can store.
    pub const MAX: Self = Self(i64::MAX as u64);

    /// The position with this number, or `None` above [`Position::MAX`].
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number <= Self::MAX.0 {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The position that SQL holds as `number`, or `None` if it is negative.
    #[must_use]
    pub const fn from_sql(number: i64) -> Option<Self> {
        if number >= 0 {
            Some(Self(number.cast_unsigned()))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number as SQL stores it.
    #[must_use]
    pub const fn to_sql(self) -> i64 {
        self.0.cast_signed()
    }
}

impl std::fmt::Display for Position {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The payload of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Text of one JSON document.
    Json(String),
    /// Anything else.
    Binary(Vec<u8>),
    /// Nothing, since the event cannot be read: the reason. Its other fields
    /// are what could be read of them.
    Unreadable(String),
}

/// An immutable fact, as read from an event store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Place in the global order of the source.
    pub position: Position,
    /// Unique id; 36-character UUID form where the source has UUIDs.
    pub id: String,
    /// The stream it belongs to.
    pub stream_id: String,
    /// Its type, such as `OrderPlaced`.
    pub event_type: String,
    /// Place in its own stream, from 1.
    pub version: u64,
    /// Version of the payload's schema, from 1.
    pub schema_version: u32,
    /// What happened.
    pub data: Payload,
    /// One JSON object, or the empty string where nobody asked for it.
    pub metadata: String,
    /// When it was recorded, in microseconds since the Unix epoch, UTC.
    pub recorded_at: i64,
}

/// A [`Payload`] that somebody else holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayloadRef<'a> {
    /// Text of one JSON document.
    Json(&'a str),
    /// Anything else.
    Binary(&'a [u8]),
    /// Nothing, since the event cannot be read: the reason.
    Unreadable(&'a str),
}

/// An [`Event`] whose texts somebody else holds: a row that is being read, or
/// a page of many events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// Place in the global order of the source.
    pub position: Position,
    /// Unique id; 36-character UUID form where the source has UUIDs.
    pub id: &'a str,
    /// The stream it belongs to.
    pub stream_id: &'a str,
    /// Its type, such as `OrderPlaced`.
    pub event_type: &'a str,
    /// Place in its own stream, from 1.
    pub version: u64,
    /// Version of the payload's schema, from 1.
    pub schema_version: u32,
    /// What happened.
    pub data: PayloadRef<'a>,
    /// One JSON object, or the empty string where nobody asked for it.
    pub metadata: &'a str,
    /// When it was recorded, in microseconds since the Unix epoch, UTC.
    pub recorded_at: i64,
}

impl EventRef<'_> {
    /// Roughly what the event takes in memory with its texts, in bytes; batches
    /// are bounded by it.
    #[must_use]
    pub const fn size(&self) -> usize {
        let data = match self.data {
            PayloadRef::Json(text) | PayloadRef::Unreadable(text) => text.len(),
            PayloadRef::Binary(bytes) => bytes.len(),
        };
        size_of::<Self>()
            + self.id.len()
            + self.stream_id.len()
            + self.event_type.len()
            + data
            + self.metadata.len()
    }
}

impl<'a> From<&'a Event> for EventRef<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            position: event.position,
            id: &event.id,
            stream_id: &event.stream_id,
            event_type: &event.event_type,
            version: event.version,
            schema_version: event.schema_version,
            data: match &event.data {
                Payload::Json(text) => PayloadRef::Json(text),
                Payload::Binary(bytes) => PayloadRef::Binary(bytes),
                Payload::Unreadable(reason) => PayloadRef::Unreadable(reason),
            },
            metadata: &event.metadata,
            recorded_at: event.recorded_at,
        }
    }
}

/// A copy.
impl From<EventRef<'_>> for Event {
    fn from(event: EventRef<'_>) -> Self {
        Self {
            position: event.position,
            id: event.id.to_owned(),
            stream_id: event.stream_id.to_owned(),
            event_type: event.event_type.to_owned(),
            version: event.version,
            schema_version: event.schema_version,
            data: match event.data {
                PayloadRef::Json(text) => Payload::Json(text.to_owned()),
                PayloadRef::Binary(bytes) => Payload::Binary(bytes.to_owned()),
                PayloadRef::Unreadable(reason) => Payload::Unreadable(reason.to_owned()),
            },
            metadata: event.metadata.to_owned(),
            recorded_at: event.recorded_at,
        }
    }
}

/// The category of a stream: the part of its id before the first `-`, or all
/// of it where there is none.
#[must_use]
pub fn category(stream_id: &str) -> &str {
    stream_id
        .split_once('-')
        .map_or(stream_id, |(category, _)| category)
}
