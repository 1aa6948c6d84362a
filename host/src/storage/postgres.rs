//! Registry and read models in a PostgreSQL database.
//!
//! The registry is the schema `gnomon`, the tables of generation 7 of
//! `order_summary` are in the schema `gnomon_order_summary_7`, and readers use
//! views with the declared names in the schema `order_summary`.
//!
//! A leaf of an index holds 2,704 bytes: a key, or the values of an index with
//! the key, that are longer are refused here and not in SQLite.

use std::sync::Arc;

use gnomon_databases::connections::Connections;
use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::postgres::server::{Connection, Server};
use gnomon_databases::silence::Silence;

use self::error::failed;
use crate::registry::user_and_machine;
use crate::storage_error::StorageError;

mod any_text;
mod binary;
mod connection;
mod error;
mod failure;
mod migrations;
mod numeric;
mod read_models;
mod registry;
mod schema;
mod schemas;

/// Connections to a read-model database, unless the configuration says another
/// number.
pub(crate) const CONNECTIONS_MAX: usize = 20;

/// A PostgreSQL database that has a registry and read models.
#[derive(Clone)]
pub struct PostgresStorage {
    /// Whose actions are recorded.
    actor: Arc<str>,
    /// The URL without its password, for messages.
    place: Arc<str>,
    registry: Connections,
    writers: Connections,
    server: Server,
    silence: Arc<Silence>,
}

impl PostgresStorage {
    /// Connects, and makes the registry if it is missing.
    ///
    /// # Errors
    /// [`crate::storage_error::StorageErrorKind::Refused`] for a wrong password, a database or
    /// a right that is missing, or a registry of a newer Gnomon;
    /// [`crate::storage_error::StorageErrorKind::Retry`] if the server cannot be reached.
    pub async fn open(url: &PostgresUrl) -> Result<Self, StorageError> {
        let (place, server, mut first) = Self::connect(url).await?;
        schema::prepare(&mut first, &place).await?;
        Self::on(url, place, server, first).await
    }

    /// Connects if there is a registry, and makes nothing.
    ///
    /// # Errors
    /// As [`Self::open`], and if the registry is older than this Gnomon.
    pub async fn open_existing(url: &PostgresUrl) -> Result<Option<Self>, StorageError> {
        let (place, server, mut first) = Self::connect(url).await?;
        if !schema::is_prepared(&mut first, &place).await? {
            return Ok(None);
        }
        Self::on(url, place, server, first).await.map(Some)
    }

    async fn connect(url: &PostgresUrl) -> Result<(Arc<str>, Server, Connection), StorageError> {
        let place: Arc<str> = url.to_string().into();
        let server = connection::server(url, &place)?;
        // One connection outside the pools, which try again for a while.
        let first = server
            .connect()
            .await
            .map_err(failed(&place, "connect to"))?;
        Ok((place, server, first))
    }

    async fn on(
        url: &PostgresUrl,
        place: Arc<str>,
        server: Server,
        first: Connection,
    ) -> Result<Self, StorageError> {
        let connections_max = url.connections_max.unwrap_or(CONNECTIONS_MAX);
        let silence = Arc::default();
        let registry = connection::registry_pool(&server, connections_max, &silence);
        let _ = first.close().await;
        Ok(Self {
            actor: user_and_machine().into(),
            place,
            registry,
            writers: connection::writer_pool(&server, connections_max, &silence),
            server,
            silence,
        })
    }
}
