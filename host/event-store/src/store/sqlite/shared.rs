//! Connections that several tasks share.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;

/// One connection, used by one caller at a time.
#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<Connection>>);

impl Shared {
    pub(super) fn new(connection: Connection) -> Self {
        Self(Arc::new(Mutex::new(connection)))
    }

    /// Waits for the connection and works on it.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Connection) -> T) -> T {
        // A transaction that a panic left open was rolled back when it was
        // dropped, so the connection can be used on.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
