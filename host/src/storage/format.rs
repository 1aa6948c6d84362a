//! The format of the registry's tables.

use crate::storage_error::{StorageError, StorageErrorKind};

/// The format of the registry's tables. It grows with every change that an
/// older Gnomon would misread.
pub(crate) const FORMAT: i64 = 3;

/// Refuses a registry that would have to be brought up to date first, for those
/// who only look.
pub(crate) fn check_is_current(format: i64, place: &str) -> Result<(), StorageError> {
    if format >= FORMAT {
        return check_format(format, place);
    }
    Err(StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "the registry in {place} is of an older Gnomon (format {format}, this one has {FORMAT}); \
             `gnomon run` or `gnomon deploy` brings it up to date"
        ),
    ))
}

/// Whether this Gnomon may use a registry of this format.
pub(crate) fn check_format(format: i64, place: &str) -> Result<(), StorageError> {
    if format <= FORMAT {
        return Ok(());
    }
    Err(StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "{place} was written by a newer Gnomon (registry format {format}, this one reads up to \
             {FORMAT}); use that version"
        ),
    ))
}
