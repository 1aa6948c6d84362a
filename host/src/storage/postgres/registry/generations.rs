//! Generations in the registry: how they are made and read.

use gnomon_databases::connections::Connections;
use gnomon_model::{Description, Position};
use sqlx::{PgConnection, Row as _};

use super::{goals, modules, removal};
use crate::generation::{Generation, GenerationId, GenerationState, Goal};
use crate::registry::NewGeneration;
use crate::registry::{
    StoredGeneration, check_newest, named, read_description, removed_projection, stored_description,
};
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::read_models::dead_letters;
use crate::storage::postgres::read_models::public_names;
use crate::storage::postgres::read_models::tables;
use crate::storage::postgres::schema::lock_structure;

pub(crate) async fn create(
    pool: &Connections,
    new: NewGeneration<'_>,
) -> Result<Generation, Failure> {
    let description = named(new.description.clone(), new.projection);
    let mut transaction = pool.begin().await?;
    lock_structure(&mut transaction).await?;
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT max(id) FROM gnomon.generations WHERE projection = $1 AND state <> 'dropped'",
    )
    .bind(new.projection)
    .fetch_one(&mut *transaction)
    .await?;
    let found = found.map(GenerationId::from_sql);
    check_newest(new.projection, new.newest, found)?;
    modules::hold(&mut transaction, new.module).await?;
    let was_registered = register(&mut transaction, &new).await?;
    public_names::claim_schema(&mut transaction, new.projection, was_registered).await?;
    let live = live(&mut transaction, new.projection).await?;
    let shown = live.as_ref().map(|(_, description)| description);
    public_names::check(&mut transaction, &description, shown).await?;
    let replaced = drop_replaced(&mut transaction, &new).await?;
    if new.goal.is_promotion() {
        goals::end_rollbacks(&mut transaction, new.projection, None).await?;
    }
    let id = insert(&mut transaction, &new).await?;
    dead_letters::move_requests(&mut *transaction, &replaced, id).await?;
    tables::create(&mut transaction, id, &description).await?;
    transaction.commit().await?;
    Ok(Generation {
        id,
        projection: new.projection.to_owned(),
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
}

/// Whether the projection was there before. One that was removed comes back, but
/// not to be compared.
async fn register(connection: &mut PgConnection, new: &NewGeneration<'_>) -> Result<bool, Failure> {
    let projection = new.projection;
    let before: Option<String> =
        sqlx::query_scalar("SELECT desired_state FROM gnomon.projections WHERE name = $1")
            .bind(projection)
            .fetch_optional(&mut *connection)
            .await?;
    if new.goal == Goal::Compare && before.as_deref() == Some("removed") {
        return Err(removed_projection(projection).into());
    }
    sqlx::query(
        "INSERT INTO gnomon.projections (name) VALUES ($1)
         ON CONFLICT (name) DO UPDATE SET desired_state = 'running'
         WHERE projections.desired_state = 'removed'",
    )
    .bind(projection)
    .execute(&mut *connection)
    .await?;
    sqlx::query("DELETE FROM gnomon.dropped WHERE projection = $1")
        .bind(projection)
        .execute(connection)
        .await?;
    Ok(before.is_some())
}

/// Stops the candidates that the new one replaces. [`super::removal::tidy`]
/// drops their tables.
async fn drop_replaced(
    connection: &mut PgConnection,
    new: &NewGeneration<'_>,
) -> Result<Vec<i64>, Failure> {
    let replaced: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM gnomon.generations
         WHERE projection = $1 AND state IN ('building', 'ready') AND (goal = 'compare') = $2",
    )
    .bind(new.projection)
    .bind(new.goal == Goal::Compare)
    .fetch_all(&mut *connection)
    .await?;
    removal::mark(connection, &replaced).await?;
    Ok(replaced)
}

/// The records of a new generation. Whoever makes a comparison has a minute to
/// attend to it.
async fn insert(
    connection: &mut PgConnection,
    new: &NewGeneration<'_>,
) -> Result<GenerationId, Failure> {
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO gnomon.generations
             (projection, module, version, state, goal, until, description, attended_until,
              decided_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7,
                 CASE WHEN $5 = 'compare' THEN clock_timestamp() + interval '1 min' END, $8)
         RETURNING id",
    )
    .bind(new.projection)
    .bind(new.module.as_str())
    .bind(i64::from(new.description.version))
    .bind(GenerationState::Building.name())
    .bind(new.goal.name())
    .bind(new.until.map(Position::to_sql))
    .bind(stored_description(new.description)?)
    .bind(&new.description.name)
    .fetch_one(&mut *connection)
    .await?;
    sqlx::query(
        "INSERT INTO gnomon.checkpoints (generation, checkpoint, position, epoch)
         VALUES ($1, $2, $3, 0)",
    )
    .bind(id)
    .bind(new.start.as_str())
    .bind(Position::START.to_sql())
    .execute(&mut *connection)
    .await?;
    sqlx::query("INSERT INTO gnomon.leases (generation, epoch, expires_at) VALUES ($1, 0, now())")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(GenerationId::from_sql(id))
}

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

/// The live generation of a projection and its tables.
pub(crate) async fn live(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<Option<(GenerationId, Description)>, Failure> {
    let found: Option<(i64, String)> = sqlx::query_as(
        "SELECT g.id, g.description
         FROM gnomon.generations g
         WHERE g.projection = $1 AND g.state = 'live'",
    )
    .bind(projection)
    .fetch_optional(connection)
    .await?;
    Ok(match found {
        Some((id, text)) => {
            let description = named(read_description(&text)?, projection);
            Some((GenerationId::from_sql(id), description))
        }
        None => None,
    })
}
