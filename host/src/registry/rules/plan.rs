//! What storage is to carry out.

use gnomon_model::Position;

use super::snapshot::{Registered, Snapshot, Standing, Wish};
use crate::generation::{GenerationId, GenerationState, ModuleHash};
use crate::registry::Promotion;
use crate::registry::actions::ActionKind;
use crate::registry::request::{DroppedGeneration, Outcome};

/// The changes that a request leads to, in order, and the answer.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Plan {
    pub(crate) changes: Vec<Change>,
    /// What became of a promotion.
    pub(crate) promotion: Option<Promotion>,
    /// What is recorded of it, unless it turns out to be nothing new.
    pub(crate) actions: Vec<PlannedAction>,
    /// Generations whose tables are to go after the transaction: those that
    /// the plan drops, and those that an interrupted drop has left.
    pub(crate) dropped: Vec<DroppedGeneration>,
}

/// An action that is recorded in the transaction of its change.
#[derive(Debug, PartialEq)]
pub(crate) struct PlannedAction {
    pub(crate) projection: String,
    pub(crate) kind: ActionKind,
    /// `None` for the new one, if the plan creates one.
    pub(crate) generation: Option<GenerationId>,
    pub(crate) position: Option<Position>,
    pub(crate) module: Option<ModuleHash>,
    pub(crate) detail: Option<String>,
}

impl PlannedAction {
    /// Something that was done to a projection.
    pub(super) fn on(snapshot: &Snapshot, kind: ActionKind) -> Self {
        Self {
            projection: snapshot.projection.clone(),
            kind,
            generation: None,
            position: None,
            module: None,
            detail: None,
        }
    }

    /// Something that was done to a generation.
    pub(super) fn to(snapshot: &Snapshot, generation: &Registered, kind: ActionKind) -> Self {
        Self {
            generation: Some(generation.id),
            module: Some(generation.module.clone()),
            ..Self::on(snapshot, kind)
        }
    }
}

/// An elementary change of the projection that a request is about.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    /// Registers the projection if it is new, and sets what is wanted of it.
    Want(Wish),
    /// Hosts try again what they halted on, and hear of it.
    TryAgain,
    /// Forgets which events stand at the checkpoints.
    ForgetHistory,
    /// Notes that the projection was dropped just now, or that it is back.
    NoteDropped(bool),
    /// Creates the generation that was asked for, with its tables.
    Create {
        /// Whether the projection was registered before.
        was_registered: bool,
        /// Until when somebody attends to it.
        attended_until: Option<i64>,
    },
    /// Another module runs a generation.
    SetModule {
        generation: GenerationId,
        module: ModuleHash,
    },
    /// Where a generation stands from now on.
    Put {
        generation: GenerationId,
        standing: Standing,
    },
    /// Marks a generation as dropped: whoever runs it can neither commit nor
    /// go on.
    Drop(GenerationId),
    /// What was asked of a generation's dead letters is asked of another: the
    /// new one where `to` is missing.
    MoveRequests {
        from: GenerationId,
        to: Option<GenerationId>,
    },
    /// The public names show a generation.
    Show {
        generation: GenerationId,
        /// What they showed before.
        instead_of: Option<GenerationId>,
        /// Whether views of users that cannot stay are dropped.
        cascade: bool,
        /// The command that asks for that.
        command: &'static str,
    },
    /// Records the decision about events that was asked for.
    Decide,
    /// The public names show nothing.
    Hide {
        /// What they showed.
        live: GenerationId,
        cascade: bool,
    },
}

impl Plan {
    /// Nothing is done, as this is the answer.
    pub(super) fn answer(promotion: Promotion) -> Self {
        Self {
            promotion: Some(promotion),
            ..Self::default()
        }
    }

    pub(super) fn of(changes: Vec<Change>, action: PlannedAction) -> Self {
        Self {
            changes,
            actions: vec![action],
            ..Self::default()
        }
    }

    /// What the caller hears, but for what carrying it out tells.
    pub(crate) fn outcome(&self) -> Outcome {
        Outcome {
            created: None,
            decided: None,
            promotion: self.promotion.clone(),
            dropped: self.dropped.clone(),
        }
    }

    /// Marks a generation as dropped, unless it is, and has its tables removed.
    pub(super) fn drop(&mut self, snapshot: &Snapshot, generation: &Registered, kind: ActionKind) {
        if generation.standing.state != GenerationState::Dropped {
            self.changes.push(Change::Drop(generation.id));
            self.actions
                .push(PlannedAction::to(snapshot, generation, kind));
        }
        self.dropped.push(DroppedGeneration {
            id: generation.id,
            projection: snapshot.projection.clone(),
        });
    }
}

impl Change {
    /// A generation stands as `change` leaves it.
    pub(super) fn put(generation: &Registered, change: impl FnOnce(&mut Standing)) -> Self {
        let mut standing = generation.standing.clone();
        change(&mut standing);
        Self::Put {
            generation: generation.id,
            standing,
        }
    }
}
