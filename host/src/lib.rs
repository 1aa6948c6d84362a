//! Gnomon: a host for event-sourced projections.
//!
//! ```text
//! event store ──> reader ──> batch ──> guest ──> write buffer ──> one transaction ──> read model
//!  (source)      gap-safe,  filtered   pure,      one op           rows + checkpoint    (read models)
//!               prefetching           sandboxed   per row             + fencing
//! ```
//!
//! The modules, in the order in which the data flows:
//!
//! * [`gnomon_model`], [`generation`]: the nouns that all others share.
//! * [`gnomon_event_store`]: appending and reading events, and the seam to event
//!   stores: how far they are final. It stands on [`gnomon_databases`].
//! * [`reader`]: the next batch, read ahead and once for all who are near.
//! * [`gnomon_guest`]: the sandbox.
//! * [`read_models`]: the seam to rows and checkpoints; [`row_cache`] is before it.
//! * [`registry`]: the seam to what users want and hosts do.
//! * [`storage`]: databases that have both.
//! * [`runner`]: one generation, batch by batch, exactly once.
//! * [`dead_letter`]: events that wait.
//! * [`module_file`], [`deployment`], [`supervisor`]: which modules and
//!   generations run.
//! * [`operations`]: what users ask of projections, and why something does not move.
//! * [`configuration`], [`telemetry`], [`command_line`]: the edges.
//!
//! Imports run one way: edges, operations, runner, seams, nouns. The runner knows
//! no database, a database file knows no WebAssembly, the guest layer knows no
//! SQL, and operations know no terminal.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod command_line;
pub mod configuration;
pub mod dead_letter;
pub mod deployment;
#[cfg(test)]
mod documentation;
pub mod fixture;
pub mod generation;
pub mod json_text;
pub mod module_file;
pub mod operations;
pub mod read_models;
pub mod reader;
pub mod registry;
pub mod row_cache;
pub mod runner;
pub mod shutdown;
pub mod storage;
pub mod storage_error;
pub mod supervisor;
pub mod telemetry;
pub mod trial;
