//! What is dropped leaves nothing behind, also after a crash half-way.

use super::*;
use crate::generation::GenerationState;

on_both!(
    a_dropped_generation_leaves_nothing,
    a_live_generation_is_not_dropped,
    whoever_runs_a_dropped_generation_is_fenced,
    the_newest_retired_generations_are_kept,
    a_retired_generation_that_is_wanted_back_is_kept,
    a_comparison_that_nobody_attends_to_is_dropped,
    an_interrupted_drop_is_finished,
    modules_that_nothing_refers_to_go_after_an_hour,
    a_dropped_projection_leaves_nothing,
    a_dropped_projection_can_come_again,
    what_users_made_on_a_projection_is_dropped_only_if_they_say_so,
    a_projection_that_is_not_there_cannot_be_dropped,
    a_comparison_does_not_bring_a_removed_projection_back,
);

/// How many tables of generations there are.
async fn tables(database: &Database) -> String {
    let count = if database.is_postgres() {
        "SELECT count(*) FROM pg_tables WHERE schemaname ~ '^gnomon_.*[0-9]$'"
    } else {
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name GLOB 'gnomon_[0-9]*'"
    };
    database.texts(count).await.remove(0)
}

/// The tables of the registry that have rows, beside these.
async fn filled(database: &Database, but: &[&str]) -> Vec<&'static str> {
    let mut filled = vec![];
    for table in [
        "modules",
        "projections",
        "generations",
        "checkpoints",
        "leases",
        "dead_letters",
        "dead_letter_requests",
        "files",
    ] {
        let count = format!("SELECT count(*) FROM {}", database.registry(table));
        if database.texts(&count).await != ["0"] && !but.contains(&table) {
            filled.push(table);
        }
    }
    filled
}

async fn ids(storage: &Storage) -> Vec<GenerationId> {
    let generations = storage.registry.generations().await.unwrap();
    generations.iter().map(|generation| generation.id).collect()
}

/// A generation that was promoted.
async fn live(storage: &Storage) -> GenerationId {
    let id = created(storage, &orders()).await.unwrap().id;
    promoted(storage, id).await;
    id
}

async fn a_dropped_generation_leaves_nothing(database: &Database) {
    let mut started = started(database, &orders()).await;
    started.put(vec![order(1, "ada")]).await.unwrap();
    started.writer.complete().await.unwrap();
    started
        .storage
        .registry
        .request_retry(started.generation.id, None)
        .await
        .unwrap();
    started
        .storage
        .registry
        .drop_generation(started.generation.id)
        .await
        .unwrap();
    assert_eq!(tables(database).await, "0");
    assert_eq!(filled(database, &["modules", "projections"]).await, [""; 0]);
    // Who wants it gone has what they want.
    let again = started
        .storage
        .registry
        .drop_generation(started.generation.id);
    again.await.unwrap();
}

async fn a_live_generation_is_not_dropped(database: &Database) {
    let storage = database.open().await;
    let id = live(&storage).await;
    refused(
        storage.registry.drop_generation(id).await,
        StorageErrorKind::Refused,
        "live",
    );
    assert_eq!(ids(&storage).await, [id]);
}

async fn whoever_runs_a_dropped_generation_is_fenced(database: &Database) {
    let mut old = started(database, &orders()).await;
    // The new candidate takes its place.
    let new = created(&old.storage, &orders_of("orders_by_customer", 2))
        .await
        .unwrap();
    assert_eq!(ids(&old.storage).await, [new.id]);
    refused(
        commit(&mut *old.writer, 0, &[upserts(0, vec![order(1, "ada")])]).await,
        StorageErrorKind::Fenced,
        "no longer ours",
    );
    assert_eq!(
        old.storage
            .registry
            .renew(&[(old.lease, A_MINUTE)])
            .await
            .unwrap(),
        [old.lease]
    );
    refused(
        old.storage
            .registry
            .acquire(old.generation.id, "host-a", A_MINUTE)
            .await,
        StorageErrorKind::Fenced,
        "no longer ours",
    );
    let mut writer = old
        .storage
        .read_models
        .writer(old.lease, Arc::new(orders()))
        .await
        .unwrap();
    for dropped in [false, true] {
        if dropped {
            assert_eq!(
                old.storage.registry.tidy(1).await.unwrap(),
                [old.generation.id]
            );
        }
        refused(
            writer.checkpoint().await,
            StorageErrorKind::Fenced,
            "no longer ours",
        );
        refused(
            writer.complete().await,
            StorageErrorKind::Fenced,
            "no longer ours",
        );
    }
}

