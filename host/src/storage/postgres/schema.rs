//! The registry: whether it is there, and of which format.

use sqlx::{Connection, Executor, PgConnection};

use super::error::{LOCK_NOT_AVAILABLE, cause, failed, has_state};
use super::failure::Failure;
use super::migrations::MIGRATIONS;
use super::schemas;
use crate::storage::format::{FORMAT, check_format, check_is_current};
use crate::storage_error::{StorageError, StorageErrorKind};

/// Lets changes of structure, the registry's and the generations', happen one
/// at a time, until the transaction ends.
pub(super) async fn lock_structure(connection: &mut PgConnection) -> Result<(), Failure> {
    // The number spells `gnomon`.
    let locked = connection
        .execute("SELECT pg_advisory_xact_lock(113724013506414)")
        .await;
    match locked {
        Ok(_) => Ok(()),
        Err(error) if has_state(&error, LOCK_NOT_AVAILABLE) => Err(StorageError::caused(
            StorageErrorKind::Retry,
            "another Gnomon is making, promoting or dropping a generation in this database",
            cause(error),
        )
        .into()),
        Err(error) => Err(error.into()),
    }
}

/// Makes the registry if it is missing, brings it up to date if it is old, and
/// refuses one that is too new.
pub(super) async fn prepare(
    connection: &mut PgConnection,
    place: &str,
) -> Result<(), StorageError> {
    check_encoding(connection, place).await?;
    let format = migrate(connection)
        .await
        .map_err(|failure| failure.into_error(place, "prepare the registry in"))?;
    check_format(format, place)
}

/// Whether there is a registry, of this Gnomon's format. Nothing is changed.
pub(super) async fn is_prepared(
    connection: &mut PgConnection,
    place: &str,
) -> Result<bool, StorageError> {
    let format = stored_format(connection).await;
    match format.map_err(failed(place, "read the registry in"))? {
        None => Ok(false),
        Some(format) => check_is_current(format, place).map(|()| true),
    }
}

async fn migrate(connection: &mut PgConnection) -> Result<i64, Failure> {
    if let Some(format @ FORMAT..) = stored_format(connection).await? {
        return Ok(format);
    }
    let mut transaction = connection.begin().await?;
    lock_structure(&mut transaction).await?;
    // Another host may have been faster.
    let stored = stored_format(&mut transaction).await?;
    schemas::ensure(&mut transaction, "gnomon").await?;
    for (format, statements) in (1..).zip(MIGRATIONS) {
        if stored.is_none_or(|stored| stored < format) {
            transaction.execute(statements).await?;
        }
    }
    sqlx::query(
        "INSERT INTO gnomon.registry VALUES (true, $1)
         ON CONFLICT (only_row) DO UPDATE SET format = greatest(registry.format, excluded.format)",
    )
    .bind(FORMAT)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(stored.map_or(FORMAT, |stored| stored.max(FORMAT)))
}

async fn stored_format(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    // Not `to_regclass`: it may answer from a cache that does not know yet
    // what another session has just committed.
    let is_there: bool = sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'gnomon' AND c.relname = 'registry'
         )",
    )
    .fetch_one(&mut *connection)
    .await?;
    if !is_there {
        return Ok(None);
    }
    sqlx::query_scalar("SELECT format FROM gnomon.registry")
        .fetch_optional(connection)
        .await
}

/// Text of every language has to fit.
async fn check_encoding(connection: &mut PgConnection, place: &str) -> Result<(), StorageError> {
    let encoding: String = sqlx::query_scalar("SHOW server_encoding")
        .fetch_one(connection)
        .await
        .map_err(failed(place, "look at"))?;
    if encoding == "UTF8" {
        return Ok(());
    }
    Err(StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "{place} stores text as {encoding}, which cannot hold all of it; \
             use a database that was made with ENCODING 'UTF8'"
        ),
    ))
}
