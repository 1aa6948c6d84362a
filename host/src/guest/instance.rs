//! A loaded module, and its calls: each in a fresh instance.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use gnomon_model::{BatchWrites, CommittedRows, Description, Floats, Position, TableWrites};
use wasmtime::{PoolConcurrencyLimitError, Store, Trap};

use super::bindings::ProjectionPre;
use super::bindings::gnomon::projection::types;
use super::bounded_rows::BoundedRows;
use super::call::{Call, Fault, Work};
use super::convert;
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
    hash: ModuleHash,
    name: Arc<str>,
    description: Arc<Description>,
}

impl Guest {
    /// Asks a linked module twice what it is, each time in a fresh instance.
    pub(super) fn describe(
        pre: ProjectionPre<Call>,
        hash: ModuleHash,
        limits: GuestLimits,
    ) -> Result<Self, LoadError> {
        let first = described(&pre, limits)?;
        if described(&pre, limits)? != first {
            return Err(LoadError::Unsteady);
        }
        Ok(Self {
            pre,
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
    /// [`ApplyError`]; the writes are dropped with the instance.
    pub fn apply(
        &self,
        events: &EventList,
        rows: Box<dyn ReadRows>,
        floats: Floats,
        limits: GuestLimits,
        stop: &Arc<AtomicBool>,
    ) -> Result<Vec<TableWrites>, ApplyError> {
        let writes = BatchWrites::new(Arc::clone(&self.description), floats, limits.writes);
        let call = Call::new(
            Arc::clone(&self.name),
            limits,
            Arc::clone(stop),
            Some(Work {
                writes,
                rows: BoundedRows::new(rows, limits.reads),
            }),
        );
        let mut store = new_store(&self.pre, call);
        let result = self
            .pre
            .instantiate(&mut store)
            .and_then(|projection| projection.call_apply(&mut store, &convert::events(events)));
        let call = store.into_data();
        call.close_log();
        if let Some(fault) = call.fault {
            return Err(fault.into());
        }
        match result {
            Ok(Ok(())) => finish(call.work).map_err(ApplyError::from),
            Ok(Err(rejection)) => Err(rejected(events, rejection)),
            Err(error) if error.is::<PoolConcurrencyLimitError>() => Err(ApplyError::Busy),
            Err(error) => Err(ApplyError::Failed(trap_message(&error))),
        }
    }
}

fn finish(work: Option<Work>) -> Result<Vec<TableWrites>, Fault> {
    let Some(Work { writes, mut rows }) = work else {
        return Err(Fault::guest("the batch was lost"));
    };
    writes.finish(&mut rows).map_err(Fault::from)
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
    let limits_transfer = call.transfer_limit();
    let mut store = Store::new(pre.engine(), call);
    store.set_hostcall_fuel(limits_transfer);
    store.limiter(|call| call);
    store.epoch_deadline_callback(|mut store| store.data_mut().tick());
    store.set_epoch_deadline(1);
    store
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
