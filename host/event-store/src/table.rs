//! A table of events, as store and source both know it: where its facts are, how
//! a connection to it is made, and how its rows become events.

use std::sync::Arc;

mod layout;
pub(crate) mod postgres;
pub(crate) mod sqlite;

pub(crate) use layout::{Fact, Layout, Relation};

/// Bytes that the data of an event may have, its metadata, and a snapshot.
/// Several copies of one event are in memory on its way to a projection.
pub const EVENT_BYTES_MAX: usize = 16 << 20;
/// How long the id, the stream's id and the type of an event may be in a table of
/// somebody else. The store's own takes less.
pub const NAME_BYTES_MAX: usize = 64 << 10;

/// What to do about a [`TableError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableErrorKind {
    /// Try again later: a lost connection, a busy database.
    Retry,
    /// There is no table.
    Missing,
    /// It will not change by itself.
    Refused,
}

/// A table of events cannot be reached or read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct TableError {
    pub(crate) kind: TableErrorKind,
    pub(crate) message: String,
    #[source]
    pub(crate) cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TableError {
    pub(crate) fn new(kind: TableErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: None,
        }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(TableErrorKind::Refused, message)
    }

    pub(crate) fn retry(message: impl Into<String>) -> Self {
        Self::new(TableErrorKind::Retry, message)
    }

    pub(crate) fn missing(place: &str) -> Self {
        let message = format!(
            "there is no event store at {place}; the first `gnomon append` creates it, and so does \
             `gnomon init --events`"
        );
        Self::new(TableErrorKind::Missing, message)
    }

    pub(crate) fn caused(
        kind: TableErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            cause: Some(cause.into().into()),
            ..Self::new(kind, message)
        }
    }
}

/// A limit as SQL takes it.
pub(crate) fn sql_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
