//! Making a generation the live one.

use gnomon_databases::connections::Connections;
use gnomon_databases::error_chain::chain;
use gnomon_model::Description;
use sqlx::{Executor, PgConnection};

use super::generations::live;
use super::goals;
use crate::generation::{GenerationId, GenerationState, Goal, ObstacleKind};
use crate::registry::Promotion;
use crate::registry::{named, parked_alone, promoting, read_description};
use crate::storage::postgres::error::{LOCK_TIMEOUT, has_state};
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::read_models::dead_letters;
use crate::storage::postgres::read_models::dependents;
use crate::storage::postgres::read_models::public_names;
use crate::storage::postgres::read_models::views;
use crate::storage::postgres::schema::lock_structure;
use crate::storage_error::{StorageError, StorageErrorKind};

/// Readers queue behind a transaction that waits for one of them, so it waits
/// briefly and the caller tries again.
pub(super) const WAIT_BRIEFLY: &str = "SET LOCAL lock_timeout = '150ms'";

/// A generation that somebody wants to be the live one.
struct Candidate {
    id: GenerationId,
    state: GenerationState,
    goal: Goal,
    /// Whether readers may be taken back to an earlier position.
    may_be_behind: bool,
    /// Whether it may have dead letters that the live generation has not: somebody
    /// asked for it by name, or it is one to go back to.
    may_have_parked: bool,
    description: Description,
}

pub(crate) async fn promote(
    pool: &Connections,
    place: &str,
    generation: GenerationId,
) -> Result<Promotion, StorageError> {
    let failed = |failure: Failure| failure.into_error(place, "promote a generation in");
    let mut transaction = pool.begin().await.map_err(|error| failed(error.into()))?;
    let candidate = match wanted(&mut transaction, generation).await.map_err(failed)? {
        Ok(candidate) => candidate,
        Err(answer) => {
            let _ = transaction.rollback().await;
            return Ok(answer);
        }
    };
    match take_over(&mut transaction, &candidate).await {
        Ok(Step::Behind) => {
            let _ = transaction.rollback().await;
            Ok(Promotion::Behind)
        }
        Ok(Step::Done) => {
            transaction
                .commit()
                .await
                .map_err(|error| failed(error.into()))?;
            Ok(Promotion::Done)
        }
        Ok(Step::Blocked { views, error }) => {
            let _ = transaction.rollback().await;
            let projection = &candidate.description.name;
            Err(dependents::blocked(pool, projection, &views, error).await)
        }
        Err(failure) => {
            let _ = transaction.rollback().await;
            let error = failed(failure);
            if error.kind() != StorageErrorKind::Refused {
                return Err(error);
            }
            let reason = chain(&error);
            refuse(pool, &candidate, reason)
                .await
                .map_err(|error| failed(error.into()))
        }
    }
}

/// The generation if it is to be promoted, or else the answer.
async fn wanted(
    connection: &mut PgConnection,
    generation: GenerationId,
) -> Result<Result<Candidate, Promotion>, Failure> {
    lock_structure(connection).await?;
    let found: Option<(String, String, String, bool, String, bool)> = sqlx::query_as(
        "SELECT g.projection, g.state, g.goal, g.until IS NOT NULL, g.description,
                g.insisted OR g.state = 'retired'
         FROM gnomon.generations g
         JOIN gnomon.projections p ON p.name = g.projection
         WHERE g.id = $1 AND p.desired_state <> 'removed'",
    )
    .bind(generation.to_sql())
    .fetch_optional(connection)
    .await?;
    let Some((projection, state, goal, has_end, description, may_have_parked)) = found else {
        return Ok(Err(Promotion::NotWanted));
    };
    let state = match GenerationState::from_name(&state) {
        Some(GenerationState::Live) => return Ok(Err(Promotion::Done)),
        Some(GenerationState::Dropped) | None => return Ok(Err(Promotion::NotWanted)),
        Some(state) => state,
    };
    let Some(goal) = Goal::from_name(&goal).filter(|goal| goal.is_promotion()) else {
        return Ok(Err(Promotion::NotWanted));
    };
    let description = read_description(&description)?;
    Ok(Ok(Candidate {
        id: generation,
        state,
        goal,
        may_be_behind: has_end || description.name != projection,
        may_have_parked,
        description: named(description, &projection),
    }))
}

/// How far a promotion got.
enum Step {
    Done,
    Behind,
    /// Somebody reads one of the views that are to change.
    Blocked {
        views: Vec<String>,
        error: sqlx::Error,
    },
}

