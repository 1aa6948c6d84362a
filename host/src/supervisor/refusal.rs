//! Why a module does not run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use gnomon_guest::LoadError;
use tokio::sync::Notify;

use crate::generation::ModuleHash;
use crate::module_file::ModuleFileError;
use crate::registry::RefusedFile;
use crate::storage_error::StorageError;

/// Why a module does not run. It harms none of the others.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] ModuleFileError),
    /// It is not a projection.
    #[error("{} is refused: {reason}", .file.display())]
    Module {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        reason: LoadError,
    },
    /// Two files bear one name.
    #[error(
        "{} and {} are both projections named `{name}`; keep one of them",
        .first.display(),
        .second.display()
    )]
    SameName {
        /// The projection's name.
        name: String,
        /// A file.
        first: PathBuf,
        /// The other file.
        second: PathBuf,
    },
    /// It does not go with what is deployed.
    #[error("{} is refused: {reason}", .file.display())]
    Deployment {
        /// The file.
        file: PathBuf,
        /// The projection.
        projection: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The registry refuses it.
    #[error("{} cannot be deployed", .file.display())]
    Target {
        /// The file.
        file: PathBuf,
        /// The projection.
        projection: String,
        /// What the registry says.
        #[source]
        reason: StorageError,
    },
    /// A module of the registry no longer loads.
    #[error("projection `{projection}`: module {} of the registry is refused: {reason}", .module.short())]
    Registry {
        /// The projection.
        projection: String,
        /// The module.
        module: ModuleHash,
        /// What is wrong with it.
        #[source]
        reason: LoadError,
    },
}

impl Refusal {
    /// The projection that does not run, where it is known.
    fn projection(&self) -> Option<&str> {
        match self {
            Self::File(_) | Self::Module { .. } => None,
            Self::SameName { name, .. } => Some(name),
            Self::Deployment { projection, .. }
            | Self::Target { projection, .. }
            | Self::Registry { projection, .. } => Some(projection),
        }
    }
}

/// What a host refuses now, by the place that it came from.
#[derive(Default)]
pub(super) struct Refusals {
    by_place: Mutex<BTreeMap<String, RefusedFile>>,
    /// Tells of every change.
    pub(super) news: Notify,
}

impl Refusals {
    /// Takes note of a refusal, and says it in the log if it is news.
    pub(super) fn add(&self, place: String, refusal: &Refusal) {
        let reason = gnomon_databases::error_chain::chain(refusal);
        let refused = RefusedFile {
            place: place.clone(),
            projection: refusal.projection().map(str::to_owned),
            reason: reason.clone(),
        };
        let before = self.lock().insert(place, refused.clone());
        if before.as_ref() != Some(&refused) {
            tracing::error!("{reason}");
            self.news.notify_one();
        }
    }

    /// Forgets what was refused at a place.
    pub(super) fn remove(&self, place: &str) {
        if self.lock().remove(place).is_some() {
            self.news.notify_one();
        }
    }

    pub(super) fn has(&self, place: &str) -> bool {
        self.lock().contains_key(place)
    }

    pub(super) fn all(&self) -> Vec<RefusedFile> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, RefusedFile>> {
        self.by_place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
