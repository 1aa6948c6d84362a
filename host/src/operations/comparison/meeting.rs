//! Comparing two generations at one position, while hosts may be moving both.
//!
//! Where nothing is appended both stand at the end of the events, and a look
//! is enough. Otherwise both are asked to stand still for a moment, the one
//! that is behind goes as far as the other, and then both go on.

use std::time::{Duration, Instant};

use gnomon_model::Position;

use crate::generation::{Generation, GenerationId, RunState};
use crate::operations::status::state_of;
use crate::operations::times::{GLANCES, LOOK, MEETING_TIME, STANDS_AFTER, STANDS_FOR};
use crate::read_models::{Compared, Comparison};
use crate::storage::Storage;
use crate::storage_error::{StorageError, StorageErrorKind};

/// How often the meeting is tried.
const MEETINGS: usize = 5;

/// Why two generations were not compared.
#[derive(Debug, thiserror::Error)]
pub enum ComparisonError {
    /// One of them is gone.
    #[error("generation {0} was dropped meanwhile")]
    Gone(GenerationId),
    /// One of them does not get to the other's position.
    #[error(
        "generation {generation} stands at position {position} and does not get to {goal}{cause}"
    )]
    Stuck {
        /// That one.
        generation: GenerationId,
        /// Where it stands.
        position: Position,
        /// Where the other stands.
        goal: Position,
        /// Why, with a colon before it; empty where that is unknown.
        cause: String,
    },
    /// The database cannot be reached.
    #[error(transparent)]
    Target(#[from] StorageError),
}

/// Two generations that are to be compared. If the comparison is cut off while
/// they stand still for it, they go on by themselves after some seconds.
pub(super) struct Meeting {
    storage: Storage,
    left: GenerationId,
    right: GenerationId,
}

impl Meeting {
    /// A meeting of two generations, which goes on without them for now.
    pub(super) fn new(storage: Storage, left: GenerationId, right: GenerationId) -> Self {
        Self {
            storage,
            left,
            right,
        }
    }

    /// Compares them, with at most `samples` differing rows of each table.
    ///
    /// # Errors
    /// [`ComparisonError`]; they go on as before.
    pub(super) async fn compare(&self, samples: usize) -> Result<Comparison, ComparisonError> {
        let started = Instant::now();
        while started.elapsed() < GLANCES {
            if let Some(comparison) = self.glance(samples).await? {
                return Ok(comparison);
            }
            tokio::time::sleep(LOOK).await;
        }
        let compared = self.compare_standing(samples).await;
        self.end().await;
        compared
    }

    /// Compares them if they happen to stand at one position.
    async fn glance(&self, samples: usize) -> Result<Option<Comparison>, ComparisonError> {
        match self
            .storage
            .read_models
            .compare(self.left, self.right, samples)
            .await?
        {
            Compared::Together(comparison) => Ok(Some(comparison)),
            Compared::Apart { .. } => Ok(None),
        }
    }

    async fn compare_standing(&self, samples: usize) -> Result<Comparison, ComparisonError> {
        let mut last = Position::START;
        for _ in 0..MEETINGS {
            self.stop_at(Position::START).await?;
            let place = self.standing().await?;
            last = place;
            self.stop_at(place).await?;
            self.wait_for(place).await?;
            if let Some(comparison) = self.glance(samples).await? {
                return Ok(comparison);
            }
        }
        let left = self.position(self.left).await?;
        Err(ComparisonError::Stuck {
            generation: self.left,
            position: left.position,
            goal: last,
            cause: String::new(),
        })
    }

    /// Asks both to go no further than a position.
    async fn stop_at(&self, position: Position) -> Result<(), ComparisonError> {
        for generation in [self.left, self.right] {
            self.storage
                .registry
                .attend(generation, Some(position), STANDS_FOR)
                .await?;
        }
        Ok(())
    }

    /// Waits until both stand still; gives the higher of their positions.
    async fn standing(&self) -> Result<Position, ComparisonError> {
        let mut before = self.positions().await?;
        let mut since = Instant::now();
        while since.elapsed() < STANDS_AFTER {
            tokio::time::sleep(LOOK).await;
            let now = self.positions().await?;
            if now != before {
                before = now;
                since = Instant::now();
                self.stop_at(Position::START).await?;
            }
        }
        Ok(before.0.max(before.1))
    }

    /// Waits until both are at a position.
    async fn wait_for(&self, place: Position) -> Result<(), ComparisonError> {
        let started = Instant::now();
        let mut asked = Instant::now();
        loop {
            let (left, right) = self.positions().await?;
            if left >= place && right >= place {
                return Ok(());
            }
            if started.elapsed() > MEETING_TIME {
                let id = if left < place { self.left } else { self.right };
                let stuck = self.position(id).await?;
                let has_hosts = !self.storage.registry.hosts().await?.is_empty();
                let (state, cause) = state_of(&stuck, has_hosts);
                return Err(ComparisonError::Stuck {
                    generation: id,
                    position: stuck.position,
                    goal: place,
                    cause: match cause {
                        Some(cause) => format!(": {cause}"),
                        None if state == RunState::Paused => ": it is paused".to_owned(),
                        None => String::new(),
                    },
                });
            }
            if asked.elapsed() > STANDS_FOR / 4 {
                self.stop_at(place).await?;
                asked = Instant::now();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn positions(&self) -> Result<(Position, Position), ComparisonError> {
        let generations = self.storage.registry.generations().await?;
        let of = |id| {
            generations
                .iter()
                .find(|generation| generation.id == id)
                .map(|generation| generation.position)
                .ok_or(ComparisonError::Gone(id))
        };
        Ok((of(self.left)?, of(self.right)?))
    }

    async fn position(&self, id: GenerationId) -> Result<Generation, ComparisonError> {
        let generations = self.storage.registry.generations().await?;
        generations
            .into_iter()
            .find(|generation| generation.id == id)
            .ok_or(ComparisonError::Gone(id))
    }

    /// Lets both go on.
    async fn end(&self) {
        for generation in [self.left, self.right] {
            let ended = self
                .storage
                .registry
                .attend(generation, None, Duration::ZERO)
                .await;
            // It ends by itself after a while.
            if let Err(error) = ended
                && error.kind() != StorageErrorKind::Refused
            {
                tracing::debug!("generation {generation} goes on later: {error}");
            }
        }
    }
}
