//! Carrying out what the rules decide.

use gnomon_databases::error_chain::chain;
use gnomon_model::Position;
use rusqlite::{Transaction, params};

use super::{actions, generations, modules, skips, snapshot};
use crate::dead_letter::Decided;
use crate::generation::{GenerationId, GenerationState};
use crate::registry::request::{Creation, Outcome, Request};
use crate::registry::rules::{Change, Plan, Snapshot, Standing, decide, give_up};
use crate::registry::stored::stored_description;
use crate::storage::sqlite::database::{Database, Failure};
use crate::storage::sqlite::read_models::views::{self, Declared};
use crate::storage::sqlite::read_models::{dead_letters, tables};
use crate::storage_error::{StorageError, StorageErrorKind};

/// Decides what a request leads to, and does it, in one transaction.
pub(super) fn change(
    database: &Database,
    actor: &str,
    request: &Request,
) -> Result<Outcome, StorageError> {
    if let Request::Tidy { .. } = request {
        // Hosts look often, and mostly there is nothing to do.
        let snapshots = database.look(request.attempt(), |connection| {
            snapshot::read(connection, request)
        })?;
        let plan = decide(request, &snapshots)?;
        if plan.changes.is_empty() {
            return Ok(plan.outcome());
        }
    }
    database.write(request.attempt(), |transaction| {
        attempt(database, transaction, actor, request)
    })
}

fn attempt(
    database: &Database,
    transaction: &Transaction<'_>,
    actor: &str,
    request: &Request,
) -> Result<Outcome, Failure> {
    let snapshots = snapshot::read(transaction, request)?;
    let plan = decide(request, &snapshots)?;
    let (Request::Promote(generation), Some(snapshot)) = (request, snapshots.first()) else {
        return carry_out(database, transaction, actor, request, &snapshots, &plan);
    };
    transaction.execute_batch("SAVEPOINT before_the_switch")?;
    let error = match carry_out(database, transaction, actor, request, &snapshots, &plan) {
        Err(Failure::Storage(error)) if error.kind() == StorageErrorKind::Refused => error,
        result => return result,
    };
    transaction.execute_batch("ROLLBACK TO before_the_switch")?;
    let plan = give_up(snapshot, *generation, chain(&error));
    carry_out(database, transaction, actor, request, &snapshots, &plan)
}

fn carry_out(
    database: &Database,
    transaction: &Transaction<'_>,
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
        apply(
            database,
            transaction,
            request,
            projection,
            change,
            &mut outcome,
        )?;
    }
    // What was decided before is no action.
    if outcome.decided != Some(0) {
        for action in &plan.actions {
            actions::record(transaction, actor, action, outcome.created)?;
        }
    }
    Ok(outcome)
}

fn apply(
    database: &Database,
    transaction: &Transaction<'_>,
    request: &Request,
    projection: &str,
    change: &Change,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    match change {
        Change::Want(wish) => {
            transaction.execute(
                "INSERT INTO gnomon_projections (name, desired_state) VALUES (?1, ?2)
                 ON CONFLICT DO UPDATE SET desired_state = excluded.desired_state",
                [projection, wish.name()],
            )?;
        }
        Change::TryAgain => {
            transaction.execute(
                "UPDATE gnomon_generations SET run_state = NULL, cause = NULL
                 WHERE run_state = 'halted' AND projection = ?1",
                [projection],
            )?;
            transaction.execute(
                "UPDATE gnomon_projections SET resumes = resumes + 1 WHERE name = ?1",
                [projection],
            )?;
        }
        Change::ForgetHistory => {
            transaction.execute(
                "UPDATE gnomon_checkpoints
                 SET event_position = NULL, event_id = NULL, set_back = 0, late_position = NULL
                 WHERE generation IN (SELECT id FROM gnomon_generations WHERE projection = ?1)",
                [projection],
            )?;
        }
        Change::NoteDropped(true) => {
            transaction.execute(
                "INSERT INTO gnomon_dropped (projection, dropped_at)
                 VALUES (?1, CAST(unixepoch('subsec') * 1000000 AS INTEGER))
                 ON CONFLICT DO UPDATE SET dropped_at = excluded.dropped_at",
                [projection],
            )?;
        }
        Change::NoteDropped(false) => {
            transaction.execute(
                "DELETE FROM gnomon_dropped WHERE projection = ?1",
                [projection],
            )?;
        }
        Change::Create { attended_until, .. } => {
            if let Request::Create(new) = request {
                outcome.created = Some(create(database, transaction, new, *attended_until)?);
            }
        }
        Change::SetModule { generation, module } => {
            modules::set(transaction, *generation, module)?;
        }
        Change::Put {
            generation,
            standing,
        } => put(transaction, *generation, standing)?,
        Change::Drop(generation) => mark_dropped(transaction, *generation)?,
        Change::MoveRequests { from, to } => {
            if let Some(to) = to.or(outcome.created) {
                dead_letters::move_requests(transaction, *from, to)?;
            }
        }
        Change::Show {
            generation,
            instead_of,
            cascade,
            command,
        } => {
            let declared = generations::declared(transaction, *generation)?;
            let instead_of = match instead_of {
                Some(shown) => Some(generations::declared(transaction, *shown)?),
                None => None,
            };
            let shown = instead_of.as_ref();
            check_names(database, transaction, &declared, shown)?;
            let broken = views::replace(transaction, shown, Some((*generation, &declared)))?;
            if !broken.is_empty() && !cascade {
                return Err(refused(format!(
                    "its tables are not those that {} was made for; change or drop that, or let \
                     `gnomon {command} {projection} --cascade` drop it",
                    broken.join(" and "),
                )));
            }
        }
        Change::Decide => outcome.decided = decide_events(transaction, request)?,
        Change::Hide { live, cascade } => {
            let declared = generations::declared(transaction, *live)?;
            let broken = views::replace(transaction, Some(&declared), None)?;
            if !broken.is_empty() && !cascade {
                return Err(refused(format!(
                    "projection `{projection}` cannot be dropped, as {} stands on its tables; \
                     drop that first, or let `gnomon remove {projection} --drop --cascade` drop it",
                    broken.join(" and "),
                )));
            }
        }
    }
    Ok(())
}

