//! Promotion: all public names at once, and what hangs on them survives.

use super::*;
use crate::generation::GenerationState;

on_both!(
    a_promoted_generation_is_shown_and_the_old_one_retired,
    promoting_twice_does_nothing,
    a_projection_has_at_most_one_live_generation,
    a_new_version_may_have_other_tables_and_columns,
    a_dropped_generation_is_not_promoted,
    a_promotion_that_fails_changes_nothing,
    only_what_is_wanted_is_promoted,
    what_ends_for_good_may_be_behind,
    an_obstacle_is_remembered_until_somebody_wants_it_again,
    a_newer_wish_ends_a_rollback,
    a_rollback_holds_a_candidate_that_was_to_be_promoted,
);

async fn customers(database: &Database) -> Vec<String> {
    let orders = database.public("orders_by_customer", "orders");
    database
        .texts(&format!("SELECT customer FROM {orders} ORDER BY id"))
        .await
}

async fn states(storage: &Storage) -> Vec<GenerationState> {
    storage
        .registry
        .generations()
        .await
        .unwrap()
        .iter()
        .map(|generation| generation.state)
        .collect()
}

async fn a_promoted_generation_is_shown_and_the_old_one_retired(database: &Database) {
    let mut old = started(database, &orders()).await;
    old.put(vec![order(1, "old")]).await.unwrap();
    promoted(&old.storage, old.generation.id).await;
    assert_eq!(customers(database).await, ["old"]);

    let storage = old.storage.clone();
    let generation = created(&storage, &orders()).await.unwrap();
    let mut new = started_on(storage, generation).await;
    new.put(vec![order(1, "new")]).await.unwrap();
    assert_eq!(customers(database).await, ["old"]);
    // The live one keeps advancing beside the candidate.
    old.put(vec![order(2, "old")]).await.unwrap();
    assert_eq!(customers(database).await, ["old", "old"]);

    let id = new.generation.id;
    assert_eq!(
        new.storage.registry.promote(id).await.unwrap(),
        Promotion::Behind
    );
    new.put(vec![order(1, "new")]).await.unwrap();
    promoted(&new.storage, id).await;
    assert_eq!(customers(database).await, ["new"]);
    assert_eq!(
        states(&new.storage).await,
        [GenerationState::Retired, GenerationState::Live]
    );

    // And back.
    let id = old.generation.id;
    new.storage
        .registry
        .set_goal(id, Goal::Promote)
        .await
        .unwrap();
    promoted(&new.storage, id).await;
    assert_eq!(customers(database).await, ["old", "old"]);
    assert_eq!(
        states(&new.storage).await,
        [GenerationState::Live, GenerationState::Retired]
    );
}

async fn promoting_twice_does_nothing(database: &Database) {
    let started = started(database, &orders()).await;
    promoted(&started.storage, started.generation.id).await;
    let promoted_at = format!(
        "SELECT promoted_at FROM {}",
        database.registry("generations")
    );
    let first = database.texts(&promoted_at).await;
    promoted(&started.storage, started.generation.id).await;
    assert_eq!(database.texts(&promoted_at).await, first);
    assert_eq!(states(&started.storage).await, [GenerationState::Live]);
}

async fn a_projection_has_at_most_one_live_generation(database: &Database) {
    let storage = database.open().await;
    let mut ids = vec![];
    for _ in 0..4 {
        let id = created(&storage, &orders()).await.unwrap().id;
        promoted(&storage, id).await;
        ids.push(id);
    }
    ids.pop();
    let attempts: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let storage = storage.clone();
            tokio::spawn(async move {
                storage.registry.set_goal(id, Goal::Promote).await.unwrap();
                storage.registry.promote(id).await
            })
        })
        .collect();
    for attempt in attempts {
        // Where another one was wanted meanwhile, that one prevails.
        let promotion = attempt.await.unwrap().unwrap();
        let is_known = matches!(promotion, Promotion::Done | Promotion::NotWanted);
        assert!(is_known, "{promotion:?}");
    }
    let live = states(&storage).await;
    assert_eq!(
        live.iter()
            .filter(|state| **state == GenerationState::Live)
            .count(),
        1
    );
}

