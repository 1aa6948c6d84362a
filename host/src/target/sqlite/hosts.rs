//! The hosts that are there.

use std::time::Duration;

use rusqlite::params;

use super::database::Database;
use super::lease::{now, to_milliseconds};
use crate::target::{HostNotes, PresentHost, TargetError, TargetErrorKind};

/// Hosts that went without a word are forgotten by the way.
pub(super) fn announce(
    database: &Database,
    host: &str,
    notes: &HostNotes,
    duration: Duration,
) -> Result<(), TargetError> {
    let notes = serde_json::to_string(notes).map_err(|error| {
        TargetError::caused(
            TargetErrorKind::Refused,
            "the host's notes cannot be stored",
            error,
        )
    })?;
    database.write("announce a host in", |transaction| {
        transaction.execute(
            concat!("DELETE FROM gnomon_hosts WHERE expires_at <= ", now!()),
            [],
        )?;
        transaction.execute(
            concat!(
                "INSERT INTO gnomon_hosts (name, notes, expires_at) VALUES (?1, ?2, ",
                now!(),
                " + ?3) ON CONFLICT DO UPDATE
                 SET notes = excluded.notes, expires_at = excluded.expires_at",
            ),
            params![host, notes, to_milliseconds(duration)],
        )?;
        Ok(())
    })
}

pub(super) fn leave(database: &Database, host: &str) -> Result<(), TargetError> {
    database.write("take a host's name out of", |transaction| {
        transaction.execute("DELETE FROM gnomon_hosts WHERE name = ?1", [host])?;
        Ok(())
    })
}

pub(super) fn all(database: &Database) -> Result<Vec<PresentHost>, TargetError> {
    let stored: Vec<(String, String)> = database.read("read the hosts in", |connection| {
        connection
            .prepare_cached(concat!(
                "SELECT name, notes FROM gnomon_hosts WHERE expires_at > ",
                now!(),
                " ORDER BY name",
            ))?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })?;
    stored
        .into_iter()
        .map(|(name, notes)| {
            let notes = serde_json::from_str(&notes).map_err(|error| {
                TargetError::caused(
                    TargetErrorKind::Refused,
                    format!("the notes of host {name} cannot be read"),
                    error,
                )
            })?;
            Ok(PresentHost { name, notes })
        })
        .collect()
}
