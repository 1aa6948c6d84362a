//! The registry: which modules, projections and generations there are, what users
//! want of them, and which host runs what. Every host reconciles towards it.
//!
//! A seam: [`crate::storage`] has one registry for each database system. It lies
//! in the same database as the [read models](crate::read_models), so that a
//! promotion is one transaction.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_event_store::source::LateEvent;
use gnomon_model::Position;

use crate::dead_letter::{Decided, Skip};
use crate::generation::{Generation, GenerationId, Goal, Lease, Module, ModuleHash, RunReport};
use crate::storage_error::{StorageError, StorageErrorKind};

pub(crate) mod actions;
mod desired;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod rules;
pub(crate) mod stored;

pub use actions::Action;
pub(crate) use actions::user_and_machine;
pub use desired::{
    Control, HostNotes, NewGeneration, Overview, PresentHost, Promotion, RefusedFile, SeenLease,
};
pub(crate) use refusal::{
    dropped_projection, fenced, removed_projection, unknown_generation, unknown_module,
};
pub use request::{Creation, DroppedGeneration, Outcome, Request};
pub(crate) use stored::{
    StoredControl, StoredGeneration, named, read_description, stored_description,
};

/// The answer to [`HostRegistry::acquire`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// The lease is ours.
    Lease(Lease),
    /// Another host has it.
    HeldBy {
        /// That host.
        host: String,
        /// How long its lease still runs.
        remaining: Duration,
    },
}

/// What users want, and what has become of it: for commands and hosts alike.
#[async_trait]
pub trait Registry: Send + Sync {
    /// Does what the rules (`registry::rules`) say that a request leads to, in one transaction.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if it cannot be done as things stand;
    /// [`StorageErrorKind::Retry`] if somebody else is in the way.
    async fn change(&self, request: Request) -> Result<Outcome, StorageError>;

    /// Removes the tables and the records of a generation that is marked as
    /// dropped. What a crash interrupts, [`HostRegistry::tidy`] finishes.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn clear(&self, dropped: &DroppedGeneration) -> Result<(), StorageError>;

    /// Removes modules that nothing refers to for an hour, and removed projections
    /// that have nothing left.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn sweep(&self) -> Result<(), StorageError>;

    /// Puts a module into the registry; does nothing if it is there.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn add_module(&self, module: &Module) -> Result<(), StorageError>;

    /// A module of the registry.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, StorageError>;

    /// Makes a generation of a module that is in the registry: its record, its
    /// checkpoint and its empty tables, without secondary indexes. The
    /// projection is registered with its first generation, and comes back if
    /// it was removed. Another candidate of the projection, which this one
    /// replaces, becomes [`crate::generation::GenerationState::Dropped`]; one
    /// with [`Goal::Compare`] replaces only such ones, and brings nothing back. If it is to be promoted,
    /// promotions of retired generations that were wanted before are over. All
    /// of it in one transaction.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if a public name of the projection is
    /// taken by somebody else, naming them, or if one for comparison is of a
    /// removed projection; [`StorageErrorKind::Retry`] if
    /// `newest` is no longer the newest one, as another host was faster.
    async fn create_generation(&self, new: NewGeneration<'_>) -> Result<Generation, StorageError> {
        let new = Creation::from(new);
        let outcome = self.change(Request::Create(Box::new(new.clone()))).await?;
        match outcome.created {
            Some(id) => Ok(new.generation(id)),
            None => Err(StorageError::new(
                StorageErrorKind::Retry,
                format!("no generation of `{}` was created", new.projection),
            )),
        }
    }

    /// All generations that are not dropped, by projection name and number;
    /// those of removed projections too.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn generations(&self) -> Result<Vec<Generation>, StorageError>;

