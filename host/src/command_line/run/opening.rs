//! Opens what a host works with, and waits for a database that is not there
//! yet: host and databases are often started together.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use gnomon_databases::sqlite_file;
use gnomon_event_store::source::{self, Source, SourceError, SourceErrorKind};
use gnomon_model::Position;

use super::super::chain;
use crate::configuration::Configuration;
use crate::shutdown::Shutdown;
use crate::storage::Storage;
use crate::storage::{self};
use crate::storage_error::{StorageError, StorageErrorKind};

/// The first and the longest wait between two attempts, before jitter, which
/// makes it up to twice as long.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_millis(1_500);
/// How long a file may be locked by another process where nothing else is
/// waited for.
const LOCK_TIME: Duration = Duration::from_secs(30);
/// How often it is said what is waited for.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Both databases.
pub(super) struct Opened {
    pub(super) source: Arc<dyn Source>,
    pub(super) storage: Storage,
    /// The last event at this moment.
    pub(super) head: Position,
}

/// Opens both databases; where it `waits`, however long that takes. A file that
/// another process has locked is waited for in any case, for a while. `None` when
/// the host is to stop.
///
/// # Errors
/// When one of them refuses, so that waiting would not help, or is not there
/// and is not to be waited for.
pub(super) async fn open(
    configuration: &Configuration,
    waits: bool,
    shutdown: &Shutdown,
) -> anyhow::Result<Option<Opened>> {
    let started = Instant::now();
    let is_briefly_locked = |error: &(dyn Error + 'static)| {
        sqlite_file::is_locked(error) && started.elapsed() < LOCK_TIME
    };
    let source = until_there(
        shutdown,
        async || {
            let source = source::open(&configuration.events).await?;
            let head = source.look().await?.head;
            Ok((source, head))
        },
        |error: &SourceError| {
            error.kind() == SourceErrorKind::Retry && (waits || is_briefly_locked(error))
        },
    );
    let Some((source, head)) = source.await? else {
        return Ok(None);
    };
    let storage = until_there(
        shutdown,
        async || storage::open(&configuration.read_models).await,
        |error: &StorageError| {
            error.kind() == StorageErrorKind::Retry && (waits || is_briefly_locked(error))
        },
    );
    Ok(storage.await?.map(|storage| Opened {
        source,
        storage,
        head,
    }))
}

async fn until_there<T, E: Error + Send + Sync + 'static>(
    shutdown: &Shutdown,
    open: impl AsyncFn() -> Result<T, E>,
    may_come: impl Fn(&E) -> bool,
) -> anyhow::Result<Option<T>> {
    let mut backoff = ExponentialBuilder::default()
        .with_min_delay(BACKOFF_MIN)
        .with_max_delay(BACKOFF_MAX)
        .with_jitter()
        .without_max_times()
        .build();
    let mut said: Option<Instant> = None;
    loop {
        let opened = tokio::select! {
            () = shutdown.begun() => return Ok(None),
            opened = open() => opened,
        };
        let error = match opened {
            Ok(opened) => return Ok(Some(opened)),
            Err(error) if may_come(&error) => error,
            Err(error) => return Err(error.into()),
        };
        if said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            tracing::warn!("waiting for the database, trying again: {}", chain(&error));
            said = Some(Instant::now());
        }
        tokio::select! {
            () = shutdown.begun() => return Ok(None),
            () = tokio::time::sleep(backoff.next().unwrap_or(BACKOFF_MAX)) => {}
        }
    }
}
