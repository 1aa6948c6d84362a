//! One lease's work: from opening the writer to the first failure.

use std::sync::Arc;
use std::time::Duration;

use gnomon_model::{Position, TableWrites};

use super::attempt::{Attempt, attempt, verdict};
use super::cut::Cut;
use super::heartbeat::Heartbeat;
use super::parking;
use super::{Assignment, Runner, describe};
use crate::dead_letter::DeadLetterChanges;
use crate::generation::{GenerationState, Lease, RunState};
use crate::guest::EventList;
use crate::reader::Reader;
use crate::row_cache::GenerationRows;
use crate::source::{Batch, BatchLimits, Checkpoint, SourceError, SourceErrorKind};
use crate::target::{Commit, Control, TargetError, TargetErrorKind, in_time};

/// How long a checkpoint that only passed unwanted events waits for a batch
/// to be committed with.
const PASSED_WAIT: Duration = Duration::from_millis(20);
/// How long the source may stand still before its reason is shown.
const STANDSTILL: Duration = Duration::from_secs(1);

/// How a session ends.
pub(super) enum End {
    /// The host is stopping.
    Stopped,
    /// The lease is lost.
    Fenced,
    /// Something outside failed; try again.
    Retry(String),
    /// A batch failed; try it in smaller ones.
    Cut(Cut),
    /// This event cannot be applied.
    Blamed(Blamed),
    /// Somebody paused the projection.
    Paused,
}

/// An event that cannot be applied.
#[derive(Clone, Debug)]
pub(super) struct Blamed {
    pub(super) position: Position,
    /// Its type and stream, for people.
    pub(super) event: String,
    /// What went wrong.
    pub(super) message: String,
}

/// How a session goes about its first batches.
#[derive(Clone, Debug)]
pub(super) struct Approach {
    pub(super) cut: Cut,
    /// An event that is to be parked instead of applied.
    pub(super) condemned: Option<Blamed>,
}

impl Approach {
    pub(super) const PLAIN: Self = Self {
        cut: Cut::Whole,
        condemned: None,
    };

    /// Parks an event, in a batch of its own: were there another one in it
    /// that cannot be applied, nothing would be committed.
    pub(super) const fn park(blamed: Blamed) -> Self {
        Self {
            cut: Cut::Small {
                events: 1,
                until: blamed.position,
            },
            condemned: Some(blamed),
        }
    }
}

impl From<SourceError> for End {
    fn from(error: SourceError) -> Self {
        match error.kind() {
            SourceErrorKind::Retry | SourceErrorKind::Refused => Self::Retry(describe(&error)),
        }
    }
}

/// What a waiting session wakes up for.
enum Wake {
    Batch(Batch),
    /// Users want something else than before.
    Control(Control),
    Ended(End),
    /// Nothing came for a while.
    Quiet,
}

/// Everything that is dropped on a failure.
pub(super) struct Session {
    pub(super) lease: Lease,
    pub(super) rows: GenerationRows,
    reader: Reader,
    /// The checkpoint in the database.
    pub(super) checkpoint: Checkpoint,
    /// The position of `checkpoint`.
    pub(super) position: Position,
    /// A later checkpoint, behind events that nobody wanted.
    passed: Option<(Checkpoint, Position)>,
    cut: Cut,
    pub(super) condemned: Option<Blamed>,
    /// Whether some streams may be parked; saves a query for every batch.
    pub(super) may_have_dead_letters: bool,
    /// The newest request that was seen.
    requests: i64,
}

impl Session {
    pub(super) fn open(
        runner: &mut Runner,
        lease: Lease,
        approach: Approach,
        heartbeat: &Heartbeat,
    ) -> Result<Self, End> {
        let assignment = &runner.assignment;
        let description = assignment.guest.description();
        let writer = runner.runtime.block_on(in_time(
            assignment.target.writer(lease, Arc::clone(description)),
        ))?;
        let rows = GenerationRows::new(
            writer,
            Arc::clone(description),
            runner.runtime.clone(),
            heartbeat.watch(),
            assignment.row_cache,
        );
        let checkpoint = rows.checkpoint()?;
        let may_have_dead_letters = rows.has_dead_letters()?;
        let position = assignment.source.position(&checkpoint)?;
        let head = runner.runtime.block_on(assignment.source.look())?.head;
        if position > head {
            // It would look caught up, and skip what is appended up to there.
            return Err(End::Retry(format!(
                "its checkpoint is at event {position}, and the event store ends at {head}: was the \
                 store restored from a backup, or exchanged? Use the right one, or build the read \
                 model anew in an empty database"
            )));
        }
        let reader = start_reader(runner, &checkpoint, approach.cut);
        runner
            .progress
            .send_modify(|progress| progress.position = position);
        // After a failure only progress shows that its cause is over.
        if !runner.is_retrying() {
            runner.report(lease, RunState::Running, None);
        }
        Ok(Self {
            lease,
            rows,
            reader,
            checkpoint,
            position,
            passed: None,
            cut: approach.cut,
            condemned: approach.condemned,
            may_have_dead_letters,
            requests: 0,
        })
    }