    /// Makes generations run another module of the registry, which declares
    /// the same version, subscription and tables, in whatever order. Their own
    /// descriptions stay as they are. What they halted on is tried
    /// again: the projection's `resumes` grows.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn set_module(
        &self,
        generations: &[GenerationId],
        module: &ModuleHash,
    ) -> Result<(), StorageError> {
        let request = Request::SetModule {
            generations: generations.to_vec(),
            module: module.clone(),
        };
        self.change(request).await.map(drop)
    }

    /// Says what is wanted of a candidate or a retired generation, and forgets
    /// what was in the way of its last promotion. Of a retired one only
    /// promotion or [`Goal::Rest`] can be wanted.
    ///
    /// A projection has one next live generation: who wants a promotion ends
    /// the promotions that were wanted before. A retired generation rests
    /// then, and a candidate is held, with the newer wish as its obstacle.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if it is neither, or is gone.
    async fn set_goal(&self, generation: GenerationId, goal: Goal) -> Result<(), StorageError> {
        let request = Request::SetGoal { generation, goal };
        self.change(request).await.map(drop)
    }

    /// Makes a generation the live one if its goal is a promotion: the public
    /// names show its tables, and the one that was live is retired, its goal
    /// and the new one's [`Goal::Rest`]. The promotions of other retired
    /// generations that were wanted before are over. One transaction.
    ///
    /// It waits only briefly for readers' locks, so that readers do not queue
    /// behind it; then [`StorageErrorKind::Retry`] says so.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn promote(&self, generation: GenerationId) -> Result<Promotion, StorageError> {
        let outcome = self.change(Request::Promote(generation)).await?;
        Ok(outcome.promotion.unwrap_or(Promotion::NotWanted))
    }

    /// Makes a generation stand still at a position, or before it, for a
    /// while; `None` ends that. A generation with [`Goal::Compare`] that
    /// nobody attends to is dropped by [`HostRegistry::tidy`].
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if it is gone.
    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), StorageError>;

    /// Drops a generation that is not live, with its tables. What a crash
    /// interrupts, [`HostRegistry::tidy`] finishes.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if it is live.
    async fn drop_generation(&self, generation: GenerationId) -> Result<(), StorageError> {
        let outcome = self.change(Request::Drop(generation)).await?;
        for dropped in &outcome.dropped {
            self.clear(dropped).await?;
        }
        Ok(())
    }

    /// Stops the work on a projection. Its tables and views stay as they are,
    /// until [`Registry::resume`] brings it back. A promotion of a retired
    /// generation that was wanted is over.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if there is no such projection.
    async fn remove(&self, projection: &str) -> Result<(), StorageError> {
        let request = Request::Remove(projection.to_owned());
        self.change(request).await.map(drop)
    }

    /// Removes a projection with everything that it has: generations, views,
    /// dead letters. With `cascade`, views of users that stand on its views go
    /// too.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if there is no such projection, or, without
    /// `cascade`, naming the views that stand in the way.
    async fn drop_projection(&self, projection: &str, cascade: bool) -> Result<(), StorageError> {
        let request = Request::DropProjection {
            projection: projection.to_owned(),
            cascade,
        };
        for dropped in &self.change(request).await?.dropped {
            self.clear(dropped).await?;
        }
        self.sweep().await
    }

    /// What the hosts that are there have to tell; where none is, what those
    /// told that were there last. A host that announces itself ends what those
    /// before it told.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn last_notes(&self) -> Result<Vec<HostNotes>, StorageError>;

    /// When a projection was dropped that has not come back since, in
    /// microseconds since the Unix epoch.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, StorageError>;

    /// The hosts that are there, by name.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn hosts(&self) -> Result<Vec<PresentHost>, StorageError>;

    /// What [`HostRegistry::note_file`] was told, by file.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, StorageError>;

    /// What is wanted of every generation, who runs it, and which hosts are
    /// there. One query, however many there are.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn overview(&self) -> Result<Overview, StorageError>;

    /// What is wanted of every generation: a part of [`Registry::overview`].
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn controls(&self) -> Result<Vec<Control>, StorageError> {
        Ok(self.overview().await?.controls)
    }

    /// Makes a projection stand still.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if there is no such projection.
    async fn pause(&self, projection: &str) -> Result<(), StorageError> {
        let request = Request::Pause(projection.to_owned());
        self.change(request).await.map(drop)
    }

    /// Lets a projection go on that was paused, was removed, or has halted.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if there is no such projection.
    async fn resume(&self, projection: &str) -> Result<(), StorageError> {
        let request = Request::Resume(projection.to_owned());
        self.change(request).await.map(drop)
    }

    /// Takes the event store of a projection as it is now for the right one:
    /// forgets which event stands at the checkpoints of its generations, and
    /// what was found to be wrong, and lets it try again.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if there is no such projection.
    async fn accept_history(&self, projection: &str) -> Result<(), StorageError> {
        let request = Request::AcceptHistory(projection.to_owned());
        self.change(request).await.map(drop)
    }

    /// Asks the host of a generation to apply its dead letters again, all or
    /// those of one stream. A generation that takes the place of this one takes
    /// the request over.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn request_retry(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
    ) -> Result<(), StorageError> {
        let request = Request::Retry {
            generation,
            stream: stream.map(str::to_owned),
        };
        self.change(request).await.map(drop)
    }

    /// Records the decision to leave an event out, for every generation of a
    /// projection; says whether it is new.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] if there is no such projection.
    async fn skip(&self, projection: &str, skip: &Skip) -> Result<bool, StorageError> {
        let request = Request::Skip {
            projection: projection.to_owned(),
            skip: skip.clone(),
        };
        Ok(self.change(request).await?.decided > Some(0))
    }

    /// Records that decision for dead letters of a generation: those of one
    /// stream, or all. Gives how many they are. Its host leaves them out then.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn skip_dead_letters(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
        decided: Decided<'_>,
    ) -> Result<u64, StorageError> {
        let request = Request::Discard {
            generation,
            stream: stream.map(str::to_owned),
            actor: decided.actor.to_owned(),
            reason: decided.reason.map(str::to_owned),
        };
        Ok(self.change(request).await?.decided.unwrap_or(0))
    }

    /// Takes a decision to leave an event out back; says whether there was one.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn unskip(&self, projection: &str, position: Position) -> Result<bool, StorageError> {
        let request = Request::Unskip {
            projection: projection.to_owned(),
            position,
        };
        Ok(self.change(request).await?.decided > Some(0))
    }

    /// The newest actions, at most `limit`, of one projection or of all; the newest
    /// is last.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn actions(
        &self,
        projection: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Action>, StorageError>;

    /// Decisions to leave an event out that belong to a projection, with
    /// positions above `after`, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, StorageError>;
}

