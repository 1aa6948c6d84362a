//! What a new wish ends that somebody wanted before, and how a command says so.

use serde_json::{Value, json};

use crate::generation::{Generation, GenerationId};
use crate::operations::status::Wish;

/// What is cancelled, or no longer there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Overtaken {
    /// Rollbacks that were under way.
    rollbacks: Vec<GenerationId>,
    /// A candidate that is held from now on.
    held: Option<Candidate>,
    /// A candidate that is dropped.
    dropped: Option<Candidate>,
}

#[derive(Debug, PartialEq, Eq)]
struct Candidate {
    generation: GenerationId,
    version: u32,
    was_held: bool,
}

impl From<&Generation> for Candidate {
    fn from(candidate: &Generation) -> Self {
        Self {
            generation: candidate.id,
            version: candidate.description.version,
            was_held: !candidate.goal.is_promotion(),
        }
    }
}

impl Overtaken {
    /// By the wish to promote this one of a projection's generations.
    pub(super) fn by_promotion(own: &[Generation], promoted: GenerationId) -> Self {
        let others = || own.iter().filter(|other| other.id != promoted);
        let candidate = others().find(|other| other.is_candidate() && other.goal.is_promotion());
        Self {
            rollbacks: rollbacks(others()),
            held: candidate.map(Candidate::from),
            dropped: None,
        }
    }

    /// By a new generation, which is to be promoted or not.
    pub(super) fn by_new(own: &[Generation], is_promoted: bool) -> Self {
        let candidate = own.iter().find(|other| other.is_candidate());
        Self {
            rollbacks: if is_promoted {
                rollbacks(own.iter())
            } else {
                Vec::new()
            },
            held: None,
            dropped: candidate.map(Candidate::from),
        }
    }

    /// For a command that prints JSON.
    pub(super) fn json(&self) -> Value {
        let id = |candidate: &Option<Candidate>| candidate.as_ref().map(|found| found.generation);
        json!({
            "rollbacks": self.rollbacks,
            "held": id(&self.held),
            "dropped": id(&self.dropped),
        })
    }

    /// For people, one sentence each.
    pub(super) fn sentences(&self, name: &str) -> Vec<String> {
        let mut said: Vec<String> = self
            .rollbacks
            .iter()
            .map(|id| format!("{name}: the rollback to generation {id} is cancelled"))
            .collect();
        if let Some(held) = &self.held {
            said.push(format!(
                "{name}: generation {} (version {}) is held now; `gnomon promote {name}` promotes \
                 it after all",
                held.generation, held.version
            ));
        }
        if let Some(dropped) = &self.dropped {
            let was = if dropped.was_held {
                "held"
            } else {
                "on its way"
            };
            said.push(format!(
                "{name}: generation {} (version {}), which was {was}, is dropped for it",
                dropped.generation, dropped.version
            ));
        }
        said
    }
}

/// Those to which readers were to go back.
pub(super) fn rollbacks<'a>(own: impl Iterator<Item = &'a Generation>) -> Vec<GenerationId> {
    own.filter(|generation| {
        Wish::of(generation.state, generation.goal).is_some_and(Wish::is_rollback)
    })
    .map(|generation| generation.id)
    .collect()
}
