//! Keeps the leases of a host alive while their holders work: one query for
//! all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::generation::{GenerationId, Lease};
use crate::registry::HostRegistry;

/// Two renewals may fail before a lease runs out.
const RENEWALS_PER_LEASE: u32 = 3;

/// The leases of one host.
pub struct Heartbeats {
    kept: Arc<KeptLeases>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct KeptLeases {
    leases: Mutex<BTreeMap<GenerationId, Kept>>,
    new: Notify,
}

struct Kept {
    lease: Lease,
    time: Duration,
    /// When the last renewal that went well was asked for.
    renewed: Instant,
    lost: watch::Sender<bool>,
}

/// One lease that is kept alive until this is dropped.
pub(super) struct Heartbeat {
    lease: Lease,
    lost: watch::Receiver<bool>,
    kept: Arc<KeptLeases>,
}

impl Heartbeats {
    /// Starts to renew leases in this registry.
    #[must_use]
    pub fn start(runtime: &Handle, registry: Arc<dyn HostRegistry>) -> Self {
        let kept = Arc::new(KeptLeases::default());
        let task = runtime.spawn(renew(registry, Arc::clone(&kept)));
        Self { kept, task }
    }

    /// Keeps a lease that was just taken for `time`.
    pub(super) fn keep(&self, lease: Lease, time: Duration) -> Heartbeat {
        let (sender, lost) = watch::channel(false);
        let kept = Kept {
            lease,
            time,
            renewed: Instant::now(),
            lost: sender,
        };
        self.kept.lock().insert(lease.generation, kept);
        self.kept.new.notify_one();
        Heartbeat {
            lease,
            lost,
            kept: Arc::clone(&self.kept),
        }
    }
}

impl Drop for Heartbeats {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl KeptLeases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<GenerationId, Kept>> {
        // The map is sound whoever panicked while it was held.
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The shortest time between two renewals that some lease needs.
    fn interval(&self) -> Option<Duration> {
        self.lock()
            .values()
            .map(|kept| kept.time / RENEWALS_PER_LEASE)
            .min()
    }

    fn list(&self) -> Vec<(Lease, Duration)> {
        self.lock()
            .values()
            .map(|kept| (kept.lease, kept.time))
            .collect()
    }

    fn renewed(&self, asked_for: &[(Lease, Duration)], lost: &[Lease], asked: Instant) {
        let mut leases = self.lock();
        for (lease, _) in asked_for {
            if let Some(kept) = leases.get_mut(&lease.generation)
                && kept.lease == *lease
                && !lost.contains(lease)
            {
                kept.renewed = asked;
            }
        }
        leases.retain(|_, kept| {
            let is_lost = lost.contains(&kept.lease);
            if is_lost {
                kept.lost.send_replace(true);
            }
            !is_lost
        });
    }

    /// Without an answer for its whole time a lease has run out.
    fn give_up_expired(&self) {
        self.lock().retain(|_, kept| {
            let has_run_out = kept.renewed.elapsed() >= kept.time;
            if has_run_out {
                kept.lost.send_replace(true);
            }
            !has_run_out
        });
    }
}

async fn renew(registry: Arc<dyn HostRegistry>, kept: Arc<KeptLeases>) {
    let mut asked = Instant::now();
    loop {
        let Some(interval) = kept.interval() else {
            kept.new.notified().await;
            continue;
        };
        tokio::select! {
            () = tokio::time::sleep_until((asked + interval).into()) => {}
            // A new lease may need a shorter interval.
            () = kept.new.notified() => continue,
        }
        let leases = kept.list();
        asked = Instant::now();
        if leases.is_empty() {
            continue;
        }
        match tokio::time::timeout(interval, registry.renew(&leases)).await {
            Ok(Ok(lost)) => kept.renewed(&leases, &lost, asked),
            Ok(Err(error)) => tracing::debug!("the leases were not renewed: {error}"),
            Err(_) => tracing::debug!("the leases were not renewed: no answer"),
        }
        kept.give_up_expired();
    }
}

impl Heartbeat {
    /// The lease.
    pub(super) const fn lease(&self) -> Lease {
        self.lease
    }

    /// Becomes true when the lease is lost.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.lost.clone()
    }

    /// Waits until the lease is lost.
    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() && !*lost.borrow() {
            // The sender goes without a word only with the host.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let mut leases = self.kept.lock();
        // A newer lease on the generation is not ours to forget.
        if leases
            .get(&self.lease.generation)
            .is_some_and(|kept| kept.lease == self.lease)
        {
            leases.remove(&self.lease.generation);
        }
    }
}
