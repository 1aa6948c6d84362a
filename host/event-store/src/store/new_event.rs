//! Events before they are appended.

use std::collections::{HashMap, HashSet};
use std::fmt;

use gnomon_model::json::{self, InvalidJson};
use gnomon_model::{Event, Payload, Position, category};
use uuid::Uuid;

use super::{Appended, EventStoreError};
use crate::table::EVENT_BYTES_MAX;
use crate::timestamp::format_timestamp;

/// Characters that a stream id or an event type may have.
const NAME_MAX_CHARACTERS: usize = 255;

/// An event, or the stream it should go to, is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEvent {
    /// A name without a character.
    #[error("the {what} is empty")]
    Empty {
        /// `stream id` or `event type`.
        what: &'static str,
    },
    /// A name with too many characters.
    #[error(
        "the {what} has {characters} characters, and at most {NAME_MAX_CHARACTERS} are allowed: \
         `{start}…`"
    )]
    TooLong {
        /// `stream id` or `event type`.
        what: &'static str,
        /// How many it has.
        characters: usize,
        /// How it begins.
        start: String,
    },
    /// A name with U+0000.
    #[error("the {what} has a U+0000, which PostgreSQL cannot hold")]
    Nul {
        /// `stream id` or `event type`.
        what: &'static str,
    },
    /// Data or metadata that is not JSON, or has no normal form.
    #[error("the {what} is {}", json_problem(.cause))]
    Json {
        /// `data` or `metadata`.
        what: &'static str,
        /// What is wrong with it.
        cause: InvalidJson,
    },
    /// Metadata that is JSON, but not an object.
    #[error("the metadata must be a JSON object, such as {{\"user_id\": \"…\"}}, or null")]
    MetadataNotObject,
    /// A schema version below 1, or above the largest that SQL stores.
    #[error("the schema version must be a whole number from 1 to {}", i32::MAX)]
    SchemaVersion,
}

fn json_problem(cause: &InvalidJson) -> String {
    match cause {
        InvalidJson::Syntax { .. } => cause.to_string(),
        other => format!("not acceptable: {other}"),
    }
}

fn checked_name(what: &'static str, name: &str) -> Result<(), InvalidEvent> {
    if name.is_empty() {
        return Err(InvalidEvent::Empty { what });
    }
    let characters = name.chars().count();
    if characters > NAME_MAX_CHARACTERS {
        return Err(InvalidEvent::TooLong {
            what,
            characters,
            start: name.chars().take(40).collect(),
        });
    }
    if name.contains('\0') {
        return Err(InvalidEvent::Nul { what });
    }
    Ok(())
}

/// The name of a stream, normally `{Category}-{id}`: 1 to 255 characters, none
/// of them U+0000.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(String);

impl StreamId {
    /// Checks a name.
    ///
    /// # Errors
    /// [`InvalidEvent`] if it is empty, too long or has a U+0000.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidEvent> {
        let name = name.into();
        checked_name("stream id", &name)?;
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first `-`, stored as `stream_type`.
    #[must_use]
    pub fn category(&self) -> &str {
        category(&self.0)
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// An event that can be appended: its parts are checked, its JSON is in normal
/// form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    id: Uuid,
    event_type: String,
    schema_version: i32,
    data: String,
    metadata: String,
    recorded_at: Option<i64>,
}

impl NewEvent {
    /// An event with a new id (UUIDv7), schema version 1 and no metadata.
    ///
    /// # Errors
    /// [`InvalidEvent`] if the type is no name or the data is not JSON.
    pub fn new(event_type: impl Into<String>, data: &str) -> Result<Self, InvalidEvent> {
        let event_type = event_type.into();
        checked_name("event type", &event_type)?;
        let data = json::normalise(data, EVENT_BYTES_MAX).map_err(|cause| InvalidEvent::Json {
            what: "data",
            cause,
        })?;
        Ok(Self {
            id: Uuid::nil(),
            event_type,
            schema_version: 1,
            data,
            metadata: "{}".to_owned(),
            recorded_at: None,
        }
        .with_id(Uuid::now_v7()))
    }

