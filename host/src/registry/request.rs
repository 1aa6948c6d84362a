//! What users and hosts ask of the registry.

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Description, Position};

use super::NewGeneration;
use crate::dead_letter::Skip;
use crate::generation::{Generation, GenerationId, GenerationState, Goal, ModuleHash};

/// A change of the registry. `registry::rules` decide what it leads to.
#[derive(Clone, Debug)]
pub enum Request {
    /// A new generation.
    Create(Box<Creation>),
    /// Generations of one projection are to run another module.
    SetModule {
        /// Those.
        generations: Vec<GenerationId>,
        /// That.
        module: ModuleHash,
    },
    /// Something else is wanted of a generation.
    SetGoal {
        /// That.
        generation: GenerationId,
        /// What.
        goal: Goal,
    },
    /// A generation is to be the live one, if somebody wants that.
    Promote(GenerationId),
    /// A generation is to go.
    Drop(GenerationId),
    /// Generations that are no longer needed are to go.
    Tidy {
        /// How many retired ones of each projection stay.
        keep: usize,
    },
    /// A projection is to stand still.
    Pause(String),
    /// A projection is to go on, or to come back.
    Resume(String),
    /// The history of the event store is right as it is.
    AcceptHistory(String),
    /// No host is to run a projection.
    Remove(String),
    /// A projection is to go with everything that it has.
    DropProjection {
        /// That.
        projection: String,
        /// Whether views of users that stand on its views go too.
        cascade: bool,
    },
    /// A projection is to leave an event out.
    Skip {
        /// That.
        projection: String,
        /// The decision.
        skip: Skip,
    },
    /// A projection is to leave out what waits in a generation's dead-letter table.
    Discard {
        /// That.
        generation: GenerationId,
        /// Only the events of this stream.
        stream: Option<String>,
        /// Who decided it.
        actor: String,
        /// Why.
        reason: Option<String>,
    },
    /// A projection is to leave an event out no longer.
    Unskip {
        /// That.
        projection: String,
        /// The event's.
        position: Position,
    },
    /// What waits in a generation's dead-letter table is to be applied again.
    Retry {
        /// That.
        generation: GenerationId,
        /// Only the events of this stream.
        stream: Option<String>,
    },
}

/// Which projections a request is about.
pub(crate) enum Subject<'a> {
    Projection(&'a str),
    /// The projection of this generation.
    Generation(GenerationId),
    All,
}

impl Request {
    /// Which projections it is about.
    pub(crate) fn subject(&self) -> Subject<'_> {
        match self {
            Self::Create(new) => Subject::Projection(&new.projection),
            Self::SetModule { generations, .. } => match generations.first() {
                Some(generation) => Subject::Generation(*generation),
                None => Subject::Projection(""),
            },
            Self::SetGoal { generation, .. }
            | Self::Promote(generation)
            | Self::Drop(generation)
            | Self::Discard { generation, .. }
            | Self::Retry { generation, .. } => Subject::Generation(*generation),
            Self::Tidy { .. } => Subject::All,
            Self::Pause(projection)
            | Self::Resume(projection)
            | Self::AcceptHistory(projection)
            | Self::Remove(projection)
            | Self::DropProjection { projection, .. }
            | Self::Skip { projection, .. }
            | Self::Unskip { projection, .. } => Subject::Projection(projection),
        }
    }

    /// Completes "failed to … DATABASE".
    pub(crate) const fn attempt(&self) -> &'static str {
        match self {
            Self::Create(_) => "make a generation in",
            Self::SetModule { .. } => "change a module in",
            Self::SetGoal { .. } => "set a goal in",
            Self::Promote(_) => "promote a generation in",
            Self::Drop(_) | Self::Tidy { .. } => "drop a generation in",
            Self::Pause(_) => "pause a projection in",
            Self::Resume(_) => "resume a projection in",
            Self::AcceptHistory(_) => "accept the events in",
            Self::Remove(_) => "remove a projection in",
            Self::DropProjection { .. } => "drop a projection in",
            Self::Skip { .. } | Self::Discard { .. } => "record a skip in",
            Self::Unskip { .. } => "take a skip back in",
            Self::Retry { .. } => "store a request in",
        }
    }
}

/// A generation that is to be created, as [`NewGeneration`] describes it.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The projection that it is a build of.
    pub projection: String,
    /// Its module.
    pub module: ModuleHash,
    /// What the module declared, under its own name.
    pub description: Description,
    /// What is wanted of it.
    pub goal: Goal,
    /// Where it ends for good.
    pub until: Option<Position>,
    /// The newest generation that the caller knows.
    pub newest: Option<GenerationId>,
    /// The checkpoint before the first event.
    pub start: Checkpoint,
}

impl From<NewGeneration<'_>> for Creation {
    fn from(new: NewGeneration<'_>) -> Self {
        Self {
            projection: new.projection.to_owned(),
            module: new.module.clone(),
            description: new.description.clone(),
            goal: new.goal,
            until: new.until,
            newest: new.newest,
            start: new.start.clone(),
        }
    }
}

impl Creation {
    /// What its tables are made from, under the name of its projection.
    pub(crate) fn named_description(&self) -> Description {
        super::named(self.description.clone(), &self.projection)
    }

    /// The generation that this creates, under its number.
    pub(super) fn generation(self, id: GenerationId) -> Generation {
        let description = self.named_description();
        Generation {
            id,
            copy_of: (self.description.name != self.projection).then_some(self.description.name),
            projection: self.projection,
            module: self.module,
            description,
            state: GenerationState::Building,
            goal: self.goal,
            until: self.until,
            obstacle: None,
            is_removed: false,
            checkpoint: self.start,
            position: Position::START,
            rate: None,
            retired_at: None,
            report: None,
            dead_letters: 0,
            applied_late: 0,
            changed_skips: 0,
            host: None,
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The generation that was created.
    pub created: Option<GenerationId>,
    /// What became of a promotion.
    pub promotion: Option<super::Promotion>,
    /// How many decisions about events are new, or were taken back.
    pub decided: Option<u64>,
    /// Generations that are marked as dropped; their tables are still there.
    pub dropped: Vec<DroppedGeneration>,
}

/// A generation that is marked as dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DroppedGeneration {
    /// Its number.
    pub id: GenerationId,
    /// The projection that it was a build of.
    pub projection: String,
}
