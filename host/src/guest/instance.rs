//! A loaded module, and its calls: each in a fresh instance.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gnomon_model::{
    BatchWrites, CommittedRows, Description, Floats, FoldedRows, Position, TableWrites,
};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use super::bindings::gnomon::projection::types;
use super::bindings::{Projection, ProjectionPre};
use super::bounded_rows::BoundedRows;
use super::call::{Call, Fault, Work};
use super::convert;
use super::ticker::Ticker;
use super::{ApplyError, GuestLimits, LoadError, REASON_CHARACTERS_MAX};
use crate::event_list::EventList;
use crate::generation::ModuleHash;
use crate::target::TargetError;

/// The committed rows that a guest reads, on the guest's own thread.
pub trait ReadRows: CommittedRows<Error = TargetError> + Send {}

impl<R: CommittedRows<Error = TargetError> + Send> ReadRows for R {}

/// A projection's module: compiled, linked and described.
#[derive(Clone)]
pub struct Guest {
    pre: ProjectionPre<Call>,
    ticker: Arc<Ticker>,
    hash: ModuleHash,
    name: Arc<str>,
    description: Arc<Description>,
}

impl Guest {
    /// Asks a linked module twice what it is, each time in a fresh instance.
    pub(super) fn describe(
        pre: ProjectionPre<Call>,
        ticker: Arc<Ticker>,
        hash: ModuleHash,
        limits: GuestLimits,
    ) -> Result<Self, LoadError> {
        let running = ticker.run();
        let first = described(&pre, limits)?;
        if described(&pre, limits)? != first {
            return Err(LoadError::Unsteady);
        }
        drop(running);
        Ok(Self {
            pre,
            ticker,
            hash,
            name: Arc::from(first.name.as_str()),
            description: Arc::new(first),
        })
    }

    /// The SHA-256 of its bytes.
    #[must_use]
    pub const fn hash(&self) -> &ModuleHash {
        &self.hash
    }

    /// What it said of itself.
    #[must_use]
    pub const fn description(&self) -> &Arc<Description> {
        &self.description
    }

    /// Applies a batch in a fresh instance. `stop` ends it early.
    ///
    /// # Errors
    /// [`ApplyError`]; what it wrote is dropped with the instance.
    pub fn apply(
        &self,
        events: &EventList,
        rows: Box<dyn ReadRows>,
        floats: Floats,
        limits: GuestLimits,
        stop: &Arc<AtomicBool>,
    ) -> Result<Written, ApplyError> {
        let _running = self.ticker.run();
        let mut store = new_store(&self.pre, self.call(rows, floats, limits, stop));
        let result = self
            .pre
            .instantiate(&mut store)
            .and_then(|projection| projection.call_apply(&mut store, &convert::events(events)));
        ended(events, store.into_data(), result)
    }

    /// Makes an instance that is kept from batch to batch, as no host keeps
    /// one: what it does otherwise than fresh ones comes from its memory.
    ///
    /// # Errors
    /// [`ApplyError`] when there is no room for it, or its start fails.
    pub fn keep(&self, limits: GuestLimits) -> Result<KeptGuest, ApplyError> {
        let _running = self.ticker.run();
        let never = Arc::new(AtomicBool::new(false));
        let mut store = new_store(
            &self.pre,
            Call::new(Arc::clone(&self.name), limits, never, None),
        );
        match self.pre.instantiate(&mut store) {
            Ok(projection) => Ok(KeptGuest {
                guest: self.clone(),
                store,
                projection,
            }),
            Err(error) => Err(failed(store.into_data(), &error)),
        }
    }

    /// What a call of `apply` begins with.
    fn call(
        &self,
        rows: Box<dyn ReadRows>,
        floats: Floats,
        limits: GuestLimits,
        stop: &Arc<AtomicBool>,
    ) -> Call {
        let writes = BatchWrites::new(Arc::clone(&self.description), floats, limits.writes);
        Call::new(
            Arc::clone(&self.name),
            limits,
            Arc::clone(stop),
            Some(Work {
                writes,
                rows: BoundedRows::new(rows, limits.reads),
            }),
        )
    }
}

/// An instance that is kept from batch to batch, to see whether it matters.
pub struct KeptGuest {
    guest: Guest,
    store: Store<Call>,
    projection: Projection,
}

impl KeptGuest {
    /// Applies a batch, as [`Guest::apply`] does.
    ///
    /// # Errors
    /// [`ApplyError`]; after it the instance must not be used any more.
    pub fn apply(
        &mut self,
        events: &EventList,
        rows: Box<dyn ReadRows>,
        floats: Floats,
        limits: GuestLimits,
        stop: &Arc<AtomicBool>,
    ) -> Result<Written, ApplyError> {
        let _running = self.guest.ticker.run();
        let call = self.guest.call(rows, floats, limits, stop);
        let next = call.with_memory_of(self.store.data());
        *self.store.data_mut() = next;
        arm(&mut self.store);
        let result = self
            .projection
            .call_apply(&mut self.store, &convert::events(events));
        let idle = Call::new(Arc::clone(&self.guest.name), limits, Arc::clone(stop), None);
        let idle = idle.with_memory_of(self.store.data());
        ended(
            events,
            std::mem::replace(self.store.data_mut(), idle),
            result,
        )
    }
}

