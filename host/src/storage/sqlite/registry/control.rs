//! What users want: which module, paused or running, live or not, another
//! try, and requests about dead letters.

use std::time::Duration;

use gnomon_model::Position;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::lease::{now, to_milliseconds};
use super::modules;
use crate::generation::{GenerationId, GenerationState, Goal, ModuleHash, ObstacleKind};
use crate::registry::{Overview, SeenLease};
use crate::registry::{
    StoredControl, check_goal, dropped_projection, overtaken_by, unknown_generation,
    unknown_projection,
};
use crate::storage::sqlite::database::{Database, Failure};
use crate::storage_error::StorageError;

pub(super) fn overview(database: &Database) -> Result<Overview, StorageError> {
    let (stored, hosts) = database.read("read the controls in", |connection| {
        let hosts = connection
            .prepare_cached(concat!(
                "SELECT name FROM gnomon_hosts WHERE expires_at > ",
                now!(),
                " ORDER BY name",
            ))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        let stored = connection
            .prepare_cached(concat!(
                "SELECT p.name, g.id, g.module, g.state, g.goal, g.until,
                        CASE WHEN g.attended_until > ",
                now!(),
                " THEN g.stop_at END, p.desired_state = 'paused', p.resumes, coalesce((
                     SELECT max(r.id) FROM gnomon_dead_letter_requests r
                     WHERE r.generation = g.id), 0), coalesce((
                     SELECT o.skips FROM gnomon_projections o WHERE o.name = g.decided_by), 0),
                     l.host, coalesce(l.expires_at <= ",
                now!(),
                ", 1)
                 FROM gnomon_generations g JOIN gnomon_projections p ON p.name = g.projection
                 LEFT JOIN gnomon_leases l ON l.generation = g.id
                 WHERE g.state <> 'dropped' AND p.desired_state <> 'removed' ORDER BY g.id",
            ))?
            .query_map([], |row| {
                Ok(StoredControl {
                    projection: row.get(0)?,
                    generation: row.get(1)?,
                    module: row.get(2)?,
                    state: row.get(3)?,
                    goal: row.get(4)?,
                    until: row.get(5)?,
                    stop_at: row.get(6)?,
                    paused: row.get(7)?,
                    resumes: row.get(8)?,
                    requests: row.get(9)?,
                    skips: row.get(10)?,
                    lease: SeenLease {
                        holder: row.get(11)?,
                        has_lapsed: row.get(12)?,
                        requested_by: None,
                    },
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok((stored, hosts))
    })?;
    Ok(Overview {
        controls: stored
            .into_iter()
            .map(StoredControl::read)
            .collect::<Result<_, _>>()?,
        hosts,
    })
}

/// The state of a generation in a column of a row.
pub(crate) fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<GenerationState> {
    let name: String = row.get(column)?;
    GenerationState::from_name(&name).ok_or_else(|| unreadable(column, &name, "state"))
}

/// The goal of a generation in a column of a row.
pub(crate) fn goal(row: &Row<'_>, column: usize) -> rusqlite::Result<Goal> {
    let name: String = row.get(column)?;
    Goal::from_name(&name).ok_or_else(|| unreadable(column, &name, "goal"))
}

fn unreadable(column: usize, found: &str, what: &str) -> rusqlite::Error {
    let reason = format!("`{found}` is not a {what}");
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, reason.into())
}

pub(super) fn set_module(
    database: &Database,
    generations: &[GenerationId],
    module: &ModuleHash,
) -> Result<(), StorageError> {
    database.write("change a module in", |transaction| {
        modules::check(transaction, module)?;
        for generation in generations {
            let replaced: Option<String> = transaction
                .query_row(
                    "SELECT module FROM gnomon_generations WHERE id = ?1",
                    [generation.to_sql()],
                    |row| row.get(0),
                )
                .optional()?;
            if let Some(replaced) = replaced {
                modules::keep(transaction, &replaced)?;
            }
            transaction.execute(
                "UPDATE gnomon_generations SET module = ?2 WHERE id = ?1",
                params![generation.to_sql(), module.as_str()],
            )?;
        }
        let ids: Vec<i64> = generations.iter().map(|id| id.to_sql()).collect();
        transaction.execute(
            "UPDATE gnomon_generations SET run_state = NULL, cause = NULL
             WHERE run_state = 'halted' AND projection IN (
                 SELECT projection FROM gnomon_generations
                 WHERE id IN (SELECT value FROM json_each(?1)))",
            [format!("{ids:?}")],
        )?;
        transaction.execute(
            "UPDATE gnomon_projections SET resumes = resumes + 1 WHERE name IN (
                 SELECT projection FROM gnomon_generations
                 WHERE id IN (SELECT value FROM json_each(?1)))",
            [format!("{ids:?}")],
        )?;
        Ok(())
    })
}

pub(super) fn set_goal(
    database: &Database,
    generation: GenerationId,
    goal: Goal,
) -> Result<(), StorageError> {
    database.write("record a goal in", |transaction| {
        let found = transaction
            .query_row(
                "SELECT state, goal, projection FROM gnomon_generations
                 WHERE id = ?1 AND state <> 'dropped'",
                [generation.to_sql()],
                |row| Ok((self::state(row, 0)?, self::goal(row, 1)?, row.get(2)?)),
            )
            .optional()?;
        let Some((state, before, projection)) = found else {
            return Err(unknown_generation(generation).into());
        };
        check_goal(generation, state, before, goal)?;
        transaction.execute(
            "UPDATE gnomon_generations
             SET goal = ?2, obstacle = NULL, obstacle_kind = NULL, insisted = ?3 WHERE id = ?1",
            params![generation.to_sql(), goal.name(), goal.is_promotion()],
        )?;
        let projection: String = projection;
        if goal.is_promotion() {
            end_rollbacks(transaction, &projection, Some(generation))?;
            transaction.execute(
                "UPDATE gnomon_generations SET goal = 'hold', obstacle = ?3, obstacle_kind = ?4
                 WHERE projection = ?1 AND id <> ?2 AND state IN ('building', 'ready')
                     AND goal IN ('promote', 'promote-cascade')",
                params![
                    projection,
                    generation.to_sql(),
                    overtaken_by(&projection, generation),
                    ObstacleKind::Overtaken.name(),
                ],
            )?;
        }
        Ok(())
    })
}

/// Ends the rollbacks of a projection that are wanted, but for the one to this
/// generation.
pub(super) fn end_rollbacks(
    transaction: &Transaction<'_>,
    projection: &str,
    except: Option<GenerationId>,
) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE gnomon_generations SET goal = 'rest', obstacle = NULL, obstacle_kind = NULL
         WHERE projection = ?1 AND state = 'retired' AND goal <> 'rest' AND id IS NOT ?2",
        params![projection, except.map(GenerationId::to_sql)],
    )?;
    Ok(())
}

