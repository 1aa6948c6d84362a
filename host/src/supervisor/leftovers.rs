//! Files whose projections were dropped: they stay, and nothing runs them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What is said of each, by the place of the file.
#[derive(Default)]
pub(super) struct Leftovers(Mutex<BTreeMap<String, String>>);

impl Leftovers {
    /// Takes note of a file, and says it in the log.
    pub(super) fn add(&self, place: String, sentence: String) {
        tracing::warn!("{sentence}");
        self.lock().insert(place, sentence);
    }

    pub(super) fn remove(&self, place: &str) {
        self.lock().remove(place);
    }

    pub(super) fn all(&self) -> Vec<String> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
