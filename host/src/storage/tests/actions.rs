//! What is done is recorded with it.

use super::*;
use crate::dead_letter::{Decided, Skip};

on_both!(
    every_change_is_recorded_with_its_actor,
    what_did_not_happen_is_not_recorded,
    the_oldest_actions_are_forgotten,
    a_dropped_projection_has_a_history,
);

const NAME: &str = "orders_by_customer";

async fn kinds(storage: &Storage) -> Vec<String> {
    let actions = storage.registry.actions(None, 100).await.unwrap();
    actions.into_iter().map(|action| action.kind).collect()
}

fn skip(position: u64) -> Skip {
    Skip {
        position: Position::new(position).unwrap(),
        event_id: format!("event-{position}"),
        stream_id: "Order-1".to_owned(),
        event_type: "OrderPlaced".to_owned(),
        reason: Some("broken".to_owned()),
        actor: "ada@machine".to_owned(),
        decided_at: 1,
    }
}

async fn every_change_is_recorded_with_its_actor(database: &Database) {
    let storage = database.open().await;
    let host = storage.registry.acting_as("host-a");
    let old = created(&storage, &orders()).await.unwrap();
    assert_eq!(host.promote(old.id).await.unwrap(), Promotion::Done);
    let new = created(&storage, &orders()).await.unwrap();
    host.promote(new.id).await.unwrap();
    let registry = &storage.registry;
    registry.set_goal(old.id, Goal::Promote).await.unwrap();
    registry.set_goal(old.id, Goal::Rest).await.unwrap();
    registry.pause(NAME).await.unwrap();
    registry.accept_history(NAME).await.unwrap();
    registry.skip(NAME, &skip(7)).await.unwrap();
    let position = Position::new(7).unwrap();
    registry.unskip(NAME, position).await.unwrap();
    registry
        .request_retry(new.id, Some("Order-1"))
        .await
        .unwrap();
    host.tidy(0).await.unwrap();
    registry.remove(NAME).await.unwrap();
    assert_eq!(
        kinds(&storage).await,
        [
            "deployed",
            "promoted",
            "rebuilt",
            "promoted",
            "rollback-requested",
            "rollback-cancelled",
            "paused",
            "history-accepted",
            "event-skipped",
            "event-unskipped",
            "dead-letters-retried",
            "tidied",
            "removed",
        ]
    );
    let actions = registry.actions(Some(NAME), 100).await.unwrap();
    assert_eq!(actions[0].generation, Some(old.id));
    assert_eq!(actions[0].module.as_ref(), Some(&old.module));
    assert!(actions[0].actor.contains('@'), "{:?}", actions[0]);
    assert_eq!(actions[1].actor, "host-a");
    assert_eq!(actions[8].position, Some(position));
    assert_eq!(actions[8].detail.as_deref(), Some("broken"));
    assert_eq!(actions[11].generation, Some(old.id));
    assert!(actions.is_sorted_by_key(|action| action.at));
    let newest = registry.actions(None, 2).await.unwrap();
    assert_eq!(newest, actions[11..]);
    assert_eq!(registry.actions(Some("other"), 2).await.unwrap(), []);
}

async fn what_did_not_happen_is_not_recorded(database: &Database) {
    let storage = database.open().await;
    let registry = &storage.registry;
    let live = created(&storage, &orders()).await.unwrap().id;
    promoted(&storage, live).await;
    registry.skip(NAME, &skip(7)).await.unwrap();
    let before = kinds(&storage).await;
    promoted(&storage, live).await;
    assert!(registry.pause("unknown").await.is_err());
    assert!(registry.drop_generation(live).await.is_err());
    assert!(!registry.skip(NAME, &skip(7)).await.unwrap());
    assert!(
        !registry
            .unskip(NAME, Position::new(9).unwrap())
            .await
            .unwrap()
    );
    let decided = Decided {
        actor: "ada@machine",
        reason: None,
    };
    let discarded = registry.skip_dead_letters(live, None, decided).await;
    assert_eq!(discarded.unwrap(), 0);
    registry.tidy(1).await.unwrap();
    assert_eq!(kinds(&storage).await, before);
}

async fn the_oldest_actions_are_forgotten(database: &Database) {
    let storage = database.open().await;
    created(&storage, &orders()).await.unwrap();
    let actions = database.registry("actions");
    let numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10004)";
    database
        .execute(&format!(
            "INSERT INTO {actions} (at, actor, action, projection)
             {numbers} SELECT i, 'ada', 'paused', 'orders' FROM n"
        ))
        .await;
    storage.registry.tidy(1).await.unwrap();
    let kept = storage.registry.actions(None, 20_000).await.unwrap();
    assert_eq!((kept.len(), kept[0].at), (10_000, 5));
}

async fn a_dropped_projection_has_a_history(database: &Database) {
    let storage = database.open().await;
    let live = created(&storage, &orders()).await.unwrap().id;
    promoted(&storage, live).await;
    storage.registry.drop_projection(NAME, false).await.unwrap();
    let expected = ["deployed", "promoted", "dropped", "generation-dropped"];
    assert_eq!(kinds(&storage).await, expected);
}
