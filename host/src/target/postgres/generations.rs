//! Modules and generations in the registry.

use gnomon_model::{Description, Position};
use sqlx::{Executor, PgConnection, PgPool, Row as _};

use super::failure::Failure;
use super::schema::LOCK_STRUCTURE;
use super::tables;
use crate::generation::{Generation, GenerationId, GenerationState, Module, ModuleHash};
use crate::source::Checkpoint;
use crate::target::registry::{
    StoredGeneration, check_newest, not_promotable, read_description, stored_description,
    unknown_module,
};

pub(super) async fn add_module(pool: &PgPool, module: &Module) -> Result<(), Failure> {
    sqlx::query(
        "INSERT INTO gnomon.modules (hash, description, bytes) VALUES ($1, $2, $3)
         ON CONFLICT DO NOTHING",
    )
    .bind(module.hash.as_str())
    .bind(stored_description(&module.description)?)
    .bind(module.bytes.as_slice())
    .execute(pool)
    .await?;
    Ok(())
}

pub(super) async fn module(pool: &PgPool, hash: &ModuleHash) -> Result<Option<Module>, Failure> {
    let stored: Option<(String, Vec<u8>)> =
        sqlx::query_as("SELECT description, bytes FROM gnomon.modules WHERE hash = $1")
            .bind(hash.as_str())
            .fetch_optional(pool)
            .await?;
    Ok(match stored {
        None => None,
        Some((description, bytes)) => Some(Module {
            hash: hash.clone(),
            bytes,
            description: read_description(&description)?,
        }),
    })
}

pub(super) async fn create(
    pool: &PgPool,
    module: &ModuleHash,
    description: &Description,
    newest: Option<GenerationId>,
    start: &Checkpoint,
) -> Result<Generation, Failure> {
    let mut transaction = pool.begin().await?;
    transaction.execute(LOCK_STRUCTURE).await?;
    let found: Option<i64> = sqlx::query_scalar(
        "SELECT max(id) FROM gnomon.generations WHERE projection = $1 AND state <> 'dropped'",
    )
    .bind(&description.name)
    .fetch_one(&mut *transaction)
    .await?;
    check_newest(&description.name, newest, found.map(GenerationId::from_sql))?;
    let is_known: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM gnomon.modules WHERE hash = $1)")
            .bind(module.as_str())
            .fetch_one(&mut *transaction)
            .await?;
    if !is_known {
        return Err(unknown_module(module).into());
    }
    let registered =
        sqlx::query("INSERT INTO gnomon.projections (name) VALUES ($1) ON CONFLICT DO NOTHING")
            .bind(&description.name)
            .execute(&mut *transaction)
            .await?;
    let was_registered = registered.rows_affected() == 0;
    tables::claim_schema(&mut transaction, &description.name, was_registered).await?;
    let live = live(&mut transaction, &description.name)
        .await?
        .map(|(_, live)| live);
    tables::check_public_names(&mut transaction, description, live.as_ref()).await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO gnomon.generations (projection, module, version, state)
         VALUES ($1, $2, $3, $4) RETURNING id",
    )
    .bind(&description.name)
    .bind(module.as_str())
    .bind(i64::from(description.version))
    .bind(GenerationState::Building.name())
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query(
        "INSERT INTO gnomon.checkpoints (generation, checkpoint, position, epoch)
         VALUES ($1, $2, $3, 0)",
    )
    .bind(id)
    .bind(start.as_str())
    .bind(Position::START.to_sql())
    .execute(&mut *transaction)
    .await?;
    sqlx::query("INSERT INTO gnomon.leases (generation, epoch, expires_at) VALUES ($1, 0, now())")
        .bind(id)
        .execute(&mut *transaction)
        .await?;
    let id = GenerationId::from_sql(id);
    tables::create(&mut transaction, id, description).await?;
    transaction.commit().await?;
    Ok(Generation {
        id,
        projection: description.name.clone(),
        module: module.clone(),
        description: description.clone(),
        state: GenerationState::Building,
        checkpoint: start.clone(),
        position: Position::START,
        report: None,
        dead_letters: 0,
        host: None,
    })
}

