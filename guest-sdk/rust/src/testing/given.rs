//! Given events.

use std::collections::HashMap;

use gnomon_model::{Description, Event, Payload, Position};
use serde::Serialize;

use crate::types::{Timestamp, Uuid};

/// 2025-01-01, when the first event is recorded if nobody says otherwise.
const FIRST_RECORDED_AT: i64 = 1_735_689_600_000_000;
const SECOND_MICROSECONDS: i64 = 1_000_000;

/// An event for the test bench; made by [`event`].
#[derive(Clone, Debug)]
#[must_use]
pub struct GivenEvent {
    event_type: String,
    data: Payload,
    stream_id: Option<String>,
    schema_version: u32,
    metadata: String,
    recorded_at: Option<Timestamp>,
}

/// An event of this type with this data.
///
/// Positions count from 1, versions from 1 in each stream. If nothing else is
/// said, it is recorded one second after the one before it, in the stream
/// `Test-1` or that of the projection's first category.
///
/// # Panics
/// When JSON has no form for the data.
#[track_caller]
pub fn event(event_type: impl Into<String>, data: impl Serialize) -> GivenEvent {
    GivenEvent {
        event_type: event_type.into(),
        data: Payload::Json(json(&data)),
        stream_id: None,
        schema_version: 1,
        metadata: "{}".to_owned(),
        recorded_at: None,
    }
}

#[track_caller]
fn json(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text,
        Err(error) => panic!("JSON has no form for the value: {error}"),
    }
}

impl GivenEvent {
    /// Puts it into this stream, such as `Order-1`.
    pub fn stream(mut self, stream_id: impl Into<String>) -> Self {
        self.stream_id = Some(stream_id.into());
        self
    }

    /// Records it at this time, such as `2025-01-15T10:30:00Z`.
    ///
    /// # Panics
    /// When the text is no such time.
    #[track_caller]
    pub fn at(mut self, time: &str) -> Self {
        match time.parse() {
            Ok(at) => self.recorded_at = Some(at),
            Err(error) => panic!("`{time}` is {error}"),
        }
        self
    }

    /// Gives it this version of its data's schema.
    pub const fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// Gives it this metadata.
    ///
    /// # Panics
    /// When JSON has no form for it.
    #[track_caller]
    pub fn metadata(mut self, metadata: impl Serialize) -> Self {
        self.metadata = json(&metadata);
        self
    }

    /// Gives it this data, which is not JSON.
    pub fn binary(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.data = Payload::Binary(bytes.into());
        self
    }
}

/// Gives the events their places in the log, and leaves out what the
/// projection does not read.
pub(super) fn place(
    description: &Description,
    given: impl IntoIterator<Item = GivenEvent>,
) -> Vec<Event> {
    let category = description.subscription.categories.first();
    let default_stream = format!("{}-1", category.map_or("Test", String::as_str));
    let mut versions: HashMap<String, u64> = HashMap::new();
    let mut recorded_at = FIRST_RECORDED_AT - SECOND_MICROSECONDS;
    (1..)
        .map_while(Position::new)
        .zip(given)
        .map(|(position, given)| {
            let stream_id = given.stream_id.unwrap_or_else(|| default_stream.clone());
            let version = versions.entry(stream_id.clone()).or_default();
            *version += 1;
            recorded_at = given.recorded_at.map_or(
                recorded_at + SECOND_MICROSECONDS,
                Timestamp::as_microseconds,
            );
            Event {
                position,
                id: Uuid::from_u128(position.get().into()).to_string(),
                stream_id,
                event_type: given.event_type,
                version: *version,
                schema_version: given.schema_version,
                data: given.data,
                metadata: if description.subscription.metadata {
                    given.metadata
                } else {
                    String::new()
                },
                recorded_at,
            }
        })
        .filter(|event| description.subscription.wants(event))
        .collect()
}
