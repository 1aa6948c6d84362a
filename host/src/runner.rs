//! The runner: it takes one generation through its source, batch by batch.
//!
//! ```text
//!                        ┌──────────────── fenced ──────────────┐
//!                        v                                      │
//!  start ──> Acquiring ──┬──> Following ──> (apply, commit) ────┘
//!                ^       │    │  │ │ └── policy halt ──> Halted ──> resume, reload
//!                │       │    │  │ │ └── another store > OtherHistory ──> resume, its own store
//!                │  time is up│  │ └──── pause ────────> Paused ──> resume
//!                └─ BackingOff<  └────── nothing to do ─> Stopped
//!                        └── another host has the lease ─────^
//! ```
//!
//! A runner ends by itself when its generation is retired or dropped, and when
//! another host has its lease or has asked for it.
//!
//! A runner has a thread of its own, on which its guest runs too. It knows no
//! database: it works through a [`Source`](gnomon_event_store::source::Source) and a
//! [`Writer`](crate::read_models::Writer). Whatever fails, the session is dropped
//! with everything that it holds in memory, and the next one begins at the
//! checkpoint in the database.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use gnomon_databases::error_chain::chain;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::generation::{GenerationState, Lease, RunReport, RunState};
use crate::registry::{Acquired, Control};
use crate::shutdown::Shutdown;
use crate::storage_error::{StorageError, StorageErrorKind, in_time};

mod arrival;
mod assignment;
mod attempt;
mod controls;
mod folding;
mod heartbeat;
mod history;
mod outcome;
mod pace;
mod parking;
mod session;
mod skipping;
mod steps;
mod thread;

pub use assignment::{Assignment, Progress};
pub use controls::{Controls, Rhythm};
pub use heartbeat::Heartbeats;
pub use thread::{RunnerHandle, start};

use heartbeat::Heartbeat;
use outcome::{Approach, BlamedEvent, OtherHistory, SessionEnd};
use parking::ParkingLog;
use session::Session;

/// The first and the longest wait after a failure, before jitter, which makes
/// it up to twice as long. The cause's end is noticed within that time.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_millis(1_500);
fn backoff() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(BACKOFF_MIN)
        .with_max_delay(BACKOFF_MAX)
        .with_jitter()
        .without_max_times()
        .build()
}

/// What a runner is doing.
enum Phase {
    Acquiring,
    Following(Lease, Approach),
    /// The lease is the one that was held at the failure, if any.
    BackingOff(Option<Lease>, String),
    Halted(Lease, BlamedEvent),
    /// The event store is not the one that was read.
    OtherHistory(Lease, OtherHistory),
    Paused(Lease),
    Stopped,
}

struct Runner {
    assignment: Assignment,
    /// Whether its thread has a low priority, for a build.
    in_background: bool,
    /// The lease with which another thread goes on.
    handed_over: Option<Lease>,
    runtime: Handle,
    shutdown: Shutdown,
    progress: watch::Sender<Progress>,
    backoff: ExponentialBackoff,
    controls: Controls,
    /// What keeps the newest lease alive. It outlives a session: many short
    /// ones in a row must not let the lease run out.
    heartbeat: Option<Arc<Heartbeat>>,
    /// What the database was last told, so that it is told only news.
    reported: Option<RunReport>,
    /// As of which change of its skips the projection was run last.
    skips: i64,
    parking_log: ParkingLog,
    /// The last alarm of the source that this generation has dealt with.
    alarms_heeded: u64,
}

impl Runner {
    fn run(&mut self) {
        let mut phase = match self.handed_over.take() {
            Some(lease) => Phase::Following(lease, Approach::PLAIN),
            None => Phase::Acquiring,
        };
        while !matches!(phase, Phase::Stopped) && !self.is_promoted() {
            phase = if self.shutdown.has_begun() || !self.has_work() {
                self.stop(&phase)
            } else {
                match phase {
                    Phase::Acquiring => self.acquire(),
                    Phase::Following(lease, approach) => self.follow(lease, approach),
                    Phase::BackingOff(lease, cause) => self.back_off(lease, cause),
                    Phase::Halted(lease, blamed) => self.stay_halted(lease, blamed),
                    Phase::OtherHistory(lease, refusal) => self.stay_refused(lease, refusal),
                    Phase::Paused(lease) => self.stay_paused(lease),
                    Phase::Stopped => Phase::Stopped,
                }
            };
        }
        if let Phase::Following(lease, _) = phase {
            self.handed_over = Some(lease);
        }
    }

