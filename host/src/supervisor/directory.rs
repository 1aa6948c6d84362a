//! Watching a directory of modules.

use std::path::Path;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

/// How often the directory is looked at where nobody says that it changed:
/// behind a link, on a network, or where the system has no watches left.
const POLL: Duration = Duration::from_secs(1);

/// Says when something may have changed in a directory.
pub(super) struct DirectoryWatch {
    changes: mpsc::Receiver<()>,
    /// Ends with this value; without one there is only the poll.
    _watcher: Option<RecommendedWatcher>,
}

impl DirectoryWatch {
    pub(super) fn start(directory: &Path) -> Self {
        let (sender, changes) = mpsc::channel(1);
        let watching = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_a_look(event.kind)) {
                return;
            }
            // A word that waits already says the same.
            let _ = sender.try_send(());
        })
        .and_then(|mut watcher| {
            watcher.watch(directory, RecursiveMode::NonRecursive)?;
            Ok(watcher)
        });
        let watcher = watching
            .inspect_err(|error| {
                tracing::warn!(
                    "{} is looked at once a second, as the system does not watch it: {error}",
                    directory.display()
                );
            })
            .ok();
        Self {
            changes,
            _watcher: watcher,
        }
    }

    /// Waits for a change, or until it is time to look anyway.
    pub(super) async fn changed(&mut self) {
        tokio::select! {
            Some(()) = self.changes.recv() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Whether somebody only looked, as this host does after every change.
const fn is_a_look(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(
            AccessKind::Any
                | AccessKind::Read
                | AccessKind::Open(_)
                | AccessKind::Close(AccessMode::Read | AccessMode::Execute)
        )
    )
}
