//! Event stores that hold an order log.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::{Arc, Mutex, Weak};

use super::{Database, Installation, System};
use gnomon_demo::Orders;

/// The shared logs: system, events, database.
static SHARED: Mutex<Vec<(System, usize, Weak<Database>)>> = Mutex::new(Vec::new());

/// A database with an order log of this many events. Tests that run at the same
/// time share it, so they must not write to it.
///
/// # Panics
/// When the log cannot be appended.
#[must_use]
pub fn shared_log(system: System, events: usize) -> Arc<Database> {
    let mut shared = SHARED
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    let found = shared
        .iter()
        .filter(|(of, size, _)| (*of, *size) == (system, events))
        .find_map(|(_, _, log)| log.upgrade());
    found.unwrap_or_else(|| {
        let installation = Installation::new(system, System::Sqlite);
        installation.append_orders(events, 1);
        shared.push((system, events, Arc::downgrade(&installation.events)));
        installation.events
    })
}

impl Installation {
    /// Appends an order log through `gnomon append --file`.
    ///
    /// # Panics
    /// When the log is not appended as a whole.
    pub fn append_orders(&self, events: usize, seed: u64) {
        self.write_orders("orders.ndjson", events, seed);
        self.succeed(&["append", "--file", "orders.ndjson"]);
        let found = self.events.number("SELECT count(*) FROM events");
        assert_eq!(usize::try_from(found), Ok(events));
    }

    /// Writes an order log to a file of its directory.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn write_orders(&self, name: &str, events: usize, seed: u64) {
        let mut file = BufWriter::new(File::create(self.path(name)).unwrap());
        for envelope in Orders::new(seed).take(events) {
            serde_json::to_writer(&mut file, &envelope).unwrap();
            file.write_all(b"\n").unwrap();
        }
        file.into_inner().unwrap();
    }
}
