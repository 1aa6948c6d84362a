//! One lease's work: from opening the writer to the first failure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_databases::error_chain::chain;
use gnomon_event_store::source::{BatchLimits, Checkpoint, History, KnownEvent};
use gnomon_guest::{Written, describe_event};
use gnomon_model::{Position, TableWrites};
use tokio::sync::watch;

use super::Runner;
use super::attempt::{Failed, Fault, attempt, blame, finish};
use super::folding::{LIVE_FOLD_TIME, is_building};
use super::heartbeat::Heartbeat;
use super::history;
use super::outcome::{Approach, BlamedEvent, SessionEnd};
use super::pace::Pace;
use super::parking::{self, Batch, Part};
use super::skipping::{self, Skips};
use super::steps::{Steps, Verdict};
use crate::configuration::OnError;
use crate::dead_letter::DeadLetterChanges;
use crate::generation::{GenerationState, Lease, RunState};
use crate::reader::{Portion, Reader, Reading, ScanGroup};
use crate::registry::Control;
use crate::row_cache::{GenerationRows, Rows, Step};
use crate::storage_error::{StorageError, StorageErrorKind, in_time};

/// How long a checkpoint that only passed unwanted events waits for a batch
/// to be committed with.
const PASSED_WAIT: Duration = Duration::from_millis(20);
/// How long it waits at the most, while there are always more such events: what
/// a kill costs.
const PASSED_WAIT_MAX: Duration = Duration::from_secs(1);
/// How long the source may stand still before its reason is shown.
const STANDSTILL: Duration = Duration::from_secs(1);

/// What a waiting session wakes up for.
enum Wake {
    Batch(Portion),
    /// Users may want something else than before.
    Controls,
    Ended(SessionEnd),
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
    /// When `checkpoint` was reached.
    reached_at: Instant,
    /// The last event that was read, whoever wants it.
    last_read: Option<KnownEvent>,
    /// The last one that was applied.
    last_applied: Option<KnownEvent>,
    /// The position of the last one that was kept beside the checkpoint.
    kept: Position,
    /// What all who read from the source know.
    history: Arc<History>,
    /// The last alarm that is known to it.
    alarms_heeded: u64,
    /// Whether everything that there was has been applied.
    pub(super) has_caught_up: bool,
    /// Where the reader ends.
    end: Option<Position>,
    pub(super) unfolded_to: Position,
    pub(super) pace: Pace,
    /// How many events wait, those among them that are not committed yet.
    pub(super) dead_letters: u64,
    /// Streams that are known to be parked, and behind which event. All that
    /// the database does not know yet are there.
    pub(super) parked: HashMap<String, Option<Position>>,
    skips: Skips,
    lost: watch::Receiver<bool>,
}

impl Session {
    pub(super) fn open(
        runner: &mut Runner,
        lease: Lease,
        approach: Approach,
        heartbeat: &Heartbeat,
    ) -> Result<Self, SessionEnd> {
        let assignment = &runner.assignment;
        let control = runner.control().ok_or(SessionEnd::NoWork)?;
        let description = Arc::new(assignment.generation.description.clone());
        let writer = runner.runtime.block_on(in_time(
            assignment
                .storage
                .read_models
                .writer(lease, Arc::clone(&description)),
        ))?;
        let rows = GenerationRows::open(
            writer,
            description,
            runner.runtime.clone(),
            heartbeat.watch(),
            assignment.row_cache,
            &assignment.source.start(),
        )?;
        let dead_letters = rows.count_dead_letters()?;
        history::check(runner, &rows, &control)?;
        let checkpoint = rows.checkpoint();
        let position = runner.assignment.source.position(&checkpoint)?;
        let end = control.end();
        let skips = Skips::read(&rows, control.skips, position)?;
        runner.skips = control.skips;
        let reader = start_reader(runner, &checkpoint, end);
        runner
            .progress
            .send_modify(|progress| progress.position = position);
        // After a failure only progress shows that its cause is over.
        if !runner.is_retrying() {
            runner.report(lease, RunState::Running, None);
        }
        let mut session = Self {
            lease,
            rows,
            reader,
            checkpoint,
            position,
            passed: None,
            reached_at: Instant::now(),
            last_read: None,
            last_applied: None,
            kept: Position::START,
            history: Arc::clone(runner.assignment.source.history()),
            alarms_heeded: runner.alarms_heeded,
            has_caught_up: false,
            end,
            unfolded_to: approach.unfolded_to,
            pace: Pace::start(position),
            dead_letters,
            parked: HashMap::new(),
            skips,
            lost: heartbeat.watch(),
        };
        session.release_skipped(runner)?;
        Ok(session)
    }

