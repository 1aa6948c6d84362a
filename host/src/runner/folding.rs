//! Folding batches together, to be committed in one go: many of a build, and
//! of what follows those that came while the last commit was under way.

use std::time::Duration;

use gnomon_model::Position;

use super::Runner;
use super::outcome::SessionEnd;
use super::session::Session;
use crate::generation::GenerationState;
use crate::row_cache::GenerationRows;
use crate::storage_error::{StorageError, StorageErrorKind};

/// How long a build folds before it commits: what a kill costs at most.
const BUILD_FOLD_TIME: Duration = Duration::from_secs(10);
/// How long others do, while there are always more events: somebody waits for
/// their rows.
pub(super) const LIVE_FOLD_TIME: Duration = Duration::from_millis(10);

impl Session {
    /// Whether a batch up to here is committed together with others: in a build
    /// that is behind, and where there are more events already.
    pub(super) fn comes_more(&self, runner: &Runner, caught_up: bool, position: Position) -> bool {
        if is_building(runner) {
            !caught_up
        } else {
            is_behind(runner, position) || self.rows.folded_to().is_some()
        }
    }

    /// Whether anything may be folded at this place.
    pub(super) fn may_fold(&self, runner: &Runner) -> bool {
        runner.assignment.build_window > 0 && self.position >= self.unfolded_to
    }

    /// Commits what is folded, when its time has come.
    pub(super) fn flush_if_due(&mut self, runner: &Runner) -> Result<(), SessionEnd> {
        let Some((bytes, since)) = self.rows.folded() else {
            return Ok(());
        };
        let waits_for_more = if is_building(runner) {
            since.elapsed() < BUILD_FOLD_TIME
        } else {
            is_behind(runner, self.position) && since.elapsed() < LIVE_FOLD_TIME
        };
        if waits_for_more && bytes < runner.assignment.build_window {
            return Ok(());
        }
        self.flush_with(GenerationRows::flush)
    }

    /// Commits what is folded, behind which no other window is foreseen.
    pub(super) fn flush(&mut self) -> Result<(), SessionEnd> {
        self.flush_with(GenerationRows::flush_at_end)
    }

    fn flush_with(
        &mut self,
        flush: impl FnOnce(&GenerationRows) -> Result<(), StorageError>,
    ) -> Result<(), SessionEnd> {
        // The database knows from then on which streams are parked.
        self.parked.clear();
        let Some(end) = self.rows.folded_to() else {
            return Ok(());
        };
        match flush(&self.rows) {
            Err(error) if error.kind() == StorageErrorKind::Rejected => {
                Err(SessionEnd::unfold(end))
            }
            flushed => Ok(flushed?),
        }
    }
}

/// Whether there are events behind a position.
fn is_behind(runner: &Runner, position: Position) -> bool {
    runner.assignment.source.frontier().borrow().safe > position
}

pub(super) fn is_building(runner: &Runner) -> bool {
    runner
        .control()
        .is_some_and(|control| control.state == GenerationState::Building)
}
