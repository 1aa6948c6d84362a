//! Carrying out what the rules decide.

use gnomon_databases::connections::Connections;
use gnomon_databases::error_chain::chain;
use gnomon_model::Position;
use sqlx::{Executor as _, PgConnection};

use super::snapshot::{self, Lock};
use super::{actions, generations, modules, skips};
use crate::dead_letter::Decided;
use crate::generation::{GenerationId, GenerationState};
use crate::registry::request::{Creation, Outcome, Request};
use crate::registry::rules::{Change, Plan, Snapshot, Standing, decide, give_up};
use crate::registry::stored::stored_description;
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::read_models::showing::{self, Shown};
use crate::storage::postgres::read_models::{dead_letters, dependents, public_names, tables};
use crate::storage::postgres::schema::lock_structure;
use crate::storage_error::{StorageError, StorageErrorKind};

/// Decides what a request leads to, and does it, in one transaction.
pub(super) async fn change(
    pool: &Connections,
    place: &str,
    actor: &str,
    request: &Request,
) -> Result<Outcome, StorageError> {
    match decided(pool, place, actor, request).await {
        Ok(outcome) => Ok(outcome),
        Err(Failure::Blocked {
            projection,
            views,
            error,
        }) => Err(dependents::blocked(pool, &projection, &views, error).await),
        Err(failure) => Err(failure.into_error(place, request.attempt())),
    }
}

async fn decided(
    pool: &Connections,
    place: &str,
    actor: &str,
    request: &Request,
) -> Result<Outcome, Failure> {
    if let Request::Tidy { .. } = request {
        // Hosts look often, and mostly there is nothing to do.
        let mut transaction = pool.begin().await?;
        let snapshots = snapshot::read(&mut transaction, request, Lock::None).await?;
        transaction.rollback().await?;
        let plan = decide(request, &snapshots)?;
        if plan.changes.is_empty() {
            return Ok(plan.outcome());
        }
    }
    let mut transaction = pool.begin().await?;
    match attempt(&mut transaction, place, actor, request).await {
        Ok(outcome) => {
            transaction.commit().await?;
            Ok(outcome)
        }
        Err(failure) => {
            let _ = transaction.rollback().await;
            Err(failure)
        }
    }
}

async fn attempt(
    connection: &mut PgConnection,
    place: &str,
    actor: &str,
    request: &Request,
) -> Result<Outcome, Failure> {
    lock_structure(connection).await?;
    let snapshots = snapshot::read(connection, request, Lock::Generations).await?;
    let plan = decide(request, &snapshots)?;
    let (Request::Promote(generation), Some(snapshot)) = (request, snapshots.first()) else {
        return carry_out(connection, actor, request, &snapshots, &plan).await;
    };
    connection.execute("SAVEPOINT before_the_switch").await?;
    let error = match carry_out(connection, actor, request, &snapshots, &plan).await {
        Err(failure @ (Failure::Postgres(_) | Failure::Storage(_))) => {
            failure.into_error(place, request.attempt())
        }
        result => return result,
    };
    if error.kind() != StorageErrorKind::Refused {
        return Err(error.into());
    }
    connection.execute("ROLLBACK TO before_the_switch").await?;
    let plan = give_up(snapshot, *generation, chain(&error));
    carry_out(connection, actor, request, &snapshots, &plan).await
}

async fn carry_out(
    connection: &mut PgConnection,
    actor: &str,
    request: &Request,
    snapshots: &[Snapshot],
    plan: &Plan,
) -> Result<Outcome, Failure> {
    let projection = snapshots
        .first()
        .map_or("", |snapshot| &snapshot.projection);
    let mut outcome = plan.outcome();
    for change in &plan.changes {
        apply(connection, request, projection, change, &mut outcome).await?;
    }
    // What was decided before is no action.
    if outcome.decided != Some(0) {
        for action in &plan.actions {
            actions::record(connection, actor, action, outcome.created).await?;
        }
    }
    Ok(outcome)
}

