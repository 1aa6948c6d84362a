//! Keeps a lease alive while its holder works.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::generation::Lease;
use crate::target::{Target, TargetErrorKind};

/// Renews a lease until it is dropped, or until the lease is lost.
pub(super) struct Heartbeat {
    lost: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Heartbeat {
    pub(super) fn start(
        runtime: &Handle,
        target: Arc<dyn Target>,
        lease: Lease,
        time: Duration,
    ) -> Self {
        let (sender, lost) = watch::channel(false);
        let task = runtime.spawn(async move {
            let mut renewed = Instant::now();
            // Without an answer for that long the lease has run out.
            while renewed.elapsed() < time {
                // Two renewals may fail before the lease runs out.
                tokio::time::sleep(time / 3).await;
                let asked = Instant::now();
                match tokio::time::timeout(time / 3, target.renew(lease, time)).await {
                    Ok(Ok(())) => renewed = asked,
                    Ok(Err(error)) if error.kind() == TargetErrorKind::Fenced => break,
                    Ok(Err(error)) => tracing::debug!("the lease was not renewed: {error}"),
                    Err(_) => tracing::debug!("the lease was not renewed: no answer"),
                }
            }
            sender.send_replace(true);
        });
        Self { lost, task }
    }

    /// Becomes true when the lease is lost.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    /// Waits until the lease is lost.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            // The task ends without a word only with the runtime.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.task.abort();
    }
}