    /// The same event with this id.
    #[must_use]
    pub fn with_id(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// The same event with this version of its data's schema.
    ///
    /// # Errors
    /// [`InvalidEvent::SchemaVersion`] for zero, or beyond 32 bits.
    pub fn with_schema_version(mut self, version: u64) -> Result<Self, InvalidEvent> {
        self.schema_version = i32::try_from(version)
            .ok()
            .filter(|version| *version >= 1)
            .ok_or(InvalidEvent::SchemaVersion)?;
        Ok(self)
    }

    /// The same event with this metadata: a JSON object, or `null` for an
    /// empty one. Correlation, causation and user ids go here.
    ///
    /// # Errors
    /// [`InvalidEvent`] if it is something else.
    pub fn with_metadata(mut self, metadata: &str) -> Result<Self, InvalidEvent> {
        let metadata =
            json::normalise(metadata, EVENT_BYTES_MAX).map_err(|cause| InvalidEvent::Json {
                what: "metadata",
                cause,
            })?;
        self.metadata = match metadata.as_str() {
            "null" => "{}".to_owned(),
            object if object.starts_with('{') => metadata,
            _ => return Err(InvalidEvent::MetadataNotObject),
        };
        Ok(self)
    }

    /// The same event, recorded at this time (microseconds since the Unix
    /// epoch) instead of the time of the append.
    #[must_use]
    pub const fn with_recorded_at(mut self, microseconds: i64) -> Self {
        self.recorded_at = Some(microseconds);
        self
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// The version of its data's schema.
    #[must_use]
    pub const fn schema_version(&self) -> i32 {
        self.schema_version
    }

    /// Its data, in the normal form of JSON.
    #[must_use]
    pub fn data(&self) -> &str {
        &self.data
    }

    /// Its metadata: a JSON object in normal form.
    #[must_use]
    pub fn metadata(&self) -> &str {
        &self.metadata
    }

    /// When it was recorded, if that was given.
    #[must_use]
    pub const fn recorded_at(&self) -> Option<i64> {
        self.recorded_at
    }

    /// Roughly what it holds in memory, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.event_type.len() + self.data.len() + self.metadata.len()
    }
}

/// An event of the store that has the id of a new one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: Uuid,
    pub(crate) stream: String,
    pub(crate) version: u64,
    pub(crate) position: Position,
    /// What its content differs in from the new one's, if it does.
    pub(crate) difference: Option<String>,
}

/// What of an event's content is other than that of the event which has its id,
/// as the end of a sentence; `None` if nothing is. What was not given of it is
/// not compared.
pub(crate) fn difference(event: &NewEvent, stored: &Event) -> Option<String> {
    let data = match &stored.data {
        Payload::Json(text) => text.as_str(),
        Payload::Binary(_) => return Some("its data is no JSON there".to_owned()),
        Payload::Unreadable(reason) => {
            return Some(format!("it cannot be read there: {reason}"));
        }
    };
    if event.event_type != stored.event_type {
        return Some(format!(
            "its type is `{}` there, and `{}` here",
            stored.event_type, event.event_type
        ));
    }
    if i64::from(event.schema_version) != i64::from(stored.schema_version) {
        return Some(format!(
            "its schema version is {} there, and {} here",
            stored.schema_version, event.schema_version
        ));
    }
    for (what, new, old) in [
        ("data", event.data.as_str(), data),
        (
            "metadata",
            event.metadata.as_str(),
            stored.metadata.as_str(),
        ),
    ] {
        if !is_same_json(new, old) {
            return Some(format!(
                "its {what} is `{}` there, and `{}` here",
                around(old, new),
                around(new, old)
            ));
        }
    }
    let time = event.recorded_at?;
    (!is_same_time(time, stored.recorded_at)).then(|| {
        format!(
            "it was recorded at {} there, and at {} here",
            format_timestamp(stored.recorded_at),
            format_timestamp(time)
        )
    })
}

/// Whether a text in normal form and one of any form are the same JSON.
fn is_same_json(new: &str, stored: &str) -> bool {
    new == stored || json::normalise(stored, EVENT_BYTES_MAX).is_ok_and(|stored| stored == new)
}

/// Whether a time may be what a column has kept of another one: some keep
/// milliseconds or seconds only.
fn is_same_time(given: i64, stored: i64) -> bool {
    let unit = match stored {
        stored if stored % 1_000_000 == 0 => 1_000_000,
        stored if stored % 1_000 == 0 => 1_000,
        _ => 1,
    };
    given.abs_diff(stored) < unit
}

/// The part of a text where it begins to differ from another one.
fn around(text: &str, other: &str) -> String {
    const BEFORE: usize = 20;
    const SHOWN: usize = 60;
    let same = text
        .chars()
        .zip(other.chars())
        .take_while(|(one, other)| one == other)
        .count();
    let start = same.saturating_sub(BEFORE);
    let mut shown: String = if start > 0 { "…" } else { "" }.to_owned();
    shown.extend(text.chars().skip(start).take(SHOWN));
    if text.chars().nth(start + SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// Decides whether an append was done before, given the events in the store
/// that have one of its ids.
///
/// `None` means that none of them is there and it can go ahead.
pub(crate) fn already_there(
    stream: &StreamId,
    events: &[NewEvent],
    found: &[Found],
) -> Result<Option<Vec<Appended>>, EventStoreError> {
    let mut ids = HashSet::with_capacity(events.len());
    if let Some(twice) = events.iter().find(|event| !ids.insert(event.id)) {
        return Err(EventStoreError::Repeated { id: twice.id });
    }
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let by_id: HashMap<Uuid, &Found> = found.iter().map(|found| (found.id, found)).collect();
    let mut appended: Vec<Appended> = Vec::with_capacity(events.len());
    for event in events {
        let next = appended.last().map(|last| last.version + 1);
        match by_id.get(&event.id) {
            Some(found)
                if found.stream == stream.as_str()
                    && next.is_none_or(|next| next == found.version) =>
            {
                if let Some(difference) = found.difference.clone() {
                    return Err(EventStoreError::OtherContent {
                        id: event.id,
                        stream: found.stream.clone(),
                        version: found.version,
                        difference,
                    });
                }
                appended.push(Appended {
                    id: event.id,
                    version: found.version,
                    position: found.position,
                });
            }
            // An event that is elsewhere, or one that is new among old ones:
            // what is there is at fault.
            other => {
                let taken = other.copied().unwrap_or(first);
                return Err(EventStoreError::Duplicate {
                    id: taken.id,
                    stream: taken.stream.clone(),
                    version: taken.version,
                    position: taken.position,
                });
            }
        }
    }
    Ok(Some(appended))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_1_to_255_characters() {
        assert!(StreamId::new("é".repeat(255)).is_ok());
        let error = StreamId::new("x".repeat(300)).unwrap_err().to_string();
        assert!(
            error.contains("300 characters") && error.contains("255"),
            "{error}"
        );
        assert!(StreamId::new("").is_err());
        assert!(StreamId::new("Order-\0").is_err());
        assert_eq!(
            NewEvent::new("", "{}").unwrap_err().to_string(),
            "the event type is empty"
        );
    }

    #[test]
    fn json_is_checked_and_brought_to_its_normal_form() {
        let event = NewEvent::new("T", r#"{"bb":1,"a":1e2}"#).unwrap();
        assert_eq!(event.data(), r#"{"a": 100, "bb": 1}"#);
        assert_eq!(
            event.clone().with_metadata("null").unwrap().metadata(),
            "{}"
        );
        assert_eq!(
            event.clone().with_metadata("[]").unwrap_err(),
            InvalidEvent::MetadataNotObject
        );
        let error = NewEvent::new("T", "{").unwrap_err().to_string();
        assert!(error.starts_with("the data is not JSON"), "{error}");
        let error = NewEvent::new("T", r#""\u0000""#).unwrap_err().to_string();
        assert!(error.contains("U+0000"), "{error}");
    }
}
