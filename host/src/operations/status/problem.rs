//! What does not work of a projection.

use std::time::Duration;

use super::{CandidateState, ProjectionStatus};
use crate::generation::RunState;

/// What does not work of a projection.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// It has halted, a module is refused, no host runs it, or its candidate
    /// stopped: a sentence.
    Stands(String),
    /// The event store cannot be read.
    UnknownLag,
    /// It is further behind than allowed.
    Behind {
        /// The age of the first event that is not in the read model.
        seconds: f64,
        /// How old that may be.
        limit: Duration,
    },
}

impl ProjectionStatus {
    /// What does not work. One that somebody paused or removed, and a copy that is
    /// complete, need no host. With `max_lag`, also whether it is further behind.
    #[must_use]
    pub fn problems(&self, max_lag: Option<Duration>) -> Vec<Problem> {
        let no_reason = || "no reason was recorded".to_owned();
        let mut stands = Vec::new();
        let rests = self.complete || self.state == RunState::Paused;
        let has_nobody = self.host.is_none() && !rests;
        if self.state == RunState::Halted || has_nobody {
            stands.push(self.cause.clone().unwrap_or_else(no_reason));
        }
        for refused in &self.refused {
            if !stands.contains(&refused.reason) {
                stands.push(refused.reason.clone());
            }
        }
        if let Some(candidate) = &self.candidate
            && candidate.state == CandidateState::Failed
        {
            stands.push(format!(
                "generation {} cannot be built: {}",
                candidate.generation,
                candidate.cause.clone().unwrap_or_else(no_reason)
            ));
        }
        let mut problems: Vec<Problem> = stands.into_iter().map(Problem::Stands).collect();
        if let Some(limit) = max_lag
            && self.version.is_some()
        {
            match self.lag_seconds {
                None => problems.push(Problem::UnknownLag),
                Some(seconds) if seconds > limit.as_secs_f64() => {
                    problems.push(Problem::Behind { seconds, limit });
                }
                Some(_) => {}
            }
        }
        problems
    }
}