async fn take_over(connection: &mut PgConnection, candidate: &Candidate) -> Result<Step, Failure> {
    let description = &candidate.description;
    let live = live(connection, &description.name).await?;
    let shown = live.as_ref().map(|(_, description)| description);
    public_names::claim_schema(connection, &description.name, true).await?;
    public_names::check(connection, description, shown).await?;
    let cascade = candidate.goal == Goal::PromoteCascade;
    let change = views::change(connection, candidate.id, description, shown, cascade).await?;
    if !cascade && !change.dependents.is_empty() {
        let what = format!(
            "generation {} has other columns or tables than `{}` shows now",
            candidate.id, description.name
        );
        let command = format!(
            "gnomon {} {} --cascade",
            promoting(candidate.state),
            description.name
        );
        return Err(dependents::in_the_way(&what, &change.dependents, &command).into());
    }
    connection.execute(WAIT_BRIEFLY).await?;
    let replaced = live.as_ref().map(|(id, _)| *id);
    if let Some(replaced) = replaced.filter(|_| !candidate.may_be_behind)
        && is_behind(connection, candidate.id, replaced).await?
    {
        return Ok(Step::Behind);
    }
    if let Some(replaced) = replaced.filter(|_| !candidate.may_have_parked) {
        hold(connection, candidate, replaced).await?;
    }
    record(connection, candidate.id, replaced).await?;
    goals::end_rollbacks(connection, &description.name, None).await?;
    let views = [Some(description), shown].into_iter().flatten();
    let views = views.flat_map(public_names::table_names).collect();
    // Last, because readers wait from here on. `LOCK TABLE` would be sooner,
    // but on a view it takes the tables below it too, and their vacuum.
    match change.run(connection).await {
        Ok(()) => Ok(Step::Done),
        Err(error) if has_state(&error, LOCK_TIMEOUT) => Ok(Step::Blocked { views, error }),
        Err(error) => Err(error.into()),
    }
}

/// Whether readers would see the read model go back. No batch of the two
/// generations is committed from here to the end of the transaction.
async fn is_behind(
    connection: &mut PgConnection,
    candidate: GenerationId,
    live: GenerationId,
) -> sqlx::Result<bool> {
    let positions: Vec<(i64, i64)> = sqlx::query_as(
        // One that has read what the store has lost can be any distance ahead.
        "SELECT generation, CASE WHEN set_back THEN 0 ELSE position END FROM gnomon.checkpoints
         WHERE generation = ANY ($1) ORDER BY generation FOR UPDATE",
    )
    .bind([candidate.to_sql(), live.to_sql()])
    .fetch_all(connection)
    .await?;
    let position = |id: GenerationId| {
        let found = positions.iter().find(|found| found.0 == id.to_sql());
        found.map(|found| found.1)
    };
    Ok(position(candidate) < position(live))
}

/// Refuses a candidate that parked events which the live generation did not.
async fn hold(
    connection: &mut PgConnection,
    candidate: &Candidate,
    live: GenerationId,
) -> Result<(), Failure> {
    let (events, first): (i64, Option<i64>) = sqlx::query_as(
        "SELECT count(*), min(d.position) FROM gnomon.dead_letters d
         LEFT JOIN gnomon.dead_letters l
             ON l.generation = $2 AND l.position = d.position AND l.event_id = d.event_id
         WHERE d.generation = $1 AND l.position IS NULL",
    )
    .bind(candidate.id.to_sql())
    .bind(live.to_sql())
    .fetch_one(connection)
    .await?;
    let projection = &candidate.description.name;
    match parked_alone(projection, events, first) {
        Some(reason) => Err(StorageError::new(StorageErrorKind::Refused, reason).into()),
        None => Ok(()),
    }
}

async fn record(
    connection: &mut PgConnection,
    promoted: GenerationId,
    replaced: Option<GenerationId>,
) -> sqlx::Result<()> {
    if let Some(replaced) = replaced {
        sqlx::query(
            "UPDATE gnomon.generations SET state = 'retired', goal = 'rest', retired_at = now()
             WHERE id = $1",
        )
        .bind(replaced.to_sql())
        .execute(&mut *connection)
        .await?;
        dead_letters::move_requests(&mut *connection, &[replaced.to_sql()], promoted).await?;
    }
    sqlx::query(
        "UPDATE gnomon.generations
         SET state = 'live', goal = 'rest', obstacle = NULL, obstacle_kind = NULL,
             promoted_at = now(), retired_at = NULL
         WHERE id = $1",
    )
    .bind(promoted.to_sql())
    .execute(connection)
    .await?;
    Ok(())
}

/// Records why it was not promoted, unless somebody wants something else by
/// now.
async fn refuse(
    pool: &Connections,
    candidate: &Candidate,
    reason: String,
) -> sqlx::Result<Promotion> {
    let recorded = sqlx::query(
        "UPDATE gnomon.generations
         SET obstacle = $3, obstacle_kind = $4, goal = CASE state WHEN 'retired' THEN 'rest' ELSE 'hold' END
         WHERE id = $1 AND goal = $2 AND state IN ('building', 'ready', 'retired')",
    )
    .bind(candidate.id.to_sql())
    .bind(candidate.goal.name())
    .bind(&reason)
    .bind(ObstacleKind::Refused.name())
    .execute(pool)
    .await?;
    Ok(match recorded.rows_affected() {
        0 => Promotion::NotWanted,
        _ => Promotion::Refused(reason),
    })
}
