//! Generations in the registry: how they are read.

use gnomon_databases::connections::Connections;
use gnomon_model::Description;
use sqlx::{PgConnection, Row as _};

use crate::generation::{Generation, GenerationId};
use crate::registry::{StoredGeneration, named, read_description};
use crate::storage::postgres::failure::Failure;

pub(crate) async fn all(pool: &Connections) -> Result<Vec<Generation>, Failure> {
    let rows = sqlx::query(
        "SELECT g.id, g.projection, g.module, g.description, g.state, g.goal, g.until, g.obstacle,
                g.obstacle_kind, p.desired_state = 'removed' AS is_removed, g.run_state, g.cause,
                c.checkpoint, c.position,
                fresh.rate, fresh.event_rate,
                (extract(epoch FROM g.retired_at) * 1000000)::bigint AS retired_at,
                CASE WHEN l.expires_at > clock_timestamp() THEN l.host END AS host,
                (SELECT count(*) FROM gnomon.dead_letters d WHERE d.generation = g.id)
                    AS dead_letters,
                c.applied_late,
                (SELECT count(*) FROM gnomon.skips s
                 WHERE s.projection = g.decided_by AND s.position <= c.position
                     AND NOT EXISTS (SELECT 1 FROM gnomon.met_skips m
                         WHERE m.generation = g.id AND m.position = s.position)
                     AND NOT EXISTS (SELECT 1 FROM gnomon.dead_letters d
                         WHERE d.generation = g.id AND d.position = s.position))
                + (SELECT count(*) FROM gnomon.met_skips m
                   WHERE m.generation = g.id AND m.outcome = 'skipped'
                       AND NOT EXISTS (SELECT 1 FROM gnomon.skips s
                           WHERE s.projection = g.decided_by AND s.position = m.position)) AS changed_skips
         FROM gnomon.generations g
         JOIN gnomon.projections p ON p.name = g.projection
         JOIN gnomon.checkpoints c ON c.generation = g.id
         JOIN gnomon.leases l ON l.generation = g.id
         LEFT JOIN gnomon.checkpoints fresh ON fresh.generation = g.id
             AND fresh.updated_at > clock_timestamp() - CASE g.state
                 -- It writes only every ten seconds.
                 WHEN 'building' THEN interval '15 s' ELSE interval '5 s' END
         WHERE g.state <> 'dropped'
         ORDER BY g.projection COLLATE \"C\", g.id",
    )
    .fetch_all(pool)
    .await?;
    let mut generations = Vec::with_capacity(rows.len());
    for row in rows {
        let stored = StoredGeneration {
            id: row.try_get("id")?,
            projection: row.try_get("projection")?,
            module: row.try_get("module")?,
            description: row.try_get("description")?,
            state: row.try_get("state")?,
            goal: row.try_get("goal")?,
            until: row.try_get("until")?,
            obstacle: row.try_get("obstacle")?,
            obstacle_kind: row.try_get("obstacle_kind")?,
            is_removed: row.try_get("is_removed")?,
            rate: row.try_get("rate")?,
            event_rate: row.try_get("event_rate")?,
            retired_at: row.try_get("retired_at")?,
            run_state: row.try_get("run_state")?,
            cause: row.try_get("cause")?,
            checkpoint: row.try_get("checkpoint")?,
            position: row.try_get("position")?,
            host: row.try_get("host")?,
            dead_letters: row.try_get("dead_letters")?,
            applied_late: row.try_get("applied_late")?,
            changed_skips: row.try_get("changed_skips")?,
        };
        generations.push(stored.read()?);
    }
    Ok(generations)
}

/// What the tables of the live generation of a projection were made from.
pub(super) async fn live(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<Option<Description>, Failure> {
    let found: Option<String> = sqlx::query_scalar(
        "SELECT description FROM gnomon.generations WHERE projection = $1 AND state = 'live'",
    )
    .bind(projection)
    .fetch_optional(connection)
    .await?;
    Ok(match found {
        Some(text) => Some(named(read_description(&text)?, projection)),
        None => None,
    })
}

/// What the tables of a generation were made from.
pub(super) async fn description(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<Description, Failure> {
    let (text, projection): (String, String) =
        sqlx::query_as("SELECT description, projection FROM gnomon.generations WHERE id = $1")
            .bind(generation.to_sql())
            .fetch_one(connection)
            .await?;
    Ok(named(read_description(&text)?, &projection))
}
