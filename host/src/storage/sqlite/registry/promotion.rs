//! Promotion: in one transaction, the only one that writes.

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::control::{end_rollbacks, goal, state};
use super::generations::{live, others};
use crate::generation::{GenerationId, GenerationState, Goal, ObstacleKind};
use crate::registry::Promotion;
use crate::registry::{parked_alone, promoting, read_description};
use crate::storage::sqlite::database::{Database, Failure};
use crate::storage::sqlite::read_models::dead_letters;
use crate::storage::sqlite::read_models::views::{self, Declared};
use crate::storage_error::StorageError;

/// A generation that is wanted live.
struct Wanted {
    id: GenerationId,
    state: GenerationState,
    goal: Goal,
    /// Whether it may stand behind the one that it replaces.
    may_be_behind: bool,
    /// Whether somebody asked for it by name.
    is_insisted: bool,
    declared: Declared,
}

pub(crate) fn promote(
    database: &Database,
    generation: GenerationId,
) -> Result<Promotion, StorageError> {
    database.write("promote a generation in", |transaction| {
        let Some(wanted) = wanted(transaction, generation)? else {
            return Ok(Promotion::NotWanted);
        };
        if wanted.state == GenerationState::Live {
            return Ok(Promotion::Done);
        }
        let live = live(transaction, &wanted.declared.projection)?;
        if let Some((live, _)) = &live
            && !wanted.may_be_behind
            && is_behind(transaction, wanted.id, *live)?
        {
            return Ok(Promotion::Behind);
        }
        if let Some((live, _)) = &live
            && let Some(reason) = held(transaction, &wanted, *live)?
        {
            give_up(transaction, &wanted, &reason)?;
            return Ok(Promotion::Refused(reason));
        }
        transaction.execute_batch("SAVEPOINT before_the_switch")?;
        let shown = live.as_ref().map(|(_, declared)| declared);
        if let Some(reason) = switch(database, transaction, &wanted, shown)? {
            transaction.execute_batch("ROLLBACK TO before_the_switch")?;
            give_up(transaction, &wanted, &reason)?;
            return Ok(Promotion::Refused(reason));
        }
        record(transaction, wanted.id, live.map(|(live, _)| live))?;
        end_rollbacks(transaction, &wanted.declared.projection, None)?;
        Ok(Promotion::Done)
    })
}

/// The generation, if it is live or somebody wants it to be.
fn wanted(connection: &Connection, generation: GenerationId) -> Result<Option<Wanted>, Failure> {
    let found = connection
        .query_row(
            "SELECT g.state, g.goal, g.until IS NOT NULL, g.projection, g.description, g.insisted
             FROM gnomon_generations g
             JOIN gnomon_projections p ON p.name = g.projection
             WHERE g.id = ?1 AND p.desired_state <> 'removed'",
            [generation.to_sql()],
            |row| {
                let description: String = row.get(4)?;
                Ok((
                    state(row, 0)?,
                    goal(row, 1)?,
                    row.get(2)?,
                    row.get(3)?,
                    description,
                    row.get(5)?,
                ))
            },
        )
        .optional()?;
    let Some((state, goal, has_end, projection, description, is_insisted)) = found else {
        return Ok(None);
    };
    let has_end: bool = has_end;
    let can_be_promoted = goal.is_promotion() && state != GenerationState::Dropped;
    if state != GenerationState::Live && !can_be_promoted {
        return Ok(None);
    }
    let declared = Declared {
        projection,
        description: read_description(&description)?,
    };
    Ok(Some(Wanted {
        id: generation,
        state,
        goal,
        may_be_behind: has_end || declared.is_copy(),
        is_insisted,
        declared,
    }))
}

fn is_behind(
    connection: &Connection,
    generation: GenerationId,
    live: GenerationId,
) -> rusqlite::Result<bool> {
    connection.query_row(
        // One that has read what the store has lost can be any distance ahead.
        "SELECT a.position < b.position AND NOT b.set_back FROM gnomon_checkpoints a, gnomon_checkpoints b
         WHERE a.generation = ?1 AND b.generation = ?2",
        [generation.to_sql(), live.to_sql()],
        |row| row.get(0),
    )
}

/// Why a candidate is not promoted by itself, if it is one that parked events
/// which the live generation did not.
fn held(
    connection: &Connection,
    wanted: &Wanted,
    live: GenerationId,
) -> rusqlite::Result<Option<String>> {
    if wanted.state == GenerationState::Retired || wanted.is_insisted {
        return Ok(None);
    }
    let (events, first) = connection.query_row(
        "SELECT count(*), min(d.position) FROM gnomon_dead_letters d
         LEFT JOIN gnomon_dead_letters l
             ON l.generation = ?2 AND l.position = d.position AND l.event_id = d.event_id
         WHERE d.generation = ?1 AND l.position IS NULL",
        [wanted.id.to_sql(), live.to_sql()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )?;
    Ok(parked_alone(&wanted.declared.projection, events, first))
}

/// Makes the public names show the generation, or says what is in the way.
fn switch(
    database: &Database,
    transaction: &Transaction<'_>,
    wanted: &Wanted,
    shown: Option<&Declared>,
) -> Result<Option<String>, Failure> {
    let declared = &wanted.declared;
    let others = others(transaction, &declared.projection)?;
    let taken = views::taken_name(transaction, &database.file, declared, shown, &others)?;
    if taken.is_some() {
        return Ok(taken);
    }
    let broken = views::replace(transaction, shown, Some((wanted.id, declared)))?;
    if broken.is_empty() || wanted.goal == Goal::PromoteCascade {
        return Ok(None);
    }
    Ok(Some(format!(
        "its tables are not those that {} was made for; change or drop that, or let \
         `gnomon {} {} --cascade` drop it",
        broken.join(" and "),
        promoting(wanted.state),
        declared.projection,
    )))
}

fn give_up(transaction: &Transaction<'_>, wanted: &Wanted, reason: &str) -> rusqlite::Result<()> {
    let goal = match wanted.state {
        GenerationState::Retired => Goal::Rest,
        _ => Goal::Hold,
    };
    transaction.execute(
        "UPDATE gnomon_generations SET goal = ?2, obstacle = ?3, obstacle_kind = ?4 WHERE id = ?1",
        params![
            wanted.id.to_sql(),
            goal.name(),
            reason,
            ObstacleKind::Refused.name()
        ],
    )?;
    Ok(())
}

fn record(
    transaction: &Transaction<'_>,
    promoted: GenerationId,
    replaced: Option<GenerationId>,
) -> rusqlite::Result<()> {
    if let Some(replaced) = replaced {
        transaction.execute(
            "UPDATE gnomon_generations SET state = 'retired', goal = 'rest',
                 retired_at = CAST(unixepoch('subsec') * 1000000 AS INTEGER) WHERE id = ?1",
            [replaced.to_sql()],
        )?;
        dead_letters::move_requests(transaction, replaced, promoted)?;
    }
    transaction.execute(
        "UPDATE gnomon_generations SET state = 'live', goal = 'rest', obstacle = NULL, obstacle_kind = NULL,
             promoted_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = ?1",
        [promoted.to_sql()],
    )?;
    Ok(())
}
