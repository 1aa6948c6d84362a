//! What users and hosts say to each other through the registry.

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Description, Position};
use serde::{Deserialize, Serialize};

use crate::generation::{GenerationId, GenerationState, Goal, ModuleHash, is_active};

/// A generation that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewGeneration<'a> {
    /// The projection that it is a build of.
    pub projection: &'a str,
    /// Its module, which is in the registry.
    pub module: &'a ModuleHash,
    /// What the module declared. Where its name is not `projection`, the
    /// generation is a copy: its public names in SQLite are
    /// `<projection>_<table>`, as those of the original are taken.
    pub description: &'a Description,
    /// What is wanted of it.
    pub goal: Goal,
    /// Where it ends for good.
    pub until: Option<Position>,
    /// The projection's newest generation that is not dropped, as the caller
    /// knows it.
    pub newest: Option<GenerationId>,
    /// The checkpoint before the first event.
    pub start: &'a Checkpoint,
}

/// What users want of one generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// The projection.
    pub projection: String,
    /// The generation.
    pub generation: GenerationId,
    /// The module that it is to run.
    pub module: ModuleHash,
    /// Where it stands.
    pub state: GenerationState,
    /// What is wanted of it.
    pub goal: Goal,
    /// Where it ends for good.
    pub until: Option<Position>,
    /// Where it stands still while somebody attends to it.
    pub stop_at: Option<Position>,
    /// Whether the projection is to stand still.
    pub paused: bool,
    /// Grows with every `resume`; a projection that halted tries again.
    pub resumes: i64,
    /// The newest request about the generation's dead letters that waits; zero
    /// if none does.
    pub requests: i64,
    /// Grows with every change of the decisions to skip an event that hold for
    /// the projection; zero if there was none ever.
    pub skips: i64,
    /// Who has its lease, and who is to have it next.
    pub lease: SeenLease,
}

/// A lease as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeenLease {
    /// The host that took it and has not given it back.
    pub holder: Option<String>,
    /// Whether it ran out before it was given back.
    pub has_lapsed: bool,
    /// The host that asked for it, for as long as that counts.
    pub requested_by: Option<String>,
}

impl SeenLease {
    /// The host that has it.
    #[must_use]
    pub fn held_by(&self) -> Option<&str> {
        self.holder.as_deref().filter(|_| !self.has_lapsed)
    }

    /// Whether this host has it, and another one asked for it.
    #[must_use]
    pub fn is_asked_of(&self, host: &str) -> bool {
        self.held_by() == Some(host) && self.requested_by.as_deref().is_some_and(|by| by != host)
    }
}

/// What a host has to know to decide what it does, read at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// What is wanted of every generation that is neither dropped nor of a
    /// removed projection, by number.
    pub controls: Vec<Control>,
    /// The hosts that are there, by name; empty where there is no generation.
    pub hosts: Vec<String>,
}

impl Control {
    /// Whether a host has work to do on the generation.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        is_active(self.state, self.goal)
    }

    /// The last position that it may pass for now.
    #[must_use]
    pub fn end(&self) -> Option<Position> {
        match (self.until, self.stop_at) {
            (Some(until), Some(stop_at)) => Some(until.min(stop_at)),
            (until, stop_at) => until.or(stop_at),
        }
    }

    /// Whether the generation is to stand still. A comparison does not: the
    /// live generation of a paused projection can be verified.
    #[must_use]
    pub const fn is_paused(&self) -> bool {
        self.paused && !matches!(self.goal, Goal::Compare)
    }
}

/// What became of a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promotion {
    /// The generation is live, now or before.
    Done,
    /// Nobody wants it any more: the goal is another one, or the generation is
    /// gone.
    NotWanted,
    /// The live generation is further; readers would see it go back. Catch up
    /// and try again.
    Behind,
    /// It cannot be promoted as things stand, with the reason. It was recorded
    /// as the generation's obstacle, and the goal is [`Goal::Hold`] now, or
    /// [`Goal::Rest`] for a retired generation.
    Refused(String),
}

/// A host that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentHost {
    /// Its name.
    pub name: String,
    /// What it told.
    pub notes: HostNotes,
}

/// What a host has to tell beside the state of its generations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostNotes {
    /// Modules that it refused.
    pub refused: Vec<RefusedFile>,
    /// Positions that were handed out and rolled back since it started.
    pub rolled_back: u64,
}

/// A module that a host refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedFile {
    /// Where it came from: a file, or the registry.
    pub place: String,
    /// The projection, where that is known.
    pub projection: Option<String>,
    /// Why, and what to do, as a sentence.
    pub reason: String,
}
