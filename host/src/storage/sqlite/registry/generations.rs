//! Generations in the registry.

use std::time::Duration;

use gnomon_databases::sqlite_file;
use gnomon_model::Position;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::control::end_rollbacks;
use super::lease::{is_ours, now, to_milliseconds};
use super::{modules, removal};
use crate::generation::{
    Generation, GenerationId, GenerationState, Goal, Lease, RunReport, RunState,
};
use crate::registry::NewGeneration;
use crate::registry::{
    StoredGeneration, check_newest, fenced, read_description, removed_projection,
    stored_description,
};
use crate::storage::sqlite::database::{Database, Failure, held};
use crate::storage::sqlite::error::shown;
use crate::storage::sqlite::read_models::dead_letters;
use crate::storage::sqlite::read_models::tables;
use crate::storage::sqlite::read_models::views::{Declared, taken_name};
use crate::storage_error::{StorageError, StorageErrorKind};

/// How long a comparison is kept before anybody has attended to it.
const UNATTENDED_FOR: Duration = Duration::from_secs(60);

pub(crate) fn create(
    database: &Database,
    new: NewGeneration<'_>,
) -> Result<Generation, StorageError> {
    database.write("create a generation in", |transaction| {
        let found: Option<i64> = transaction.query_row(
            "SELECT max(id) FROM gnomon_generations WHERE projection = ?1 AND state <> 'dropped'",
            [new.projection],
            |row| row.get(0),
        )?;
        check_newest(
            new.projection,
            new.newest,
            found.map(GenerationId::from_sql),
        )?;
        modules::check(transaction, new.module)?;
        let declared = Declared {
            projection: new.projection.to_owned(),
            description: new.description.clone(),
        };
        let live = live(transaction, new.projection)?.map(|(_, declared)| declared);
        let others = others(transaction, new.projection)?;
        if let Some(reason) = taken_name(
            transaction,
            &database.file,
            &declared,
            live.as_ref(),
            &others,
        )? {
            return Err(StorageError::new(StorageErrorKind::Refused, reason).into());
        }
        let is_removed =
            "SELECT 1 FROM gnomon_projections WHERE name = ?1 AND desired_state = 'removed'";
        if new.goal == Goal::Compare && transaction.prepare(is_removed)?.exists([new.projection])? {
            return Err(removed_projection(new.projection).into());
        }
        transaction.execute(
            "INSERT INTO gnomon_projections (name) VALUES (?1)
             ON CONFLICT DO UPDATE SET desired_state = 'running' WHERE desired_state = 'removed'",
            [new.projection],
        )?;
        transaction.execute(
            "DELETE FROM gnomon_dropped WHERE projection = ?1",
            [new.projection],
        )?;
        let replaced = drop_replaced(transaction, new)?;
        if new.goal.is_promotion() {
            end_rollbacks(transaction, new.projection, None)?;
        }
        let id = insert(transaction, new)?;
        for replaced in replaced {
            dead_letters::move_requests(transaction, replaced, id)?;
        }
        tables::create(transaction, id, new.description)?;
        let mut description = declared.description;
        new.projection.clone_into(&mut description.name);
        Ok(Generation {
            id,
            projection: declared.projection,
            copy_of: (new.description.name != new.projection).then(|| new.description.name.clone()),
            module: new.module.clone(),
            description,
            state: GenerationState::Building,
            goal: new.goal,
            until: new.until,
            obstacle: None,
            is_removed: false,
            checkpoint: new.start.clone(),
            position: Position::START,
            rate: None,
            retired_at: None,
            report: None,
            dead_letters: 0,
            applied_late: 0,
            changed_skips: 0,
            host: None,
        })
    })
}

/// Candidates make room for a candidate, comparisons for a comparison.
fn drop_replaced(
    transaction: &Transaction<'_>,
    new: NewGeneration<'_>,
) -> rusqlite::Result<Vec<GenerationId>> {
    let replaced = transaction
        .prepare(
            "SELECT id FROM gnomon_generations
             WHERE projection = ?1 AND state IN ('building', 'ready')
                 AND (goal = 'compare') = (?2 = 'compare')",
        )?
        .query_map([new.projection, new.goal.name()], |row| {
            Ok(GenerationId::from_sql(row.get(0)?))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for id in &replaced {
        removal::mark_dropped(transaction, *id)?;
    }
    Ok(replaced)
}

fn insert(transaction: &Transaction<'_>, new: NewGeneration<'_>) -> Result<GenerationId, Failure> {
    let id: i64 = transaction.query_row(
        concat!(
            "INSERT INTO gnomon_generations
                 (projection, module, version, state, goal, until, description, attended_until,
                  decided_by)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ",
            now!(),
            " + ?8, ?9) RETURNING id",
        ),
        params![
            new.projection,
            new.module.as_str(),
            new.description.version,
            GenerationState::Building.name(),
            new.goal.name(),
            new.until.map(Position::to_sql),
            stored_description(new.description)?,
            matches!(new.goal, Goal::Compare).then(|| to_milliseconds(UNATTENDED_FOR)),
            new.description.name,
        ],
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO gnomon_checkpoints (generation, checkpoint, position, epoch)
         VALUES (?1, ?2, ?3, 0)",
        params![id, new.start.as_str(), Position::START.to_sql()],
    )?;
    transaction.execute(
        "INSERT INTO gnomon_leases (generation, epoch, expires_at) VALUES (?1, 0, 0)",
        [id],
    )?;
    Ok(GenerationId::from_sql(id))
}

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

pub(super) fn set_ready(database: &Database, lease: Lease) -> Result<(), StorageError> {
    database.write("record a build's end in", |transaction| {
        if !is_ours(transaction, lease)? {
            return Err(fenced(lease.generation).into());
        }
        transaction.execute(
            "UPDATE gnomon_generations SET state = 'ready' WHERE id = ?1 AND state = 'building'",
            [lease.generation.to_sql()],
        )?;
        Ok(())
    })
}

/// The live generation of a projection and what it declares.
pub(crate) fn live(
    connection: &Connection,
    projection: &str,
) -> Result<Option<(GenerationId, Declared)>, Failure> {
    let found: Option<(i64, String)> = connection
        .query_row(
            "SELECT g.id, g.description
             FROM gnomon_generations g
             WHERE g.projection = ?1 AND g.state = 'live'",
            [projection],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((id, description)) = found else {
        return Ok(None);
    };
    let declared = Declared {
        projection: projection.to_owned(),
        description: read_description(&description)?,
    };
    Ok(Some((GenerationId::from_sql(id), declared)))
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
