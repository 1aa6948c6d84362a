//! Why an operation did not do what was asked for.

use std::error::Error;

use gnomon_event_store::source::{SourceError, SourceErrorKind};
use gnomon_guest::LoadError;

use super::comparison::ComparisonError;
use crate::deployment::DeployError;
use crate::storage_error::{StorageError, StorageErrorKind};
use crate::supervisor::StartError;

/// Why an operation did not do what was asked for. The sentence says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperationError {
    /// There is no such projection, generation or event.
    #[error("{0}")]
    NotFound(String),
    /// It cannot be done as things stand.
    #[error("{0}")]
    NotPossible(String),
    /// It was requested and did not happen in time. The request stays in the
    /// registry.
    #[error("{0}")]
    TimedOut(String),
    /// A database was out of reach until the time was up.
    #[error("{late}")]
    OutOfReach {
        /// When the time was up.
        late: String,
        /// What the database or the system says.
        #[source]
        error: Box<dyn Error + Send + Sync>,
    },
    /// The module does not go with what is deployed.
    #[error(transparent)]
    Deployment(#[from] DeployError),
    /// The module is no projection.
    #[error(transparent)]
    Module(#[from] LoadError),
    /// Two generations cannot be compared.
    #[error(transparent)]
    Comparison(#[from] ComparisonError),
    /// No host can be started to do the work.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The read-model database refuses, or cannot be reached.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The event store refuses, or cannot be reached.
    #[error(transparent)]
    Source(#[from] SourceError),
}

/// An error that may be over without anybody's help.
pub trait MayPass: Error + Send + Sync + 'static {
    /// Whether a later try may succeed.
    fn may_pass(&self) -> bool;
}

impl MayPass for StorageError {
    fn may_pass(&self) -> bool {
        self.kind() == StorageErrorKind::Retry
    }
}

impl MayPass for SourceError {
    fn may_pass(&self) -> bool {
        self.kind() == SourceErrorKind::Retry
    }
}

impl MayPass for ComparisonError {
    fn may_pass(&self) -> bool {
        matches!(self, Self::Target(error) if error.may_pass())
    }
}

impl MayPass for StartError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Source(error) => error.may_pass(),
            Self::Target(error) => error.may_pass(),
            Self::Directory { .. } | Self::Engine(_) => false,
        }
    }
}

impl MayPass for OperationError {
    fn may_pass(&self) -> bool {
        match self {
            Self::Comparison(error) => error.may_pass(),
            Self::Start(error) => error.may_pass(),
            Self::Deployment(DeployError::Target(error)) | Self::Storage(error) => error.may_pass(),
            Self::Source(error) => error.may_pass(),
            Self::NotFound(_)
            | Self::NotPossible(_)
            | Self::TimedOut(_)
            | Self::OutOfReach { .. }
            | Self::Module(_)
            | Self::Deployment(DeployError::Refused(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_for_a_database_passes_for_every_operation() {
        for (kind, may_pass) in [
            (StorageErrorKind::Retry, true),
            (StorageErrorKind::Refused, false),
            (StorageErrorKind::Fenced, false),
        ] {
            let error = || StorageError::new(kind, "no");
            assert_eq!(error().may_pass(), may_pass, "{kind:?}");
            assert_eq!(ComparisonError::Target(error()).may_pass(), may_pass);
            assert_eq!(StartError::Target(error()).may_pass(), may_pass);
            assert_eq!(OperationError::Storage(error()).may_pass(), may_pass);
        }
        assert!(SourceError::retry("no", "no").may_pass());
        assert!(!SourceError::refused("no").may_pass());
    }
}
