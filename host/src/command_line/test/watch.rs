//! Waiting until source, component or fixtures change.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::subject::{Subject, is_source};

/// Editors write a file in several steps.
const QUIET: Duration = Duration::from_millis(150);

/// Says when it is time to test again.
pub(super) struct Watch {
    changes: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl Watch {
    pub(super) fn start(subject: &Subject) -> anyhow::Result<Self> {
        let absolute = |path: &Path| {
            path.canonicalize()
                .with_context(|| format!("{} cannot be watched", path.display()))
        };
        let path = absolute(subject.path())?;
        let fixtures = subject.fixtures();
        // They may be written later, in a folder of the project.
        let fixtures = absolute(&fixtures).unwrap_or(fixtures);
        let mut folders = vec![if path.is_dir() {
            (path.clone(), RecursiveMode::Recursive)
        } else {
            (parent(&path), RecursiveMode::NonRecursive)
        }];
        if fixtures.is_dir() {
            folders.push((fixtures.clone(), RecursiveMode::NonRecursive));
        } else if fixtures.is_file() {
            folders.push((parent(&fixtures), RecursiveMode::NonRecursive));
        }
        let matters = move |changed: &Path| {
            let is_of_project = path.is_dir() && changed.strip_prefix(&path).is_ok_and(is_source);
            is_of_project || changed == path || changed.starts_with(&fixtures)
        };
        let (sender, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let is_change = event.is_ok_and(|event| {
                !matches!(event.kind, EventKind::Access(_))
                    && event.paths.iter().any(|changed| matters(changed))
            });
            if is_change {
                // A word that waits already says the same.
                let _ = sender.try_send(());
            }
        })
        .context("this system does not tell of changes")?;
        for (folder, mode) in folders {
            watcher
                .watch(&folder, mode)
                .with_context(|| format!("{} cannot be watched", folder.display()))?;
        }
        Ok(Self {
            changes,
            _watcher: watcher,
        })
    }

    /// Waits for a change, and until there was none for a moment.
    pub(super) async fn changed(&mut self) -> anyhow::Result<()> {
        self.changes
            .recv()
            .await
            .context("the system tells of changes no longer")?;
        while let Ok(Some(())) = tokio::time::timeout(QUIET, self.changes.recv()).await {}
        Ok(())
    }
}

fn parent(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_owned()
}
