//! What a new request ends that somebody wanted before.

use serde::{Serialize, Serializer};

use crate::generation::{Generation, GenerationId, Generations};

/// What is cancelled, held or dropped for a newer request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Overtaken {
    /// Rollbacks that were under way.
    pub rollbacks: Vec<GenerationId>,
    /// A candidate that is held from now on.
    #[serde(serialize_with = "number")]
    pub held: Option<OvertakenCandidate>,
    /// A candidate that is dropped.
    #[serde(serialize_with = "number")]
    pub dropped: Option<OvertakenCandidate>,
}

/// A candidate that gives way to a newer request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OvertakenCandidate {
    /// The generation.
    pub generation: GenerationId,
    /// Its version.
    pub version: u32,
    /// Whether it was waiting for `gnomon promote`.
    pub was_held: bool,
}

impl From<&Generation> for OvertakenCandidate {
    fn from(candidate: &Generation) -> Self {
        Self {
            generation: candidate.id,
            version: candidate.description.version,
            was_held: !candidate.goal.is_promotion(),
        }
    }
}

/// A candidate as its number.
fn number<S: Serializer>(
    candidate: &Option<OvertakenCandidate>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    candidate
        .as_ref()
        .map(|found| found.generation)
        .serialize(serializer)
}

impl Overtaken {
    /// By the request to promote this one of a projection's generations.
    pub(super) fn by_promotion(own: &Generations, promoted: GenerationId) -> Self {
        let candidate = own.iter().find(|other| {
            other.id != promoted && other.is_candidate() && other.goal.is_promotion()
        });
        Self {
            rollbacks: numbers(own.rollbacks().filter(|other| other.id != promoted)),
            held: candidate.map(OvertakenCandidate::from),
            dropped: None,
        }
    }

    /// By a new generation, which is to be promoted or not.
    pub(super) fn by_new(own: &Generations, is_promoted: bool) -> Self {
        Self {
            rollbacks: if is_promoted {
                numbers(own.rollbacks())
            } else {
                Vec::new()
            },
            held: None,
            dropped: own.candidate().map(OvertakenCandidate::from),
        }
    }
}

pub(super) fn numbers<'a>(generations: impl Iterator<Item = &'a Generation>) -> Vec<GenerationId> {
    generations.map(|generation| generation.id).collect()
}
