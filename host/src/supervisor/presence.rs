//! What a host says of itself, and what it clears away.

use std::sync::Arc;
use std::time::Duration;

use super::Shared;
use crate::registry::HostNotes;
use crate::storage_error::in_time;

/// How often a host says that it is there, and for how long that counts.
const ANNOUNCE: Duration = Duration::from_secs(3);
const PRESENT_FOR: Duration = Duration::from_secs(10);
/// How often what nobody needs is looked for.
const TIDY: Duration = Duration::from_secs(10);
/// How long a stopping host tries to say that it leaves.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// Says what the host is doing, until it stops.
pub(super) async fn announce(shared: Arc<Shared>) {
    let parts = &shared.parts;
    let notes = || HostNotes {
        refused: shared.refusals.all(),
        rolled_back: parts.source.frontier().borrow().rolled_back,
    };
    loop {
        let notes = notes();
        let announced = parts
            .storage
            .registry
            .announce(&parts.host, &notes, PRESENT_FOR);
        if let Err(error) = in_time(announced).await {
            tracing::debug!("the host was not announced: {error}");
        }
        tokio::select! {
            () = shared.shutdown.begun() => break,
            () = shared.refusals.news.notified() => {}
            () = tokio::time::sleep(ANNOUNCE) => {}
        }
    }
    let notes = notes();
    let leaving = parts.storage.registry.leave(&parts.host, &notes);
    let _ = tokio::time::timeout(LEAVE_TIME, leaving).await;
}

/// Drops what is no longer needed, until the host stops.
pub(super) async fn tidy(shared: Arc<Shared>) {
    let parts = &shared.parts;
    loop {
        match parts
            .storage
            .registry
            .tidy(parts.configuration.keep_generations)
            .await
        {
            Ok(dropped) => {
                for generation in dropped {
                    tracing::info!("generation {generation} was dropped with its tables");
                }
            }
            Err(error) => tracing::debug!("nothing was cleared away: {error}"),
        }
        tokio::select! {
            () = shared.shutdown.begun() => return,
            () = tokio::time::sleep(TIDY) => {}
        }
    }
}
