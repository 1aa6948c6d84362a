//! The runner: it takes one generation through its source, batch by batch.
//!
//! ```text
//!                        ┌──────── held by another host ───────┐
//!                        v                                      │
//!  start ──> Acquiring ──┴──> Following ──> (apply, commit) ────┤ fenced
//!                ^               │ │ └── policy halt ──> Halted ──> resume
//!                │  time is up   │ └──── pause ────────> Paused ──> resume
//!                └── BackingOff <┘
//! ```
//!
//! A runner has a thread of its own, on which its guest runs too. It knows no
//! database: it works through a [`Source`] and a [`Target`]. Whatever fails,
//! the session is dropped with everything that it holds in memory, and the
//! next one begins at the checkpoint in the database.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use gnomon_model::Position;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::configuration::OnError;
use crate::generation::{Generation, GenerationState, Lease, RunReport, RunState};
use crate::guest::{Guest, GuestLimits};
use crate::shutdown::Shutdown;
use crate::source::{BatchLimits, Source};
use crate::target::{Acquired, Control, Target, TargetError, TargetErrorKind, in_time};

mod attempt;
mod cut;
mod heartbeat;
mod parking;
mod session;

use heartbeat::Heartbeat;
use session::{Approach, Blamed, End, Session};

/// How often a runner asks for a lease that another host holds.
const LEASE_POLL: Duration = Duration::from_millis(500);
/// The first and the longest wait after a failure, before jitter, which makes
/// it up to twice as long. The cause's end is noticed within that time.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_millis(1_500);
/// A projection's calls recurse on the thread's stack, below the guest's own
/// limit.
const THREAD_STACK_BYTES: usize = 4 << 20;

/// How far a runner is, for whoever watches it in the same process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What it does, and why it is not moving.
    pub report: RunReport,
    /// Where its checkpoint stands.
    pub position: Position,
    /// Events applied since the runner was started.
    pub events: u64,
    /// Whether readers see the generation.
    pub is_live: bool,
}

/// What a runner works with.
#[derive(Clone)]
pub struct Assignment {
    /// The generation to run.
    pub generation: Generation,
    /// Its module, loaded.
    pub guest: Guest,
    /// Where events come from.
    pub source: Arc<dyn Source>,
    /// Where rows go.
    pub target: Arc<dyn Target>,
    /// What one call may use.
    pub guest_limits: GuestLimits,
    /// How large a batch may be.
    pub batch_limits: BatchLimits,
    /// How long a lease runs without being renewed. A host that was killed is
    /// replaced after this time.
    pub lease_time: Duration,
    /// Size of the row cache, in bytes.
    pub row_cache: usize,
    /// What happens when it cannot apply an event.
    pub on_error: OnError,
    /// This host's name, unique among hosts.
    pub host: String,
    /// What users want of every projection.
    pub controls: watch::Receiver<Vec<Control>>,
}

/// A running runner.
pub struct RunnerHandle {
    /// How far it is.
    pub progress: watch::Receiver<Progress>,
    thread: std::thread::JoinHandle<()>,
}

impl RunnerHandle {
    /// Whether its thread has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts a runner on a thread of its own, until `shutdown` begins.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(
    assignment: Assignment,
    runtime: Handle,
    shutdown: Shutdown,
) -> std::io::Result<RunnerHandle> {
    let (sender, progress) = watch::channel(Progress {
        report: RunReport {
            state: RunState::Running,
            cause: None,
        },
        position: assignment.generation.position,
        events: 0,
        is_live: assignment.generation.state == GenerationState::Live,
    });
    let name = assignment.generation.projection.clone();
    let mut runner = Runner {
        controls: assignment.controls.clone(),
        assignment,
        runtime,
        shutdown,
        progress: sender,
        backoff: backoff(),
        heartbeat: None,
        reported: None,
    };
    let thread = std::thread::Builder::new()
        .name(name)
        .stack_size(THREAD_STACK_BYTES)
        .spawn(move || runner.run())?;
    Ok(RunnerHandle { progress, thread })
}

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
    Halted(Lease, Blamed),
    Paused(Lease),
    Stopped,
}