/// How many decisions are new or taken back; `None` where none is counted.
fn decide_events(
    transaction: &Transaction<'_>,
    request: &Request,
) -> rusqlite::Result<Option<u64>> {
    match request {
        Request::Skip { projection, skip } => skips::add(transaction, projection, skip).map(Some),
        Request::Discard {
            generation,
            stream,
            actor,
            reason,
        } => {
            let reason = reason.as_deref();
            let decided = Decided { actor, reason };
            skips::add_dead_letters(transaction, *generation, stream.as_deref(), decided).map(Some)
        }
        Request::Unskip {
            projection,
            position,
        } => skips::remove(transaction, projection, *position).map(Some),
        Request::Retry { generation, stream } => {
            dead_letters::request_retry(transaction, *generation, stream.as_deref())?;
            Ok(None)
        }
        _ => Ok(None),
    }
}

fn refused(reason: String) -> Failure {
    StorageError::new(StorageErrorKind::Refused, reason).into()
}

/// Refuses public names that are taken. `shown` is what the projection shows now.
fn check_names(
    database: &Database,
    transaction: &Transaction<'_>,
    declared: &Declared,
    shown: Option<&Declared>,
) -> Result<(), Failure> {
    let others = generations::others(transaction, &declared.projection)?;
    match views::taken_name(transaction, &database.file, declared, shown, &others)? {
        Some(reason) => Err(refused(reason)),
        None => Ok(()),
    }
}

fn put(
    transaction: &Transaction<'_>,
    generation: GenerationId,
    standing: &Standing,
) -> rusqlite::Result<()> {
    let obstacle = standing.obstacle.as_ref();
    transaction.execute(
        "UPDATE gnomon_generations
         SET state = ?2, goal = ?3, obstacle = ?4, obstacle_kind = ?5, insisted = ?6,
             retired_at = ?7,
             promoted_at = CASE WHEN ?2 = 'live' AND state <> 'live'
                           THEN strftime('%Y-%m-%dT%H:%M:%fZ') ELSE promoted_at END
         WHERE id = ?1",
        params![
            generation.to_sql(),
            standing.state.name(),
            standing.goal.name(),
            obstacle.map(|obstacle| obstacle.reason.as_str()),
            obstacle.map(|obstacle| obstacle.kind.name()),
            standing.is_insisted,
            standing.retired_at,
        ],
    )?;
    Ok(())
}

fn mark_dropped(transaction: &Transaction<'_>, generation: GenerationId) -> rusqlite::Result<()> {
    for statement in [
        "UPDATE gnomon_generations SET state = 'dropped' WHERE id = ?1",
        "UPDATE gnomon_checkpoints SET epoch = epoch + 1 WHERE generation = ?1",
        "DELETE FROM gnomon_leases WHERE generation = ?1",
    ] {
        transaction.execute(statement, [generation.to_sql()])?;
    }
    Ok(())
}

/// The records and the tables of a new generation.
fn create(
    database: &Database,
    transaction: &Transaction<'_>,
    new: &Creation,
    attended_until: Option<i64>,
) -> Result<GenerationId, Failure> {
    modules::check(transaction, &new.module)?;
    let declared = Declared {
        projection: new.projection.clone(),
        description: new.description.clone(),
    };
    let live = generations::live(transaction, &new.projection)?;
    check_names(database, transaction, &declared, live.as_ref())?;
    let id: i64 = transaction.query_row(
        "INSERT INTO gnomon_generations
             (projection, module, version, state, goal, until, description, attended_until,
              decided_by)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) RETURNING id",
        params![
            new.projection,
            new.module.as_str(),
            new.description.version,
            GenerationState::Building.name(),
            new.goal.name(),
            new.until.map(Position::to_sql),
            stored_description(&new.description)?,
            // The column has milliseconds.
            attended_until.map(|until| until / 1_000),
            new.description.name,
        ],
        |row| row.get(0),
    )?;
    transaction.execute(
        "INSERT INTO gnomon_checkpoints (generation, checkpoint, position, epoch)
         VALUES (?1, ?2, ?3, 0)",
        params![id, new.start.as_str(), Position::START.to_sql()],
    )?;
    transaction.execute(
        "INSERT INTO gnomon_leases (generation, epoch, expires_at) VALUES (?1, 0, 0)",
        [id],
    )?;
    let id = GenerationId::from_sql(id);
    tables::create(transaction, id, &new.description)?;
    Ok(id)
}