pub(super) fn attend(
    database: &Database,
    generation: GenerationId,
    stop_at: Option<Position>,
    duration: Duration,
) -> Result<(), StorageError> {
    database.write("attend to a generation in", |transaction| {
        let found = transaction.execute(
            concat!(
                "UPDATE gnomon_generations SET stop_at = ?2, attended_until = ",
                now!(),
                " + ?3 WHERE id = ?1 AND state <> 'dropped'",
            ),
            params![
                generation.to_sql(),
                stop_at.map(Position::to_sql),
                to_milliseconds(duration)
            ],
        )?;
        match found {
            0 => Err(unknown_generation(generation).into()),
            _ => Ok(()),
        }
    })
}

pub(super) fn pause(database: &Database, projection: &str) -> Result<(), StorageError> {
    let change = "UPDATE gnomon_projections SET desired_state = 'paused'
                  WHERE name = ?1 AND desired_state <> 'removed'";
    database.write("control a projection in", |transaction| {
        change_one(transaction, projection, change)
    })
}

pub(super) fn resume(database: &Database, projection: &str) -> Result<(), StorageError> {
    let change = "UPDATE gnomon_projections
                  SET desired_state = 'running', resumes = resumes + 1 WHERE name = ?1";
    database.write("control a projection in", |transaction| {
        forget_halts(transaction, projection)?;
        change_one(transaction, projection, change)
    })
}

/// What a generation halted on is tried again, so it is no longer where it
/// stands, also before a host has heard of it.
pub(super) fn forget_halts(connection: &Connection, projection: &str) -> rusqlite::Result<()> {
    connection.execute(
        "UPDATE gnomon_generations SET run_state = NULL, cause = NULL
         WHERE run_state = 'halted' AND projection = ?1",
        [projection],
    )?;
    Ok(())
}

pub(crate) fn remove(database: &Database, projection: &str) -> Result<(), StorageError> {
    database.write("remove a projection in", |transaction| {
        let change = "UPDATE gnomon_projections SET desired_state = 'removed' WHERE name = ?1";
        if transaction.execute(change, [projection])? == 0 {
            return Err(unknown_projection(projection).into());
        }
        Ok(end_rollbacks(transaction, projection, None)?)
    })
}

fn change_one(connection: &Connection, projection: &str, change: &str) -> Result<(), Failure> {
    if connection.execute(change, [projection])? > 0 {
        return Ok(());
    }
    let was_dropped = connection
        .prepare("SELECT 1 FROM gnomon_dropped WHERE projection = ?1")?
        .exists([projection])?;
    Err(if was_dropped {
        dropped_projection(projection).into()
    } else {
        unknown_projection(projection).into()
    })
}
