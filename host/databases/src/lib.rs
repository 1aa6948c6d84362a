//! Connections, URLs and errors of PostgreSQL and SQLite, for everything that
//! stores something there.
//!
//! * [`database_url`]: where a database is, and how it is reached.
//! * [`postgres`]: servers, sessions, and what their errors mean;
//!   [`connections`]: pools of connections; [`silence`]: a network that no
//!   longer answers.
//! * [`sqlite_file`]: files, and why one cannot be written.
//! * [`process_limits`], [`spelling`], [`error_chain`]: what the messages about
//!   them need.
//!
//! Event store, read models and registry stand on this crate; it knows none of
//! them.

#![cfg_attr(
    test,
    allow(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod connections;
pub mod database_url;
pub mod error_chain;
pub mod postgres;
pub mod process_limits;
pub mod silence;
pub mod spelling;
pub mod sqlite_file;
#[doc(hidden)]
pub mod test_database;
