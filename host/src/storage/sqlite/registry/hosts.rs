//! The hosts that are there.

use std::time::Duration;

use rusqlite::params;

use super::lease::{now, to_milliseconds};
use crate::registry::{HostNotes, PresentHost};
use crate::storage::sqlite::database::{Database, held};
use crate::storage_error::{StorageError, StorageErrorKind};

/// Hosts that went without a word are forgotten by the way.
pub(super) fn announce(
    database: &Database,
    host: &str,
    notes: &HostNotes,
    duration: Duration,
) -> Result<(), StorageError> {
    let notes = serde_json::to_string(notes).map_err(|error| {
        StorageError::caused(
            StorageErrorKind::Refused,
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
    })?;
    if duration.is_zero() {
        held(&database.host_lock).forget_note();
    }
    Ok(())
}

pub(crate) fn all(database: &Database) -> Result<Vec<PresentHost>, StorageError> {
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
    // One that cannot write cannot say that it is there.
    let is_silent = stored.is_empty() && held(&database.host_lock).holder().is_some();
    let stored = match is_silent {
        true => last(database)?,
        false => stored,
    };
    let mut hosts = stored
        .into_iter()
        .map(|(name, notes)| {
            let notes = read(&name, &notes)?;
            Ok(PresentHost { name, notes })
        })
        .collect::<Result<Vec<_>, StorageError>>()?;
    // One that starts says it beside the file.
    let note = held(&database.host_lock).read_note();
    if let Some(note) = note.filter(|note| hosts.is_empty() && !note.host.is_empty()) {
        hosts.push(PresentHost {
            name: note.host,
            notes: HostNotes::default(),
        });
    }
    Ok(hosts)
}

/// The host that spoke last.
fn last(database: &Database) -> Result<Vec<(String, String)>, StorageError> {
    database.read("read the hosts in", |connection| {
        connection
            .prepare_cached(
                "SELECT name, notes FROM gnomon_hosts ORDER BY expires_at DESC LIMIT 1",
            )?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })
}

pub(super) fn last_notes(database: &Database) -> Result<Vec<HostNotes>, StorageError> {
    let stored: Vec<(String, String)> = database.read("read the hosts in", |connection| {
        connection
            .prepare_cached(concat!(
                "SELECT name, notes FROM gnomon_hosts WHERE expires_at > ",
                now!(),
                " OR NOT EXISTS (SELECT 1 FROM gnomon_hosts WHERE expires_at > ",
                now!(),
                ") ORDER BY name",
            ))?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })?;
    let notes = stored.iter();
    notes.map(|(name, notes)| read(name, notes)).collect()
}

fn read(host: &str, notes: &str) -> Result<HostNotes, StorageError> {
    serde_json::from_str(notes).map_err(|error| {
        StorageError::caused(
            StorageErrorKind::Refused,
            format!("the notes of host {host} cannot be read"),
            error,
        )
    })
}
