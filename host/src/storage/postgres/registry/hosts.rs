//! The hosts that are there, by the database's clock.

use std::time::Duration;

use gnomon_databases::connections::Connections;

use super::lease::milliseconds;
use crate::registry::{HostNotes, PresentHost};
use crate::storage::postgres::failure::Failure;
use crate::storage_error::{StorageError, StorageErrorKind};

/// Forgets hosts that left without a word, too.
pub(super) async fn announce(
    pool: &Connections,
    host: &str,
    notes: &HostNotes,
    duration: Duration,
) -> Result<(), Failure> {
    let notes = serde_json::to_string(notes).map_err(|error| {
        StorageError::caused(
            StorageErrorKind::Refused,
            "the host's notes cannot be stored",
            error,
        )
    })?;
    sqlx::query(
        "WITH forgotten AS (
             DELETE FROM gnomon.hosts WHERE name IN (
                 SELECT name FROM gnomon.hosts
                 WHERE expires_at < clock_timestamp() AND name <> $1 FOR UPDATE SKIP LOCKED)
         )
         INSERT INTO gnomon.hosts (name, notes, expires_at)
         VALUES ($1, $2, clock_timestamp() + $3 * interval '1 ms')
         ON CONFLICT (name) DO UPDATE
         SET notes = excluded.notes, expires_at = excluded.expires_at",
    )
    .bind(host)
    .bind(notes)
    .bind(milliseconds(duration))
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn present(pool: &Connections) -> Result<Vec<PresentHost>, Failure> {
    let hosts: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, notes FROM gnomon.hosts
         WHERE expires_at > clock_timestamp() ORDER BY name COLLATE \"C\"",
    )
    .fetch_all(pool)
    .await?;
    hosts
        .into_iter()
        .map(|(name, notes)| {
            let notes = read(&name, &notes)?;
            Ok(PresentHost { name, notes })
        })
        .collect()
}

pub(super) async fn last_notes(pool: &Connections) -> Result<Vec<HostNotes>, Failure> {
    let stored: Vec<(String, String)> = sqlx::query_as(
        "SELECT name, notes FROM gnomon.hosts
         WHERE expires_at > clock_timestamp() OR NOT EXISTS (
             SELECT 1 FROM gnomon.hosts WHERE expires_at > clock_timestamp())
         ORDER BY name COLLATE \"C\"",
    )
    .fetch_all(pool)
    .await?;
    let notes = stored.iter();
    Ok(notes
        .map(|(name, notes)| read(name, notes))
        .collect::<Result<_, _>>()?)
}

fn read(host: &str, notes: &str) -> Result<HostNotes, StorageError> {
    serde_json::from_str(notes).map_err(|error| {
        StorageError::caused(
            StorageErrorKind::Refused,
            format!("the registry holds notes of host `{host}` that cannot be read"),
            error,
        )
    })
}
