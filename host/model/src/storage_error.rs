//! Why the database of registry and read models fails, and what to do about it.

/// What to do about a [`StorageError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// Try again later: a lost connection, a serialization failure, a full
    /// disk. In doubt, an error is of this kind.
    Retry,
    /// The database refuses the batch's values; the event at fault has to be
    /// found.
    Rejected,
    /// Another host owns the generation, or it is gone. Stop at once.
    Fenced,
    /// It will not change by itself: a wrong password, a name that is taken.
    Refused,
}

/// The registry or the read models cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StorageError {
    kind: StorageErrorKind,
    message: String,
    #[source]
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl StorageError {
    /// An error of this kind, without a cause.
    pub fn new(kind: StorageErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: None,
        }
    }

    /// An error of this kind and what the driver said.
    pub fn caused(
        kind: StorageErrorKind,
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self {
            kind,
            message: message.into(),
            cause: Some(cause.into()),
        }
    }

    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> StorageErrorKind {
        self.kind
    }
}
