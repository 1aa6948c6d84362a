//! The sentences for what the registry refuses.

use crate::generation::{GenerationId, ModuleHash};
use crate::storage_error::{StorageError, StorageErrorKind};

pub(crate) fn unknown_projection(projection: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!("there is no projection `{projection}`; `gnomon status` lists all"),
    )
}

/// The same for one that was dropped.
pub(crate) fn dropped_projection(projection: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "`{projection}` was dropped with all that it had, so there is nothing to act on; \
             `gnomon deploy FILE` builds it again, and so does writing its file again \
             into the projections directory"
        ),
    )
}

/// The same for one that was removed, and whose tables are kept.
pub(crate) fn removed_projection(projection: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "`{projection}` was removed, so no host runs it; `gnomon resume {projection}` brings it \
             back"
        ),
    )
}

pub(crate) fn unknown_module(module: &ModuleHash) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "module {} is not in the registry; add it first",
            module.short()
        ),
    )
}

/// The lease is gone, or the checkpoint is not the expected one.
pub(crate) fn fenced(generation: GenerationId) -> StorageError {
    StorageError::new(
        StorageErrorKind::Fenced,
        format!(
            "generation {generation} is no longer ours: another host took it, or it was dropped"
        ),
    )
}

/// A generation that is gone, or never was.
pub(crate) fn unknown_generation(generation: GenerationId) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!("there is no generation {generation}; it was dropped, or never made"),
    )
}
