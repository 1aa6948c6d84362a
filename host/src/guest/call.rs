//! The host's side of one call: what the guest's imports do, and what bounds
//! them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use gnomon_model::{BatchWrites, InvalidValue, Violation, WriteError};
use wasmtime::component::Resource;
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::bindings::gnomon::projection::{log, read_model, types};
use super::bounded_rows::{BoundedRows, ReadError};
use super::instance::ReadRows;
use super::{ApplyError, GuestLimits, REASON_CHARACTERS_MAX, convert};
use crate::target::TargetError;

/// Table handles that a guest may have open; the host keeps a list of them.
const TABLE_HANDLES_MAX: u32 = 100_000;
/// What a log message costs beside its own bytes, so that empty ones are not
/// free.
const LOG_LINE_BYTES: usize = 64;

/// A table that the guest opened; its number is the resource's own.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct TableHandle;

/// Why the host ended a call.
#[derive(Debug)]
pub(super) enum Fault {
    /// The guest broke the contract or a limit.
    Guest(String),
    /// The committed rows could not be read.
    Rows(TargetError),
    /// The host is stopping.
    Stopped,
}

impl Fault {
    /// A reason that may quote the guest.
    pub(super) fn guest(reason: &str) -> Self {
        Self::Guest(convert::readable(reason, REASON_CHARACTERS_MAX))
    }
}

impl From<Violation> for Fault {
    fn from(violation: Violation) -> Self {
        match violation {
            Violation::TooManyWrites { .. }
            | Violation::TooManyBytes { .. }
            | Violation::LargeReply { .. } => Self::guest(&violation.to_string()),
            _ => Self::guest(&format!("it broke its schema: {violation}")),
        }
    }
}

impl From<WriteError<ReadError>> for Fault {
    fn from(error: WriteError<ReadError>) -> Self {
        match error {
            WriteError::Violation(violation) => violation.into(),
            WriteError::Rows(ReadError::Target(error)) => Self::Rows(error),
            WriteError::Rows(error @ ReadError::TooMany(_)) => Self::guest(&error.to_string()),
        }
    }
}

impl From<Fault> for ApplyError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Guest(reason) => Self::Failed(reason),
            Fault::Rows(error) => Self::Rows(error),
            Fault::Stopped => Self::Stopped,
        }
    }
}

/// What `apply` works on; `describe` has none.
pub(super) struct Work {
    pub(super) writes: BatchWrites,
    pub(super) rows: BoundedRows<Box<dyn ReadRows>>,
}

/// The state of one call.
pub(super) struct Call {
    pub(super) work: Option<Work>,
    /// Set when the host ends the call; it says more than the trap.
    pub(super) fault: Option<Fault>,
    projection: Arc<str>,
    limits: GuestLimits,
    stop: Arc<AtomicBool>,
    started: Instant,
    memory: usize,
    table_handles: u32,
    logged: usize,
    log_dropped: usize,
}

impl Call {
    pub(super) fn new(
        projection: Arc<str>,
        limits: GuestLimits,
        stop: Arc<AtomicBool>,
        work: Option<Work>,
    ) -> Self {
        Self {
            work,
            fault: None,
            projection,
            limits,
            stop,
            started: Instant::now(),
            memory: 0,
            table_handles: 0,
            logged: 0,
            log_dropped: 0,
        }
    }

    /// A call in an instance that has grown in earlier ones.
    pub(super) fn with_memory_of(mut self, earlier: &Self) -> Self {
        self.memory = earlier.memory;
        self
    }

    /// How many bytes one call may pass to the host: whatever fits into the
    /// guest's memory can be said once, with room for what it grows to here.
    pub(super) const fn transfer_limit(&self) -> usize {
        self.limits.memory.saturating_mul(2)
    }

    /// Looks at the clock; called on every tick of the engine.
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(self.end(Fault::Stopped));
        }
        let waited = self
            .work
            .as_ref()
            .map(|work| work.rows.waited())
            .unwrap_or_default();
        if self.started.elapsed().saturating_sub(waited) > self.limits.time {
            let limit = self.limits.time;
            return Err(self.end(Fault::Guest(format!(
                "it ran longer than {limit:?} (limits.batch-time)"
            ))));
        }
        Ok(UpdateDeadline::Continue(1))
    }

    /// Says how much of the log was dropped, if any.
    pub(super) fn close_log(&self) {
        if self.log_dropped > 0 {
            tracing::warn!(
                projection = %self.projection,
                "{} more bytes of log were dropped (limits.log-bytes)",
                self.log_dropped
            );
        }
    }

    fn end(&mut self, fault: Fault) -> wasmtime::Error {
        self.fault.get_or_insert(fault);
        wasmtime::Error::msg("the host ended the call")
    }

    /// Runs an operation on the read model.
    fn with_work<R>(
        &mut self,
        operation: impl FnOnce(&mut Work) -> Result<R, WriteError<ReadError>>,
    ) -> wasmtime::Result<R> {
        let result = match &mut self.work {
            Some(work) => operation(work).map_err(Fault::from),
            None => Err(Fault::guest("`describe` may not use the read model")),
        };
        result.map_err(|fault| self.end(fault))
    }

    /// Converts what a guest passed.
    fn take<R>(&mut self, converted: Result<R, InvalidValue>) -> wasmtime::Result<R> {
        converted
            .map_err(|reason| self.end(Fault::guest(&format!("it passed a bad value: {reason}"))))
    }
}

