//! What can go wrong in an event store.

use std::sync::Arc;

use gnomon_model::Position;
use uuid::Uuid;

use super::{InvalidEvent, StreamId};
use crate::table::{TableError, TableErrorKind};

/// What to do about an [`EventStoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventStoreErrorKind {
    /// Somebody else appended to the stream: read it and decide again.
    Conflict,
    /// The id of an event is taken by another event.
    Duplicate,
    /// The events or the file are not what they must be.
    Invalid,
    /// Try again later: a lost connection, a busy database.
    Retry,
    /// There are no events yet: the first append makes the tables.
    Missing,
    /// It will not change by itself: a wrong password, a foreign table.
    Refused,
}

/// Where a stream stands, in the words of a conflict.
fn stands_at(events: u64, last: u64) -> String {
    if events == last {
        return format!("is at version {last}");
    }
    let events = match events {
        1 => "one event".to_owned(),
        events => format!("{events} events"),
    };
    format!(
        "has {events}, the last with version {last} (its versions start at 0, and the expected \
         version is the number of events)"
    )
}

/// An event store cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventStoreError {
    /// The stream does not have the expected version.
    #[error(
        "conflict in stream {stream}: expected version {expected}, but it {}; read the stream and \
         decide again", stands_at(*actual, *last)
    )]
    Conflict {
        /// The stream.
        stream: StreamId,
        /// The version that the caller expected.
        expected: u64,
        /// The version that it has: the number of its events.
        actual: u64,
        /// The version of its last event, which is another where versions start
        /// at 0.
        last: u64,
    },
    /// An id is taken.
    #[error(
        "event {id} is already version {version} of stream {stream}, at position {position}; \
         give a new event an id of its own, and repeat an append only with the same events"
    )]
    Duplicate {
        /// The id.
        id: Uuid,
        /// The stream that has it.
        stream: String,
        /// The version under which it has it.
        version: u64,
        /// The position of that event.
        position: Position,
    },
    /// An id is taken, in the place of the append, by an event of other content.
    #[error(
        "event {id} is already version {version} of stream {stream}, with other content: \
         {difference}; give a new event an id of its own, and repeat an append only with the same \
         events"
    )]
    OtherContent {
        /// The id.
        id: Uuid,
        /// The stream.
        stream: String,
        /// The version under which it has it.
        version: u64,
        /// What differs, as a clause.
        difference: String,
    },
    /// An id occurs twice in one append.
    #[error("event {id} occurs twice in the same append; give each event an id of its own")]
    Repeated {
        /// The id.
        id: Uuid,
    },
    /// An event is not what it must be.
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    /// A line of an imported file.
    #[error("{file}, line {line}: {problem}; nothing was imported")]
    Line {
        /// The file.
        file: String,
        /// The line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: String,
        /// What kind of error it is.
        kind: EventStoreErrorKind,
    },
    /// Anything else.
    #[error("{message}")]
    Other {
        /// What to do about it.
        kind: EventStoreErrorKind,
        /// What failed.
        message: String,
        /// What the driver says.
        #[source]
        cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
    },
}

impl EventStoreError {
    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> EventStoreErrorKind {
        match self {
            Self::Conflict { .. } => EventStoreErrorKind::Conflict,
            Self::Duplicate { .. } | Self::OtherContent { .. } | Self::Repeated { .. } => {
                EventStoreErrorKind::Duplicate
            }
            Self::Invalid(_) => EventStoreErrorKind::Invalid,
            Self::Line { kind, .. } | Self::Other { kind, .. } => *kind,
        }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::Other {
            kind: EventStoreErrorKind::Refused,
            message: message.into(),
            cause: None,
        }
    }

    pub(crate) fn caused(
        kind: EventStoreErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Other {
            kind,
            message: message.into(),
            cause: Some(cause.into().into()),
        }
    }
}

impl From<TableError> for EventStoreError {
    fn from(error: TableError) -> Self {
        Self::Other {
            kind: match error.kind {
                TableErrorKind::Retry => EventStoreErrorKind::Retry,
                TableErrorKind::Missing => EventStoreErrorKind::Missing,
                TableErrorKind::Refused => EventStoreErrorKind::Refused,
            },
            message: error.message,
            cause: error.cause,
        }
    }
}
