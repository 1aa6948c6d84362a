//! Events that keep coming while something else goes on.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{Database, Installation};
use gnomon_demo::Orders;

/// Events of one command.
const CHUNK_EVENTS: usize = 40;

/// Somebody who appends the order log, piece by piece, through `gnomon append`.
/// A command that fails is repeated until it succeeds: what it had appended is
/// not appended again.
pub struct Feed {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<Fed>>,
}

/// What a feed has done.
#[derive(Clone, Copy, Debug)]
pub struct Fed {
    /// Events that it appended.
    pub events: usize,
    /// Commands that failed and were repeated.
    pub failures: usize,
}

impl Feed {
    /// Starts one that rests for `pause` between two commands.
    #[must_use]
    pub fn start(events: &Arc<Database>, seed: u64, pause: Duration) -> Self {
        let installation = Installation::on(Arc::clone(events), Arc::clone(events));
        let ends = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ends);
        let thread = std::thread::spawn(move || feed(&installation, seed, pause, &told));
        Self {
            ends,
            thread: Some(thread),
        }
    }

    /// Ends it, and says what it did.
    ///
    /// # Panics
    /// When it failed.
    #[must_use]
    pub fn end(mut self) -> Fed {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
    }
}

fn feed(installation: &Installation, seed: u64, pause: Duration, ends: &AtomicBool) -> Fed {
    let mut orders = Orders::new(seed);
    let mut fed = Fed {
        events: 0,
        failures: 0,
    };
    while !ends.load(Ordering::Relaxed) {
        let mut file = BufWriter::new(File::create(installation.path("chunk.ndjson")).unwrap());
        for envelope in orders.by_ref().take(CHUNK_EVENTS) {
            serde_json::to_writer(&mut file, &envelope).unwrap();
            file.write_all(b"\n").unwrap();
        }
        file.into_inner().unwrap();
        while installation.run(&["append", "--file", "chunk.ndjson"]).code != Some(0) {
            fed.failures += 1;
            std::thread::sleep(pause);
        }
        fed.events += CHUNK_EVENTS;
        std::thread::sleep(pause);
    }
    fed
}
