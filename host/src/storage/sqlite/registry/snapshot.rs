//! What the rules have to know.

use gnomon_model::Position;
use rusqlite::{Connection, OptionalExtension as _};

use crate::generation::GenerationId;
use crate::registry::request::{Request, Subject};
use crate::registry::rules::{Contest, Snapshot, contender};
use crate::registry::stored::StoredStanding;
use crate::storage::sqlite::database::Failure;

/// Snapshots of the projections that a request is about.
pub(super) fn read(connection: &Connection, request: &Request) -> Result<Vec<Snapshot>, Failure> {
    let named: Option<String> = match request.subject() {
        Subject::All => None,
        Subject::Projection(name) => Some(name.to_owned()),
        Subject::Generation(id) => {
            let found = connection
                .prepare_cached("SELECT projection FROM gnomon_generations WHERE id = ?1")?
                .query_row([id.to_sql()], |row| row.get(0))
                .optional()?;
            match found {
                Some(name) => Some(name),
                None => return Ok(Vec::new()),
            }
        }
    };
    let (now, wish, was_dropped): (i64, Option<String>, bool) = connection
        .prepare_cached(
            "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER),
                    (SELECT desired_state FROM gnomon_projections WHERE name = ?1),
                    EXISTS (SELECT 1 FROM gnomon_dropped WHERE projection = ?1)",
        )?
        .query_row([&named], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let mut snapshots = Vec::new();
    if let Some(name) = &named {
        snapshots.push(Snapshot::of(name, wish.as_deref(), was_dropped, now)?);
    }
    let mut select = connection.prepare_cached(
        "SELECT projection, id, state, goal, until IS NOT NULL, obstacle, obstacle_kind, insisted,
                decided_by <> projection, retired_at, attended_until * 1000,
                module
         FROM gnomon_generations WHERE ?1 IS NULL OR projection = ?1 ORDER BY projection, id",
    )?;
    let rows = select.query_map([&named], |row| {
        let stored = StoredStanding {
            id: row.get(1)?,
            module: row.get(11)?,
            state: row.get(2)?,
            goal: row.get(3)?,
            has_end: row.get(4)?,
            obstacle: row.get(5)?,
            obstacle_kind: row.get(6)?,
            is_insisted: row.get(7)?,
            is_copy: row.get(8)?,
            retired_at: row.get(9)?,
            attended_until: row.get(10)?,
        };
        Ok((row.get::<_, String>(0)?, stored))
    })?;
    for row in rows {
        let (projection, stored) = row?;
        stored.add_to(&mut snapshots, projection, now)?;
    }
    if let (Request::Promote(candidate), Some(snapshot)) = (request, snapshots.first_mut())
        && let Some(live) = contender(snapshot, *candidate)
    {
        snapshot.contest = Some(contest(connection, *candidate, live)?);
    }
    Ok(snapshots)
}

fn contest(
    connection: &Connection,
    candidate: GenerationId,
    live: GenerationId,
) -> rusqlite::Result<Contest> {
    let position = |generation: GenerationId| -> rusqlite::Result<Option<Position>> {
        let stored: Option<i64> = connection
            .prepare_cached(
                "SELECT CASE WHEN NOT set_back THEN position END FROM gnomon_checkpoints
                 WHERE generation = ?1",
            )?
            .query_row([generation.to_sql()], |row| row.get(0))?;
        Ok(stored.and_then(Position::from_sql))
    };
    let (parked_alone, first_parked_alone) = connection
        .prepare_cached(
            "SELECT count(*), min(d.position) FROM gnomon_dead_letters d
             LEFT JOIN gnomon_dead_letters l
                 ON l.generation = ?2 AND l.position = d.position AND l.event_id = d.event_id
             WHERE d.generation = ?1 AND l.position IS NULL",
        )?
        .query_row([candidate.to_sql(), live.to_sql()], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    Ok(Contest {
        candidate: position(candidate)?,
        live: position(live)?,
        parked_alone,
        first_parked_alone,
    })
}