    fn acquire(&mut self) -> Phase {
        let Assignment {
            storage,
            generation,
            host,
            lease_time,
            ..
        } = &self.assignment;
        self.reported = None;
        let acquired = self.runtime.block_on(in_time(storage.registry.acquire(
            generation.id,
            host,
            *lease_time,
        )));
        match acquired {
            Ok(Acquired::Lease(lease)) => Phase::Following(lease, Approach::PLAIN),
            // The supervisor starts another runner when it is this host's turn.
            Ok(Acquired::HeldBy { host, .. }) => {
                tracing::debug!(
                    projection = generation.projection,
                    "host {host} has the lease"
                );
                self.stop(&Phase::Acquiring)
            }
            Err(error) => Phase::BackingOff(None, chain(&error)),
        }
    }

    fn follow(&mut self, lease: Lease, approach: Approach) -> Phase {
        self.assignment.guest.mark_unchanged();
        let heartbeat = self.heartbeat(lease);
        let end = match Session::open(self, lease, approach, &heartbeat) {
            Ok(mut session) => session.run(self, &heartbeat),
            Err(end) => end,
        };
        match end {
            SessionEnd::Stopped | SessionEnd::NoWork => Phase::Following(lease, Approach::PLAIN),
            SessionEnd::Paused => Phase::Paused(lease),
            SessionEnd::Retry(cause) => Phase::BackingOff(Some(lease), cause),
            SessionEnd::Again(approach) => Phase::Following(lease, approach),
            SessionEnd::Blamed(blamed) => Phase::Halted(lease, blamed),
            SessionEnd::OtherHistory(refusal) => Phase::OtherHistory(lease, refusal),
            SessionEnd::Fenced => {
                // It may have been dropped, which is no news to anybody.
                let known = self.runtime.block_on(self.controls.refresh());
                if known.is_err() || self.has_work() {
                    tracing::warn!(
                        projection = self.assignment.generation.projection,
                        "the lease was lost; another host goes on, or this one after a new lease"
                    );
                }
                Phase::Acquiring
            }
        }
    }

    fn back_off(&mut self, lease: Option<Lease>, cause: String) -> Phase {
        let wait = self.backoff.next().unwrap_or(BACKOFF_MAX);
        tracing::warn!(
            projection = self.assignment.generation.projection,
            "trying again in {:.1} s: {cause}",
            wait.as_secs_f64()
        );
        // Where not even a lease can be taken, the last one may still stand.
        let last = self.heartbeat.as_ref().map(|heartbeat| heartbeat.lease());
        match lease.or(last) {
            Some(lease) => self.report(lease, RunState::Retrying, Some(cause)),
            None => self.publish(RunState::Retrying, Some(cause)),
        }
        self.sleep(wait);
        Phase::Acquiring
    }

    /// Stands at an event until somebody says `resume`, decides to skip an
    /// event, or asks for a retry of what waits.
    fn stay_halted(&mut self, lease: Lease, blamed: BlamedEvent) -> Phase {
        let name = &self.assignment.generation.projection;
        let BlamedEvent {
            position,
            event,
            message,
        } = blamed;
        let cause = format!(
            "halted on {event}: {message}. Deploy a module that can apply it, or leave it out with \
             `gnomon dead-letters skip {name} --position {position}`; `gnomon resume {name}` tries \
             again"
        );
        tracing::error!(projection = name, "{cause}");
        let resumes = self.control().map_or(0, |control| control.resumes);
        let skips = self.skips;
        self.stand(lease, RunState::Halted, Some(cause), move |control| {
            control.resumes > resumes || control.skips != skips || control.requests > 0
        })
    }

    /// Stands until somebody decides which history is right, or the source finds
    /// that it is another one again.
    fn stay_refused(&mut self, lease: Lease, refusal: OtherHistory) -> Phase {
        let OtherHistory { cause, resumes } = refusal;
        tracing::error!(
            projection = self.assignment.generation.projection,
            "{cause}"
        );
        let history = Arc::clone(self.assignment.source.history());
        let news = history.alarm_after(self.alarms_heeded);
        self.stand_or(lease, RunState::Halted, Some(cause), news, |control| {
            control.resumes > resumes
        })
    }

    /// Stands until somebody says `resume`.
    fn stay_paused(&mut self, lease: Lease) -> Phase {
        self.stand(lease, RunState::Paused, None, |control| {
            !control.is_paused()
        })
    }

    /// Keeps the lease and does nothing, until users want something else.
    fn stand(
        &mut self,
        lease: Lease,
        state: RunState,
        cause: Option<String>,
        until: impl Fn(&Control) -> bool,
    ) -> Phase {
        self.stand_or(lease, state, cause, std::future::pending(), until)
    }

