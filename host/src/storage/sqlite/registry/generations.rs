//! Generations in the registry: how they are read.

use gnomon_databases::sqlite_file;
use rusqlite::{Connection, OptionalExtension};

use super::lease::now;
use crate::generation::{Generation, GenerationId, RunReport, RunState};
use crate::registry::{StoredGeneration, read_description};
use crate::storage::sqlite::database::{Database, Failure, held};
use crate::storage::sqlite::error::shown;
use crate::storage::sqlite::read_models::views::Declared;
use crate::storage_error::StorageError;

pub(crate) fn all(database: &Database) -> Result<Vec<Generation>, StorageError> {
    let stored = database.read("read the registry of", |connection| {
        connection
            .prepare_cached(concat!(
                "SELECT g.id, g.projection, g.module, g.description, g.state, g.goal, g.until,
                        g.obstacle, g.obstacle_kind, p.desired_state = 'removed',
                        fresh.rate, fresh.event_rate,
                        g.retired_at, g.run_state, g.cause, c.checkpoint, c.position,
                        CASE WHEN l.expires_at > ",
                now!(),
                " THEN l.host END,
                        (SELECT count(*) FROM gnomon_dead_letters d WHERE d.generation = g.id),
                        c.applied_late,
                        (SELECT count(*) FROM gnomon_skips s
                 WHERE s.projection = g.decided_by AND s.position <= c.position
                     AND NOT EXISTS (SELECT 1 FROM gnomon_met_skips m
                         WHERE m.generation = g.id AND m.position = s.position)
                     AND NOT EXISTS (SELECT 1 FROM gnomon_dead_letters d
                         WHERE d.generation = g.id AND d.position = s.position))
                + (SELECT count(*) FROM gnomon_met_skips m
                   WHERE m.generation = g.id AND m.outcome = 'skipped'
                       AND NOT EXISTS (SELECT 1 FROM gnomon_skips s
                           WHERE s.projection = g.decided_by AND s.position = m.position))
                 FROM gnomon_generations g
                 JOIN gnomon_projections p ON p.name = g.projection
                 JOIN gnomon_checkpoints c ON c.generation = g.id
                 JOIN gnomon_leases l ON l.generation = g.id
                 LEFT JOIN gnomon_checkpoints fresh ON fresh.generation = g.id
                     AND fresh.updated_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', CASE g.state
                         -- It writes only every ten seconds.
                         WHEN 'building' THEN '-15 seconds' ELSE '-5 seconds' END)
                 WHERE g.state <> 'dropped'
                 ORDER BY g.projection, g.id",
            ))?
            .query_map([], |row| {
                Ok(StoredGeneration {
                    id: row.get(0)?,
                    projection: row.get(1)?,
                    module: row.get(2)?,
                    description: row.get(3)?,
                    state: row.get(4)?,
                    goal: row.get(5)?,
                    until: row.get(6)?,
                    obstacle: row.get(7)?,
                    obstacle_kind: row.get(8)?,
                    is_removed: row.get(9)?,
                    rate: row.get(10)?,
                    event_rate: row.get(11)?,
                    retired_at: row.get(12)?,
                    run_state: row.get(13)?,
                    cause: row.get(14)?,
                    checkpoint: row.get(15)?,
                    position: row.get(16)?,
                    host: row.get(17)?,
                    dead_letters: row.get(18)?,
                    applied_late: row.get(19)?,
                    changed_skips: row.get(20)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    })?;
    let note = held(&database.host_lock).read_note();
    let mut generations = Vec::with_capacity(stored.len());
    for stored in stored {
        let mut generation = stored.read()?;
        if let Some(note) = &note
            && let Some(report) = note.of(generation.id)
        {
            generation.report = Some(report);
            generation.host = Some(note.host.clone());
        }
        generations.push(generation);
    }
    let lacks_host = |generation: &Generation| generation.is_active() && generation.host.is_none();
    if generations.iter().any(lacks_host) {
        silent_host(database, &mut generations)?;
    }
    Ok(generations)
}

/// A host that cannot write cannot say so in the file, and its leases run out
/// there. It is there as long as it has the lock beside the file.
fn silent_host(database: &Database, generations: &mut [Generation]) -> Result<(), StorageError> {
    let Some(holder) = held(&database.host_lock).holder() else {
        return Ok(());
    };
    let leases: Vec<(i64, String)> = database.read("read the leases in", |connection| {
        connection
            .prepare_cached(concat!(
                "SELECT generation, host FROM gnomon_leases \
                 WHERE host IS NOT NULL AND expires_at <= ",
                now!()
            ))?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })?;
    let file = shown(&database.file);
    let what = match sqlite_file::writer(&database.file).filter(|writer| *writer != holder) {
        Some(writer) => format!(
            "waits to write to {file}: {} has it locked, and has to end its transaction",
            sqlite_file::process_name(writer)
        ),
        None => format!("has not written to {file} in time: it is busy, stopped, or waits for it"),
    };
    for (id, host) in leases {
        let found = (generations.iter_mut()).find(|generation| generation.id.to_sql() == id);
        let Some(generation) = found.filter(|generation| generation.host.is_none()) else {
            continue;
        };
        let said = generation.report.as_ref().map(|report| report.state);
        if !matches!(said, Some(RunState::Halted | RunState::Paused)) {
            generation.report = Some(RunReport {
                state: RunState::Retrying,
                cause: Some(format!(
                    "its host, {}, {what}",
                    sqlite_file::process_name(holder)
                )),
            });
        }
        generation.host = Some(host);
    }
    Ok(())
}

/// What the live generation of a projection declares.
pub(super) fn live(connection: &Connection, projection: &str) -> Result<Option<Declared>, Failure> {
    let found: Option<String> = connection
        .query_row(
            "SELECT description FROM gnomon_generations WHERE projection = ?1 AND state = 'live'",
            [projection],
            |row| row.get(0),
        )
        .optional()?;
    let Some(description) = found else {
        return Ok(None);
    };
    Ok(Some(Declared {
        projection: projection.to_owned(),
        description: read_description(&description)?,
    }))
}

/// What a generation declares.
pub(super) fn declared(
    connection: &Connection,
    generation: GenerationId,
) -> Result<Declared, Failure> {
    let (projection, description): (String, String) = connection.query_row(
        "SELECT projection, description FROM gnomon_generations WHERE id = ?1",
        [generation.to_sql()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(Declared {
        projection,
        description: read_description(&description)?,
    })
}

/// What all other projections declare that show it or are about to.
pub(crate) fn others(connection: &Connection, projection: &str) -> Result<Vec<Declared>, Failure> {
    let stored = connection
        .prepare(
            "SELECT DISTINCT g.projection, g.description
             FROM gnomon_generations g
             WHERE g.projection <> ?1 AND g.state IN ('building', 'ready', 'live')
             ORDER BY g.projection",
        )?
        .query_map([projection], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    stored
        .into_iter()
        .map(|(projection, description)| {
            Ok(Declared {
                projection,
                description: read_description(&description)?,
            })
        })
        .collect()
}
