//! What source, event store and target share of PostgreSQL: how a server is
//! reached, how connections are made and shared, and what its errors mean.

pub(crate) mod error;
pub(crate) mod room;
pub(crate) mod server;
pub(crate) mod sessions;
