//! Loading modules away from the runtime: compiling takes up to 14 s.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hashlink::LruCache;

use super::{Parts, limits_of_guest};
use crate::generation::ModuleHash;
use crate::guest::{Guest, LoadError};

/// How long `describe` may take. It only builds a value, and a module that
/// hangs there must not hold up the others of its directory for long.
const DESCRIBE_TIME: Duration = Duration::from_secs(2);
/// Modules that are kept loaded, although nothing may run them any more.
const LOADED_MAX: usize = 64;

/// Compiles and checks a module.
pub(super) async fn load(parts: &Parts, bytes: Vec<u8>) -> (Vec<u8>, Result<Guest, LoadError>) {
    let engine = parts.engine.clone();
    // Whose limits apply is known only when the module has said its name.
    let mut limits = limits_of_guest(&parts.configuration.limits);
    limits.time = limits.time.min(DESCRIBE_TIME);
    let loading = tokio::task::spawn_blocking(move || {
        let loaded = engine.load(&bytes, limits);
        (bytes, loaded)
    });
    loading.await.unwrap_or_else(|error| {
        let reason = format!("the compiler failed: {error}");
        (Vec::new(), Err(LoadError::Malformed(reason)))
    })
}

/// The modules that this host has loaded lately.
pub(super) struct LoadedGuests(Mutex<LruCache<ModuleHash, Guest>>);

impl Default for LoadedGuests {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(LOADED_MAX)))
    }
}

impl LoadedGuests {
    pub(super) fn add(&self, guest: Guest) {
        self.lock().insert(guest.hash().clone(), guest);
    }

    pub(super) fn get(&self, hash: &ModuleHash) -> Option<Guest> {
        self.lock().get(hash).cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<ModuleHash, Guest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