/// The table's number in the description.
fn number(table: &Resource<TableHandle>) -> usize {
    table.rep() as usize
}

impl types::Host for Call {}
impl read_model::Host for Call {}

impl read_model::HostTable for Call {
    fn new(&mut self, name: String) -> wasmtime::Result<Resource<TableHandle>> {
        let number = self.with_work(|work| Ok(work.writes.table(&name)?))?;
        if self.table_handles >= TABLE_HANDLES_MAX {
            return Err(self.end(Fault::guest(&format!(
                "it opened more than {TABLE_HANDLES_MAX} tables at a time"
            ))));
        }
        self.table_handles += 1;
        Ok(Resource::new_own(u32::try_from(number)?))
    }

    fn get(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
    ) -> wasmtime::Result<Option<Vec<types::Value>>> {
        let key = self.take(convert::values(key))?;
        let row = self.with_work(|work| work.writes.get(&mut work.rows, number(&table), key))?;
        Ok(row.map(convert::row))
    }

    fn get_many(
        &mut self,
        table: Resource<TableHandle>,
        keys: Vec<Vec<types::Value>>,
    ) -> wasmtime::Result<Vec<Option<Vec<types::Value>>>> {
        let keys = self.take(keys.into_iter().map(convert::values).collect())?;
        let rows =
            self.with_work(|work| work.writes.get_many(&mut work.rows, number(&table), keys))?;
        Ok(rows.into_iter().map(|row| row.map(convert::row)).collect())
    }

    fn find(
        &mut self,
        table: Resource<TableHandle>,
        columns: Vec<String>,
        values: Vec<types::Value>,
        limit: u32,
    ) -> wasmtime::Result<Vec<Vec<types::Value>>> {
        let values = self.take(convert::values(values))?;
        let limit = usize::try_from(limit)?;
        let rows = self.with_work(|work| {
            work.writes
                .find(&mut work.rows, number(&table), &columns, values, limit)
        })?;
        Ok(rows.into_iter().map(convert::row).collect())
    }

    fn put(
        &mut self,
        table: Resource<TableHandle>,
        row: Vec<types::Value>,
    ) -> wasmtime::Result<()> {
        let row = self.take(convert::values(row))?;
        self.with_work(|work| work.writes.put(&mut work.rows, number(&table), row))
    }

    fn patch(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
        changes: Vec<read_model::Change>,
    ) -> wasmtime::Result<()> {
        let key = self.take(convert::values(key))?;
        let changes = self.take(convert::changes(changes))?;
        self.with_work(|work| Ok(work.writes.patch(number(&table), key, changes)?))
    }

    fn merge(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
        changes: Vec<read_model::Change>,
    ) -> wasmtime::Result<()> {
        let key = self.take(convert::values(key))?;
        let changes = self.take(convert::changes(changes))?;
        self.with_work(|work| Ok(work.writes.merge(number(&table), key, changes)?))
    }

    fn remove(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
    ) -> wasmtime::Result<()> {
        let key = self.take(convert::values(key))?;
        self.with_work(|work| work.writes.remove(&mut work.rows, number(&table), key))
    }

    fn patch_where(
        &mut self,
        table: Resource<TableHandle>,
        columns: Vec<String>,
        values: Vec<types::Value>,
        changes: Vec<read_model::Change>,
    ) -> wasmtime::Result<()> {
        let values = self.take(convert::values(values))?;
        let changes = self.take(convert::changes(changes))?;
        self.with_work(|work| {
            work.writes
                .patch_where(&mut work.rows, number(&table), &columns, values, changes)
        })
    }

    fn remove_where(
        &mut self,
        table: Resource<TableHandle>,
        columns: Vec<String>,
        values: Vec<types::Value>,
    ) -> wasmtime::Result<()> {
        let values = self.take(convert::values(values))?;
        self.with_work(|work| {
            work.writes
                .remove_where(&mut work.rows, number(&table), &columns, values)
        })
    }

    fn drop(&mut self, _table: Resource<TableHandle>) -> wasmtime::Result<()> {
        self.table_handles = self.table_handles.saturating_sub(1);
        Ok(())
    }
}

impl log::Host for Call {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let bytes = message.len() + LOG_LINE_BYTES;
        if self.logged + bytes > self.limits.log_bytes {
            self.log_dropped += bytes;
            return Ok(());
        }
        self.logged += bytes;
        let projection = &*self.projection;
        // A guest's second line must not look like one of the host's own.
        let message = convert::readable(&message, usize::MAX).replace('\n', "\n    ");
        match level {
            log::Level::Trace => tracing::trace!(projection, "{message}"),
            log::Level::Debug => tracing::debug!(projection, "{message}"),
            log::Level::Info => tracing::info!(projection, "{message}"),
            log::Level::Warn => tracing::warn!(projection, "{message}"),
            log::Level::Error => tracing::error!(projection, "{message}"),
        }
        Ok(())
    }
}

impl ResourceLimiter for Call {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.limits.memory {
            let limit = self.limits.memory;
            return Err(self.end(Fault::Guest(format!(
                "it needs more than {limit} bytes of memory (limits.memory)"
            ))));
        }
        self.memory = total;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        _desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // The pool's `table_elements` bounds every table.
        Ok(true)
    }
}
