//! Guests as the core modules that they are made of.
//!
//! ```text
//! component ──> is it what wit-component makes of ──yes──> core module, called directly
//!               its core module and the contract? ──no───> component, called by wasmtime
//! ```
//!
//! wasmtime lifts and lowers for any component of any world. Of the contract
//! there is one, so texts can be read where they lie in the guest's memory, and
//! no value is made twice. The canonical ABI of the contract is written out here
//! for that, and what a guest may not do by it ends the call, as it does in
//! wasmtime.

use gnomon_model::EventList;
use wasmtime::{
    AsContextMut as _, Engine, InstancePre, Linker, Memory, Module, Store, Trap, TypedFunc,
};

use super::bindings::gnomon::projection::types;
use super::call::Call;

mod imports;
mod lifting;
mod lowering;
mod recognition;
#[cfg(test)]
mod tests;

pub(super) use imports::add_to_linker;
pub(super) use recognition::{component_imports, core_of};

use lifting::{Lift, LiftError, Span};
use lowering::Lower;

/// What a module exports for the canonical ABI.
const MEMORY: &str = "memory";
const REALLOC: &str = "cabi_realloc";
const DESCRIBE: &str = "describe";
const APPLY: &str = "apply";
const POST_DESCRIBE: &str = "cabi_post_describe";
const POST_APPLY: &str = "cabi_post_apply";
/// What the Rust SDK exports beside it: it allocates the texts of a batch in one
/// call, where [`REALLOC`] takes five for each event.
const ALLOCATE_TEXTS: &str = "gnomon_allocate_texts";

/// A core module that is linked.
#[derive(Clone)]
pub(super) struct CorePre(InstancePre<Call>);

impl CorePre {
    pub(super) fn new(linker: &Linker<Call>, module: &Module) -> wasmtime::Result<Self> {
        linker.instantiate_pre(module).map(Self)
    }

    pub(super) fn engine(&self) -> &Engine {
        self.0.module().engine()
    }

    pub(super) fn instantiate(&self, store: &mut Store<Call>) -> wasmtime::Result<CoreProjection> {
        let instance = self.0.instantiate(&mut *store)?;
        let memory = instance
            .get_memory(&mut *store, MEMORY)
            .ok_or_else(|| wasmtime::Error::msg("it exports no memory"))?;
        let realloc = instance.get_typed_func(&mut *store, REALLOC)?;
        let allocate_texts = instance.get_typed_func(&mut *store, ALLOCATE_TEXTS).ok();
        let projection = CoreProjection {
            describe: instance.get_typed_func(&mut *store, DESCRIBE)?,
            post_describe: instance.get_typed_func(&mut *store, POST_DESCRIBE).ok(),
            apply: instance.get_typed_func(&mut *store, APPLY)?,
            post_apply: instance.get_typed_func(&mut *store, POST_APPLY).ok(),
        };
        store.data_mut().core = Some(CoreCall {
            memory,
            realloc,
            allocate_texts,
            tables: Tables::default(),
        });
        Ok(projection)
    }
}

/// An instance.
pub(super) struct CoreProjection {
    describe: TypedFunc<(), u32>,
    post_describe: Option<TypedFunc<u32, ()>>,
    apply: TypedFunc<(u32, u32), u32>,
    post_apply: Option<TypedFunc<u32, ()>>,
}

impl CoreProjection {
    pub(super) fn call_describe(
        &self,
        store: &mut Store<Call>,
    ) -> wasmtime::Result<types::Description> {
        let at = self.describe.call(&mut *store, ())?;
        let description = lifted(store, |lift| lift.description(at))?;
        returned(store, self.post_describe.as_ref(), at)?;
        Ok(description)
    }

    pub(super) fn call_apply(
        &self,
        store: &mut Store<Call>,
        events: &EventList,
    ) -> wasmtime::Result<Result<(), types::Rejection>> {
        let mut lower = Lower::begin(store.as_context_mut())?;
        let Span { at, len } = lower.events(events)?;
        lower.end();
        let at = self.apply.call(&mut *store, (at, len))?;
        let applied = lifted(store, |lift| lift.applied(at))?;
        returned(store, self.post_apply.as_ref(), at)?;
        Ok(applied)
    }
}

/// Reads a result.
fn lifted<R>(
    store: &mut Store<Call>,
    read: impl FnOnce(&mut Lift<'_>) -> Result<R, LiftError>,
) -> wasmtime::Result<R> {
    let memory = core_of_call(store.data())?.memory;
    let (memory, call) = memory.data_and_store_mut(&mut *store);
    let read = read(&mut Lift::new(memory, call.transfer_limit()));
    read.map_err(|error| error.end(call))
}

/// Gives a result back, once it was read.
fn returned(
    store: &mut Store<Call>,
    post_return: Option<&TypedFunc<u32, ()>>,
    at: u32,
) -> wasmtime::Result<()> {
    let Some(post_return) = post_return else {
        return Ok(());
    };
    // As while the host allocates: no import may be called.
    let core = store.data_mut().core.take();
    post_return.call(&mut *store, at)?;
    store.data_mut().core = core;
    Ok(())
}

/// What the imports need of the instance that calls them. While the host
/// allocates in it, it may call none, and there is nothing of it here.
pub(super) struct CoreCall {
    memory: Memory,
    realloc: TypedFunc<(u32, u32, u32, u32), u32>,
    allocate_texts: Option<TypedFunc<(u32, u32), ()>>,
    tables: Tables,
}

fn core_of_call(call: &Call) -> wasmtime::Result<&CoreCall> {
    call.core.as_ref().ok_or_else(cannot_leave)
}

fn cannot_leave() -> wasmtime::Error {
    Trap::CannotLeaveComponent.into()
}

/// The tables that an instance has opened, by their handles.
#[derive(Default)]
struct Tables {
    numbers: Vec<Option<usize>>,
    free: Vec<u32>,
}

impl Tables {
    fn open(&mut self, number: usize) -> wasmtime::Result<u32> {
        let place = match self.free.pop() {
            Some(place) => place,
            None => {
                self.numbers.push(None);
                u32::try_from(self.numbers.len() - 1)?
            }
        };
        if let Some(free) = self.numbers.get_mut(place as usize) {
            *free = Some(number);
        }
        // No handle is 0.
        Ok(place + 1)
    }

    fn number(&self, handle: u32) -> wasmtime::Result<usize> {
        let place = handle.wrapping_sub(1) as usize;
        (self.numbers.get(place).copied().flatten()).ok_or_else(|| unknown_handle(handle))
    }

    fn close(&mut self, handle: u32) -> wasmtime::Result<()> {
        let place = handle.wrapping_sub(1);
        let open = self.numbers.get_mut(place as usize);
        open.and_then(Option::take)
            .ok_or_else(|| unknown_handle(handle))?;
        self.free.push(place);
        Ok(())
    }
}

fn unknown_handle(handle: u32) -> wasmtime::Error {
    wasmtime::Error::msg(format!("unknown handle index {handle}"))
}
