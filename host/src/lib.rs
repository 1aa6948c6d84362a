//! Gnomon: a host for event-sourced projections.

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

pub mod configuration;
pub mod database_url;
pub mod dead_letter;
pub mod deployment;
pub mod event_store;
pub mod generation;
pub mod guest;
pub mod reader;
pub mod row_cache;
pub mod runner;
pub mod shutdown;
pub mod source;
pub mod status;
pub mod supervisor;
pub mod target;
#[cfg(test)]
mod test_database;
pub mod toolchain;
