//! Folding many batches of a build together, to be committed in one go.

use std::time::Duration;

use gnomon_model::Position;

use super::Runner;
use super::cut::Cut;
use super::session::{Approach, End, Session};
use crate::generation::GenerationState;
use crate::target::TargetErrorKind;

/// How long a build folds before it commits: what a kill costs at most.
const FOLD_TIME: Duration = Duration::from_secs(5);

impl Session {
    /// Whether a batch is one of many that are committed together: only in a
    /// build that is behind.
    pub(super) fn may_fold(&self, runner: &Runner, caught_up: bool) -> bool {
        let is_building = runner
            .control()
            .is_some_and(|control| control.state == GenerationState::Building);
        is_building
            && !caught_up
            && runner.assignment.build_window > 0
            && self.cut == Cut::Whole
            && self.position >= self.unfolded_to
    }

    pub(super) fn flush_if_full(&mut self, runner: &Runner) -> Result<(), End> {
        let is_full = self.rows.folded().is_some_and(|(bytes, since)| {
            bytes >= runner.assignment.build_window || since.elapsed() >= FOLD_TIME
        });
        if is_full { self.flush() } else { Ok(()) }
    }

    /// Commits what is folded.
    pub(super) fn flush(&mut self) -> Result<(), End> {
        let Some(end) = self.rows.folded_to() else {
            return Ok(());
        };
        match self.rows.flush() {
            Err(error) if error.kind() == TargetErrorKind::Rejected => Err(End::unfold(end)),
            flushed => Ok(flushed?),
        }
    }
}

impl End {
    /// The database refuses a value of what was folded up to here: the batches
    /// are committed one by one, to find the event at fault.
    pub(super) fn unfold(end: Position) -> Self {
        Self::Again(Approach {
            unfolded_to: end,
            ..Approach::PLAIN
        })
    }
}
