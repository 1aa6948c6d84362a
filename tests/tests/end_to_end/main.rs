//! The real binary on real databases.
//!
//! One binary for all subjects, a module for each; names of tests are
//! sentences. `make test` sets what they need.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_wrap,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that cannot go on panics, and what it prints is shown when it fails"
)]

mod actions;
mod bad_input;
mod bad_modules;
mod binary_events;
mod commands;
mod comparisons;
mod decisions;
mod deployments;
mod embedded;
mod exit_codes;
mod falling_behind;
mod faults;
mod faulty;
mod fixtures;
mod foreign_writers;
mod frozen_hosts;
mod full_disks;
mod generation_kills;
mod histories;
mod hostile;
mod hostile_modules;
mod hosts;
mod hot_reload;
mod javascript;
mod kills;
mod languages;
mod listed_otherwise;
mod long_stretches;
mod looking;
mod module_files;
mod names;
mod neighbours;
mod new;
mod outages;
mod policies;
mod poolers;
mod promotions;
mod python;
mod rates;
mod read_model_files;
mod rebuilds;
mod reference;
mod removals;
mod rights;
mod rollbacks;
mod safe_output;
mod same_rows;
mod secrets;
mod sharing;
mod silent_connections;
mod starts;
mod stories;
mod system_limits;
mod three_changes;
mod time_travel;
mod unreadable_events;
mod users_of_tables;
mod value_bombs;
mod wake_up;
mod watched_directory;
