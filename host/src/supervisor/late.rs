//! Events that came too late concern every generation that has passed them, also
//! those that rest: a retired one, one of a paused projection.

use std::sync::Arc;
use std::time::Duration;

use gnomon_event_store::source::Alarm;

use super::Shared;
use crate::storage_error::in_time;

/// How long to wait before what failed is tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// Notes them in the registry, until the host stops.
pub(super) async fn watch(shared: Arc<Shared>) {
    let history = Arc::clone(shared.parts.source.history());
    let mut heeded = history.last_alarm();
    loop {
        tokio::select! {
            () = shared.shutdown.begun() => return,
            () = history.alarm_after(heeded) => {}
        }
        let last = history.last_alarm();
        for alarm in history.alarms_after(heeded) {
            let Alarm::Late(late) = alarm else {
                continue;
            };
            while let Err(error) = in_time(shared.parts.storage.registry.note_late(late)).await {
                tracing::debug!("the late event was not noted: {error}");
                tokio::select! {
                    () = shared.shutdown.begun() => return,
                    () = tokio::time::sleep(AGAIN) => {}
                }
            }
        }
        heeded = last;
    }
}
