//! Modules in the registry. `added_at` is when one was last added or let go.

use gnomon_databases::connections::Connections;
use sqlx::PgConnection;

use crate::generation::{GenerationId, Module, ModuleHash};
use crate::registry::{read_description, stored_description, unknown_module};
use crate::storage::postgres::failure::Failure;

/// One that is there counts as used, so that it is not deleted before its
/// generation is made.
pub(crate) async fn add(pool: &Connections, module: &Module) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO gnomon.modules (hash, description, bytes) VALUES ($1, $2, $3)
         ON CONFLICT (hash) DO UPDATE SET added_at = now()",
    )
    .bind(module.hash.as_str())
    .bind(stored_description(&module.description)?)
    .bind(module.bytes.as_slice())
    .execute(pool)
    .await?;
    Ok(())
}

pub(crate) async fn get(pool: &Connections, hash: &ModuleHash) -> Result<Option<Module>, Failure> {
    let stored: Option<(String, Vec<u8>)> =
        sqlx::query_as("SELECT description, bytes FROM gnomon.modules WHERE hash = $1")
            .bind(hash.as_str())
            .fetch_optional(pool)
            .await?;
    Ok(match stored {
        None => None,
        Some((description, bytes)) => Some(Module {
            hash: hash.clone(),
            bytes,
            description: read_description(&description)?,
        }),
    })
}

/// Keeps a module from being deleted until the transaction ends.
pub(crate) async fn hold(connection: &mut PgConnection, hash: &ModuleHash) -> Result<(), Failure> {
    let found = sqlx::query("SELECT 1 FROM gnomon.modules WHERE hash = $1 FOR KEY SHARE")
        .bind(hash.as_str())
        .fetch_optional(connection)
        .await?;
    match found {
        Some(_) => Ok(()),
        None => Err(unknown_module(hash).into()),
    }
}

/// Makes a generation run another module.
pub(super) async fn set(
    connection: &mut PgConnection,
    generation: GenerationId,
    hash: &ModuleHash,
) -> Result<(), Failure> {
    hold(connection, hash).await?;
    release(connection, generation).await?;
    sqlx::query("UPDATE gnomon.generations SET module = $2 WHERE id = $1")
        .bind(generation.to_sql())
        .bind(hash.as_str())
        .execute(connection)
        .await?;
    Ok(())
}

/// Says that the module of a generation was in use until now.
pub(super) async fn release(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE gnomon.modules SET added_at = now()
         WHERE hash = (SELECT module FROM gnomon.generations WHERE id = $1)",
    )
    .bind(generation.to_sql())
    .execute(connection)
    .await?;
    Ok(())
}

/// Deletes those of these modules that no generation refers to.
pub(super) async fn delete_unused(pool: &Connections, hashes: &[String]) -> sqlx::Result<()> {
    let mut transaction = pool.begin().await?;
    // A generation that is being made holds its module.
    let free: Vec<String> = sqlx::query_scalar(
        "SELECT hash FROM gnomon.modules WHERE hash = ANY ($1) FOR UPDATE SKIP LOCKED",
    )
    .bind(hashes)
    .fetch_all(&mut *transaction)
    .await?;
    sqlx::query(
        "DELETE FROM gnomon.modules m WHERE hash = ANY ($1)
         AND NOT EXISTS (SELECT 1 FROM gnomon.generations g WHERE g.module = m.hash)",
    )
    .bind(free)
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await
}
