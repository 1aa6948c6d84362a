//! A read-model database for operations that wait: while it is out of reach, every
//! call waits until it is back, or until the operation's time is up.

use std::error::Error as _;
use std::time::Duration;

use async_trait::async_trait;
use gnomon_model::Position;

use super::error::MayPass as _;
use super::patience::Patience;
use crate::dead_letter::Skip;
use crate::generation::{Generation, GenerationId, GenerationState, Goal, Module, ModuleHash};
use crate::registry::{
    Action, DroppedGeneration, HostNotes, NewGeneration, Outcome, Overview, PresentHost, Registry,
    Request,
};
use crate::storage::Storage;
use crate::storage_error::{StorageError, StorageErrorKind, in_time};

/// A database and the patience that an operation has with it.
///
/// A call that was cut off may have been carried out. Those that are safe to
/// make twice are made again; where they are not, it is looked first whether
/// that has happened. What only operations that do not
/// wait ask for is passed on as it is.
pub(super) struct Patient {
    storage: Storage,
    patience: Patience,
}

impl Patient {
    pub(super) const fn new(storage: Storage, patience: Patience) -> Self {
        Self { storage, patience }
    }

    pub(super) const fn patience(&self) -> &Patience {
        &self.patience
    }

    /// The database itself, for a host: hosts have their own way to wait.
    pub(super) const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Makes a call until there is an answer, an error that stays, or no time
    /// left.
    async fn again<T, F>(&self, call: impl Fn() -> F + Send + Sync) -> Result<T, StorageError>
    where
        T: Send,
        F: Future<Output = Result<T, StorageError>> + Send,
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
    async fn bear(&self, error: StorageError) -> Result<(), StorageError> {
        if self.patience.has_another_try(&error).await {
            return Ok(());
        }
        Err(match self.patience.too_late() {
            // Nobody has the time to try again.
            Some(late) => StorageError::caused(StorageErrorKind::Refused, late, error),
            None => error,
        })
    }

    /// A generation of this number.
    async fn generation(&self, id: GenerationId) -> Result<Option<Generation>, StorageError> {
        let mut all = self.generations().await?.into_iter();
        Ok(all.find(|known| known.id == id))
    }

    /// The generation that a call made whose answer was lost.
    async fn made(&self, new: &NewGeneration<'_>) -> Result<Option<Generation>, StorageError> {
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
impl Registry for Patient {
    /// Each of them leaves the same when it is made again, but for those below.
    async fn change(&self, request: Request) -> Result<Outcome, StorageError> {
        self.again(|| self.storage.registry.change(request.clone()))
            .await
    }

    async fn clear(&self, dropped: &DroppedGeneration) -> Result<(), StorageError> {
        self.again(|| self.storage.registry.clear(dropped)).await
    }

    async fn sweep(&self) -> Result<(), StorageError> {
        self.again(|| self.storage.registry.sweep()).await
    }

    async fn add_module(&self, module: &Module) -> Result<(), StorageError> {
        self.again(|| self.storage.registry.add_module(module))
            .await
    }

    async fn module(&self, hash: &ModuleHash) -> Result<Option<Module>, StorageError> {
        self.again(|| self.storage.registry.module(hash)).await
    }

    async fn create_generation(&self, new: NewGeneration<'_>) -> Result<Generation, StorageError> {
        let mut may_be_made = false;
        loop {
            let error = match self.storage.registry.create_generation(new).await {
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

    async fn generations(&self) -> Result<Vec<Generation>, StorageError> {
        self.again(|| in_time(self.storage.registry.generations()))
            .await
    }

    async fn set_goal(&self, generation: GenerationId, goal: Goal) -> Result<(), StorageError> {
        while let Err(error) = self.storage.registry.set_goal(generation, goal).await {
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

    async fn attend(
        &self,
        generation: GenerationId,
        stop_at: Option<Position>,
        duration: Duration,
    ) -> Result<(), StorageError> {
        self.again(|| in_time(self.storage.registry.attend(generation, stop_at, duration)))
            .await
    }

    async fn last_notes(&self) -> Result<Vec<HostNotes>, StorageError> {
        self.again(|| in_time(self.storage.registry.last_notes()))
            .await
    }

    async fn dropped_at(&self, projection: &str) -> Result<Option<i64>, StorageError> {
        self.again(|| in_time(self.storage.registry.dropped_at(projection)))
            .await
    }

    async fn hosts(&self) -> Result<Vec<PresentHost>, StorageError> {
        self.again(|| in_time(self.storage.registry.hosts())).await
    }

    async fn noted_files(&self) -> Result<Vec<(String, ModuleHash)>, StorageError> {
        self.again(|| in_time(self.storage.registry.noted_files()))
            .await
    }

    async fn overview(&self) -> Result<Overview, StorageError> {
        self.again(|| in_time(self.storage.registry.overview()))
            .await
    }

    async fn skips(
        &self,
        projection: &str,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Skip>, StorageError> {
        self.storage.registry.skips(projection, after, limit).await
    }

    async fn actions(
        &self,
        projection: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Action>, StorageError> {
        self.again(|| in_time(self.storage.registry.actions(projection, limit)))
            .await
    }
}
