//! The read models: tables, views and dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use gnomon_model::{Description, Floats, Position};

use self::writer::PostgresWriter;
use super::PostgresStorage;
use super::error::failed;
use crate::dead_letter::{DeadLetter, PageLimits};
use crate::generation::{GenerationId, Lease};
use crate::read_models::{Compared, ReadModels, Writer};
use crate::storage_error::StorageError;

mod commit;
mod comparison;
mod copy;
pub(super) mod dead_letters;
pub(super) mod dependents;
mod history;
mod indexes;
mod page;
mod parameters;
pub(super) mod public_names;
pub(super) mod showing;
mod silence;
pub(super) mod skips;
mod statements;
pub(super) mod tables;
pub(super) mod views;
mod writer;

#[async_trait]
impl ReadModels for PostgresStorage {
    fn floats(&self) -> Floats {
        Floats::All
    }

    async fn compare(
        &self,
        left: GenerationId,
        right: GenerationId,
        samples: usize,
    ) -> Result<Compared, StorageError> {
        // It takes as long as the tables are large, and the pools are for what
        // is short.
        let mut own = (self.server.connect())
            .await
            .map_err(failed(&self.place, "connect to"))?;
        let compared = comparison::compare(&mut own, left, right, samples)
            .await
            .map_err(|failure| failure.into_error(&self.place, "compare generations in"))?;
        let _ = own.close().await;
        Ok(compared)
    }

    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, StorageError> {
        dead_letters::page(&self.registry, generation, None, after, limits)
            .await
            .map_err(failed(&self.place, "read the dead letters in"))
    }

    async fn writer(
        &self,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Box<dyn Writer>, StorageError> {
        Ok(Box::new(PostgresWriter::new(
            self.writers.clone(),
            self.registry.clone(),
            Arc::clone(&self.silence),
            Arc::clone(&self.place),
            lease,
            description,
        )))
    }
}
