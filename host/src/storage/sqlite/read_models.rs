//! The read models: tables, views and dead letters.

use std::sync::Arc;

use async_trait::async_trait;
use gnomon_model::{Description, Floats, Position};

use self::writer::SqliteWriter;
use super::SqliteStorage;
use crate::dead_letter::{DeadLetter, PageLimits};
use crate::generation::{GenerationId, Lease};
use crate::read_models::{Compared, ReadModels, Writer};
use crate::storage_error::StorageError;

mod checkpoint;
mod comparison;
pub(super) mod dead_letters;
mod history;
mod indexes;
pub(super) mod skips;
mod statements;
pub(super) mod tables;
mod unregistered;
mod user_objects;
pub(super) mod views;
mod writer;

pub use unregistered::UnregisteredTables;

#[async_trait]
impl ReadModels for SqliteStorage {
    fn floats(&self) -> Floats {
        Floats::NotNan
    }

    async fn compare(
        &self,
        left: GenerationId,
        right: GenerationId,
        samples: usize,
    ) -> Result<Compared, StorageError> {
        self.with(move |database| comparison::compare(database, left, right, samples))
            .await
    }

    async fn dead_letters(
        &self,
        generation: GenerationId,
        after: Position,
        limits: PageLimits,
    ) -> Result<Vec<DeadLetter>, StorageError> {
        self.with(move |database| {
            database.read("read the dead letters in", |connection| {
                dead_letters::page(connection, generation, None, after, limits)
            })
        })
        .await
    }

    async fn writer(
        &self,
        lease: Lease,
        description: Arc<Description>,
    ) -> Result<Box<dyn Writer>, StorageError> {
        let writer = self
            .with(move |database| SqliteWriter::open(database, lease, description))
            .await?;
        Ok(Box::new(writer))
    }
}