    /// As [`Self::stand`], or until there is news.
    fn stand_or(
        &mut self,
        lease: Lease,
        state: RunState,
        cause: Option<String>,
        news: impl Future<Output = ()>,
        until: impl Fn(&Control) -> bool,
    ) -> Phase {
        let heartbeat = self.heartbeat(lease);
        self.report(lease, state, cause);
        let generation = self.assignment.generation.id;
        let host = self.assignment.host.clone();
        self.runtime.block_on(async {
            tokio::select! {
                () = self.shutdown.begun() => {}
                () = heartbeat.lost() => {}
                () = news => {}
                // Another module may be one that can go on.
                Ok(()) = self.assignment.guest.changed() => {}
                () = self.controls.wait_for(generation, |control| {
                    control.is_none_or(|control| {
                        !control.is_active() || control.lease.is_asked_of(&host) || until(control)
                    })
                }) => {}
            }
        });
        // What was noticed meanwhile was about what was read before.
        self.alarms_heeded = self.assignment.source.history().last_alarm();
        // A new lease costs little, and finds out who else is there.
        self.release(lease);
        Phase::Acquiring
    }

    /// What users want of the generation now; `None` when it is gone.
    fn control(&self) -> Option<Control> {
        self.controls.of(self.assignment.generation.id)
    }

    /// Whether the generation is one that this host has to work on.
    fn has_work(&self) -> bool {
        let host = &self.assignment.host;
        self.control()
            .is_some_and(|control| control.is_active() && !control.lease.is_asked_of(host))
    }

    /// Whether the build has become the live generation, so that it is to go
    /// on with another priority.
    fn is_promoted(&self) -> bool {
        self.in_background
            && self
                .control()
                .is_some_and(|control| control.state == GenerationState::Live)
    }

    /// Gives up what the runner holds, for good.
    fn stop(&mut self, phase: &Phase) -> Phase {
        self.heartbeat = None;
        self.parking_log.say(&self.assignment.generation.projection);
        if let Phase::Following(lease, _)
        | Phase::Halted(lease, _)
        | Phase::OtherHistory(lease, _)
        | Phase::Paused(lease)
        | Phase::BackingOff(Some(lease), _) = phase
        {
            self.release(*lease);
        }
        Phase::Stopped
    }

    /// Gives a lease back; what fails here is healed by its end.
    fn release(&self, lease: Lease) {
        let released = self
            .runtime
            .block_on(in_time(self.assignment.storage.registry.release(lease)));
        if let Err(error) = released {
            tracing::debug!("the lease was not given back: {error}");
        }
    }

    fn heartbeat(&mut self, lease: Lease) -> Arc<Heartbeat> {
        if let Some(heartbeat) = &self.heartbeat
            && heartbeat.lease() == lease
        {
            return Arc::clone(heartbeat);
        }
        let Assignment {
            heartbeats,
            lease_time,
            ..
        } = &self.assignment;
        let heartbeat = Arc::new(heartbeats.keep(lease, *lease_time));
        self.heartbeat = Some(Arc::clone(&heartbeat));
        heartbeat
    }

    /// Whether the last attempt failed, and nothing has gone well since.
    fn is_retrying(&self) -> bool {
        self.progress.borrow().report.state == RunState::Retrying
    }

    /// Says what the runner does, here and in the database.
    fn report(&mut self, lease: Lease, state: RunState, cause: Option<String>) {
        self.publish(state, cause.clone());
        let report = RunReport { state, cause };
        if self.reported.as_ref() == Some(&report) {
            return;
        }
        match self.runtime.block_on(in_time(
            self.assignment.storage.registry.report(lease, &report),
        )) {
            Ok(()) => self.reported = Some(report),
            // The next step meets the same failure and deals with it.
            Err(error) => tracing::debug!("the state was not recorded: {error}"),
        }
    }

    fn publish(&self, state: RunState, cause: Option<String>) {
        self.progress.send_modify(|progress| {
            progress.has_begun |= state != RunState::Running;
            progress.report = RunReport { state, cause };
        });
    }

    /// What there was to do before the first batch is done.
    fn begin(&self) {
        self.progress
            .send_if_modified(|progress| !std::mem::replace(&mut progress.has_begun, true));
    }

    fn sleep(&self, time: Duration) {
        self.runtime.block_on(async {
            tokio::select! {
                () = self.shutdown.begun() => {}
                () = tokio::time::sleep(time) => {}
            }
        });
    }
}

impl From<StorageError> for SessionEnd {
    fn from(error: StorageError) -> Self {
        let cause = chain(&error);
        match error.kind() {
            StorageErrorKind::Fenced => Self::Fenced,
            // A value that the database refuses belongs to a batch, and is
            // dealt with there; elsewhere it is as puzzling as any failure.
            StorageErrorKind::Retry | StorageErrorKind::Refused | StorageErrorKind::Rejected => {
                Self::Retry(cause)
            }
        }
    }
}