async fn apply(
    connection: &mut PgConnection,
    request: &Request,
    projection: &str,
    change: &Change,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    match change {
        Change::Want(wish) => {
            sqlx::query(
                "INSERT INTO gnomon.projections (name, desired_state) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET desired_state = excluded.desired_state",
            )
            .bind(projection)
            .bind(wish.name())
            .execute(connection)
            .await?;
        }
        Change::TryAgain => {
            sqlx::query(
                "WITH forgotten AS (
                     UPDATE gnomon.generations SET run_state = NULL, cause = NULL
                     WHERE run_state = 'halted' AND projection = $1)
                 UPDATE gnomon.projections SET resumes = resumes + 1 WHERE name = $1",
            )
            .bind(projection)
            .execute(connection)
            .await?;
        }
        Change::ForgetHistory => {
            sqlx::query(
                "UPDATE gnomon.checkpoints c
                 SET event_position = NULL, event_id = NULL, set_back = false, late_position = NULL
                 FROM gnomon.generations g WHERE g.id = c.generation AND g.projection = $1",
            )
            .bind(projection)
            .execute(connection)
            .await?;
        }
        Change::NoteDropped(is_dropped) => {
            let statement = match is_dropped {
                true => {
                    "INSERT INTO gnomon.dropped (projection) VALUES ($1)
                     ON CONFLICT (projection) DO UPDATE SET dropped_at = now()"
                }
                false => "DELETE FROM gnomon.dropped WHERE projection = $1",
            };
            sqlx::query(statement)
                .bind(projection)
                .execute(connection)
                .await?;
        }
        Change::Create {
            was_registered,
            attended_until,
        } => {
            if let Request::Create(new) = request {
                let id = create(connection, new, *was_registered, *attended_until).await?;
                outcome.created = Some(id);
            }
        }
        Change::SetModule { generation, module } => {
            modules::set(connection, *generation, module).await?;
        }
        Change::Put {
            generation,
            standing,
        } => put(connection, *generation, standing).await?,
        Change::Drop(generation) => mark_dropped(connection, *generation).await?,
        Change::MoveRequests { from, to } => {
            if let Some(to) = to.or(outcome.created) {
                dead_letters::move_requests(connection, *from, to).await?;
            }
        }
        Change::Show {
            generation,
            instead_of,
            cascade,
            command,
        } => {
            let description = generations::description(connection, *generation).await?;
            let instead_of = match instead_of {
                Some(shown) => Some(generations::description(connection, *shown).await?),
                None => None,
            };
            let shown = Shown {
                generation: *generation,
                description: &description,
                instead_of: instead_of.as_ref(),
            };
            showing::show(connection, shown, *cascade, command).await?;
        }
        Change::Decide => {
            outcome.decided = decide_events(connection, request).await?;
        }
        Change::Hide { live, cascade } => {
            let description = generations::description(connection, *live).await?;
            showing::hide(connection, &description, *cascade).await?;
        }
    }
    Ok(())
}

/// How many decisions are new or taken back; `None` where none is counted.
async fn decide_events(
    connection: &mut PgConnection,
    request: &Request,
) -> sqlx::Result<Option<u64>> {
    match request {
        Request::Skip { projection, skip } => {
            skips::add(connection, projection, skip).await.map(Some)
        }
        Request::Discard {
            generation,
            stream,
            actor,
            reason,
        } => {
            let reason = reason.as_deref();
            let decided = Decided { actor, reason };
            let stream = stream.as_deref();
            let added = skips::add_dead_letters(connection, *generation, stream, decided).await?;
            Ok(Some(added))
        }
        Request::Unskip {
            projection,
            position,
        } => skips::remove(connection, projection, *position)
            .await
            .map(Some),
        Request::Retry { generation, stream } => {
            dead_letters::request_retry(connection, *generation, stream.as_deref()).await?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

async fn put(
    connection: &mut PgConnection,
    generation: GenerationId,
    standing: &Standing,
) -> sqlx::Result<()> {
    let obstacle = standing.obstacle.as_ref();
    sqlx::query(
        "UPDATE gnomon.generations
         SET state = $2, goal = $3, obstacle = $4, obstacle_kind = $5, insisted = $6,
             retired_at = 'epoch'::timestamptz + $7 * interval '1 microsecond',
             promoted_at = CASE WHEN $2 = 'live' AND state <> 'live' THEN now()
                           ELSE promoted_at END
         WHERE id = $1",
    )
    .bind(generation.to_sql())
    .bind(standing.state.name())
    .bind(standing.goal.name())
    .bind(obstacle.map(|obstacle| obstacle.reason.as_str()))
    .bind(obstacle.map(|obstacle| obstacle.kind.name()))
    .bind(standing.is_insisted)
    .bind(standing.retired_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// A commit that is under way ends first, and none succeeds afterwards.
async fn mark_dropped(connection: &mut PgConnection, generation: GenerationId) -> sqlx::Result<()> {
    // In the order in which a new owner locks them.
    for statement in [
        "DELETE FROM gnomon.leases WHERE generation = $1",
        "UPDATE gnomon.checkpoints SET epoch = epoch + 1 WHERE generation = $1",
        "UPDATE gnomon.generations SET state = 'dropped' WHERE id = $1",
    ] {
        sqlx::query(statement)
            .bind(generation.to_sql())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// The records and the tables of a new generation.
async fn create(
    connection: &mut PgConnection,
    new: &Creation,
    was_registered: bool,
    attended_until: Option<i64>,
) -> Result<GenerationId, Failure> {
    let description = new.named_description();
    modules::hold(connection, &new.module).await?;
    public_names::claim_schema(connection, &new.projection, was_registered).await?;
    let live = generations::live(connection, &new.projection).await?;
    public_names::check(connection, &description, live.as_ref()).await?;
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO gnomon.generations
             (projection, module, version, state, goal, until, description, attended_until,
              decided_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7,
                 'epoch'::timestamptz + $8 * interval '1 microsecond', $9)
         RETURNING id",
    )
    .bind(&new.projection)
    .bind(new.module.as_str())
    .bind(i64::from(new.description.version))
    .bind(GenerationState::Building.name())
    .bind(new.goal.name())
    .bind(new.until.map(Position::to_sql))
    .bind(stored_description(&new.description)?)
    .bind(attended_until)
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
        .execute(&mut *connection)
        .await?;
    let id = GenerationId::from_sql(id);
    tables::create(connection, id, &description).await?;
    Ok(id)
}
