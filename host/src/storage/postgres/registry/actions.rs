//! Actions of users and hosts.

use gnomon_databases::connections::Connections;
use gnomon_model::Position;
use sqlx::{PgConnection, Row as _};

use crate::generation::{GenerationId, ModuleHash};
use crate::registry::Action;
use crate::registry::actions::{ACTIONS_MAX, StoredAction};
use crate::registry::rules::PlannedAction;
use crate::storage::postgres::any_text;

/// Records an action of a plan that has created `created`.
pub(super) async fn record(
    connection: &mut PgConnection,
    actor: &str,
    action: &PlannedAction,
    created: Option<GenerationId>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO gnomon.actions
             (at, actor, action, projection, generation, position, module, detail)
         VALUES ((extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                 $1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(actor)
    .bind(action.kind.name())
    .bind(&action.projection)
    .bind(action.generation.or(created).map(GenerationId::to_sql))
    .bind(action.position.map(Position::to_sql))
    .bind(action.module.as_ref().map(ModuleHash::as_str))
    .bind(action.detail.as_deref().map(any_text::stored))
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn newest(
    pool: &Connections,
    projection: Option<&str>,
    limit: usize,
) -> sqlx::Result<Vec<Action>> {
    let rows = sqlx::query(
        "SELECT * FROM (
             SELECT * FROM gnomon.actions WHERE $1::text IS NULL OR projection = $1
             ORDER BY id DESC LIMIT $2) newest
         ORDER BY id",
    )
    .bind(projection)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await?;
    let read = |row: &sqlx::postgres::PgRow| -> sqlx::Result<Action> {
        let detail: Option<String> = row.try_get("detail")?;
        let stored = StoredAction {
            at: row.try_get("at")?,
            actor: row.try_get("actor")?,
            kind: row.try_get("action")?,
            projection: row.try_get("projection")?,
            generation: row.try_get("generation")?,
            position: row.try_get("position")?,
            module: row.try_get("module")?,
            detail: detail.map(any_text::read),
        };
        Ok(stored.into())
    };
    rows.iter().map(read).collect()
}

/// Removes the oldest of those beyond the number that is kept.
pub(super) async fn forget_old(pool: &Connections) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM gnomon.actions WHERE id <= (SELECT max(id) FROM gnomon.actions) - $1")
        .bind(ACTIONS_MAX)
        .execute(pool)
        .await?;
    Ok(())
}