struct Runner {
    assignment: Assignment,
    runtime: Handle,
    shutdown: Shutdown,
    progress: watch::Sender<Progress>,
    backoff: ExponentialBackoff,
    controls: watch::Receiver<Vec<Control>>,
    /// What keeps the newest lease alive. It outlives a session: many short
    /// ones in a row must not let the lease run out.
    heartbeat: Option<(Lease, Arc<Heartbeat>)>,
    /// What the database was last told, so that it is told only news.
    reported: Option<RunReport>,
}

impl Runner {
    fn run(&mut self) {
        let mut phase = Phase::Acquiring;
        while !matches!(phase, Phase::Stopped) {
            phase = if self.shutdown.has_begun() {
                self.stop(&phase)
            } else {
                match phase {
                    Phase::Acquiring => self.acquire(),
                    Phase::Following(lease, approach) => self.follow(lease, approach),
                    Phase::BackingOff(lease, cause) => self.back_off(lease, cause),
                    Phase::Halted(lease, blamed) => self.stay_halted(lease, blamed),
                    Phase::Paused(lease) => self.stay_paused(lease),
                    Phase::Stopped => Phase::Stopped,
                }
            };
        }
    }

    fn acquire(&mut self) -> Phase {
        let Assignment {
            target,
            generation,
            host,
            lease_time,
            ..
        } = &self.assignment;
        self.reported = None;
        let acquired =
            self.runtime
                .block_on(in_time(target.acquire(generation.id, host, *lease_time)));
        match acquired {
            Ok(Acquired::Lease(lease)) => Phase::Following(lease, Approach::PLAIN),
            Ok(Acquired::HeldBy { host, remaining }) => {
                self.publish(
                    RunState::Waiting,
                    Some(format!(
                        "waiting for the lease, which host {host} holds for another {:.1} s",
                        remaining.as_secs_f64()
                    )),
                );
                self.follow_holder();
                self.sleep(LEASE_POLL.min(remaining.max(BACKOFF_MIN)));
                Phase::Acquiring
            }
            Err(error) => Phase::BackingOff(None, describe(&error)),
        }
    }

    /// Notes how far the host that holds the lease has got.
    fn follow_holder(&mut self) {
        let generations = self
            .runtime
            .block_on(in_time(self.assignment.target.generations()))
            .unwrap_or_default();
        let own = &mut self.assignment.generation;
        if let Some(stored) = generations.into_iter().find(|stored| stored.id == own.id) {
            *own = stored;
            self.progress.send_modify(|progress| {
                progress.position = own.position;
                progress.is_live = own.state == GenerationState::Live;
            });
        }
    }

    fn follow(&mut self, lease: Lease, approach: Approach) -> Phase {
        let heartbeat = self.heartbeat(lease);
        let end = match Session::open(self, lease, approach, &heartbeat) {
            Ok(mut session) => session.run(self, &heartbeat),
            Err(end) => end,
        };
        match end {
            End::Stopped => Phase::Following(lease, Approach::PLAIN),
            End::Paused => Phase::Paused(lease),
            End::Retry(cause) => Phase::BackingOff(Some(lease), cause),
            End::Cut(cut) => Phase::Following(
                lease,
                Approach {
                    cut,
                    condemned: None,
                },
            ),
            End::Blamed(blamed) => self.judge(lease, blamed),
            End::Fenced => {
                tracing::warn!(
                    projection = self.assignment.generation.projection,
                    "the lease was lost; another host goes on, or this one after a new lease"
                );
                Phase::Acquiring
            }
        }
    }

