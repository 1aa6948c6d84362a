//! The threads of a runner: a build gives way to others, and what readers see
//! does not.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};

use super::parking::ParkingLog;
use super::{Assignment, Progress, Runner, backoff};
use crate::generation::{GenerationState, RunReport, RunState};
use crate::shutdown::Shutdown;

/// How much a build gives way to other threads, of 19.
const BUILD_NICENESS: i32 = 10;
/// A projection's calls recurse on the thread's stack, below the guest's own
/// limit.
const THREAD_STACK_BYTES: usize = 4 << 20;

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
        // The runner is gone a moment before its thread is.
        self.progress.has_changed().is_err() || self.thread.is_finished()
    }
}

/// Starts a runner on a thread of its own, until `shutdown` begins, or until
/// it has nothing more to do, which it says to `ended`. A build has a low
/// priority until its generation is live.
///
/// # Errors
/// When the system has no thread to give.
pub fn start(
    assignment: Assignment,
    runtime: Handle,
    shutdown: Shutdown,
    ended: Arc<Notify>,
) -> std::io::Result<RunnerHandle> {
    let (sender, progress) = watch::channel(Progress {
        has_begun: false,
        report: RunReport {
            state: RunState::Running,
            cause: None,
        },
        position: assignment.generation.position,
        events: 0,
        is_live: assignment.generation.state == GenerationState::Live,
    });
    let name = assignment.generation.projection.clone();
    let in_background = assignment.generation.state == GenerationState::Building;
    let alarms_heeded = assignment.source.history().last_alarm();
    let mut runner = Runner {
        controls: assignment.controls.clone(),
        in_background,
        handed_over: None,
        assignment,
        runtime,
        shutdown,
        progress: sender,
        backoff: backoff(),
        heartbeat: None,
        reported: None,
        skips: 0,
        parking_log: ParkingLog::default(),
        alarms_heeded,
    };
    let thread = |name: String| {
        std::thread::Builder::new()
            .name(name)
            .stack_size(THREAD_STACK_BYTES)
    };
    if !in_background {
        let thread = thread(name).spawn(move || {
            runner.run();
            drop(runner);
            ended.notify_one();
        })?;
        return Ok(RunnerHandle { progress, thread });
    }
    // A thread that has given way cannot take its priority back, and neither
    // can those that it starts, so the one that goes on is there from the start.
    let (hand_over, taken_over) = std::sync::mpsc::channel::<Runner>();
    let second = thread(name.clone()).spawn(move || {
        if let Ok(mut runner) = taken_over.recv() {
            runner.in_background = false;
            runner.run();
        }
        ended.notify_one();
    })?;
    thread(name).spawn(move || {
        give_way();
        runner.run();
        if runner.is_promoted() {
            // The other thread waits for this.
            let _ = hand_over.send(runner);
        }
    })?;
    Ok(RunnerHandle {
        progress,
        thread: second,
    })
}

/// Lets other threads of the machine go first: a build uses what is left by
/// those that readers wait for. The kernel keeps a priority for each thread.
fn give_way() {
    if let Err(error) = rustix::process::nice(BUILD_NICENESS) {
        tracing::debug!("the build keeps its priority: {error}");
    }
}
