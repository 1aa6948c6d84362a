//! A read-model database for commands that wait: while it is out of reach, every
//! call waits until it is back, or until the command's time is up.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_event_store::source::LateEvent;
use gnomon_model::{Description, Floats, Position};

use super::patience::{MayPass as _, Patience};
use crate::dead_letter::{DeadLetter, Decided, PageLimits, Skip};
use crate::generation::{
    Generation, GenerationId, GenerationState, Goal, Lease, Module, ModuleHash, RunReport,
};
use crate::target::{
    Acquired, Compared, HostNotes, NewGeneration, Overview, PresentHost, Promotion, Target,
    TargetError, TargetErrorKind, Writer, in_time,
};

/// A database and the patience that a command has with it.
///
/// A call that was cut off may have been carried out. Those that are safe to
/// make twice are made again; where they are not, it is looked first whether
/// that has happened. What only hosts and commands that do not wait ask for is
/// passed on as it is.
pub(super) struct Patient {
    target: Arc<dyn Target>,
    patience: Patience,
}

impl Patient {
    pub(super) const fn new(target: Arc<dyn Target>, patience: Patience) -> Self {
        Self { target, patience }
    }

    pub(super) const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The database itself, for a host: hosts have their own way to wait.
    pub(super) fn impatient(&self) -> Arc<dyn Target> {
        Arc::clone(&self.target)
    }

    /// Makes a call until there is an answer, an error that stays, or no time
    /// left.
    async fn again<T, F>(&self, call: impl Fn() -> F + Send + Sync) -> Result<T, TargetError>
    where
        T: Send,
        F: Future<Output = Result<T, TargetError>> + Send,
    {
        loop {
            match call().await {
                Err(error) if error.may_pass() => self.bear(error).await?,
                result => {
                    self.patience.has_answered();
                    return result;
                }
            }
        }
    }

    /// Waits a moment after an error.
    ///
    /// # Errors
    /// That error, when there is no time left.
    async fn bear(&self, error: TargetError) -> Result<(), TargetError> {
        if self.patience.has_another_try(&error).await {
            return Ok(());
        }
        Err(match self.patience.too_late() {
            // Nobody has the time to try again.
            Some(late) => TargetError::caused(TargetErrorKind::Refused, late, error),
            None => error,
        })
    }

    /// A generation of this number.
    async fn generation(&self, id: GenerationId) -> Result<Option<Generation>, TargetError> {
        let mut all = self.generations().await?.into_iter();
        Ok(all.find(|known| known.id == id))
    }

    /// The generation that a call made whose answer was lost.
    async fn made(&self, new: &NewGeneration<'_>) -> Result<Option<Generation>, TargetError> {
        let all = self.generations().await?.into_iter();
        Ok(all
            .filter(|known| known.projection == new.projection && Some(known.id) > new.newest)
            .filter(|known| known.module == *new.module && known.until == new.until)
            // A host may have promoted it meanwhile.
            .filter(|known| known.goal == new.goal || known.state == GenerationState::Live)
            .max_by_key(|known| known.id))
    }
}

#[async_trait]
impl Target for Patient {
    fn floats(&self) -> Floats {
        self.target.floats()
    }

    async fn claim(&self, host: &str) -> Result<(), TargetError> {
        self.target.claim(host).await
    }

    async fn add_module(&self, module: &Module) -> Result<(), TargetError> {
        self.again(|| self.target.add_module(module)).await
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, TargetError> {
        self.again(|| self.target.module(hash)).await
    }

    async fn create_generation(&self, new: NewGeneration<'_>) -> Result<Generation, TargetError> {
        let mut may_be_made = false;
        loop {
            let error = match self.target.create_generation(new).await {
                Err(error) if error.may_pass() => error,
                result => return result,
            };
            // Without a cause it is the database's own answer: `newest` is no
            // longer the newest one.
            if error.source().is_none() {
                let made = if may_be_made {
                    self.made(&new).await?
                } else {
                    None
                };
                return made.ok_or(error);
            }
            may_be_made = true;
            self.bear(error).await?;
        }
    }

    async fn generations(&self) -> Result<Vec<Generation>, TargetError> {
        self.again(|| in_time(self.target.generations())).await
    }

    async fn set_module(
        &self,
        generations: &[GenerationId],
        module: &ModuleHash,
    ) -> Result<(), TargetError> {
        self.again(|| self.target.set_module(generations, module))
            .await
    }

    async fn set_goal(&self, generation: GenerationId, goal: Goal) -> Result<(), TargetError> {
        while let Err(error) = self.target.set_goal(generation, goal).await {
            if !error.may_pass() {
                return Err(error);
            }
            self.bear(error).await?;
            // It may be wanted by now, and a host may have done it since.
            let found = self.generation(generation).await?;
            let is_done = found.is_some_and(|found| {
                let is_wanted = found.goal == goal && found.obstacle.is_none();
                is_wanted || (goal.is_promotion() && found.state == GenerationState::Live)
            });
            if is_done {
                break;
            }
        }
        Ok(())
    }

    async fn set_ready(&self, lease: Lease) -> Result<(), TargetError> {
        self.target.set_ready(lease).await
    }

    /// One that was promoted already is done.
    async fn promote(&self, generation: GenerationId) -> Result<Promotion, TargetError> {
        self.again(|| self.target.promote(generation)).await
    }

    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), TargetError> {
        self.again(|| in_time(self.target.attend(generation, stop_at, duration)))
            .await
    }

