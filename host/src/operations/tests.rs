//! Operations on a registry that no host works on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gnomon_databases::database_url::DatabaseUrl;
use gnomon_event_store::source::Checkpoint;
use gnomon_model::{
    Column, ColumnType, DeclaredTable, Description, ModuleHash, Position, Subscription,
};
use tempfile::TempDir;

use super::*;
use crate::generation::{GenerationState, Goal};
use crate::registry::NewGeneration;

pub(super) const NAME: &str = "customers";

/// A projection whose first generation nobody builds.
pub(super) async fn operations(directory: &TempDir, patience: Patience) -> Operations {
    let file = directory.path().join("gnomon.toml");
    std::fs::write(&file, crate::configuration::template()).unwrap();
    let configuration = Configuration::load(&file).unwrap();
    let url = DatabaseUrl::Sqlite(directory.path().join("read-models.db"));
    let storage = storage::open(&url).await.unwrap();
    let table = DeclaredTable {
        name: NAME.to_owned(),
        columns: vec![Column {
            name: "id".to_owned(),
            column_type: ColumnType::Integer,
            nullable: false,
        }],
        primary_key: vec!["id".to_owned()],
        indexes: vec![],
    };
    let subscription = Subscription::default();
    let description = Description::check(NAME.to_owned(), 1, subscription, vec![table]);
    let module = Module {
        hash: ModuleHash::of(b"module"),
        bytes: b"module".to_vec(),
        description: description.unwrap(),
    };
    storage.registry.add_module(&module).await.unwrap();
    let generation = NewGeneration {
        projection: NAME,
        module: &module.hash,
        description: &module.description,
        goal: Goal::Hold,
        until: None,
        newest: None,
        start: &Checkpoint::behind(Position::START),
    };
    let created = storage.registry.create_generation(generation).await;
    created.unwrap();
    Operations::new(configuration, storage, None, patience)
}

#[tokio::test]
async fn a_promotion_that_has_to_catch_up_stays_requested_if_no_host_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let operations = operations(&directory, Patience::none()).await;
    let promote = Promote {
        name: NAME.to_owned(),
        cascade: false,
    };
    let request = promote.request(&operations).await.unwrap();
    assert_eq!(request.overtaken, Overtaken::default());
    let switched = request.carry_out(&operations).await.unwrap();
    assert!(!switched.is_live());
    assert_eq!(switched.state, GenerationState::Building);
    let own = operations.generations(NAME).await.unwrap();
    assert_eq!(own.candidate().map(|found| found.goal), Some(Goal::Promote));
}

#[tokio::test]
async fn a_rebuild_says_which_candidate_it_drops() {
    let directory = tempfile::tempdir().unwrap();
    let operations = operations(&directory, Patience::none()).await;
    let rebuild = Rebuild {
        name: NAME.to_owned(),
        hold: false,
        copy: None,
    };
    let rebuilding = rebuild.run(&operations).await.unwrap();
    assert!(!rebuilding.has_host);
    let dropped = rebuilding.overtaken.dropped.as_ref().unwrap();
    assert!(dropped.was_held);
    assert!(dropped.generation < rebuilding.generation);
    let shown = serde_json::to_value(&rebuilding).unwrap();
    let expected = serde_json::json!({
        "rollbacks": [],
        "held": null,
        "dropped": dropped.generation,
    });
    assert_eq!(shown["overtaken"], expected);
}

#[tokio::test]
async fn who_waits_is_told_once_that_no_host_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let watcher = Watcher::new(move |progress| heard.lock().unwrap().push(progress));
    let limit = Duration::from_millis(200);
    let patience = Patience::new(Some(limit)).watched_by(watcher);
    let operations = operations(&directory, patience).await;
    let wait = Wait {
        name: NAME.to_owned(),
        position: Position::new(1),
    };
    let error = wait.run(&operations).await.unwrap_err();
    assert!(matches!(error, OperationError::TimedOut(_)), "{error}");
    assert_eq!(*told.lock().unwrap(), [Progress::NoHost]);
}

#[tokio::test]
async fn an_unknown_projection_is_told_from_one_that_was_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let operations = operations(&directory, Patience::none()).await;
    let pause = |name: &str| Pause {
        name: name.to_owned(),
    };
    let unknown = pause("custmers").run(&operations).await.unwrap_err();
    assert!(matches!(unknown, OperationError::NotFound(_)), "{unknown}");
    assert!(unknown.to_string().contains("`customers`"), "{unknown}");
    let remove = Remove {
        name: NAME.to_owned(),
        part: RemovedPart::Everything { cascade: false },
    };
    let removed = remove.run(&operations).await.unwrap();
    assert_eq!(removed.done, "dropped");
    let dropped = pause(NAME).run(&operations).await.unwrap_err();
    assert!(dropped.to_string().contains("was dropped"), "{dropped}");
}
