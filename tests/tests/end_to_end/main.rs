//! The real binary on real databases.
//!
//! One binary for all subjects, a module for each; names of tests are
//! sentences. `make test` sets what they need.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_wrap,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and what it prints is shown when it fails"
)]

mod bad_input;
mod bad_modules;
mod commands;
mod faults;
mod foreign_writers;
mod frozen_hosts;
mod full_disks;
mod hostile;
mod hostile_modules;
mod hosts;
mod kills;
mod outages;
mod policies;
mod same_rows;
mod secrets;
mod silent_connections;
mod starts;
mod wake_up;
