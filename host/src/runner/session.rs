//! One lease's work: from opening the writer to the first failure.

use std::sync::Arc;
use std::time::Duration;

use gnomon_model::{Position, TableWrites};

use super::Runner;
use super::attempt::{Failed, attempt, blame, finish, verdict};
use super::cut::Cut;
use super::folding::{LIVE_FOLD_TIME, is_building};
use super::heartbeat::Heartbeat;
use super::pace::Pace;
use super::parking;
use crate::dead_letter::DeadLetterChanges;
use crate::event_list::EventList;
use crate::generation::{GenerationState, Lease, RunState};
use crate::reader::{Company, Portion, Reader, Reading};
use crate::row_cache::{GenerationRows, Rows, Step};
use crate::source::{BatchLimits, Checkpoint, SourceError, SourceErrorKind};
use crate::target::{Control, TargetError, TargetErrorKind, in_time};
use crate::telemetry::chain;

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
    /// There is nothing to do for the generation any more, or not on this
    /// thread.
    NoWork,
    /// Something outside failed; try again.
    Retry(String),
    /// A batch failed; go about it in another way.
    Again(Approach),
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
    /// Up to here each batch is committed by itself: what was folded together
    /// was refused by the database, and the event at fault is in one of them.
    pub(super) unfolded_to: Position,
}

impl Approach {
    pub(super) const PLAIN: Self = Self {
        cut: Cut::Whole,
        condemned: None,
        unfolded_to: Position::START,
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
            unfolded_to: Position::START,
        }
    }
}

impl From<SourceError> for End {
    fn from(error: SourceError) -> Self {
        match error.kind() {
            SourceErrorKind::Retry | SourceErrorKind::Refused => Self::Retry(chain(&error)),
        }
    }
}

/// What a waiting session wakes up for.
enum Wake {
    Batch(Portion),
    /// Users may want something else than before.
    Controls,
    Ended(End),
    /// Nothing came for a while.
    Quiet,
}

