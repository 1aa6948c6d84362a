//! What source, event store and target share of PostgreSQL: how a server is
//! reached, how connections are made and shared, and what its errors mean.

pub mod copy_format;
pub mod error;
pub mod room;
pub mod server;
pub mod sessions;