/// What a guest has written. The rows that it changed and did not read are not
/// read yet.
pub struct Written(Work);

impl Written {
    /// What is to be committed.
    ///
    /// # Errors
    /// [`ApplyError`] when a row cannot be changed so, or not be read.
    pub fn finish(self) -> Result<Vec<TableWrites>, ApplyError> {
        let Work { writes, mut rows } = self.0;
        Ok(writes.finish(&mut rows).map_err(Fault::from)?)
    }

    /// Does it to rows in memory, which are committed later.
    ///
    /// # Errors
    /// As [`Self::finish`]; nothing is changed then.
    pub fn fold(self, folded: &mut impl FoldedRows<Error = TargetError>) -> Result<(), ApplyError> {
        let Work { writes, rows } = self.0;
        Ok(writes.fold(&mut rows.on(folded)).map_err(Fault::from)?)
    }
}

/// What became of a call of `apply`.
fn ended(
    events: &EventList,
    call: Call,
    result: wasmtime::Result<Result<(), types::Rejection>>,
) -> Result<Written, ApplyError> {
    match result {
        Ok(applied) if call.fault.is_none() => {
            call.close_log();
            match applied {
                Ok(()) => match call.work {
                    Some(work) => Ok(Written(work)),
                    None => Err(ApplyError::Failed("the batch was lost".to_owned())),
                },
                Err(rejection) => Err(rejected(events, rejection)),
            }
        }
        Ok(_) => Err(failed(
            call,
            &wasmtime::Error::msg("the host ended the call"),
        )),
        Err(error) => Err(failed(call, &error)),
    }
}

/// Why a call failed.
fn failed(call: Call, error: &wasmtime::Error) -> ApplyError {
    call.close_log();
    match call.fault {
        Some(fault) => fault.into(),
        None if error.is::<PoolConcurrencyLimitError>() => ApplyError::Busy,
        None => ApplyError::Failed(trap_message(error)),
    }
}

/// A rejection is only believed if it names an event of the batch.
fn rejected(events: &EventList, rejection: types::Rejection) -> ApplyError {
    let message = convert::readable(&rejection.message, REASON_CHARACTERS_MAX);
    match Position::new(rejection.position) {
        Some(position) if events.place(position).is_some() => {
            ApplyError::Rejected { position, message }
        }
        _ => ApplyError::Failed(format!(
            "it rejected event {}, which is not in the batch: {}",
            rejection.position, message
        )),
    }
}

fn described(pre: &ProjectionPre<Call>, limits: GuestLimits) -> Result<Description, LoadError> {
    let never = Arc::new(AtomicBool::new(false));
    let mut store = new_store(pre, Call::new(Arc::from("describe"), limits, never, None));
    let result = pre
        .instantiate(&mut store)
        .and_then(|projection| projection.call_describe(&mut store));
    let call = store.into_data();
    call.close_log();
    if let Some(Fault::Guest(reason)) = call.fault {
        return Err(LoadError::Describe(reason));
    }
    let declared = result.map_err(|error| LoadError::Describe(trap_message(&error)))?;
    Ok(convert::description(declared)?)
}

fn new_store(pre: &ProjectionPre<Call>, call: Call) -> Store<Call> {
    let mut store = Store::new(pre.engine(), call);
    store.limiter(|call| call);
    store.epoch_deadline_callback(|mut store| store.data_mut().tick());
    arm(&mut store);
    store
}

/// Bounds what the next call may pass to the host, and makes it look at the
/// clock.
fn arm(store: &mut Store<Call>) {
    let transfer_limit = store.data().transfer_limit();
    store.set_hostcall_fuel(transfer_limit);
    store.set_epoch_deadline(1);
}

/// What went wrong, with the guest's own frames but without the host's.
fn trap_message(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(Trap::UnreachableCodeReached) => {
            "it trapped (unreachable code, usually a panic; the projection's log may say more)"
                .to_owned()
        }
        Some(Trap::StackOverflow) => "it trapped: its stack overflowed".to_owned(),
        Some(trap) => format!("it trapped: {trap}"),
        None => match error.root_cause().to_string() {
            // wasmtime has no public type for it.
            cause if cause.contains("fuel allocated for hostcalls") => {
                "it passed more to the host at once than its memory could hold twice \
                 (limits.memory)"
                    .to_owned()
            }
            cause => convert::readable(&format!("it failed: {cause}"), REASON_CHARACTERS_MAX),
        },
    }
}
