//! Gnomon: a host for event-sourced projections.
//!
//! ```text
//! event store ──> reader ──> batch ──> guest ──> write buffer ──> one transaction ──> read model
//!  (source)      gap-safe,  filtered   pure,      one op           rows + checkpoint    (target)
//!               prefetching           sandboxed   per row             + fencing
//! ```
//!
//! The modules, in the order in which the data flows:
//!
//! * [`database_url`], [`generation`], [`event_page`], [`event_list`]: the nouns
//!   that all others share; values, schemas and events are in [`gnomon_model`].
//! * [`event_store`]: appending and reading events.
//! * [`source`]: the seam to event stores, and how far they are final.
//! * [`reader`]: the next batch, read ahead and once for all who are near.
//! * [`guest`]: the sandbox.
//! * [`target`]: the seam to read-model databases; [`row_cache`] is before it.
//! * [`runner`]: one generation, batch by batch, exactly once.
//! * [`dead_letter`]: events that wait.
//! * [`module_file`], [`deployment`], [`supervisor`]: which modules and
//!   generations run.
//! * [`operations`]: what users ask of projections, and why something does not move.
//! * [`configuration`], [`telemetry`], [`command_line`]: the edges.
//!
//! Imports run one way: edges, runner, seams, nouns. The runner knows no
//! database, a database file knows no WebAssembly, and the guest layer knows no
//! SQL.

#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::print_stderr,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod command_line;
pub mod configuration;
mod connections;
pub mod database_url;
pub mod dead_letter;
pub mod deployment;
#[cfg(test)]
mod documentation;
pub mod event_list;
pub mod event_page;
pub mod event_store;
pub mod fixture;
pub mod generation;
pub mod guest;
pub mod json_text;
pub mod module_file;
pub mod operations;
mod postgres;
mod process_limits;
mod readable;
pub mod reader;
pub mod row_cache;
pub mod runner;
pub mod shutdown;
mod silence;
pub mod source;
mod spelling;
mod sqlite_file;
pub mod supervisor;
pub mod target;
pub mod telemetry;
#[cfg(test)]
mod test_database;
pub mod trial;