async fn the_newest_retired_generations_are_kept(database: &Database) {
    let storage = database.open().await;
    let mut made = vec![];
    for _ in 0..4 {
        made.push(live(&storage).await);
    }
    // By when they were retired, not by when they were made.
    storage
        .registry
        .set_goal(made[0], Goal::Promote)
        .await
        .unwrap();
    promoted(&storage, made[0]).await;
    assert_eq!(storage.registry.tidy(3).await.unwrap(), []);
    assert_eq!(storage.registry.tidy(1).await.unwrap(), [made[1], made[2]]);
    assert_eq!(ids(&storage).await, [made[0], made[3]]);
    assert_eq!(storage.registry.tidy(0).await.unwrap(), [made[3]]);
    assert_eq!(storage.registry.tidy(0).await.unwrap(), []);
    assert_eq!(tables(database).await, "1");
}

async fn a_retired_generation_that_is_wanted_back_is_kept(database: &Database) {
    let storage = database.open().await;
    let old = live(&storage).await;
    live(&storage).await;
    storage.registry.set_goal(old, Goal::Promote).await.unwrap();
    assert_eq!(storage.registry.tidy(0).await.unwrap(), []);
    storage.registry.set_goal(old, Goal::Rest).await.unwrap();
    assert_eq!(storage.registry.tidy(0).await.unwrap(), [old]);
}

async fn a_comparison_that_nobody_attends_to_is_dropped(database: &Database) {
    let storage = database.open().await;
    live(&storage).await;
    let comparison = created_for(&storage, &orders(), Goal::Compare)
        .await
        .unwrap()
        .id;
    // Whoever made it has had no time yet.
    assert_eq!(storage.registry.tidy(1).await.unwrap(), []);
    storage
        .registry
        .attend(comparison, None, A_MINUTE)
        .await
        .unwrap();
    assert_eq!(storage.registry.tidy(1).await.unwrap(), []);
    storage
        .registry
        .attend(comparison, None, Duration::ZERO)
        .await
        .unwrap();
    while storage.registry.tidy(1).await.unwrap() != [comparison] {
        tokio::task::yield_now().await;
    }
    assert_eq!(tables(database).await, "1");
}

async fn an_interrupted_drop_is_finished(database: &Database) {
    let storage = database.open().await;
    let kept = live(&storage).await;
    let id = created(&storage, &orders()).await.unwrap().id;
    let generations = database.registry("generations");
    let mark = format!("UPDATE {generations} SET state = 'dropped' WHERE id = {id}");
    database.execute(&mark).await;
    assert_eq!(ids(&storage).await, [kept]);
    assert_eq!(tables(database).await, "2");
    assert_eq!(storage.registry.tidy(1).await.unwrap(), [id]);
    assert_eq!(tables(database).await, "1");
    assert_eq!(storage.registry.tidy(1).await.unwrap(), []);
}

async fn modules_that_nothing_refers_to_go_after_an_hour(database: &Database) {
    let storage = database.open().await;
    let id = live(&storage).await;
    let used = stored(&storage, id).await.unwrap().module;
    let other = added(&storage, &orders_of("other", 1)).await.unwrap();
    let modules = database.registry("modules");
    let long_ago = format!("UPDATE {modules} SET added_at = '2025-01-01T00:00:00.000Z'");
    let has = async |module| storage.registry.module(module).await.unwrap().is_some();
    storage.registry.tidy(1).await.unwrap();
    assert!(has(&other).await);
    // Added again, it is about to be used.
    database.execute(&long_ago).await;
    added(&storage, &orders_of("other", 1)).await.unwrap();
    storage.registry.tidy(1).await.unwrap();
    assert!(has(&other).await && has(&used).await);
    // Replaced just now, it may still be asked for.
    database.execute(&long_ago).await;
    storage.registry.set_module(&[id], &other).await.unwrap();
    storage.registry.tidy(1).await.unwrap();
    assert!(has(&other).await && has(&used).await);

    database.execute(&long_ago).await;
    storage.registry.tidy(1).await.unwrap();
    assert!(has(&other).await && !has(&used).await);
}

