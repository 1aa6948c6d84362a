//! What happens when a generation has caught up: it is completed, and promoted
//! if that is wanted.

use super::outcome::SessionEnd;
use super::session::Session;
use super::{Assignment, Runner};
use crate::generation::GenerationState;
use crate::registry::{Control, Promotion};
use crate::storage_error::in_time;

impl Session {
    /// Takes the next step on the way to what users want of a generation that
    /// has applied everything that there was.
    pub(super) fn arrive(
        &mut self,
        runner: &mut Runner,
        control: &Control,
    ) -> Result<(), SessionEnd> {
        if control.stop_at.is_some() {
            // It was stopped on the way, which is not the end of it.
            return Ok(());
        }
        match control.state {
            GenerationState::Building => self.complete(runner),
            GenerationState::Ready | GenerationState::Retired if control.goal.is_promotion() => {
                self.promote(runner)
            }
            _ => Ok(()),
        }
    }

    fn complete(&mut self, runner: &mut Runner) -> Result<(), SessionEnd> {
        self.flush()?;
        self.rows.complete()?;
        let Assignment {
            generation,
            storage,
            ..
        } = &runner.assignment;
        runner
            .runtime
            .block_on(in_time(storage.registry.set_ready(self.lease)))?;
        tracing::info!(
            projection = generation.projection,
            generation = %generation.id,
            "caught up"
        );
        learn_outcome(runner)
    }

    fn promote(&mut self, runner: &mut Runner) -> Result<(), SessionEnd> {
        let Assignment {
            generation,
            storage,
            ..
        } = &runner.assignment;
        let promotion = runner
            .runtime
            .block_on(in_time(storage.registry.promote(generation.id)))?;
        match promotion {
            Promotion::Done => {
                tracing::info!(
                    projection = generation.projection,
                    generation = %generation.id,
                    "readers see it now"
                );
                runner
                    .progress
                    .send_modify(|progress| progress.is_live = true);
            }
            // The events that the live one has seen already come next.
            Promotion::Behind => self.has_caught_up = false,
            Promotion::NotWanted => {}
            Promotion::Refused(reason) => tracing::error!(
                projection = generation.projection,
                generation = %generation.id,
                "it is not promoted: {reason}"
            ),
        }
        learn_outcome(runner)
    }
}

/// Learns what became of a step of its own before the next one is taken.
fn learn_outcome(runner: &Runner) -> Result<(), SessionEnd> {
    Ok(runner.runtime.block_on(runner.controls.refresh())?)
}
