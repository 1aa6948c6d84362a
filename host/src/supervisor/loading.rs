//! Loading modules away from the runtime: compiling takes up to 14 s.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use gnomon_guest::{Guest, GuestEngine, LoadError};
use hashlink::LruCache;

use super::{Parts, limits_of_guest};
use crate::configuration::Limits;
use crate::generation::ModuleHash;

/// How long `describe` may take. It only builds a value, and a module that
/// hangs there must not hold up the others of its directory for long.
const DESCRIBE_TIME: Duration = Duration::from_secs(2);
/// Modules that are kept loaded, although nothing may run them any more: those of
/// a large directory are not to be loaded again when their runners start.
const LOADED_MAX: usize = 256;

/// Compiles and checks a module: the one way to load it, for hosts and commands.
///
/// # Errors
/// [`LoadError`] with what is wrong with it.
pub fn load_module(
    engine: &GuestEngine,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Guest, LoadError> {
    let mut limits = limits_of_guest(limits);
    limits.time = limits.time.min(DESCRIBE_TIME);
    engine.load(bytes, limits)
}

/// The same, away from the runtime.
pub(super) async fn load(parts: &Parts, bytes: Vec<u8>) -> (Vec<u8>, Result<Guest, LoadError>) {
    let engine = parts.engine.clone();
    let limits = parts.configuration.limits_of_loading();
    let loading = tokio::task::spawn_blocking(move || {
        let loaded = load_module(&engine, &bytes, &limits);
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