pub(super) async fn all(pool: &PgPool) -> Result<Vec<Generation>, Failure> {
    let rows = sqlx::query(
        "SELECT g.id, g.projection, g.module, m.description, g.state, g.run_state, g.cause,
                c.checkpoint, c.position,
                CASE WHEN l.expires_at > clock_timestamp() THEN l.host END AS host,
                (SELECT count(*) FROM gnomon.dead_letters d WHERE d.generation = g.id)
                    AS dead_letters
         FROM gnomon.generations g
         JOIN gnomon.modules m ON m.hash = g.module
         JOIN gnomon.checkpoints c ON c.generation = g.id
         JOIN gnomon.leases l ON l.generation = g.id
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
            run_state: row.try_get("run_state")?,
            cause: row.try_get("cause")?,
            checkpoint: row.try_get("checkpoint")?,
            position: row.try_get("position")?,
            host: row.try_get("host")?,
            dead_letters: row.try_get("dead_letters")?,
        };
        generations.push(stored.read()?);
    }
    Ok(generations)
}

pub(super) async fn set_module(
    pool: &PgPool,
    generation: GenerationId,
    module: &ModuleHash,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE gnomon.generations SET module = $2 WHERE id = $1")
        .bind(generation.to_sql())
        .bind(module.as_str())
        .execute(pool)
        .await?;
    Ok(())
}

pub(super) async fn promote(pool: &PgPool, generation: GenerationId) -> Result<(), Failure> {
    let mut transaction = pool.begin().await?;
    // Readers queue behind this transaction while it waits for one of them to
    // finish, so it waits briefly and the caller tries again.
    transaction.execute("SET LOCAL lock_timeout = '1s'").await?;
    transaction.execute(LOCK_STRUCTURE).await?;
    let found: Option<(String, String)> = sqlx::query_as(
        "SELECT g.state, m.description
         FROM gnomon.generations g JOIN gnomon.modules m ON m.hash = g.module
         WHERE g.id = $1",
    )
    .bind(generation.to_sql())
    .fetch_optional(&mut *transaction)
    .await?;
    let Some((state, description)) = found else {
        return Err(not_promotable(generation, None).into());
    };
    match GenerationState::from_name(&state) {
        Some(GenerationState::Live) => return Ok(()),
        Some(GenerationState::Building | GenerationState::Ready | GenerationState::Retired) => {}
        _ => return Err(not_promotable(generation, Some(&state)).into()),
    }
    let description = read_description(&description)?;
    let live = live(&mut transaction, &description.name).await?;
    let shown = live.as_ref().map(|(_, description)| description);
    tables::claim_schema(&mut transaction, &description.name, true).await?;
    tables::check_public_names(&mut transaction, &description, shown).await?;
    if let Some((replaced, _)) = &live {
        sqlx::query("UPDATE gnomon.generations SET state = $2 WHERE id = $1")
            .bind(replaced.to_sql())
            .bind(GenerationState::Retired.name())
            .execute(&mut *transaction)
            .await?;
    }
    sqlx::query("UPDATE gnomon.generations SET state = $2, promoted_at = now() WHERE id = $1")
        .bind(generation.to_sql())
        .bind(GenerationState::Live.name())
        .execute(&mut *transaction)
        .await?;
    // Last, because readers wait from here on.
    tables::show(&mut transaction, generation, &description, shown).await?;
    transaction.commit().await?;
    Ok(())
}

/// The live generation of a projection and its tables.
async fn live(
    connection: &mut PgConnection,
    projection: &str,
) -> Result<Option<(GenerationId, Description)>, Failure> {
    let found: Option<(i64, String)> = sqlx::query_as(
        "SELECT g.id, m.description
         FROM gnomon.generations g JOIN gnomon.modules m ON m.hash = g.module
         WHERE g.projection = $1 AND g.state = 'live'",
    )
    .bind(projection)
    .fetch_optional(connection)
    .await?;
    Ok(match found {
        Some((id, text)) => Some((GenerationId::from_sql(id), read_description(&text)?)),
        None => None,
    })
}
