//! Actions of users and hosts.

use gnomon_model::Position;
use rusqlite::{Connection, params};

use crate::generation::{GenerationId, ModuleHash};
use crate::registry::Action;
use crate::registry::actions::{ACTIONS_MAX, StoredAction};
use crate::registry::rules::PlannedAction;

/// Records an action of a plan that has created `created`.
pub(super) fn record(
    connection: &Connection,
    actor: &str,
    action: &PlannedAction,
    created: Option<GenerationId>,
) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO gnomon_actions
             (at, actor, action, projection, generation, position, module, detail)
         VALUES (CAST(unixepoch('subsec') * 1000000 AS INTEGER), ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            actor,
            action.kind.name(),
            action.projection,
            action.generation.or(created).map(GenerationId::to_sql),
            action.position.map(Position::to_sql),
            action.module.as_ref().map(ModuleHash::as_str),
            action.detail,
        ],
    )?;
    Ok(())
}

pub(super) fn newest(
    connection: &Connection,
    projection: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<Action>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection
        .prepare_cached(
            "SELECT at, actor, action, projection, generation, position, module, detail FROM (
                 SELECT * FROM gnomon_actions WHERE ?1 IS NULL OR projection = ?1
                 ORDER BY id DESC LIMIT ?2)
             ORDER BY id",
        )?
        .query_map(params![projection, limit], |row| {
            let stored = StoredAction {
                at: row.get(0)?,
                actor: row.get(1)?,
                kind: row.get(2)?,
                projection: row.get(3)?,
                generation: row.get(4)?,
                position: row.get(5)?,
                module: row.get(6)?,
                detail: row.get(7)?,
            };
            Ok(stored.into())
        })?
        .collect()
}

/// Whether there are more than are kept.
pub(super) fn has_old(connection: &Connection) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT coalesce(max(id) - min(id) >= ?1, 0) FROM gnomon_actions")?
        .query_row([ACTIONS_MAX], |row| row.get(0))
}

/// Removes the oldest of those beyond the number that is kept.
pub(super) fn forget_old(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute(
        "DELETE FROM gnomon_actions WHERE id <= (SELECT max(id) FROM gnomon_actions) - ?1",
        [ACTIONS_MAX],
    )?;
    Ok(())
}
