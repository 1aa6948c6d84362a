//! Gnomon: a host for event-sourced projections.
//!
//! A projection is a WebAssembly component, a pure function from events to rows.
//! The host reads the global stream of an event store, hands batches to
//! projections, and commits their rows together with the checkpoint.
//!
//! # Running a host in your program
//!
//! [`Gnomon::builder`] takes the URLs of the event store and of the read models,
//! and the directory of projections. Every key of `gnomon.toml` can be set.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use gnomon::Gnomon;
//!
//! let gnomon = Gnomon::builder()
//!     .events("sqlite:events.db")
//!     .read_models("sqlite:read-models.db")
//!     .projections_directory(Path::new("projections"))
//!     .set("limits.memory", "128MiB")
//!     .start()
//!     .await?;
//! gnomon.wait("order_summary", None, Duration::from_secs(30)).await?;
//! for projection in gnomon.status().await? {
//!     println!("{:?} is at position {}", projection.name, projection.position);
//! }
//! gnomon.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! `examples/embedded.rs` is a whole program, which also appends events and reads
//! rows.
//!
//! # What the library has
//!
//! | | |
//! | --- | --- |
//! | [`Gnomon`], [`GnomonBuilder`] | a host in this process: start, status, wait, deploy, stop |
//! | [`operations`] | what users ask of projections: deploy, rebuild, promote, roll back, verify, compare, wait, pause, resume, remove, dead letters, status. They need no host in this process |
//! | [`configuration`] | the keys of `gnomon.toml`, and the limits of a projection |
//! | [`gnomon_event_store`] | for applications, without this crate: append, read, keep snapshots, follow the log |
//! | [`gnomon_model`] | positions, events, values, tables: the nouns of all of these |
//!
//! | feature | default | what it adds |
//! | --- | --- | --- |
//! | `command-line` | yes | the binary `gnomon`, and the module `command_line` |
//!
//! The other modules are the host's own parts. They are public for its tools and
//! may change with every version.
//!
//! # How it works
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
//! * [`embedded`], [`configuration`], `command_line`: the edges.
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

#[cfg(feature = "command-line")]
pub mod command_line;
pub mod configuration;
pub mod dead_letter;
pub mod deployment;
#[cfg(test)]
mod documentation;
pub mod embedded;
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
pub mod trial;

pub use embedded::{Gnomon, GnomonBuilder, GnomonError};
