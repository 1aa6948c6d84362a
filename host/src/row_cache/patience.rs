//! How long the database is waited for.

use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::storage_error::{StorageError, StorageErrorKind};

/// Waits for the database for as long as the lease is held. A connection can
/// go silent for good, and then no answer and no error ever comes.
#[derive(Clone)]
pub(super) struct Patience {
    pub(super) runtime: Handle,
    pub(super) lost: watch::Receiver<bool>,
}

impl Patience {
    pub(super) fn wait<T>(
        &self,
        answer: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let mut lost = self.lost.clone();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                answer = answer => answer,
                Ok(_) = lost.wait_for(|lost| *lost) => Err(StorageError::new(
                    StorageErrorKind::Retry,
                    "the lease ran out while the read-model database gave no answer",
                )),
            }
        })
    }
}
