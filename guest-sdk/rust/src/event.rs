//! Events as a projection sees them.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::reading;
use crate::types::Timestamp;

/// Everything about an event besides its decoded data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventContext {
    /// Place in the global order of the source; strictly increasing, with
    /// holes.
    pub position: u64,
    /// Unique id of the event.
    pub id: String,
    /// The stream, such as `Order-abc123`.
    pub stream_id: String,
    /// The type, such as `OrderPlaced`.
    pub event_type: String,
    /// Place in its own stream, from 1.
    pub version: u64,
    /// Version of the data's schema, from 1.
    pub schema_version: u32,
    /// The data as it was stored.
    pub data: Payload,
    /// One JSON object, or empty where [`Projection::METADATA`] is false.
    ///
    /// [`Projection::METADATA`]: crate::Projection::METADATA
    pub metadata: String,
    /// When it was recorded.
    pub recorded_at: Timestamp,
}

/// The data of an event as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Text holding one JSON document.
    Json(String),
    /// Anything else.
    Binary(Vec<u8>),
}

impl EventContext {
    /// The category of the stream: `Order` for `Order-abc123`.
    #[must_use]
    pub fn category(&self) -> &str {
        self.stream_id
            .split_once('-')
            .map_or(&self.stream_id, |(category, _)| category)
    }

    /// What follows the category in the stream's name: `abc123` for
    /// `Order-abc123`.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        self.stream_id.split_once('-').map_or("", |(_, id)| id)
    }

    /// Deserialises the data. A list is not taken for a struct, as serde would.
    ///
    /// # Errors
    /// When it is not the JSON that `T` expects; the message names the member.
    pub fn read_data<T: DeserializeOwned>(&self) -> Result<T> {
        match &self.data {
            Payload::Json(text) => reading::read(text),
            Payload::Binary(bytes) => Err(Error::new(format_args!(
                "it is {} bytes of binary data, not JSON",
                bytes.len()
            ))),
        }
    }

    /// Deserialises the metadata.
    ///
    /// # Errors
    /// When it is not the JSON that `T` expects, or the projection did not ask
    /// for it ([`Projection::METADATA`]).
    ///
    /// [`Projection::METADATA`]: crate::Projection::METADATA
    pub fn read_metadata<T: DeserializeOwned>(&self) -> Result<T> {
        if self.metadata.is_empty() {
            return Err(Error::new(
                "the event's metadata was not asked for: set `const METADATA: bool = true`",
            ));
        }
        reading::read(&self.metadata)
    }
}

/// The events that a projection reads: a decoder and a subscription at once;
/// made by [`derive(Events)`](derive@crate::Events).
pub trait Events: Sized {
    /// The types of events to read; empty means all.
    const TYPES: &'static [&'static str];

    /// Decodes an event.
    ///
    /// # Errors
    /// When its data is not what its type promises.
    fn decode(event: &EventContext) -> Result<Self>;
}

/// What the derived decoder says of an event that the subscription should
/// have kept away.
#[doc(hidden)]
#[must_use]
pub fn unexpected(event: &EventContext) -> Error {
    Error::new(format_args!(
        "the projection did not subscribe to events of type {}",
        event.event_type
    ))
}
