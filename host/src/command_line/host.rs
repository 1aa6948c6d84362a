//! What a host in this process is made of: for `gnomon run`, and for commands
//! that find no host to leave the work to.

use std::sync::Arc;

use gnomon_event_store::source;

use super::Context;
use super::patience::Patience;
use super::patient::Patient;
use crate::configuration::{InvalidConfiguration, Limits};
use crate::guest::{GuestEngine, NativeCodeCache};
use crate::storage;
use crate::storage::Storage;
use crate::supervisor::Parts;

/// Connects to the event store and starts the WebAssembly engine.
pub(super) async fn parts(context: &Context, storage: Storage) -> anyhow::Result<Parts> {
    let configuration = context.configuration()?.clone();
    let source = source::open(&configuration.events).await?;
    Ok(Parts {
        configuration,
        source,
        storage,
        engine: Arc::new(engine()?),
        host: name(),
    })
}

/// Registry and read models, for commands that have nothing to do where there are
/// none: they create nothing, wherever a mistyped URL leads.
pub(super) async fn storage(context: &Context) -> anyhow::Result<Storage> {
    let url = &context.configuration()?.read_models;
    let found = storage::open_existing(url).await?;
    found.ok_or_else(|| anyhow::anyhow!(storage::no_registry(url)))
}

/// The same for commands that wait: what is out of reach is waited for.
pub(super) async fn patient_registry(
    context: &Context,
    patience: Patience,
) -> anyhow::Result<Arc<Patient>> {
    let url = &context.configuration()?.read_models;
    let found = patience
        .ask(async || storage::open_existing(url).await)
        .await?;
    let storage = found.ok_or_else(|| anyhow::anyhow!(storage::no_registry(url)))?;
    Ok(Arc::new(Patient::new(storage, patience)))
}

/// The engine, with the user's cache of compiled modules.
pub(super) fn engine() -> anyhow::Result<GuestEngine> {
    GuestEngine::new(native_code_cache())
        .map_err(|error| anyhow::anyhow!("the WebAssembly engine does not start: {error:#}"))
}

/// The limits under which modules are loaded: the configured ones, or the usual
/// ones where there is no configuration, as in the folder of an author.
pub(super) fn loading_limits(context: &Context) -> anyhow::Result<Limits> {
    match context.configuration() {
        Ok(configuration) => Ok(configuration.limits_of_loading()),
        Err(error) => match error.downcast_ref() {
            Some(InvalidConfiguration::Missing { .. }) => Ok(Limits::default()),
            _ => Err(error),
        },
    }
}

/// The user's cache of compiled modules, or none where it cannot be trusted.
fn native_code_cache() -> Option<NativeCodeCache> {
    let directory = NativeCodeCache::default_directory()?;
    NativeCodeCache::open(&directory)
        .inspect_err(|error| tracing::warn!("modules are compiled again at every start: {error}"))
        .ok()
}

/// The machine, the process, and a random part: unique among hosts, and
/// helpful to whoever looks for the one that holds a lease.
pub(super) fn name() -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok())
        .unwrap_or_else(|| "host".to_owned());
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let unique = unique.get(..6).unwrap_or_default();
    format!("{}-{}-{unique}", machine.trim(), std::process::id())
}
