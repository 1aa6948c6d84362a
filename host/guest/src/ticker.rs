//! The clock of the guests. While one runs, every tick makes it look at its
//! time; a host that has nothing to do has no ticks either.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::Duration;

use wasmtime::Engine;

/// How often a running guest is asked for the time.
const TICK: Duration = Duration::from_millis(10);
/// Ticks without a guest after which they stop. Where batches are short and
/// come often, waking the thread for each would cost more than the ticks.
const IDLE_TICKS: u32 = 100;
/// How long the thread sleeps then, unless it is woken, before it looks whether
/// its engine is still there.
const SLEEP: Duration = Duration::from_mins(1);

/// Ends with its engine, that is when the last guest is gone too: a guest's
/// time is bounded as long as it can run.
pub(super) struct Ticker {
    running: Arc<AtomicUsize>,
    thread: Thread,
}

impl Ticker {
    pub(super) fn start(engine: &Engine) -> io::Result<Self> {
        let engine = engine.weak();
        Self::start_with(move || match engine.upgrade() {
            Some(engine) => {
                engine.increment_epoch();
                true
            }
            None => false,
        })
    }

    /// Calls this at every tick, until it says that there will be none.
    fn start_with(tick: impl FnMut() -> bool + Send + 'static) -> io::Result<Self> {
        let running = Arc::new(AtomicUsize::new(0));
        let handle = std::thread::Builder::new()
            .name("gnomon-ticker".to_owned())
            .spawn({
                let running = Arc::clone(&running);
                move || go_on(tick, &running)
            })?;
        Ok(Self {
            running,
            thread: handle.thread().clone(),
        })
    }

    /// A guest runs until what this gives is dropped.
    pub(super) fn run(&self) -> Running<'_> {
        if self.running.fetch_add(1, Ordering::SeqCst) == 0 {
            self.thread.unpark();
        }
        Running(self)
    }
}

impl Drop for Ticker {
    /// Its engine is gone by now, and the thread has nothing to wait for.
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

/// A guest that runs.
pub(super) struct Running<'a>(&'a Ticker);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

fn go_on(mut tick: impl FnMut() -> bool, running: &AtomicUsize) {
    let mut idle_ticks = 0;
    while tick() {
        // Whoever comes behind this has left a token, with which nobody parks.
        if running.load(Ordering::SeqCst) > 0 {
            idle_ticks = 0;
        } else if idle_ticks < IDLE_TICKS {
            idle_ticks += 1;
        } else {
            std::thread::park_timeout(SLEEP);
            continue;
        }
        std::thread::sleep(TICK);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn wait_until(holds: impl Fn() -> bool) {
        let deadline = Instant::now() + SLEEP / 2;
        while !holds() {
            assert!(Instant::now() < deadline, "it does not come");
            std::thread::sleep(TICK);
        }
    }

    #[test]
    fn it_ticks_for_those_who_run() {
        let ticks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ticks);
        let ticker = Ticker::start_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
            true
        })
        .unwrap();
        let seen = || ticks.load(Ordering::SeqCst);
        let rests = || {
            let before = seen();
            std::thread::sleep(TICK * 20);
            seen() == before
        };
        wait_until(rests);
        let running = ticker.run();
        let before = seen();
        wait_until(|| seen() > before + IDLE_TICKS as usize * 2);
        drop(running);
        wait_until(rests);
    }

    #[test]
    fn a_clock_without_an_engine_ends_when_it_is_dropped_and_does_not_sleep_on() {
        let engine = Arc::new(());
        let there = Arc::downgrade(&engine);
        let ticks = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ticks);
        let ticker = Ticker::start_with(move || {
            count.fetch_add(1, Ordering::SeqCst);
            there.upgrade().is_some()
        })
        .unwrap();
        wait_until(|| {
            let before = ticks.load(Ordering::SeqCst);
            std::thread::sleep(TICK * 20);
            ticks.load(Ordering::SeqCst) == before
        });
        drop(engine);
        drop(ticker);
        // The thread lets go of what it calls.
        wait_until(|| Arc::strong_count(&ticks) == 1);
    }
}