async fn a_new_version_may_have_other_tables_and_columns(database: &Database) {
    let integer = |name: &str| column(name, ColumnType::Integer, false);
    let old = description(
        "totals",
        1,
        vec![
            table(
                "totals",
                vec![integer("id"), integer("cents")],
                &["id"],
                &[],
            ),
            table("dropped", vec![integer("id")], &["id"], &[]),
            table("grown", vec![integer("id")], &["id"], &[]),
        ],
    );
    let new = description(
        "totals",
        2,
        vec![
            table(
                "totals",
                vec![integer("id"), column("cents", ColumnType::Decimal, false)],
                &["id"],
                &[],
            ),
            table("grown", vec![integer("id"), integer("more")], &["id"], &[]),
            table("added", vec![integer("id")], &["id"], &[]),
        ],
    );
    let storage = database.open().await;
    for version in [&old, &new] {
        let generation = created(&storage, version).await.unwrap();
        promoted(&storage, generation.id).await;
    }
    // A column that is not there would be an error.
    for (name, columns) in [
        ("totals", "id, cents"),
        ("grown", "id, more"),
        ("added", "id"),
    ] {
        let view = database.public("totals", name);
        let count = format!("SELECT count(*) FROM (SELECT {columns} FROM {view}) AS shown");
        assert_eq!(database.texts(&count).await, ["0"]);
    }
    let gone = if database.is_postgres() {
        "SELECT count(*) FROM pg_views WHERE viewname = 'dropped'"
    } else {
        "SELECT count(*) FROM sqlite_schema WHERE name = 'dropped'"
    };
    assert_eq!(database.texts(gone).await, ["0"]);
}

async fn a_dropped_generation_is_not_promoted(database: &Database) {
    let storage = database.open().await;
    let generation = created(&storage, &orders()).await.unwrap();
    storage
        .registry
        .drop_generation(generation.id)
        .await
        .unwrap();
    assert_eq!(
        storage.registry.promote(generation.id).await.unwrap(),
        Promotion::NotWanted
    );
    assert_eq!(storage.registry.generations().await.unwrap(), []);
}

async fn a_promotion_that_fails_changes_nothing(database: &Database) {
    let storage = database.open().await;
    let generation = created(&storage, &orders()).await.unwrap();
    // Somebody else takes the public name in the meantime.
    let orders = database.public("orders_by_customer", "orders");
    database
        .execute(&format!("CREATE TABLE {orders} (theirs integer)"))
        .await;
    let Promotion::Refused(reason) = storage.registry.promote(generation.id).await.unwrap() else {
        panic!("it was promoted");
    };
    assert!(reason.contains("`orders`"), "{reason}");
    let stands = stored(&storage, generation.id).await.unwrap();
    assert_eq!(
        (stands.state, stands.goal, stands.obstacle),
        (GenerationState::Building, Goal::Hold, refusal(reason))
    );
    database.execute(&format!("DROP TABLE {orders}")).await;
    storage
        .registry
        .set_goal(generation.id, Goal::Promote)
        .await
        .unwrap();
    promoted(&storage, generation.id).await;
}

async fn only_what_is_wanted_is_promoted(database: &Database) {
    let storage = database.open().await;
    let held = created_for(&storage, &orders(), Goal::Hold).await.unwrap();
    let nobody = GenerationId::from_sql(99);
    for id in [held.id, nobody] {
        assert_eq!(
            storage.registry.promote(id).await.unwrap(),
            Promotion::NotWanted
        );
    }
    storage
        .registry
        .set_goal(held.id, Goal::Promote)
        .await
        .unwrap();
    storage.registry.remove("orders_by_customer").await.unwrap();
    assert_eq!(
        storage.registry.promote(held.id).await.unwrap(),
        Promotion::NotWanted
    );
    storage.registry.resume("orders_by_customer").await.unwrap();
    promoted(&storage, held.id).await;
    let live = stored(&storage, held.id).await.unwrap();
    assert_eq!((live.state, live.goal), (GenerationState::Live, Goal::Rest));
}

async fn what_ends_for_good_may_be_behind(database: &Database) {
    let mut first = started(database, &orders()).await;
    promoted(&first.storage, first.generation.id).await;
    first.put(vec![order(1, "ada")]).await.unwrap();
    let module = first.generation.module.clone();
    let description = orders();
    let mut new = new_generation(&module, &description);
    (new.newest, new.until) = (Some(first.generation.id), Position::new(1));
    let ends = first.storage.registry.create_generation(new).await.unwrap();
    promoted(&first.storage, ends.id).await;
    assert_eq!(customers(database).await, [""; 0]);
}

