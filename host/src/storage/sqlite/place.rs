//! Whether the path of the file still leads to the file that is open: what is
//! written to a deleted file is gone with the process.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::storage::sqlite::error::shown;
use crate::storage_error::{StorageError, StorageErrorKind};

/// The file of a database, as it was when it was opened.
#[derive(Clone, Debug)]
pub(super) struct Place {
    file: PathBuf,
    /// Device and number.
    identity: Option<(u64, u64)>,
}

impl Place {
    pub(super) fn of(file: &Path) -> Self {
        Self {
            identity: identity(file),
            file: file.to_owned(),
        }
    }

    /// Refuses to work on a file that nobody else finds any more.
    pub(super) fn check(&self) -> Result<(), StorageError> {
        let found = identity(&self.file);
        if found == self.identity {
            return Ok(());
        }
        let file = shown(&self.file);
        let (happened, help) = match found {
            None => (
                "was deleted or moved",
                "put it back, with its `-wal` file if it has one, or start the host again to build \
                 another",
            ),
            Some(_) => (
                "was replaced by another file",
                "put the first one back, or start the host again to use the other",
            ),
        };
        Err(StorageError::new(
            StorageErrorKind::Retry,
            format!("the read-model file {file} {happened} while it is in use; {help}"),
        ))
    }
}

fn identity(file: &Path) -> Option<(u64, u64)> {
    let file = std::fs::metadata(file).ok()?;
    Some((file.dev(), file.ino()))
}
