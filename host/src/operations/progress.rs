//! What an operation tells while it runs.

use std::sync::Arc;

use gnomon_model::Position;
use serde::Serialize;

use super::status;
use crate::generation::{Generation, GenerationId, RunState};

/// What an operation tells while it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "progress")]
#[non_exhaustive]
pub enum Progress {
    /// A generation is on its way.
    Moving(Moving),
    /// It is where it was to get.
    Arrived {
        /// The generation.
        generation: GenerationId,
    },
    /// No host is there to do the work. The operation waits for one.
    NoHost,
    /// There is no such projection, but a host may deploy this file.
    Undeployed {
        /// The projection.
        name: String,
        /// The file, and what the last host had against it.
        file: String,
    },
    /// A database is out of reach. The operation asks it again.
    OutOfReach {
        /// What the database or the system says.
        cause: String,
    },
}

/// How far a generation is on its way.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Moving {
    /// The projection.
    pub name: String,
    /// The generation.
    pub generation: GenerationId,
    /// How far it has got.
    pub position: Position,
    /// Where it is going.
    pub goal: Position,
    /// Events of its subscription per second; `None` while it stands still.
    pub rate: Option<f64>,
    /// Why it stands still, if waiting alone may not help.
    pub standstill: Option<String>,
}

impl Moving {
    pub(super) fn new(generation: &Generation, goal: Position) -> Self {
        Self {
            name: generation.projection.clone(),
            generation: generation.id,
            position: generation.position,
            goal,
            rate: generation.rate.map(|rate| rate.events),
            standstill: standstill(generation),
        }
    }
}

/// Why a generation that a host runs stands still, if waiting alone may not help.
fn standstill(generation: &Generation) -> Option<String> {
    generation.host.as_ref()?;
    let name = &generation.projection;
    let (state, cause) = status::state_of(generation, true);
    match state {
        RunState::Paused => {
            Some(cause.unwrap_or_else(|| format!("paused; `gnomon resume {name}` resumes it")))
        }
        RunState::Retrying | RunState::Waiting => cause,
        RunState::Running | RunState::Halted => None,
    }
}

/// Receives what an operation tells. The default hears nothing.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<dyn Fn(Progress) + Send + Sync>>);

impl Watcher {
    /// A watcher that calls `watch`, which must not block.
    pub fn new(watch: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    pub(super) fn tell(&self, progress: Progress) {
        if let Some(watch) = &self.0 {
            watch(progress);
        }
    }
}
