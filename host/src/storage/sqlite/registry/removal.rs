//! Dropping generations.
//!
//! First a generation is marked and its lease taken away, so that everybody
//! stops; then its tables go, each in a transaction of its own, as nobody else
//! can write meanwhile; then its record. Whoever is interrupted leaves the
//! mark, and [`tidy`] goes on from there.

use rusqlite::{Connection, OptionalExtension, Transaction};

use super::control::state;
use super::generations::live;
use super::lease::now;
use super::modules;
use crate::generation::{GenerationId, GenerationState};
use crate::registry::unknown_projection;
use crate::storage::sqlite::database::Database;
use crate::storage::sqlite::read_models::tables;
use crate::storage::sqlite::read_models::views;
use crate::storage_error::{StorageError, StorageErrorKind};

/// What is not needed any more. ?1 is how many retired generations of a
/// projection are.
const UNNEEDED: &str = concat!(
    "SELECT id FROM (
         SELECT id, state, goal, attended_until, row_number() OVER (
             PARTITION BY projection, state, goal ORDER BY retired_at DESC, id DESC) AS place
         FROM gnomon_generations)
     WHERE state = 'dropped'
         OR (state = 'retired' AND goal = 'rest' AND place > ?1)
         OR (state IN ('building', 'ready') AND goal = 'compare' AND attended_until < ",
    now!(),
    ") ORDER BY id"
);

/// Marks a generation as dropped; whoever runs it can neither commit nor go on.
pub(super) fn mark_dropped(
    transaction: &Transaction<'_>,
    generation: GenerationId,
) -> rusqlite::Result<()> {
    for change in [
        "UPDATE gnomon_generations SET state = 'dropped' WHERE id = ?1",
        "UPDATE gnomon_checkpoints SET epoch = epoch + 1 WHERE generation = ?1",
        "DELETE FROM gnomon_leases WHERE generation = ?1",
    ] {
        transaction.execute(change, [generation.to_sql()])?;
    }
    Ok(())
}

pub(super) fn drop_generation(
    database: &Database,
    generation: GenerationId,
) -> Result<(), StorageError> {
    database.write("drop a generation in", |transaction| {
        let found = transaction
            .query_row(
                "SELECT state FROM gnomon_generations WHERE id = ?1",
                [generation.to_sql()],
                |row| state(row, 0),
            )
            .optional()?;
        if found == Some(GenerationState::Live) {
            return Err(StorageError::new(
                StorageErrorKind::Refused,
                format!("generation {generation} is live; readers see it"),
            )
            .into());
        }
        Ok(mark_dropped(transaction, generation)?)
    })?;
    finish(database, generation)
}

pub(super) fn tidy(database: &Database, keep: usize) -> Result<Vec<GenerationId>, StorageError> {
    let keep = i64::try_from(keep).unwrap_or(i64::MAX);
    let (has_unneeded, has_unused) = database.read("look for what to drop in", |connection| {
        Ok((
            !unneeded(connection, keep)?.is_empty(),
            connection.prepare_cached(modules::UNUSED)?.exists([])?,
        ))
    })?;
    let mut dropped = Vec::new();
    if has_unneeded {
        dropped = database.write("drop generations in", |transaction| {
            let unneeded = unneeded(transaction, keep)?;
            for generation in &unneeded {
                mark_dropped(transaction, *generation)?;
            }
            Ok(unneeded)
        })?;
    }
    for generation in &dropped {
        finish(database, *generation)?;
    }
    if has_unused {
        modules::drop_unused(database)?;
    }
    Ok(dropped)
}

fn unneeded(connection: &Connection, keep: i64) -> rusqlite::Result<Vec<GenerationId>> {
    connection
        .prepare_cached(UNNEEDED)?
        .query_map([keep], |row| Ok(GenerationId::from_sql(row.get(0)?)))?
        .collect()
}

pub(super) fn drop_projection(
    database: &Database,
    projection: &str,
    cascade: bool,
) -> Result<(), StorageError> {
    let generations = database.write("drop a projection in", |transaction| {
        let change = "UPDATE gnomon_projections SET desired_state = 'removed' WHERE name = ?1";
        if transaction.execute(change, [projection])? == 0 {
            return Err(unknown_projection(projection).into());
        }
        if let Some((_, declared)) = live(transaction, projection)? {
            let broken = views::replace(transaction, Some(&declared), None)?;
            if !broken.is_empty() && !cascade {
                return Err(StorageError::new(
                    StorageErrorKind::Refused,
                    format!(
                        "projection `{projection}` cannot be dropped, as {} stands on its tables; \
                         drop that first, or let `gnomon remove {projection} --drop --cascade` drop it",
                        broken.join(" and "),
                    ),
                )
                .into());
            }
        }
        let generations = transaction
            .prepare("SELECT id FROM gnomon_generations WHERE projection = ?1")?
            .query_map([projection], |row| Ok(GenerationId::from_sql(row.get(0)?)))?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        for generation in &generations {
            mark_dropped(transaction, *generation)?;
        }
        transaction.execute(
            "INSERT INTO gnomon_dropped (projection, dropped_at)
             VALUES (?1, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
             ON CONFLICT DO UPDATE SET dropped_at = excluded.dropped_at",
            [projection],
        )?;
        forget_projection(transaction, projection)?;
        Ok(generations)
    })?;
    for generation in generations {
        finish(database, generation)?;
    }
    Ok(())
}

/// When a projection was dropped that has not come back since, in microseconds
/// since the Unix epoch.
pub(crate) fn dropped_at(
    database: &Database,
    projection: &str,
) -> Result<Option<i64>, StorageError> {
    database.read("look for a dropped projection in", |connection| {
        connection
            .query_row(
                "SELECT dropped_at FROM gnomon_dropped WHERE projection = ?1",
                [projection],
                |row| row.get(0),
            )
            .optional()
    })
}

/// Drops the tables of a generation that is marked, and then its record.
fn finish(database: &Database, generation: GenerationId) -> Result<(), StorageError> {
    let drops = database.read("look for tables in", |connection| {
        tables::drops(connection, generation)
    })?;
    for drop in drops {
        database.write("drop a table in", |transaction| {
            Ok(transaction.execute_batch(&drop)?)
        })?;
    }
    database.write("drop a generation in", |transaction| {
        for table in [
            "gnomon_dead_letters",
            "gnomon_dead_letter_requests",
            "gnomon_met_skips",
            "gnomon_leases",
            "gnomon_checkpoints",
        ] {
            let delete = format!("DELETE FROM {table} WHERE generation = ?1");
            transaction.execute(&delete, [generation.to_sql()])?;
        }
        let dropped: Option<(String, String)> = transaction
            .query_row(
                "DELETE FROM gnomon_generations WHERE id = ?1 RETURNING projection, module",
                [generation.to_sql()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        if let Some((projection, module)) = dropped {
            modules::keep(transaction, &module)?;
            forget_projection(transaction, &projection)?;
        }
        Ok(())
    })
}

/// Forgets a projection that was removed with all its generations.
fn forget_projection(transaction: &Transaction<'_>, projection: &str) -> rusqlite::Result<()> {
    let forgotten = transaction.execute(
        "DELETE FROM gnomon_projections WHERE name = ?1 AND desired_state = 'removed'
             AND NOT EXISTS (SELECT 1 FROM gnomon_generations WHERE projection = ?1)",
        [projection],
    )?;
    if forgotten > 0 {
        transaction.execute(
            "DELETE FROM gnomon_skips WHERE projection = ?1",
            [projection],
        )?;
    }
    Ok(())
}