async fn an_obstacle_is_remembered_until_somebody_wants_it_again(database: &Database) {
    let storage = database.open().await;
    let candidate = created(&storage, &orders()).await.unwrap().id;
    let taken = database.public("orders_by_customer", "orders");
    database
        .execute(&format!("CREATE TABLE {taken} (theirs integer)"))
        .await;
    let Promotion::Refused(reason) = storage.registry.promote(candidate).await.unwrap() else {
        panic!("it was promoted");
    };
    let refused = stored(&storage, candidate).await.unwrap();
    assert!(!refused.is_held_by_users());
    assert_eq!(refused.obstacle, refusal(reason));
    assert_eq!(
        (refused.state, refused.goal),
        (GenerationState::Building, Goal::Hold)
    );
    database.execute(&format!("DROP TABLE {taken}")).await;
    storage
        .registry
        .set_goal(candidate, Goal::Promote)
        .await
        .unwrap();
    assert_eq!(stored(&storage, candidate).await.unwrap().obstacle, None);
    promoted(&storage, candidate).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_does_not_keep_readers_waiting() {
    let database = Database::postgres().await;
    let storage = database.open().await;
    let first = created(&storage, &orders()).await.unwrap();
    promoted(&storage, first.id).await;
    let second = created(&storage, &orders()).await.unwrap();
    let mut reader = database.connect().await;
    for statement in [
        "SET application_name = 'long report'",
        "BEGIN",
        "SELECT * FROM orders_by_customer.orders",
    ] {
        sqlx::query(statement).execute(&mut reader).await.unwrap();
    }
    refused(
        storage.registry.promote(second.id).await,
        StorageErrorKind::Retry,
        "(long report), holds a lock",
    );
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    promoted(&storage, second.id).await;
}

async fn goals(storage: &Storage) -> Vec<Goal> {
    let generations = storage.registry.generations().await.unwrap();
    generations
        .iter()
        .map(|generation| generation.goal)
        .collect()
}

/// Two retired generations and a live one.
async fn three(storage: &Storage) -> [GenerationId; 3] {
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = created(storage, &orders()).await.unwrap().id;
        promoted(storage, id).await;
        ids.push(id);
    }
    ids.try_into().unwrap()
}

async fn a_newer_wish_ends_a_rollback(database: &Database) {
    let storage = database.open().await;
    let storage = &storage;
    let [first, second, third] = three(storage).await;
    let rest = [Goal::Rest; 3];
    let roll_back = async |to| storage.registry.set_goal(to, Goal::Promote).await.unwrap();

    roll_back(first).await;
    assert_eq!(
        goals(storage).await,
        [Goal::Promote, Goal::Rest, Goal::Rest]
    );
    roll_back(second).await;
    assert_eq!(
        goals(storage).await,
        [Goal::Rest, Goal::Promote, Goal::Rest]
    );
    storage.registry.set_goal(second, Goal::Rest).await.unwrap();
    assert_eq!(goals(storage).await, rest);

    roll_back(first).await;
    storage.registry.remove("orders_by_customer").await.unwrap();
    assert_eq!(goals(storage).await, rest);
    storage.registry.resume("orders_by_customer").await.unwrap();

    // What is only built or compared is no other wish.
    roll_back(first).await;
    let held = created_for(storage, &orders(), Goal::Hold)
        .await
        .unwrap()
        .id;
    let compared = created_for(storage, &orders(), Goal::Compare)
        .await
        .unwrap()
        .id;
    assert_eq!(stored(storage, first).await.unwrap().goal, Goal::Promote);
    storage.registry.drop_generation(compared).await.unwrap();
    storage
        .registry
        .set_goal(held, Goal::Promote)
        .await
        .unwrap();
    assert_eq!(stored(storage, first).await.unwrap().goal, Goal::Rest);
    promoted(storage, held).await;

    roll_back(first).await;
    let fifth = created(storage, &orders()).await.unwrap().id;
    assert_eq!(stored(storage, first).await.unwrap().goal, Goal::Rest);
    promoted(storage, fifth).await;
    assert_eq!(
        storage.registry.promote(first).await.unwrap(),
        Promotion::NotWanted
    );
    assert_eq!(
        stored(storage, third).await.unwrap().state,
        GenerationState::Retired
    );
}

async fn a_rollback_holds_a_candidate_that_was_to_be_promoted(database: &Database) {
    let storage = database.open().await;
    let storage = &storage;
    let [_, second, third] = three(storage).await;
    let candidate = created(storage, &orders()).await.unwrap().id;
    storage
        .registry
        .set_goal(second, Goal::Promote)
        .await
        .unwrap();
    let held = stored(storage, candidate).await.unwrap();
    assert_eq!(held.goal, Goal::Hold);
    assert!(held.is_held_by_users());
    let obstacle = held.obstacle.unwrap().reason;
    assert!(
        obstacle.contains(&format!("a rollback to generation {second}")),
        "{obstacle}"
    );
    assert_eq!(
        storage.registry.promote(candidate).await.unwrap(),
        Promotion::NotWanted
    );
    assert_eq!(
        stored(storage, third).await.unwrap().state,
        GenerationState::Live
    );
    promoted(storage, second).await;
    storage
        .registry
        .set_goal(candidate, Goal::Promote)
        .await
        .unwrap();
    assert_eq!(stored(storage, candidate).await.unwrap().obstacle, None);
    promoted(storage, candidate).await;
}
