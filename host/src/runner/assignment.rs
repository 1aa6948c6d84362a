//! What a runner works with, and how far it is.

use std::sync::Arc;
use std::time::Duration;

use gnomon_event_store::source::{BatchLimits, Source};
use gnomon_guest::{Guest, GuestLimits};
use gnomon_model::Position;
use tokio::sync::watch;

use super::{Controls, Heartbeats};
use crate::configuration::OnError;
use crate::generation::{Generation, RunReport};
use crate::reader::SharedScan;
use crate::storage::Storage;

/// How far a runner is, for whoever watches it in the same process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether it has looked at what there is to do, and has carried out what users
    /// had asked for meanwhile, or says why it does not.
    pub has_begun: bool,
    /// What it does, and why it is not moving.
    pub report: RunReport,
    /// Where its checkpoint stands.
    pub position: Position,
    /// Events applied since the runner was started.
    pub events: u64,
    /// Whether readers see the generation.
    pub is_live: bool,
}

/// What a runner works with.
#[derive(Clone)]
pub struct Assignment {
    /// The generation to run.
    pub generation: Generation,
    /// Its module, loaded. The next batch runs what is sent here.
    pub guest: watch::Receiver<Guest>,
    /// Where events come from.
    pub source: Arc<dyn Source>,
    /// With whom it reads them.
    pub scan: Arc<SharedScan>,
    /// Where rows go.
    pub storage: Storage,
    /// What one call may use.
    pub guest_limits: GuestLimits,
    /// How large a batch may be.
    pub batch_limits: BatchLimits,
    /// How long a lease runs without being renewed. A host that was killed is
    /// replaced after this time.
    pub lease_time: Duration,
    /// Size of the row cache, in bytes.
    pub row_cache: usize,
    /// Bytes of rows that a build folds before it commits them.
    pub build_window: usize,
    /// What happens when it cannot apply an event.
    pub on_error: OnError,
    /// How many of its events may wait in the dead-letter table.
    pub max_dead_letters: u64,
    /// This host's name, unique among hosts.
    pub host: String,
    /// What users want of every generation.
    pub controls: Controls,
    /// What keeps the leases of this host.
    pub heartbeats: Arc<Heartbeats>,
}