    /// The projection's policy for an event that it cannot apply.
    fn judge(&self, lease: Lease, blamed: Blamed) -> Phase {
        match self.assignment.on_error {
            OnError::Halt => Phase::Halted(lease, blamed),
            OnError::Park => {
                tracing::warn!(
                    projection = self.assignment.generation.projection,
                    "{} and the rest of its stream are parked: {}",
                    blamed.event,
                    blamed.message
                );
                Phase::Following(lease, Approach::park(blamed))
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
        let last = self.heartbeat.as_ref().map(|(lease, _)| *lease);
        match lease.or(last) {
            Some(lease) => self.report(lease, RunState::Retrying, Some(cause)),
            None => self.publish(RunState::Retrying, Some(cause)),
        }
        self.sleep(wait);
        Phase::Acquiring
    }

    /// Stands at an event until somebody says `resume`.
    fn stay_halted(&mut self, lease: Lease, blamed: Blamed) -> Phase {
        let projection = &self.assignment.generation.projection;
        let cause = format!("halted on {}: {}", blamed.event, blamed.message);
        tracing::error!(projection, "{cause}");
        let resumes = self.control().resumes;
        self.stand(lease, RunState::Halted, Some(cause), |control| {
            control.resumes > resumes
        })
    }

    /// Stands until somebody says `resume`.
    fn stay_paused(&mut self, lease: Lease) -> Phase {
        self.stand(lease, RunState::Paused, None, |control| !control.paused)
    }

    /// Keeps the lease and does nothing, until users want something else.
    fn stand(
        &mut self,
        lease: Lease,
        state: RunState,
        cause: Option<String>,
        until: impl Fn(&Control) -> bool,
    ) -> Phase {
        let heartbeat = self.heartbeat(lease);
        self.report(lease, state, cause);
        let projection = &self.assignment.generation.projection;
        let goes_on = |controls: &Vec<Control>| {
            controls
                .iter()
                .any(|control| control.projection == *projection && until(control))
        };
        self.runtime.block_on(async {
            tokio::select! {
                () = self.shutdown.begun() => {}
                () = heartbeat.lost() => {}
                Ok(_) = self.controls.wait_for(goes_on) => {}
            }
        });
        // A new lease costs little, and finds out who else is there.
        self.release(lease);
        Phase::Acquiring
    }

    /// What users want of the projection now.
    fn control(&self) -> Control {
        let projection = &self.assignment.generation.projection;
        self.controls
            .borrow()
            .iter()
            .find(|control| control.projection == *projection)
            .cloned()
            .unwrap_or_else(|| Control::unknown(projection))
    }

    fn stop(&self, phase: &Phase) -> Phase {
        if let Phase::Following(lease, _)
        | Phase::Halted(lease, _)
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
            .block_on(in_time(self.assignment.target.release(lease)));
        if let Err(error) = released {
            tracing::debug!("the lease was not given back: {error}");
        }
    }

    fn heartbeat(&mut self, lease: Lease) -> Arc<Heartbeat> {
        match &self.heartbeat {
            Some((of, heartbeat)) if *of == lease => Arc::clone(heartbeat),
            _ => {
                let Assignment {
                    target, lease_time, ..
                } = &self.assignment;
                let target = Arc::clone(target);
                let heartbeat = Heartbeat::start(&self.runtime, target, lease, *lease_time);
                let heartbeat = Arc::new(heartbeat);
                self.heartbeat = Some((lease, Arc::clone(&heartbeat)));
                heartbeat
            }
        }
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
        match self
            .runtime
            .block_on(in_time(self.assignment.target.report(lease, &report)))
        {
            Ok(()) => self.reported = Some(report),
            // The next step meets the same failure and deals with it.
            Err(error) => tracing::debug!("the state was not recorded: {error}"),
        }
    }

    fn publish(&self, state: RunState, cause: Option<String>) {
        self.progress
            .send_modify(|progress| progress.report = RunReport { state, cause });
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

/// The whole chain of an error, in one line.
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

impl From<TargetError> for End {
    fn from(error: TargetError) -> Self {
        let cause = describe(&error);
        match error.kind() {
            TargetErrorKind::Fenced => Self::Fenced,
            // A value that the database refuses belongs to a batch, and is
            // dealt with there; elsewhere it is as puzzling as any failure.
            TargetErrorKind::Retry | TargetErrorKind::Refused | TargetErrorKind::Rejected => {
                Self::Retry(cause)
            }
        }
    }
}
