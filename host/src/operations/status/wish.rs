//! What somebody wants of a generation and has not got yet.

use gnomon_model::Position;
use serde::Serialize;

use super::state_of;
use crate::generation::{GenerationId, GenerationState, Generations, Goal};

/// What is wanted of a generation and has not happened yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WishStatus {
    /// The generation.
    pub generation: GenerationId,
    /// Its version.
    pub version: u32,
    /// What is wanted.
    pub wish: Wish,
    /// Where the generation stands.
    pub state: GenerationState,
    /// How far it has got.
    pub position: Position,
    /// Why it is not moving; null while it moves.
    pub cause: Option<String>,
}

/// What can be wanted of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wish {
    /// It is to be live when it has caught up.
    Promote,
    /// The same, even where views of users must be dropped for it.
    PromoteCascade,
    /// Readers are to go back to it when it has caught up.
    Rollback,
    /// The same, even where views of users must be dropped for it.
    RollbackCascade,
    /// It is to catch up, and waits for somebody to promote it.
    Hold,
    /// It is to be compared with the live one, and then dropped.
    Compare,
}

impl Wish {
    /// What is wanted of a generation, if it is not done.
    #[must_use]
    pub const fn of(state: GenerationState, goal: Goal) -> Option<Self> {
        match (state, goal) {
            (GenerationState::Live | GenerationState::Dropped, _) | (_, Goal::Rest) => None,
            (GenerationState::Retired, Goal::Promote) => Some(Self::Rollback),
            (GenerationState::Retired, Goal::PromoteCascade) => Some(Self::RollbackCascade),
            (_, Goal::Promote) => Some(Self::Promote),
            (_, Goal::PromoteCascade) => Some(Self::PromoteCascade),
            (_, Goal::Hold) => Some(Self::Hold),
            (_, Goal::Compare) => Some(Self::Compare),
        }
    }
}

/// What is wanted of a projection's generations, oldest generation first.
pub(super) fn wishes(own: &Generations, has_hosts: bool) -> Vec<WishStatus> {
    let own = own.iter().filter(|generation| !generation.is_removed);
    own.filter_map(|generation| {
        Some(WishStatus {
            generation: generation.id,
            version: generation.description.version,
            wish: Wish::of(generation.state, generation.goal)?,
            state: generation.state,
            position: generation.position,
            cause: state_of(generation, has_hosts).1,
        })
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_what_is_not_done() {
        use GenerationState::{Building, Dropped, Live, Ready, Retired};
        for (state, goal, expected) in [
            (Building, Goal::Promote, Some(Wish::Promote)),
            (Ready, Goal::Hold, Some(Wish::Hold)),
            (Building, Goal::Compare, Some(Wish::Compare)),
            (Ready, Goal::PromoteCascade, Some(Wish::PromoteCascade)),
            (Retired, Goal::Promote, Some(Wish::Rollback)),
            (Retired, Goal::PromoteCascade, Some(Wish::RollbackCascade)),
            (Retired, Goal::Rest, None),
            (Live, Goal::Rest, None),
            (Dropped, Goal::Promote, None),
        ] {
            assert_eq!(Wish::of(state, goal), expected, "{state:?} {goal:?}");
        }
    }
}
