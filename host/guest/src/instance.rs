//! A loaded module, and its calls: each in a fresh instance.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gnomon_model::{
    BatchWrites, CommittedRows, Description, EventList, Floats, FoldedRows, ModuleHash, Position,
    StorageError, TableWrites,
};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap};

use super::bindings::gnomon::projection::types;
use super::bindings::{Projection, ProjectionPre};
use super::bounded_rows::BoundedRows;
use super::call::{Call, DESCRIPTION_EXCEEDED, Fault, TRANSFER_EXCEEDED, Work};
use super::convert;
use super::core_module::{CorePre, CoreProjection};
use super::ticker::Ticker;
use super::{ApplyError, GuestLimits, LoadError, REASON_CHARACTERS_MAX};

/// The committed rows that a guest reads, on the guest's own thread.
pub trait ReadRows: CommittedRows<Error = StorageError> + Send {}

impl<R: CommittedRows<Error = StorageError> + Send> ReadRows for R {}

/// A module that is linked, in the way in which it is called.
#[derive(Clone)]
pub(super) enum Linked {
    Component(ProjectionPre<Call>),
    Core(CorePre),
}

impl Linked {
    fn engine(&self) -> &Engine {
        match self {
            Self::Component(pre) => pre.engine(),
            Self::Core(pre) => pre.engine(),
        }
    }

    fn instantiate(&self, store: &mut Store<Call>) -> wasmtime::Result<Instance> {
        Ok(match self {
            Self::Component(pre) => Instance::Component(pre.instantiate(store)?),
            Self::Core(pre) => Instance::Core(Box::new(pre.instantiate(store)?)),
        })
    }
}

enum Instance {
    Component(Projection),
    Core(Box<CoreProjection>),
}

impl Instance {
    fn describe(&self, store: &mut Store<Call>) -> wasmtime::Result<types::Description> {
        match self {
            Self::Component(projection) => projection.call_describe(store),
            Self::Core(projection) => projection.call_describe(store),
        }
    }

    fn apply(
        &self,
        store: &mut Store<Call>,
        events: &EventList,
    ) -> wasmtime::Result<Result<(), types::Rejection>> {
        match self {
            Self::Component(projection) => projection.call_apply(store, &convert::events(events)),
            Self::Core(projection) => projection.call_apply(store, events),
        }
    }
}

/// A projection's module: compiled, linked and described.
#[derive(Clone)]
pub struct Guest {
    linked: Linked,
    ticker: Arc<Ticker>,
    hash: ModuleHash,
    name: Arc<str>,
    description: Arc<Description>,
}

impl Guest {
    /// Asks a linked module twice what it is, each time in a fresh instance.
    pub(super) fn describe(
        linked: Linked,
        ticker: Arc<Ticker>,
        hash: ModuleHash,
        limits: GuestLimits,
    ) -> Result<Self, LoadError> {
        let running = ticker.run();
        let first = described(&linked, limits)?;
        if described(&linked, limits)? != first {
            return Err(LoadError::Unsteady);
        }
        drop(running);
        Ok(Self {
            linked,
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
    /// `tables` numbers the tables and indexes of `rows` and of what is
    /// written. The guest names them, so it may list the same ones in another
    /// order.
    ///
    /// # Errors
    /// [`ApplyError`]; what it wrote is dropped with the instance.
    pub fn apply(
        &self,
        events: &EventList,
        rows: Box<dyn ReadRows>,
        tables: &Arc<Description>,
        floats: Floats,
        limits: GuestLimits,
        stop: &Arc<AtomicBool>,
    ) -> Result<Written, ApplyError> {
        let _running = self.ticker.run();
        let mut store = new_store(&self.linked, self.call(rows, tables, floats, limits, stop));
        let result = self
            .linked
            .instantiate(&mut store)
            .and_then(|instance| instance.apply(&mut store, events));
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
            &self.linked,
            Call::new(Arc::clone(&self.name), limits, never, None),
        );
        match self.linked.instantiate(&mut store) {
            Ok(instance) => Ok(KeptGuest {
                guest: self.clone(),
                store,
                instance,
            }),
            Err(error) => Err(failed(store.into_data(), &error)),
        }
    }

    /// What a call of `apply` begins with.
    fn call(
        &self,
        rows: Box<dyn ReadRows>,
        tables: &Arc<Description>,
        floats: Floats,
        limits: GuestLimits,
        stop: &Arc<AtomicBool>,
    ) -> Call {
        let writes = BatchWrites::new(Arc::clone(tables), floats, limits.writes);
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
    instance: Instance,
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
        let tables = &self.guest.description;
        let call = self.guest.call(rows, tables, floats, limits, stop);
        let next = call.after(self.store.data_mut());
        *self.store.data_mut() = next;
        arm(&mut self.store);
        let result = self.instance.apply(&mut self.store, events);
        let idle = Call::new(Arc::clone(&self.guest.name), limits, Arc::clone(stop), None);
        let idle = idle.after(self.store.data_mut());
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
    pub fn fold(
        self,
        folded: &mut impl FoldedRows<Error = StorageError>,
    ) -> Result<(), ApplyError> {
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

fn described(linked: &Linked, limits: GuestLimits) -> Result<Description, LoadError> {
    let never = Arc::new(AtomicBool::new(false));
    let mut store = new_store(
        linked,
        Call::new(Arc::from("describe"), limits, never, None),
    );
    let result = linked
        .instantiate(&mut store)
        .and_then(|instance| instance.describe(&mut store));
    let call = store.into_data();
    call.close_log();
    let refused = |reason: String| {
        LoadError::Describe(match reason.as_str() {
            TRANSFER_EXCEEDED => DESCRIPTION_EXCEEDED.to_owned(),
            _ => reason,
        })
    };
    match call.fault {
        Some(Fault::Guest(reason)) => return Err(refused(reason)),
        Some(Fault::TimedOut(limit)) => {
            return Err(refused(ApplyError::TimedOut(limit).to_string()));
        }
        Some(Fault::Rows(_) | Fault::Stopped) | None => {}
    }
    let declared = result.map_err(|error| refused(trap_message(&error)))?;
    Ok(convert::description(declared)?)
}

fn new_store(linked: &Linked, call: Call) -> Store<Call> {
    let mut store = Store::new(linked.engine(), call);
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
            cause if cause.contains("fuel allocated for hostcalls") => TRANSFER_EXCEEDED.to_owned(),
            cause => convert::readable(&format!("it failed: {cause}"), REASON_CHARACTERS_MAX),
        },
    }
}