/// What only a host that runs generations does in the registry.
#[async_trait]
pub trait HostRegistry: Registry {
    /// The same registry, in which this actor's name stands at every action. It is
    /// opened in the name of the user.
    fn acting_as(&self, actor: &str) -> Arc<dyn HostRegistry>;

    /// Claims the right to run generations here at all for a host, until the
    /// registry is dropped. Any number of hosts may share a server; a SQLite file
    /// has one.
    ///
    /// # Errors
    /// [`StorageErrorKind::Refused`] naming the host that is there already;
    /// [`StorageErrorKind::Retry`] if the claim holds, but the database is not
    /// ready for it: it has to be made again.
    async fn claim(&self, _host: &str) -> Result<(), StorageError> {
        Ok(())
    }

    /// Says that a host is there, for `duration`, and what it has to tell.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn announce(
        &self,
        host: &str,
        notes: &HostNotes,
        duration: Duration,
    ) -> Result<(), StorageError>;

    /// Says that a host is there no longer, and what it had to tell last.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn leave(&self, host: &str, notes: &HostNotes) -> Result<(), StorageError> {
        self.announce(host, notes, Duration::ZERO).await
    }

    /// Remembers which module a file of a watched directory held when it was
    /// last deployed, so that it is no news after a restart.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn note_file(&self, file: &str, module: &ModuleHash) -> Result<(), StorageError>;

    /// Notes that an event came too late, for all generations that have passed
    /// its position as a hole.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn note_late(&self, late: LateEvent) -> Result<(), StorageError>;

    /// Takes the lease on a generation, if no other host holds it or has asked
    /// for it. Its fencing
    /// epoch grows, so that whoever held it before can no longer commit.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn acquire(
        &self,
        generation: GenerationId,
        host: &str,
        duration: Duration,
    ) -> Result<Acquired, StorageError>;

    /// Makes leases run on from now, each for its duration, and gives those
    /// that are no longer ours. One query, however many there are.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn renew(&self, leases: &[(Lease, Duration)]) -> Result<Vec<Lease>, StorageError>;

    /// Gives a lease back, so that another host need not wait for its end.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn release(&self, lease: Lease) -> Result<(), StorageError>;

    /// Records what a runner does.
    ///
    /// # Errors
    /// [`StorageErrorKind::Fenced`] if the lease is no longer ours.
    async fn report(&self, lease: Lease, report: &RunReport) -> Result<(), StorageError>;

    /// Asks the hosts that hold leases on these generations to give them back for
    /// `host`, which nobody else can take them before for `duration`. What
    /// another host has asked for already is left to it.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn request_leases(
        &self,
        generations: &[GenerationId],
        host: &str,
        duration: Duration,
    ) -> Result<(), StorageError>;

    /// Records that a generation that was being built has caught up. Does
    /// nothing in any other state.
    ///
    /// # Errors
    /// [`StorageErrorKind::Fenced`] if the lease is no longer ours.
    async fn set_ready(&self, lease: Lease) -> Result<(), StorageError>;

    /// Drops what is no longer needed: retired generations of each projection
    /// but the newest `keep`, comparisons that nobody attends to, what an
    /// interrupted drop has left, and modules that nothing refers to for an
    /// hour. Gives the generations that are gone.
    ///
    /// # Errors
    /// When the database cannot be written.
    async fn tidy(&self, keep: usize) -> Result<Vec<GenerationId>, StorageError> {
        let outcome = self.change(Request::Tidy { keep }).await?;
        let mut gone = Vec::with_capacity(outcome.dropped.len());
        let mut first_error = None;
        for dropped in &outcome.dropped {
            // One that cannot be dropped now keeps none of the others.
            match self.clear(dropped).await {
                Ok(()) => gone.push(dropped.id),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        self.sweep().await?;
        match first_error {
            Some(error) if gone.is_empty() => Err(error),
            _ => Ok(gone),
        }
    }
}
