//! The guest layer: one wrapper round wasmtime, narrowed to what a projection
//! is allowed to do.
//!
//! ```text
//! bytes ──> GuestEngine::load ──> Guest ──> Guest::apply (fresh instance) ──> Written
//!           component? imports?    │         bounded memory, time, writes, log
//!           describe, twice        └─ description, compiled code
//! ```
//!
//! A component that is its core module and the contract is called as that module
//! (`core_module`), any other one through wasmtime's component layer
//! (`component`). What an import does is the same for both (`call`).
//!
//! Every value that comes from a guest is hostile until it was checked against
//! the declared schema; that happens in `gnomon_model`. After any failure the
//! instance and its store are thrown away.

#![cfg_attr(test, allow(clippy::cast_possible_truncation))]

use std::time::Duration;

use gnomon_model::{InvalidDescription, Position, StorageError, WriteLimits};

mod bad_value;
mod bindings;
mod bounded_rows;
mod call;
mod component;
mod convert;
mod core_module;
mod engine;
mod instance;
mod native_code;
mod own_time;
mod shared_tables;
mod ticker;

pub use convert::describe_event;
pub use engine::GuestEngine;
pub use instance::{Guest, KeptGuest, ReadRows, Written};
pub use native_code::{NativeCodeCache, UnsafeCache};
pub use shared_tables::SharedTables;

/// How much of a guest's words a reason keeps.
const REASON_CHARACTERS_MAX: usize = 4_000;

/// What one call of a guest may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuestLimits {
    /// Linear memory of the instance, all memories together, in bytes.
    pub memory: usize,
    /// Processor time of the guest and of what the host does for it. Neither
    /// waiting for the database counts nor for other threads of the machine: that
    /// is not the guest's fault.
    pub time: Duration,
    /// Writes of one batch.
    pub writes: WriteLimits,
    /// Rows that a batch may read from the database, and questions that it
    /// may ask, together.
    pub reads: u64,
    /// Bytes of log messages; what is beyond is dropped and counted.
    pub log_bytes: usize,
}

/// Why a file is not a projection.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are not WebAssembly.
    #[error("it is not WebAssembly: it does not begin with `\\0asm`")]
    NotWasm,
    /// A core module where a component is wanted.
    #[error(
        "it is a core module, not a component; `gnomon build` makes a component of a projection's source"
    )]
    CoreModule,
    /// WebAssembly that does not validate or compile.
    #[error("it is not a valid component: {0}")]
    Malformed(String),
    /// An import that the contract does not have.
    #[error(
        "it imports `{import}`, and a projection may import nothing but the contract; {advice}"
    )]
    ForeignImport {
        /// The import's name.
        import: String,
        /// How to leave it out.
        advice: &'static str,
    },
    /// A component of another world, or of another version of the contract.
    #[error("it does not fit the world `gnomon:projection/projection@0.1.0`: {0}")]
    WrongWorld(String),
    /// `describe` failed.
    #[error("`describe` failed: {0}")]
    Describe(String),
    /// `describe` gave something else the second time.
    #[error("`describe` gives another description each time it is called")]
    Unsteady,
    /// The description breaks the rules.
    #[error("its description is wrong: {0}")]
    Description(#[from] InvalidDescription),
}

/// Why a guest could not apply a batch. The writes are dropped.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The projection rejects an event of the batch.
    #[error("event {position} was rejected: {message}")]
    Rejected {
        /// The event.
        position: Position,
        /// What the projection says.
        message: String,
    },
    /// A trap, a broken schema or a broken limit, somewhere in the batch.
    #[error("{0}")]
    Failed(String),
    /// The call took more time of its own than it may.
    #[error("it ran longer than {0:?} (limits.batch-time)")]
    TimedOut(Duration),
    /// The committed rows could not be read.
    #[error(transparent)]
    Rows(#[from] StorageError),
    /// Too many guests run at this moment.
    #[error("all instances of the guest pool are in use")]
    Busy,
    /// The host is stopping.
    #[error("the host is stopping")]
    Stopped,
}
