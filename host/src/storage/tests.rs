//! Every promise of a storage, tried on both databases.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gnomon_databases::error_chain::chain;
use gnomon_event_store::source::Checkpoint;
use gnomon_model::{
    Column, ColumnType, DeclaredTable, Description, Key, Position, Row, Subscription, TableWrites,
    Value,
};

use self::database::Database;
use super::Storage;
use crate::dead_letter::DeadLetterChanges;
use crate::generation::{
    Generation, GenerationId, Goal, Lease, Module, ModuleHash, Obstacle, ObstacleKind, Rate,
};
use crate::read_models::{Commit, Writer};
use crate::registry::{Acquired, NewGeneration, Promotion};
use crate::storage_error::{StorageError, StorageErrorKind};

mod actions;
mod bulk;
mod commits;
mod comparisons;
mod copies;
mod database;
mod decisions;
mod desired;
mod given_up;
mod histories;
mod indexes;
mod leases;
mod migrations;
mod names;
mod opening;
mod plans;
mod promotion;
mod reading;
mod removal;
mod round_trip;
mod user_triggers;
mod user_views;

/// Makes a test on each database of every function.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {$(
        mod $test {
            use crate::storage::tests::database::Database;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                super::$test(&Database::sqlite()).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                super::$test(&Database::postgres().await).await;
            }
        }
    )+};
}
use on_both;

const A_MINUTE: Duration = Duration::from_secs(60);

/// A generation, its lease and its writer.
struct Started {
    storage: Storage,
    generation: Generation,
    lease: Lease,
    writer: Box<dyn Writer>,
}

async fn started(database: &Database, description: &Description) -> Started {
    let storage = database.open().await;
    let generation = created(&storage, description).await.unwrap();
    started_on(storage, generation).await
}

/// A generation with its first lease and writer.
async fn started_on(storage: Storage, generation: Generation) -> Started {
    let lease = acquired(&storage, generation.id, "host-a").await;
    let description = Arc::new(generation.description.clone());
    Started {
        writer: storage
            .read_models
            .writer(lease, description)
            .await
            .unwrap(),
        storage,
        generation,
        lease,
    }
}

/// A new generation of a module that stands for the description, to be
/// promoted.
async fn created(storage: &Storage, description: &Description) -> Result<Generation, StorageError> {
    created_for(storage, description, Goal::Promote).await
}

async fn created_for(
    storage: &Storage,
    description: &Description,
    goal: Goal,
) -> Result<Generation, StorageError> {
    let module = added(storage, description).await?;
    let newest = newest(storage, &description.name).await?;
    let mut new = new_generation(&module, description);
    (new.goal, new.newest) = (goal, newest);
    storage.registry.create_generation(new).await
}

/// Puts a module that stands for the description into the registry.
async fn added(storage: &Storage, description: &Description) -> Result<ModuleHash, StorageError> {
    let bytes = format!("{description:?}").into_bytes();
    let module = Module {
        hash: ModuleHash::of(&bytes),
        bytes,
        description: description.clone(),
    };
    storage.registry.add_module(&module).await?;
    Ok(module.hash)
}

async fn newest(storage: &Storage, projection: &str) -> Result<Option<GenerationId>, StorageError> {
    let generations = storage.registry.generations().await?;
    Ok(generations
        .iter()
        .filter(|generation| generation.projection == projection)
        .map(|generation| generation.id)
        .max())
}

/// The projection's first generation, to be promoted.
fn new_generation<'a>(module: &'a ModuleHash, description: &'a Description) -> NewGeneration<'a> {
    static START: LazyLock<Checkpoint> = LazyLock::new(|| checkpoint(0));
    NewGeneration {
        projection: &description.name,
        module,
        description,
        goal: Goal::Promote,
        until: None,
        newest: None,
        start: &START,
    }
}

/// Promotes a generation that can be promoted.
async fn promoted(storage: &Storage, generation: GenerationId) {
    assert_eq!(
        storage.registry.promote(generation).await.unwrap(),
        Promotion::Done
    );
}

