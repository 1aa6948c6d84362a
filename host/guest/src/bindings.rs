//! The contract's bindings, generated from `wit/`.
#![allow(
    missing_docs,
    unreachable_pub,
    unsafe_code,
    clippy::all,
    clippy::restriction
)]

/// A table that the guest opened; its number is the resource's own.
pub struct TableHandle;

wasmtime::component::bindgen!({
    path: "wit",
    world: "projection",
    imports: { default: trappable },
    // The events of a batch are lowered from where they are.
    ownership: Borrowing { duplicate_if_necessary: true },
    with: { "gnomon:projection/read-model.table": TableHandle },
});
