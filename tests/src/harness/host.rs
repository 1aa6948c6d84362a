//! A running `gnomon run`.

use std::process::Command;
use std::time::{Duration, Instant};

use super::installation::Running;
use super::{Finished, PATIENCE};

/// A host; it is killed with this value.
pub struct Host(Running);

impl Host {
    pub(super) const fn new(running: Running) -> Self {
        Self(running)
    }

    /// Ends it by SIGKILL, which no process can catch.
    #[must_use]
    pub fn kill(mut self) -> Finished {
        self.0.0.kill().unwrap();
        self.0.finish()
    }

    /// Its process.
    #[must_use]
    pub fn process(&self) -> u32 {
        self.0.0.id()
    }

    /// Stops it as `Ctrl-Z` does, but so that it cannot know: SIGSTOP.
    pub fn freeze(&self) {
        signal("STOP", self.process());
    }

    /// Lets it go on: SIGCONT.
    pub fn thaw(&self) {
        signal("CONT", self.process());
    }

    /// What it has said so far on stderr.
    #[must_use]
    pub fn log(&self) -> String {
        self.0.log()
    }

    /// How often it has put other code in the place of a projection's.
    #[must_use]
    pub fn reloads(&self) -> usize {
        self.log().matches("the next batch runs module").count()
    }

    /// Waits until it has reloaded so often.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_for_reloads(&self, count: usize) {
        let started = Instant::now();
        while self.reloads() < count {
            assert!(
                started.elapsed() < PATIENCE,
                "only {} of {count} reloads: {}",
                self.reloads(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Ends it by SIGTERM, and says how long it took.
    ///
    /// # Panics
    /// When it lives on for longer than `limit`.
    #[must_use]
    pub fn terminate(mut self, limit: Duration) -> (Finished, Duration) {
        self.0.measure();
        signal("TERM", self.process());
        let started = Instant::now();
        while self.0.0.try_wait().unwrap().is_none() {
            assert!(
                started.elapsed() < limit,
                "the host does not end within {limit:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        (self.0.finish(), started.elapsed())
    }

    /// Whether it has not ended by itself.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.0.0.try_wait().unwrap().is_none()
    }

    /// How it ended.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        self.0.finish()
    }
}

/// Sends a signal to a process, which must be there.
///
/// # Panics
/// When it is gone.
pub fn signal(name: &str, process: u32) {
    let sent = Command::new("kill")
        .args([&format!("-{name}"), &process.to_string()])
        .status()
        .unwrap();
    assert!(sent.success(), "SIG{name} to {process}");
}

impl Drop for Host {
    fn drop(&mut self) {
        // Fails where it has ended.
        let _ = self.0.0.kill();
        let _ = self.0.0.wait();
    }
}