async fn a_dropped_projection_leaves_nothing(database: &Database) {
    let storage = database.open().await;
    live(&storage).await;
    live(&storage).await;
    created_for(&storage, &orders(), Goal::Compare)
        .await
        .unwrap();
    let candidate = created(&storage, &orders()).await.unwrap();
    storage
        .registry
        .note_file("a.wasm", &candidate.module)
        .await
        .unwrap();

    storage
        .registry
        .drop_projection("orders_by_customer", false)
        .await
        .unwrap();

    assert_eq!(tables(database).await, "0");
    // What was deployed from a file stays no news.
    assert_eq!(filled(database, &["modules", "files"]).await, [""; 0]);
    let public = if database.is_postgres() {
        "SELECT count(*) FROM pg_namespace WHERE nspname = 'orders_by_customer'"
    } else {
        "SELECT count(*) FROM sqlite_schema WHERE name = 'orders'"
    };
    assert_eq!(database.texts(public).await, ["0"]);
}

async fn a_dropped_projection_can_come_again(database: &Database) {
    let storage = database.open().await;
    let first = live(&storage).await;
    storage
        .registry
        .drop_projection("orders_by_customer", false)
        .await
        .unwrap();
    let second = live(&storage).await;
    assert!(second > first, "{second}");
    assert_eq!(
        stored(&storage, second).await.unwrap().state,
        GenerationState::Live
    );
}

async fn what_users_made_on_a_projection_is_dropped_only_if_they_say_so(database: &Database) {
    let storage = database.open().await;
    let id = live(&storage).await;
    let orders = database.public("orders_by_customer", "orders");
    database
        .execute(&format!(
            "CREATE VIEW mine AS SELECT customer FROM {orders};
             CREATE VIEW unrelated AS SELECT 1 AS one"
        ))
        .await;
    refused(
        storage
            .registry
            .drop_projection("orders_by_customer", false)
            .await,
        StorageErrorKind::Refused,
        "mine",
    );
    assert_eq!(ids(&storage).await, [id]);
    assert_eq!(database.texts("SELECT count(*) FROM mine").await, ["0"]);
    storage
        .registry
        .drop_projection("orders_by_customer", true)
        .await
        .unwrap();
    assert_eq!(ids(&storage).await, []);
    assert_eq!(database.texts("SELECT one FROM unrelated").await, ["1"]);
    let mine = if database.is_postgres() {
        "SELECT count(*) FROM pg_views WHERE viewname = 'mine'"
    } else {
        "SELECT count(*) FROM sqlite_schema WHERE name = 'mine'"
    };
    assert_eq!(database.texts(mine).await, ["0"]);
}

async fn a_projection_that_is_not_there_cannot_be_dropped(database: &Database) {
    let storage = database.open().await;
    refused(
        storage.registry.drop_projection("nobody", false).await,
        StorageErrorKind::Refused,
        "`nobody`",
    );
}

async fn a_comparison_does_not_bring_a_removed_projection_back(database: &Database) {
    let storage = database.open().await;
    let live = created(&storage, &orders()).await.unwrap();
    promoted(&storage, live.id).await;
    storage.registry.remove("orders_by_customer").await.unwrap();
    let compared = created_for(&storage, &orders(), Goal::Compare).await;
    refused(
        compared,
        StorageErrorKind::Refused,
        "gnomon resume orders_by_customer",
    );
    assert_eq!(storage.registry.controls().await.unwrap(), []);
    created_for(&storage, &orders(), Goal::Hold).await.unwrap();
    assert_eq!(storage.registry.controls().await.unwrap().len(), 2);
}