/// Everything that is dropped on a failure.
pub(super) struct Session {
    pub(super) lease: Lease,
    pub(super) rows: GenerationRows,
    reader: Reader,
    /// The checkpoint behind what was committed or folded.
    pub(super) checkpoint: Checkpoint,
    /// The position of `checkpoint`.
    pub(super) position: Position,
    /// A later checkpoint, behind events that nobody wanted.
    passed: Option<(Checkpoint, Position)>,
    /// Whether everything that there was has been applied.
    pub(super) has_caught_up: bool,
    /// Where the reader ends.
    end: Option<Position>,
    pub(super) cut: Cut,
    pub(super) unfolded_to: Position,
    pub(super) condemned: Option<Blamed>,
    pub(super) pace: Pace,
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
        let control = runner.control().ok_or(End::NoWork)?;
        let description = Arc::new(assignment.generation.description.clone());
        let writer = runner.runtime.block_on(in_time(
            assignment.target.writer(lease, Arc::clone(&description)),
        ))?;
        let rows = GenerationRows::open(
            writer,
            description,
            runner.runtime.clone(),
            heartbeat.watch(),
            assignment.row_cache,
            &assignment.source.start(),
        )?;
        let checkpoint = rows.checkpoint();
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
        let end = control.end();
        let reader = start_reader(runner, &checkpoint, approach.cut, end);
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
            has_caught_up: false,
            end,
            cut: approach.cut,
            unfolded_to: approach.unfolded_to,
            condemned: approach.condemned,
            pace: Pace::start(position),
            may_have_dead_letters,
            requests: 0,
        })
    }

    pub(super) fn run(&mut self, runner: &mut Runner, heartbeat: &Heartbeat) -> End {
        let end = loop {
            if let Err(end) = self.step(runner, heartbeat) {
                break end;
            }
        };
        if matches!(end, End::Stopped)
            && let Err(error) = self.rows.flush()
        {
            // As if the host had been killed: it costs the time of a window.
            tracing::debug!(
                projection = runner.assignment.generation.projection,
                "what was folded could not be written before the stop: {}",
                chain(&error)
            );
        }
        end
    }

    fn step(&mut self, runner: &mut Runner, heartbeat: &Heartbeat) -> Result<(), End> {
        let control = runner.control().ok_or(End::NoWork)?;
        self.obey(runner, &control)?;
        if self.has_caught_up && self.passed.is_none() {
            self.arrive(runner, &control)?;
        }
        match self.wait(runner, heartbeat) {
            Wake::Batch(batch) => self.project(runner, batch),
            Wake::Controls => Ok(()),
            Wake::Quiet => self.settle(runner),
            Wake::Ended(end) => Err(end),
        }
    }

    fn wait(&mut self, runner: &mut Runner, heartbeat: &Heartbeat) -> Wake {
        let patience = if self.passed.is_some() {
            PASSED_WAIT
        } else if self.rows.folded_to().is_some() && !is_building(runner) {
            LIVE_FOLD_TIME
        } else {
            STANDSTILL
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
                () = controls.changed() => Wake::Controls,
                batch = self.reader.next() => match batch {
                    Some(Ok(batch)) => Wake::Batch(batch),
                    Some(Err(error)) => Wake::Ended(error.into()),
                    None => Wake::Ended(End::Stopped),
                },
                () = tokio::time::sleep(patience) => Wake::Quiet,
            }
        })
    }

    /// Does what users want, as far as it concerns the session.
    fn obey(&mut self, runner: &mut Runner, control: &Control) -> Result<(), End> {
        if !runner.has_work() || runner.is_promoted() {
            return Err(End::NoWork);
        }
        if control.is_paused() {
            self.flush()?;
            return Err(End::Paused);
        }
        if control.requests > self.requests {
            self.flush()?;
            parking::serve_requests(self, runner)?;
            self.requests = control.requests;
        }
        if control.end() != self.end {
            self.end = control.end();
            self.restart_reader(runner);
        }
        Ok(())
    }

    /// Applies and commits one batch, or finds out why that cannot be done.
    fn project(&mut self, runner: &mut Runner, portion: Portion) -> Result<(), End> {
        let Portion {
            events,
            next,
            position,
            caught_up,
        } = portion;
        self.has_caught_up = caught_up;
        if events.is_empty() {
            if next != self.checkpoint {
                self.passed = Some((next, position));
            }
            if caught_up {
                self.settle(runner)?;
            }
            return Ok(());
        }
        let (events, waiting) = parking::divide(self, events)?;
        let last = events.last().unwrap_or(position);
        let written = attempt(runner, &self.rows, &events)?;
        if self.may_fold(runner, caught_up, position) && waiting.is_empty() {
            let rate = self.pace.reached(position);
            let folded = match written {
                Ok(written) => {
                    let fold = |rows: &mut Rows| written.fold(rows);
                    blame(&events, self.rows.fold(fold, next.clone(), position, rate))?
                }
                Err(failed) => Err(failed),
            };
            self.unless_failed(&events, last, folded)?;
            self.reached(next, position);
            self.flush_if_due(runner)?;
        } else {
            let writes = finish(&events, written)?;
            let writes = self.unless_failed(&events, last, writes)?;
            self.flush()?;
            let dead_letters = DeadLetterChanges {
                park: &waiting,
                ..DeadLetterChanges::default()
            };
            match self.commit(&writes, dead_letters, next, position) {
                Err(error) if error.kind() == TargetErrorKind::Rejected => {
                    let failed = Failed {
                        place: None,
                        message: chain(&error),
                    };
                    return Err(self.approach(verdict(&events, failed, last)));
                }
                committed => committed?,
            }
        }
        self.may_have_dead_letters |= !waiting.is_empty();
        let count = events.len() as u64;
        runner
            .progress
            .send_modify(|progress| progress.events += count);
        self.tell_position(runner);
        self.recut(runner, self.cut.after(position));
        if self.rows.folded_to().is_none() {
            // Only a commit shows that what failed before is over.
            runner.backoff = super::backoff();
            runner.report(self.lease, RunState::Running, None);
        }
        Ok(())
    }

    /// Where events cannot be applied, what went well before is committed, and
    /// not done again in small parts.
    fn unless_failed<T>(
        &mut self,
        events: &EventList,
        last: Position,
        done: Result<T, Failed>,
    ) -> Result<T, End> {
        match done {
            Ok(done) => Ok(done),
            Err(failed) => {
                self.flush()?;
                Err(self.approach(verdict(events, failed, last)))
            }
        }
    }

    /// The verdict on a batch, as an end of the session. While the event at
    /// fault is looked for, nothing is folded.
    fn approach(&self, verdict: Result<Cut, Blamed>) -> End {
        match verdict {
            Ok(cut) => End::Again(Approach {
                cut,
                condemned: None,
                unfolded_to: self.unfolded_to,
            }),
            Err(blamed) => End::Blamed(blamed),
        }
    }

    /// Nothing came for a while: commits what is folded and a checkpoint that
    /// only passed unwanted events, or says why the source stands still.
    fn settle(&mut self, runner: &mut Runner) -> Result<(), End> {
        let mut has_settled = self.rows.folded_to().is_some();
        self.flush()?;
        if let Some((next, position)) = self.passed.take() {
            let none = DeadLetterChanges::default();
            self.commit(&[], none, next, position)?;
            has_settled = true;
        }
        self.tell_position(runner);
        if has_settled {
            // These do not wait for as long as a standstill takes.
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
        writes: &[TableWrites],
        dead_letters: DeadLetterChanges<'_>,
        next: Checkpoint,
        position: Position,
    ) -> Result<(), TargetError> {
        let rate = self.pace.reached(position);
        self.rows.commit(Step {
            writes,
            dead_letters,
            next: &next,
            position,
            rate,
        })?;
        self.reached(next, position);
        Ok(())
    }

    fn reached(&mut self, next: Checkpoint, position: Position) {
        self.checkpoint = next;
        self.position = position;
        self.passed = None;
    }

    /// Says how far it has got. What is folded counts in a build only: whoever
    /// waits for a live projection wants to read the rows then.
    fn tell_position(&self, runner: &Runner) {
        if is_building(runner) || self.rows.folded_to().is_none() {
            runner
                .progress
                .send_modify(|progress| progress.position = self.position);
        }
    }

    /// Reads in batches of another size from now on.
    fn recut(&mut self, runner: &Runner, cut: Cut) {
        if cut != self.cut {
            self.cut = cut;
            self.restart_reader(runner);
        }
    }

    fn restart_reader(&mut self, runner: &Runner) {
        self.has_caught_up = false;
        self.passed = None;
        self.reader = start_reader(runner, &self.checkpoint, self.cut, self.end);
    }
}

fn start_reader(runner: &Runner, from: &Checkpoint, cut: Cut, end: Option<Position>) -> Reader {
    let assignment = &runner.assignment;
    let is_live = runner
        .control()
        .is_some_and(|control| control.state == GenerationState::Live);
    Reader::start(
        &runner.runtime,
        &assignment.convoy,
        Reading {
            from: from.clone(),
            subscription: assignment.generation.description.subscription.clone(),
            limits: BatchLimits {
                events: cut.events(assignment.batch_limits.events),
                until: end,
                ..assignment.batch_limits
            },
            company: match (cut, is_live) {
                (Cut::Small { .. }, _) => Company::Alone,
                (Cut::Whole, true) => Company::Live,
                (Cut::Whole, false) => Company::Builds,
            },
        },
    )
}
