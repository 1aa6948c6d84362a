//! What users want of every generation and which hosts run them, kept up to date
//! for all runners of a host by one query.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, watch};

use crate::generation::GenerationId;
use crate::registry::{Control, Overview, Registry};
use crate::shutdown::Shutdown;
use crate::storage_error::{StorageError, in_time};

/// A view of the controls. Clones share what is known, and each sees its
/// changes.
#[derive(Clone)]
pub struct Controls {
    reader: Arc<ControlReader>,
    known: watch::Receiver<Arc<Overview>>,
}

struct ControlReader {
    registry: Arc<dyn Registry>,
    known: watch::Sender<Arc<Overview>>,
    /// Held from the question to the publication, so that an older answer
    /// never takes the place of a newer one.
    turn: Mutex<()>,
}

/// How often users' wishes are looked for: often while they change something,
/// and seldom otherwise, as every look is a query.
#[derive(Clone, Copy, Debug)]
pub struct Rhythm {
    /// Between two looks, for `busy_for` after a change.
    pub busy: Duration,
    /// How long after a change another one is likely.
    pub busy_for: Duration,
    /// Between two looks otherwise.
    pub idle: Duration,
}

impl ControlReader {
    /// Says whether there was news.
    async fn read(&self) -> Result<bool, StorageError> {
        let _turn = self.turn.lock().await;
        let overview = Arc::new(in_time(self.registry.overview()).await?);
        Ok(self.known.send_if_modified(|known| {
            let news = *known != overview;
            *known = overview;
            news
        }))
    }
}

impl Controls {
    /// Reads them, and then again and again until `shutdown` begins.
    ///
    /// # Errors
    /// When the first reading fails.
    pub async fn watch(
        registry: Arc<dyn Registry>,
        rhythm: Rhythm,
        shutdown: Shutdown,
    ) -> Result<Self, StorageError> {
        let (sender, known) = watch::channel(Arc::default());
        let reader = Arc::new(ControlReader {
            registry,
            known: sender,
            turn: Mutex::default(),
        });
        reader.read().await?;
        let own = Arc::clone(&reader);
        tokio::spawn(async move {
            let mut changed = Instant::now();
            while !shutdown.has_begun() {
                let is_busy = changed.elapsed() < rhythm.busy_for;
                tokio::time::sleep(if is_busy { rhythm.busy } else { rhythm.idle }).await;
                match own.read().await {
                    Ok(true) => changed = Instant::now(),
                    Ok(false) => {}
                    // The runners meet the same failure and show it.
                    Err(error) => tracing::debug!("the controls were not read: {error}"),
                }
            }
        });
        Ok(Self { reader, known })
    }

    /// All that is known.
    #[must_use]
    pub fn overview(&self) -> Arc<Overview> {
        Arc::clone(&self.known.borrow())
    }

    /// What is wanted of a generation; `None` where it is gone.
    #[must_use]
    pub fn of(&self, generation: GenerationId) -> Option<Control> {
        let known = self.known.borrow();
        let control = known
            .controls
            .iter()
            .find(|control| control.generation == generation);
        control.cloned()
    }

    /// Reads them now: whoever has just changed something sees its effect.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn refresh(&self) -> Result<(), StorageError> {
        self.reader.read().await.map(|_| ())
    }

    /// Waits for a change since the last call on this clone.
    pub async fn changed(&mut self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.known.changed().await;
    }

    /// Waits until what is wanted of a generation is as `is_wanted` says.
    pub async fn wait_for(
        &mut self,
        generation: GenerationId,
        is_wanted: impl Fn(Option<&Control>) -> bool,
    ) {
        let find = |known: &Arc<Overview>| {
            let own = known
                .controls
                .iter()
                .find(|control| control.generation == generation);
            is_wanted(own)
        };
        let _ = self.known.wait_for(find).await;
    }
}