    pub(super) fn run(&mut self, runner: &mut Runner, heartbeat: &Heartbeat) -> End {
        loop {
            let step = match self.wait(runner, heartbeat) {
                Wake::Batch(batch) => self.project(runner, batch),
                Wake::Control(control) => self.obey(runner, &control),
                Wake::Quiet => self.settle(runner),
                Wake::Ended(end) => Err(end),
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    fn wait(&mut self, runner: &mut Runner, heartbeat: &Heartbeat) -> Wake {
        let control = runner.control();
        if control.paused || control.requests > self.requests {
            return Wake::Control(control);
        }
        let patience = match self.passed {
            Some(_) => PASSED_WAIT,
            None => STANDSTILL,
        };
        let Runner {
            runtime,
            shutdown,
            controls,
            ..
        } = runner;
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = shutdown.begun() => Wake::Ended(End::Stopped),
                () = heartbeat.lost() => Wake::Ended(End::Fenced),
                Ok(()) = controls.changed() => Wake::Control(control),
                batch = self.reader.next() => match batch {
                    Some(Ok(batch)) => Wake::Batch(batch),
                    Some(Err(error)) => Wake::Ended(error.into()),
                    None => Wake::Ended(End::Stopped),
                },
                () = tokio::time::sleep(patience) => Wake::Quiet,
            }
        })
    }

    fn obey(&mut self, runner: &mut Runner, control: &Control) -> Result<(), End> {
        if control.paused {
            return Err(End::Paused);
        }
        if control.requests > self.requests {
            parking::serve_requests(self, runner)?;
            self.requests = control.requests;
        }
        Ok(())
    }

    /// Applies and commits one batch, or finds out why that cannot be done.
    fn project(&mut self, runner: &mut Runner, batch: Batch) -> Result<(), End> {
        let Batch {
            events,
            next,
            position,
            caught_up,
        } = batch;
        if events.is_empty() {
            if next != self.checkpoint {
                self.passed = Some((next, position));
            }
            if caught_up {
                self.settle(runner)?;
                self.promote(runner)?;
            }
            return Ok(());
        }
        let (events, waiting) = parking::divide(self, events)?;
        let events = EventList::from(events);
        let last = events.last().unwrap_or(position);
        let writes = match attempt(runner, &self.rows, &events)? {
            Attempt::Applied(writes) => writes,
            Attempt::Failed { place, message } => {
                return Err(verdict(&events, place, last, message));
            }
        };
        let dead_letters = DeadLetterChanges {
            park: &waiting,
            ..DeadLetterChanges::default()
        };
        match self.commit(runner, &writes, dead_letters, next, position) {
            Err(error) if error.kind() == TargetErrorKind::Rejected => {
                return Err(verdict(&events, None, last, describe(&error)));
            }
            committed => committed?,
        }
        self.may_have_dead_letters |= !waiting.is_empty();
        runner.backoff = super::backoff();
        let count = events.len() as u64;
        runner
            .progress
            .send_modify(|progress| progress.events += count);
        self.recut(runner, self.cut.after(position));
        runner.report(self.lease, RunState::Running, None);
        if caught_up {
            self.promote(runner)?;
        }
        Ok(())
    }

    /// Nothing came for a while: commits a checkpoint that only passed
    /// unwanted events, or says why the source stands still.
    fn settle(&mut self, runner: &mut Runner) -> Result<(), End> {
        if let Some((next, position)) = self.passed.take() {
            let none = DeadLetterChanges::default();
            self.commit(runner, &[], none, next, position)?;
            return Ok(());
        }
        let frontier = runner.assignment.source.frontier().borrow().clone();
        let (state, cause) = match (frontier.out_of_reach, frontier.waiting_for) {
            (Some(cause), _) => (RunState::Retrying, Some(cause)),
            (None, Some(cause)) => (RunState::Waiting, Some(cause)),
            (None, None) => (RunState::Running, None),
        };
        runner.report(self.lease, state, cause);
        Ok(())
    }

    pub(super) fn commit(
        &mut self,
        runner: &Runner,
        writes: &[TableWrites],
        dead_letters: DeadLetterChanges<'_>,
        next: Checkpoint,
        position: Position,
    ) -> Result<(), TargetError> {
        self.rows.commit(Commit {
            writes,
            expected: &self.checkpoint,
            next: &next,
            position,
            dead_letters,
        })?;
        self.checkpoint = next;
        self.position = position;
        self.passed = None;
        runner
            .progress
            .send_modify(|progress| progress.position = position);
        Ok(())
    }

    /// Makes the generation live once it has caught up.
    fn promote(&self, runner: &mut Runner) -> Result<(), End> {
        let Assignment {
            generation, target, ..
        } = &mut runner.assignment;
        if generation.state == GenerationState::Live {
            return Ok(());
        }
        runner
            .runtime
            .block_on(in_time(target.promote(generation.id)))?;
        generation.state = GenerationState::Live;
        tracing::info!(
            projection = generation.projection,
            generation = %generation.id,
            "caught up; readers see it now"
        );
        runner
            .progress
            .send_modify(|progress| progress.is_live = true);
        Ok(())
    }

    /// Reads in batches of another size from now on.
    fn recut(&mut self, runner: &Runner, cut: Cut) {
        if cut != self.cut {
            self.cut = cut;
            self.reader = start_reader(runner, &self.checkpoint, cut);
        }
    }
}

fn start_reader(runner: &Runner, from: &Checkpoint, cut: Cut) -> Reader {
    let assignment = &runner.assignment;
    Reader::start(
        &runner.runtime,
        Arc::clone(&assignment.source),
        from.clone(),
        assignment.guest.description().subscription.clone(),
        BatchLimits {
            events: cut.events(assignment.batch_limits.events),
            ..assignment.batch_limits
        },
    )
}