/// A generation as the registry has it.
async fn stored(storage: &Storage, id: GenerationId) -> Option<Generation> {
    let generations = storage.registry.generations().await.unwrap();
    generations
        .into_iter()
        .find(|generation| generation.id == id)
}

async fn acquired(storage: &Storage, generation: GenerationId, host: &str) -> Lease {
    match storage
        .registry
        .acquire(generation, host, A_MINUTE)
        .await
        .unwrap()
    {
        Acquired::Lease(lease) => lease,
        held @ Acquired::HeldBy { .. } => panic!("{held:?}"),
    }
}

fn checkpoint(number: u64) -> Checkpoint {
    Checkpoint::from_stored(number.to_string())
}

impl Started {
    /// Commits from wherever the checkpoint is, one position further.
    async fn commit(&mut self, writes: &[TableWrites]) -> Result<(), StorageError> {
        let expected = self.writer.checkpoint().await?;
        let position: u64 = expected.as_str().parse().unwrap();
        commit(&mut *self.writer, position, writes).await
    }

    async fn put(&mut self, rows: Vec<Row>) -> Result<(), StorageError> {
        self.commit(&[upserts(0, rows)]).await
    }

    async fn row(&mut self, key: Vec<Value>) -> Option<Row> {
        self.writer
            .rows(0, &[Key::new(key)])
            .await
            .unwrap()
            .remove(0)
    }
}

/// Commits between this position and the next.
async fn commit(
    writer: &mut dyn Writer,
    position: u64,
    writes: &[TableWrites],
) -> Result<(), StorageError> {
    writer
        .commit(Commit {
            writes: writes.into(),
            expected: &checkpoint(position),
            next: &checkpoint(position + 1),
            position: Position::new(position + 1).unwrap(),
            event: None,
            dead_letters: DeadLetterChanges::default(),
            rate: Rate::default(),
            into_empty: false,
        })
        .await
}

fn upserts(table: usize, rows: Vec<Row>) -> TableWrites {
    TableWrites {
        table,
        upserts: rows,
        deletes: vec![],
    }
}

fn deletes(table: usize, keys: Vec<Key>) -> TableWrites {
    TableWrites {
        table,
        upserts: vec![],
        deletes: keys,
    }
}

fn column(name: &str, column_type: ColumnType, nullable: bool) -> Column {
    Column {
        name: name.to_owned(),
        column_type,
        nullable,
    }
}

fn table(
    name: &str,
    columns: Vec<Column>,
    primary_key: &[&str],
    indexes: &[&[&str]],
) -> DeclaredTable {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    DeclaredTable {
        name: name.to_owned(),
        columns,
        primary_key: names(primary_key),
        indexes: indexes.iter().map(|index| names(index)).collect(),
    }
}

fn description(name: &str, version: u32, tables: Vec<DeclaredTable>) -> Description {
    Description::check(name.to_owned(), version, Subscription::default(), tables).unwrap()
}

/// `orders (id integer PK, customer text nullable)` with an index on
/// `customer`.
fn orders() -> Description {
    orders_of("orders_by_customer", 1)
}

fn orders_of(projection: &str, version: u32) -> Description {
    let columns = vec![
        column("id", ColumnType::Integer, false),
        column("customer", ColumnType::Text, true),
    ];
    description(
        projection,
        version,
        vec![table("orders", columns, &["id"], &[&["customer"]])],
    )
}

fn order(id: i64, customer: &str) -> Row {
    vec![Value::Integer(id), text(customer)]
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[track_caller]
fn refused<T>(result: Result<T, StorageError>, kind: StorageErrorKind, words: &str) {
    let Err(error) = result else {
        panic!("it was not refused");
    };
    let said = chain(&error);
    assert_eq!(error.kind(), kind, "{said}");
    assert!(said.contains(words), "`{words}` is not in: {said}");
}

/// The obstacle of a promotion that was refused.
fn refusal(reason: String) -> Option<Obstacle> {
    Some(Obstacle {
        kind: ObstacleKind::Refused,
        reason,
    })
}
