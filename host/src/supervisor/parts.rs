//! What a host works with.

use std::sync::Arc;

use gnomon_event_store::source::Source;
use gnomon_guest::{GuestEngine, NativeCodeCache};

use super::StartError;
use crate::configuration::Configuration;
use crate::storage::Storage;

/// What a host works with.
pub struct Parts {
    /// The configuration.
    pub configuration: Configuration,
    /// Where events come from.
    pub source: Arc<dyn Source>,
    /// Where registry and read models are.
    pub storage: Storage,
    /// Loads modules.
    pub engine: Arc<GuestEngine>,
    /// This host's name, unique among hosts.
    pub host: String,
}

impl Parts {
    /// A host on databases that are open, with an engine and a name of its own.
    ///
    /// # Errors
    /// [`StartError::Engine`].
    pub fn new(
        configuration: Configuration,
        source: Arc<dyn Source>,
        storage: Storage,
    ) -> Result<Self, StartError> {
        Ok(Self {
            configuration,
            source,
            storage,
            engine: Arc::new(engine()?),
            host: name(),
        })
    }
}

/// The engine, with the user's cache of compiled modules.
///
/// # Errors
/// [`StartError::Engine`].
pub fn engine() -> Result<GuestEngine, StartError> {
    GuestEngine::new(native_code_cache()).map_err(|error| StartError::Engine(format!("{error:#}")))
}

/// The user's cache of compiled modules, or none if it cannot be trusted.
fn native_code_cache() -> Option<NativeCodeCache> {
    let directory = NativeCodeCache::default_directory()?;
    NativeCodeCache::open(&directory)
        .inspect_err(|error| tracing::warn!("modules are compiled again at every start: {error}"))
        .ok()
}

/// The machine, the process, and a random part: unique among hosts, and helpful to
/// a person who looks for the one that holds a lease.
fn name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "host".to_owned());
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let unique = unique.get(..6).unwrap_or_default();
    format!("{}-{}-{unique}", machine.trim(), std::process::id())
}
