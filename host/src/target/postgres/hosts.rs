//! The hosts that are there, by the database's clock.

use std::time::Duration;

use super::failure::Failure;
use super::lease::milliseconds;
use crate::connections::Connections;
use crate::target::{HostNotes, PresentHost, TargetError, TargetErrorKind};

/// Forgets hosts that left without a word, too.
pub(super) async fn announce(
    pool: &Connections,
    host: &str,
    notes: &HostNotes,
    duration: Duration,
) -> Result<(), Failure> {
    let notes = serde_json::to_string(notes).map_err(|error| {
        TargetError::caused(
            TargetErrorKind::Refused,
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

pub(super) async fn leave(pool: &Connections, host: &str) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM gnomon.hosts WHERE name = $1")
        .bind(host)
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
            let notes = serde_json::from_str(&notes).map_err(|error| {
                TargetError::caused(
                    TargetErrorKind::Refused,
                    format!("the registry holds notes of host `{name}` that cannot be read"),
                    error,
                )
            })?;
            Ok(PresentHost { name, notes })
        })
        .collect()
}
