//! The word that ends everything: Ctrl-C, SIGTERM, or work that is done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

/// Tells tasks, threads and running guests to stop. Clones are the same word.
#[derive(Clone, Debug)]
pub struct Shutdown {
    sender: Arc<watch::Sender<bool>>,
    flag: Arc<AtomicBool>,
    signal: Arc<OnceLock<&'static str>>,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            sender: Arc::new(watch::Sender::new(false)),
            flag: Arc::new(AtomicBool::new(false)),
            signal: Arc::default(),
        }
    }
}

impl Shutdown {
    /// Says it.
    pub fn begin(&self) {
        self.flag.store(true, Ordering::Relaxed);
        self.sender.send_replace(true);
    }

    /// The signal that said it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<&'static str> {
        self.signal.get().copied()
    }

    /// Whether it was said.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }

    /// Waits until it is said.
    pub async fn begun(&self) {
        // The sender lives as long as `self`, so this cannot fail.
        let _ = self.sender.subscribe().wait_for(|begun| *begun).await;
    }

    /// For a guest that looks while it runs.
    #[must_use]
    pub const fn flag(&self) -> &Arc<AtomicBool> {
        &self.flag
    }

    /// Begins at Ctrl-C and SIGTERM; the second one ends the process at once.
    ///
    /// # Errors
    /// When the system refuses the handlers.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown = self.clone();
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "Ctrl-C",
                    _ = terminate.recv() => "SIGTERM",
                };
                if shutdown.has_begun() {
                    // The status that shells give for Ctrl-C. Nothing is lost:
                    // whatever was not committed is done again.
                    std::process::exit(130);
                }
                // Only the first one counts.
                let _ = shutdown.signal.set(name);
                shutdown.begin();
            }
        });
        Ok(())
    }
}
