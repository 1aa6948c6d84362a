//! Guests as the host runs them, with rows in memory.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use gnomon::configuration::Limits;
use gnomon::storage_error::StorageError;
use gnomon::supervisor::limits_of_guest;
use gnomon_guest::{Guest, GuestEngine};
use gnomon_model::{
    CommittedRows, Description, Event, EventList, Floats, FoundRows, Key, MemoryTables, Row,
    TableWrites, Value,
};

use super::ModuleCost;
use crate::statistics::median;

/// How often a guest is made to see what that takes.
const INSTANCES: usize = 200;

/// Compiles a module, without any cache.
pub(super) fn load(engine: &GuestEngine, name: &str, bytes: &[u8]) -> Result<(Guest, ModuleCost)> {
    let started = Instant::now();
    let guest = engine
        .load(bytes, limits_of_guest(&Limits::default()))
        .with_context(|| format!("cannot load {name}"))?;
    let compile_ms = started.elapsed().as_secs_f64() * 1e3;
    let tables = Tables::new(guest.description());
    let mut times = Vec::new();
    for _ in 0..INSTANCES {
        let started = Instant::now();
        tables.apply(&guest, &EventList::from([].as_slice()))?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let cost = ModuleCost {
        bytes: bytes.len(),
        compile_ms,
        instance_microseconds: median(times),
    };
    Ok((guest, cost))
}

/// Events in the form in which a guest takes them.
pub(super) fn batches(events: &[Event], batch: usize) -> Vec<EventList> {
    events.chunks(batch).map(EventList::from).collect()
}

/// Applies all events, and gives the time and the rows.
pub(super) fn apply(guest: &Guest, batches: &[EventList]) -> Result<(Duration, MemoryTables)> {
    let tables = Tables::new(guest.description());
    let started = Instant::now();
    for batch in batches {
        let writes = tables.apply(guest, batch)?;
        tables.lock().commit(writes);
    }
    let time = started.elapsed();
    let rows = tables.lock().clone();
    Ok((time, rows))
}

/// Tables in memory, which guests read while others hold them.
#[derive(Clone)]
struct Tables(Arc<Mutex<MemoryTables>>);

impl Tables {
    fn new(description: &Arc<Description>) -> Self {
        let tables = MemoryTables::new(Arc::clone(description));
        Self(Arc::new(Mutex::new(tables)))
    }

    fn lock(&self) -> MutexGuard<'_, MemoryTables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, guest: &Guest, events: &EventList) -> Result<Vec<TableWrites>> {
        let never = Arc::new(AtomicBool::new(false));
        let rows = Box::new(self.clone());
        let limits = limits_of_guest(&Limits::default());
        let written = guest.apply(
            events,
            rows,
            guest.description(),
            Floats::All,
            limits,
            &never,
        )?;
        Ok(written.finish()?)
    }
}

impl CommittedRows for Tables {
    type Error = StorageError;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, StorageError> {
        let rows = self.lock().get_many(table, keys);
        rows.map_err(|never| match never {})
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, StorageError> {
        let rows = self.lock().find(table, index, values, after, limit);
        rows.map_err(|never| match never {})
    }
}