    pub(super) fn run(&mut self, runner: &mut Runner, heartbeat: &Heartbeat) -> SessionEnd {
        let end = loop {
            if let Err(end) = self.step(runner, heartbeat) {
                break end;
            }
        };
        if matches!(end, SessionEnd::Stopped)
            && let Err(error) = self.save()
        {
            // As if the host had been killed: it costs the time of a window.
            tracing::debug!(
                projection = runner.assignment.generation.projection,
                "what was reached could not be written before the stop: {}",
                chain(&error)
            );
        }
        end
    }

    fn step(&mut self, runner: &mut Runner, heartbeat: &Heartbeat) -> Result<(), SessionEnd> {
        let control = runner.control().ok_or(SessionEnd::NoWork)?;
        self.obey(runner, &control)?;
        runner.begin();
        if self.has_caught_up && self.passed.is_none() {
            self.arrive(runner, &control)?;
        }
        let wake = self.wait(runner, heartbeat);
        // Before anything is done with what was read in a store that took the
        // place of the other.
        history::heed_alarms(runner)?;
        match wake {
            Wake::Batch(batch) => self.project(runner, batch),
            Wake::Controls => Ok(()),
            Wake::Quiet => {
                self.settle(runner)?;
                self.keep_last_event()
            }
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
                () = shutdown.begun() => Wake::Ended(SessionEnd::Stopped),
                () = heartbeat.lost() => Wake::Ended(SessionEnd::Fenced),
                () = controls.changed() => Wake::Controls,
                batch = self.reader.next() => match batch {
                    Some(Ok(batch)) => Wake::Batch(batch),
                    Some(Err(error)) => Wake::Ended(error.into()),
                    None => Wake::Ended(SessionEnd::Stopped),
                },
                () = tokio::time::sleep(patience) => Wake::Quiet,
            }
        })
    }

    /// Does what users want, as far as it concerns the session.
    fn obey(&mut self, runner: &mut Runner, control: &Control) -> Result<(), SessionEnd> {
        if !runner.has_work() || runner.is_promoted() {
            return Err(SessionEnd::NoWork);
        }
        if control.is_paused() {
            self.flush()?;
            return Err(SessionEnd::Paused);
        }
        if control.skips != self.skips.revision {
            self.flush()?;
            self.skips = Skips::read(&self.rows, control.skips, self.position)?;
            runner.skips = control.skips;
            self.release_skipped(runner)?;
        }
        if control.requests > 0 {
            self.flush()?;
            parking::serve_requests(self, runner)?;
        }
        if control.end() != self.end {
            self.end = control.end();
            self.restart_reader(runner);
        }
        Ok(())
    }

    /// Leaves out what waits and was decided to be skipped.
    fn release_skipped(&mut self, runner: &mut Runner) -> Result<(), SessionEnd> {
        if self.skips.revision > 0 && self.dead_letters > 0 {
            skipping::release(self, runner)?;
        }
        Ok(())
    }

    /// Applies and commits one batch, or finds out why that cannot be done.
    fn project(&mut self, runner: &mut Runner, portion: Portion) -> Result<(), SessionEnd> {
        let Portion {
            mut events,
            next,
            position,
            last,
            caught_up,
        } = portion;
        self.has_caught_up = caught_up;
        self.last_read = last.or(self.last_read.take());
        let met = self
            .skips
            .meet(&self.rows, (self.position, position), &mut events)?;
        if events.is_empty() && met.is_empty() {
            if next != self.checkpoint {
                self.passed = Some((next, position));
            }
            if caught_up {
                self.settle(runner)?;
            } else if self.reached_at.elapsed() >= PASSED_WAIT_MAX {
                self.flush_if_due(runner)?;
                if self.rows.folded_to().is_none() {
                    self.commit_passed()?;
                    self.tell_position(runner);
                }
            }
            return Ok(());
        }
        let mut batch = Batch::new(events, met, next, position);
        parking::set_aside(self, runner, &mut batch)?;
        self.apply(runner, &mut batch, caught_up)?;
        if let Some(blamed) = batch.halt {
            self.flush()?;
            return Err(SessionEnd::Blamed(blamed));
        }
        self.flush_if_due(runner)?;
        self.tell_position(runner);
        if self.rows.folded_to().is_none() {
            // Only a commit shows that what failed before is over.
            runner.backoff = super::backoff();
            runner.report(self.lease, RunState::Running, None);
        }
        Ok(())
    }

    /// Applies a batch, in as many steps as it takes to find the events that
    /// cannot be applied.
    fn apply(
        &mut self,
        runner: &mut Runner,
        batch: &mut Batch,
        caught_up: bool,
    ) -> Result<(), SessionEnd> {
        let mut steps = Steps::whole(runner.assignment.guest_limits.time);
        let mut is_looking = false;
        loop {
            let part = batch.take(steps.events(), &*runner.assignment.source);
            let (count, is_last) = (part.events.len(), part.is_last);
            let failed = match self.apply_part(runner, batch, part, steps.time(), caught_up)? {
                Ok(()) if is_last => break,
                Ok(()) => {
                    steps.went_well(count);
                    continue;
                }
                Err(failed) => failed,
            };
            self.look_up(runner)?;
            if let Some(blamed) = batch.unstorable.take() {
                let start = (&self.checkpoint, self.position);
                batch.end_before(blamed, start, &*runner.assignment.source);
                continue;
            }
            let (events, failed) = failed;
            if events == 0 {
                return Err(SessionEnd::Retry(failed.message));
            }
            if failed.at == Fault::Time && events > 1 && !is_looking {
                is_looking = true;
                let cause = format!(
                    "{} events took longer than {:?} (limits.batch-time); looking for the one on \
                     which it does not end",
                    events,
                    steps.time()
                );
                tracing::warn!(
                    projection = runner.assignment.generation.projection,
                    "{cause}"
                );
                runner.report(self.lease, RunState::Retrying, Some(cause));
            }
            match (steps.failed(events, failed.at), runner.assignment.on_error) {
                (Verdict::Again, _) => {}
                (Verdict::FirstEvent, OnError::Park) => {
                    parking::park_first(self, runner, batch, failed);
                }
                // What is skipped before it is done with.
                (Verdict::FirstEvent, OnError::Halt) => {
                    let blamed = blamed(batch, failed);
                    let start = (&self.checkpoint, self.position);
                    batch.end_before(blamed, start, &*runner.assignment.source);
                }
            }
        }
        if is_looking && batch.halt.is_none() {
            runner.report(self.lease, RunState::Running, None);
        }
        Ok(())
    }

    /// Notices between two steps what would end the session between two
    /// batches.
    fn look_up(&self, runner: &Runner) -> Result<(), SessionEnd> {
        if runner.shutdown.has_begun() {
            return Err(SessionEnd::Stopped);
        }
        if *self.lost.borrow() {
            return Err(SessionEnd::Fenced);
        }
        match runner.has_work() {
            true => Ok(()),
            false => Err(SessionEnd::NoWork),
        }
    }

    /// Applies a part of a batch, and folds or commits it with what the batch
    /// leaves out up to there. A part that fails is back in the batch then.
    fn apply_part(
        &mut self,
        runner: &mut Runner,
        batch: &mut Batch,
        part: Part,
        time: Duration,
        caught_up: bool,
    ) -> Result<Result<(), (usize, Failed)>, SessionEnd> {
        let events = &part.events;
        let count = events.len();
        if count == 0 && part.next == self.checkpoint {
            return Ok(Ok(()));
        }
        let written = match count {
            0 => None,
            _ => match attempt(runner, &self.rows, events, time)? {
                Ok(written) => Some(written),
                Err(failed) => {
                    batch.put_back(part);
                    return Ok(Err((count, failed)));
                }
            },
        };
        // Never one before what is applied: where the store ends between the two,
        // it would be applied again.
        if let Some(last) = count.checked_sub(1).and_then(|last| events.get(last)) {
            self.last_applied = Some(KnownEvent {
                position: last.position,
                id: last.id.to_owned(),
            });
        }
        let folds = self.may_fold(runner)
            && (!part.is_last
                || batch.halt.is_some()
                || self.comes_more(runner, caught_up, part.position));
        let done = if folds {
            let read = count + batch.events_left_out(part.position);
            let rate = self.pace.reached(part.position, read);
            let fold = |rows: &mut Rows| match written {
                Some(written) => written.fold(rows),
                None => Ok(()),
            };
            let (next, position) = (part.next.clone(), part.position);
            let event = self.last_event(position);
            let folded = blame(events, self.rows.fold(fold, next, position, event, rate))?;
            folded.map(|()| {
                let left_out = batch.left_out(part.position);
                if !left_out.is_empty() {
                    self.rows.leave_out(left_out);
                }
                self.reached(part.next.clone(), part.position);
            })
        } else {
            self.commit_part(batch, &part, written)?
        };
        if let Err(failed) = done {
            batch.put_back(part);
            return Ok(Err((count, failed)));
        }
        runner
            .progress
            .send_modify(|progress| progress.events += count as u64);
        Ok(Ok(()))
    }

    fn commit_part(
        &mut self,
        batch: &mut Batch,
        part: &Part,
        written: Option<Written>,
    ) -> Result<Result<(), Failed>, SessionEnd> {
        let writes = match written {
            Some(written) => match finish(&part.events, Ok(written))? {
                Ok(writes) => writes,
                Err(failed) => return Ok(Err(failed)),
            },
            None => Vec::new(),
        };
        self.flush()?;
        let read = part.events.len() + batch.events_left_out(part.position);
        let left_out = batch.left_out(part.position);
        let (next, position) = (part.next.clone(), part.position);
        match self.commit(&writes, left_out.changes(), (next, position), read) {
            Err(error)
                if error.kind() == StorageErrorKind::Rejected
                    && !(part.events.is_empty() && left_out.park.is_empty()) =>
            {
                batch.blame_parked(&left_out, &error);
                batch.put_back_left_out(left_out);
                Ok(Err(Failed {
                    at: Fault::Somewhere,
                    message: chain(&error),
                }))
            }
            committed => Ok(Ok(committed?)),
        }
    }

    /// Nothing came for a while: commits what is folded and a checkpoint that
    /// only passed unwanted events, or says why the source stands still.
    fn settle(&mut self, runner: &mut Runner) -> Result<(), SessionEnd> {
        let projection = &runner.assignment.generation.projection;
        runner.parking_log.say_if_due(projection);
        let mut has_settled = self.rows.folded_to().is_some();
        self.flush()?;
        has_settled |= self.commit_passed()?;
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

    /// Commits what `read` events gave that were read for it.
    pub(super) fn commit(
        &mut self,
        writes: &[TableWrites],
        dead_letters: DeadLetterChanges<'_>,
        (next, position): (Checkpoint, Position),
        read: usize,
    ) -> Result<(), StorageError> {
        let rate = self.pace.reached(position, read);
        let event = self.last_event(position);
        self.rows.commit(Step {
            writes,
            dead_letters,
            next: &next,
            position,
            event: event.as_ref(),
            rate,
        })?;
        if let Some(event) = event {
            self.kept = event.position;
        }
        self.reached(next, position);
        Ok(())
    }

    /// Commits the checkpoint behind events that nobody wanted, if there is one.
    fn commit_passed(&mut self) -> Result<bool, StorageError> {
        let Some((next, position)) = self.passed.take() else {
            return Ok(false);
        };
        self.commit(&[], DeadLetterChanges::default(), (next, position), 0)?;
        Ok(true)
    }

    /// Commits what was reached, before the end of the session.
    fn save(&mut self) -> Result<(), StorageError> {
        self.rows.flush()?;
        self.commit_passed().map(|_| ())
    }

    /// The last event up to a position that the source has shown to anybody, if
    /// it is not kept yet.
    fn last_event(&self, position: Position) -> Option<KnownEvent> {
        let shown = (self.history).at_or_below_as_of(self.alarms_heeded, position);
        let known = [self.last_read.as_ref(), self.last_applied.as_ref()];
        let own = known.into_iter().flatten().cloned();
        let up_to = own.chain(shown).filter(|event| event.position <= position);
        up_to
            .max_by_key(|event| event.position)
            .filter(|event| event.position > self.kept)
    }

    /// Keeps the last event before the checkpoint where the subscription left it
    /// out: where nothing comes, the source has shown it meanwhile.
    fn keep_last_event(&mut self) -> Result<(), SessionEnd> {
        if self.rows.folded_to().is_some() || self.last_event(self.position).is_none() {
            return Ok(());
        }
        let (checkpoint, position) = (self.checkpoint.clone(), self.position);
        let none = DeadLetterChanges::default();
        Ok(self.commit(&[], none, (checkpoint, position), 0)?)
    }

    fn reached(&mut self, next: Checkpoint, position: Position) {
        self.reached_at = Instant::now();
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

    fn restart_reader(&mut self, runner: &Runner) {
        self.has_caught_up = false;
        self.passed = None;
        self.reader = start_reader(runner, &self.checkpoint, self.end);
    }
}

/// The first event of a batch, which is at fault.
fn blamed(batch: &Batch, failed: Failed) -> BlamedEvent {
    let first = batch.events.get(0);
    BlamedEvent {
        position: first.map_or(batch.position, |event| event.position),
        event: first.map(describe_event).unwrap_or_default(),
        message: failed.message,
    }
}

fn start_reader(runner: &Runner, from: &Checkpoint, end: Option<Position>) -> Reader {
    let assignment = &runner.assignment;
    let is_live = runner
        .control()
        .is_some_and(|control| control.state == GenerationState::Live);
    Reader::start(
        &runner.runtime,
        &assignment.scan,
        Reading {
            from: from.clone(),
            subscription: assignment.generation.description.subscription.clone(),
            limits: BatchLimits {
                until: end,
                ..assignment.batch_limits
            },
            group: match is_live {
                true => ScanGroup::Live,
                false => ScanGroup::Builds,
            },
        },
    )
}
