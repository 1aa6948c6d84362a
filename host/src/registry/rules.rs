//! The rules of the registry: what a request leads to, as pure functions.
//!
//! [`decide`] is given a request and what the registry holds of the projection
//! that the request is about, and answers with the elementary changes. Storage
//! reads the one and carries out the other, and knows no rules.
//!
//! Both happen in one transaction, under the lock under which every change of
//! structure happens (an advisory lock in PostgreSQL, the write lock of a SQLite
//! file): tables and views change with the records, so changes have to come one
//! after the other anyway. A revision to compare would add a second way to
//! notice the same thing, and an attempt that has created tables in vain.
//!
//! What a running host records of its own work (commits, leases, reports, that a
//! build has caught up) is a single statement under its fencing epoch, and not
//! decided here.

use crate::storage_error::StorageError;

use super::actions::ActionKind;
use super::request::Request;

mod candidates;
mod cleaning;
mod events;
mod plan;
mod projections;
mod promotion;
mod snapshot;
#[cfg(test)]
mod tests;

pub(crate) use plan::{Change, Plan, PlannedAction};
pub(crate) use promotion::{contender, give_up};
pub(crate) use snapshot::{Contest, Registered, Snapshot, Standing, Wish};

/// What a request leads to. `snapshots` are of the projection that it is about,
/// or of all for [`Request::Tidy`].
///
/// # Errors
/// When it cannot be done as things stand, with the reason.
pub(crate) fn decide(request: &Request, snapshots: &[Snapshot]) -> Result<Plan, StorageError> {
    if let Request::Tidy { keep } = request {
        return Ok(cleaning::tidy(snapshots, *keep));
    }
    let unknown = Snapshot::default();
    let snapshot = snapshots.first().unwrap_or(&unknown);
    match request {
        Request::Create(new) => candidates::create(snapshot, new),
        Request::SetModule {
            generations,
            module,
        } => Ok(candidates::set_module(snapshot, generations, module)),
        Request::SetGoal { generation, goal } => candidates::set_goal(snapshot, *generation, *goal),
        Request::Promote(generation) => Ok(promotion::promote(snapshot, *generation)),
        Request::Drop(generation) => cleaning::drop_generation(snapshot, *generation),
        Request::Tidy { .. } => Ok(Plan::default()),
        Request::Pause(projection) => projections::pause(snapshot, projection),
        Request::Resume(projection) => projections::resume(snapshot, projection),
        Request::AcceptHistory(projection) => projections::accept_history(snapshot, projection),
        Request::Remove(projection) => projections::remove(snapshot, projection),
        Request::DropProjection {
            projection,
            cascade,
        } => projections::drop_projection(snapshot, projection, *cascade),
        Request::Skip { projection, skip } => events::skip(snapshot, projection, skip),
        Request::Unskip { position, .. } => Ok(events::unskip(snapshot, *position)),
        Request::Discard {
            generation, stream, ..
        } => {
            let kind = ActionKind::DeadLettersDiscarded;
            events::dead_letters(snapshot, *generation, stream.as_deref(), kind)
        }
        Request::Retry { generation, stream } => {
            let kind = ActionKind::DeadLettersRetried;
            events::dead_letters(snapshot, *generation, stream.as_deref(), kind)
        }
    }
}