    async fn compare(
        &self,
        left: GenerationId,
        right: GenerationId,
        samples: usize,
    ) -> Result<Compared, TargetError> {
        self.again(|| self.target.compare(left, right, samples))
            .await
    }

    /// One that is gone already is done.
    async fn drop_generation(&self, generation: GenerationId) -> Result<(), TargetError> {
        self.again(|| self.target.drop_generation(generation)).await
    }

    async fn tidy(&self, keep: usize) -> Result<Vec<GenerationId>, TargetError> {
        self.target.tidy(keep).await
    }

    async fn remove(&self, projection: &str) -> Result<(), TargetError> {
        self.target.remove(projection).await
    }

    async fn drop_projection(&self, projection: &str, cascade: bool) -> Result<(), TargetError> {
        self.target.drop_projection(projection, cascade).await
    }

    async fn announce(
        &self,
        host: &str,
        notes: &HostNotes,
        duration: Duration,
    ) -> Result<(), TargetError> {
        self.target.announce(host, notes, duration).await
    }

    async fn last_notes(&self) -> Result<Vec<HostNotes>, TargetError> {
        self.again(|| in_time(self.target.last_notes())).await
    }

    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, TargetError> {
        self.again(|| in_time(self.target.dropped_at(projection)))
            .await
    }

    async fn hosts(&self) -> Result<Vec<PresentHost>, TargetError> {
        self.again(|| in_time(self.target.hosts())).await
    }

    async fn note_file(&self, file: &str, module: &ModuleHash) -> Result<(), TargetError> {
        self.target.note_file(file, module).await
    }

    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, TargetError> {
        self.again(|| in_time(self.target.noted_files())).await
    }

    async fn acquire(
        &self,
        generation: GenerationId,
        host: &str,
        duration: Duration,
    ) -> Result<Acquired, TargetError> {
        self.target.acquire(generation, host, duration).await
    }

    async fn renew(&self, leases: &[(Lease, Duration)]) -> Result<Vec<Lease>, TargetError> {
        self.target.renew(leases).await
    }

    async fn release(&self, lease: Lease) -> Result<(), TargetError> {
        self.target.release(lease).await
    }

    async fn report(&self, lease: Lease, report: &RunReport) -> Result<(), TargetError> {
        self.target.report(lease, report).await
    }

    async fn request_leases(
        &self,
        generations: &[GenerationId],
        host: &str,
        duration: Duration,
    ) -> Result<(), TargetError> {
        self.target
            .request_leases(generations, host, duration)
            .await
    }

    async fn overview(&self) -> Result<Overview, TargetError> {
        self.again(|| in_time(self.target.overview())).await
    }

    async fn pause(&self, projection: &str) -> Result<(), TargetError> {
        self.target.pause(projection).await
    }

    async fn resume(&self, projection: &str) -> Result<(), TargetError> {
        self.again(|| self.target.resume(projection)).await
    }

    async fn accept_history(&self, projection: &str) -> Result<(), TargetError> {
        self.target.accept_history(projection).await
    }

    async fn note_late(&self, late: LateEvent) -> Result<(), TargetError> {
        self.target.note_late(late).await
    }

    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, TargetError> {
        self.target.dead_letters(generation, after, limits).await
    }

    async fn request_retry(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
    ) -> Result<(), TargetError> {
        self.target.request_retry(generation, stream).await
    }

    async fn skip(&self, projection: &str, skip: &Skip) -> Result<bool, TargetError> {
        self.target.skip(projection, skip).await
    }

    async fn skip_dead_letters(
        &self,
        generation: GenerationId,
        stream: Option<&str>,
        decided: Decided<'_>,
    ) -> Result<u64, TargetError> {
        self.target
            .skip_dead_letters(generation, stream, decided)
            .await
    }

    async fn unskip(&self, projection: &str, position: Position) -> Result<bool, TargetError> {
        self.target.unskip(projection, position).await
    }

    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, TargetError> {
        self.target.skips(projection, after, limit).await
    }

    async fn writer(
        &self,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Box<dyn Writer>, TargetError> {
        self.target.writer(lease, description).await
    }
}
