//! The host's side of one call: its state, what every import does with it, and
//! what bounds it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gnomon_model::{BatchWrites, StorageError, Violation, WriteError};
use wasmtime::{ResourceLimiter, UpdateDeadline};

use super::bad_value::{BadValue, List};
use super::bindings::gnomon::projection::log::Level;
use super::bounded_rows::{BoundedRows, ReadError};
use super::core_module::CoreCall;
use super::instance::ReadRows;
use super::own_time::OwnTime;
use super::{ApplyError, GuestLimits, REASON_CHARACTERS_MAX, convert};

/// Table handles that a guest may have open; the host keeps a list of them.
const TABLE_HANDLES_MAX: u32 = 100_000;
/// What a log message costs beside its own bytes, so that empty ones are not
/// free.
const LOG_LINE_BYTES: usize = 64;
/// What a description may take: some more than the longest that is allowed.
const DESCRIPTION_BYTES_MAX: usize = 32 << 20;
/// What is said of a description that goes beyond it.
pub(super) const DESCRIPTION_EXCEEDED: &str = "its description takes more than 32 MiB";
/// What is said of a call that goes beyond [`Call::transfer_limit`].
pub(super) const TRANSFER_EXCEEDED: &str =
    "it passed more to the host at once than its memory could hold twice (limits.memory)";

/// Why the host ended a call.
#[derive(Debug)]
pub(super) enum Fault {
    /// The guest broke the contract or a limit.
    Guest(String),
    /// The guest used up its time.
    TimedOut(Duration),
    /// The committed rows could not be read.
    Rows(StorageError),
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
            Fault::TimedOut(limit) => Self::TimedOut(limit),
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
    /// The instance, if it is of a core module.
    pub(super) core: Option<CoreCall>,
    /// Set when the host ends the call; it says more than the trap.
    pub(super) fault: Option<Fault>,
    projection: Arc<str>,
    limits: GuestLimits,
    stop: Arc<AtomicBool>,
    own_time: OwnTime,
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
            core: None,
            fault: None,
            projection,
            limits,
            stop,
            own_time: OwnTime::start(),
            memory: 0,
            table_handles: 0,
            logged: 0,
            log_dropped: 0,
        }
    }

    /// A call in the instance of an earlier one.
    pub(super) fn after(mut self, earlier: &mut Self) -> Self {
        self.memory = earlier.memory;
        self.core = earlier.core.take();
        self
    }

    /// How many bytes one call may pass to the host: whatever fits into the
    /// guest's memory can be said once, with room for what it grows to here. A
    /// description is never that long.
    pub(super) const fn transfer_limit(&self) -> usize {
        match self.work {
            Some(_) => self.limits.memory.saturating_mul(2),
            None => DESCRIPTION_BYTES_MAX,
        }
    }

    /// Looks at the clocks; called on every tick of the engine.
    pub(super) fn tick(&mut self) -> wasmtime::Result<UpdateDeadline> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(self.end(Fault::Stopped));
        }
        let waited = self
            .work
            .as_ref()
            .map(|work| work.rows.waited())
            .unwrap_or_default();
        if self.own_time.taken(waited) > self.limits.time {
            let limit = self.limits.time;
            return Err(self.end(Fault::TimedOut(limit)));
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

    pub(super) fn end(&mut self, fault: Fault) -> wasmtime::Error {
        self.fault.get_or_insert(fault);
        wasmtime::Error::msg("the host ended the call")
    }

    /// Runs an operation on the read model.
    pub(super) fn with_work<R>(
        &mut self,
        operation: impl FnOnce(&mut Work) -> Result<R, WriteError<ReadError>>,
    ) -> wasmtime::Result<R> {
        let result = match &mut self.work {
            Some(work) => operation(work).map_err(Fault::from),
            None => Err(Fault::guest("`describe` may not use the read model")),
        };
        result.map_err(|fault| self.end(fault))
    }

    /// Takes what a guest passed for a table.
    pub(super) fn take<R>(
        &mut self,
        table: usize,
        list: List<'_>,
        converted: Result<R, BadValue>,
    ) -> wasmtime::Result<R> {
        converted.map_err(|value| self.refuse(table, list, &value))
    }

    /// Ends the call because of a value that no column can hold.
    #[cold]
    pub(super) fn refuse(
        &mut self,
        table: usize,
        list: List<'_>,
        value: &BadValue,
    ) -> wasmtime::Error {
        let declared = (self.work.as_ref()).and_then(|work| work.writes.schema(table));
        let reason = match declared {
            Some(table) => value.message(table, list),
            // Nobody has a table that was not declared.
            None => format!("it passed a bad value for table number {table}"),
        };
        self.end(Fault::guest(&reason))
    }

    /// Opens a table, and gives its number in the description.
    pub(super) fn open_table(&mut self, name: &str) -> wasmtime::Result<usize> {
        let number = self.with_work(|work| Ok(work.writes.table(name)?))?;
        if self.table_handles >= TABLE_HANDLES_MAX {
            return Err(self.end(Fault::guest(&format!(
                "it opened more than {TABLE_HANDLES_MAX} tables at a time"
            ))));
        }
        self.table_handles += 1;
        Ok(number)
    }

    /// Closes one of the tables that are open.
    pub(super) fn close_table(&mut self) {
        self.table_handles = self.table_handles.saturating_sub(1);
    }

    /// Writes to the host's log.
    pub(super) fn log(&mut self, level: Level, message: &str) {
        let bytes = message.len() + LOG_LINE_BYTES;
        if self.logged + bytes > self.limits.log_bytes {
            self.log_dropped += bytes;
            return;
        }
        self.logged += bytes;
        let projection = &*self.projection;
        // A guest's second line must not look like one of the host's own.
        let message = convert::readable(message, usize::MAX).replace('\n', "\n    ");
        match level {
            Level::Trace => tracing::trace!(projection, "{message}"),
            Level::Debug => tracing::debug!(projection, "{message}"),
            Level::Info => tracing::info!(projection, "{message}"),
            Level::Warn => tracing::warn!(projection, "{message}"),
            Level::Error => tracing::error!(projection, "{message}"),
        }
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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use gnomon_model::WriteLimits;

    use super::*;

    #[test]
    fn a_call_is_ended_after_its_own_time_and_not_because_others_run() {
        let limit = Duration::from_millis(50);
        let limits = GuestLimits {
            memory: 0,
            time: limit,
            writes: WriteLimits::NONE,
            reads: 0,
            log_bytes: 0,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let mut call = Call::new(Arc::from("slow"), limits, Arc::clone(&stop), None);
        // A thread that sleeps is to the clocks as one that is not let run.
        std::thread::sleep(limit * 4);
        assert!(call.tick().is_ok(), "it is blamed for what others took");
        let began = Instant::now();
        while call.tick().is_ok() {}
        assert!(began.elapsed() >= limit / 2);
        assert!(matches!(call.fault, Some(Fault::TimedOut(_))));
        // A stop is heeded at the next tick, whatever it has taken.
        let mut call = Call::new(Arc::from("slow"), limits, Arc::clone(&stop), None);
        stop.store(true, Ordering::Relaxed);
        assert!(call.tick().is_err());
        assert!(matches!(call.fault, Some(Fault::Stopped)));
    }
}
