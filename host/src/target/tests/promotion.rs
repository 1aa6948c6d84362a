//! Promotion: all public names at once, and what hangs on them survives.

use super::*;
use crate::generation::GenerationState;

on_both!(
    a_promoted_generation_is_shown_and_the_old_one_retired,
    promoting_twice_does_nothing,
    a_projection_has_at_most_one_live_generation,
    a_new_version_may_have_other_tables_and_columns,
    a_failed_generation_is_not_promoted,
    a_promotion_that_fails_changes_nothing,
);

async fn customers(database: &Database) -> Vec<String> {
    let orders = database.public("orders_by_customer", "orders");
    database
        .texts(&format!("SELECT customer FROM {orders} ORDER BY id"))
        .await
}

async fn states(target: &dyn Target) -> Vec<GenerationState> {
    target
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
    old.target.promote(old.generation.id).await.unwrap();
    assert_eq!(customers(database).await, ["old"]);

    let target = Arc::clone(&old.target);
    let generation = created(&*target, &orders()).await.unwrap();
    let lease = acquired(&*target, generation.id, "host-a").await;
    let mut new = Started {
        writer: target.writer(lease, Arc::new(orders())).await.unwrap(),
        target,
        generation,
        lease,
    };
    new.put(vec![order(1, "new")]).await.unwrap();
    assert_eq!(customers(database).await, ["old"]);
    // The live one keeps advancing beside the candidate.
    old.put(vec![order(2, "old")]).await.unwrap();
    assert_eq!(customers(database).await, ["old", "old"]);

    new.target.promote(new.generation.id).await.unwrap();
    assert_eq!(customers(database).await, ["new"]);
    assert_eq!(
        states(&*new.target).await,
        [GenerationState::Retired, GenerationState::Live]
    );

    // And back.
    new.target.promote(old.generation.id).await.unwrap();
    assert_eq!(customers(database).await, ["old", "old"]);
    assert_eq!(
        states(&*new.target).await,
        [GenerationState::Live, GenerationState::Retired]
    );
}

async fn promoting_twice_does_nothing(database: &Database) {
    let started = started(database, &orders()).await;
    started.target.promote(started.generation.id).await.unwrap();
    let promoted = format!(
        "SELECT promoted_at FROM {}",
        database.registry("generations")
    );
    let first = database.texts(&promoted).await;
    started.target.promote(started.generation.id).await.unwrap();
    assert_eq!(database.texts(&promoted).await, first);
    assert_eq!(states(&*started.target).await, [GenerationState::Live]);
}

async fn a_projection_has_at_most_one_live_generation(database: &Database) {
    let target = database.open().await;
    let mut ids = vec![];
    for _ in 0..4 {
        ids.push(created(&*target, &orders()).await.unwrap().id);
    }
    let attempts: Vec<_> = ids
        .into_iter()
        .map(|id| {
            let target = Arc::clone(&target);
            tokio::spawn(async move { target.promote(id).await })
        })
        .collect();
    for attempt in attempts {
        attempt.await.unwrap().unwrap();
    }
    let live = states(&*target).await;
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
    let target = database.open().await;
    for version in [&old, &new] {
        let generation = created(&*target, version).await.unwrap();
        target.promote(generation.id).await.unwrap();
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

async fn a_failed_generation_is_not_promoted(database: &Database) {
    let target = database.open().await;
    let generation = created(&*target, &orders()).await.unwrap();
    let generations = database.registry("generations");
    for state in ["failed", "dropped"] {
        database
            .execute(&format!("UPDATE {generations} SET state = '{state}'"))
            .await;
        refused(
            target.promote(generation.id).await,
            TargetErrorKind::Refused,
            state,
        );
    }
    assert_eq!(target.generations().await.unwrap(), []);
}

async fn a_promotion_that_fails_changes_nothing(database: &Database) {
    let target = database.open().await;
    let generation = created(&*target, &orders()).await.unwrap();
    // Somebody else takes the public name in the meantime.
    let orders = database.public("orders_by_customer", "orders");
    database
        .execute(&format!("CREATE TABLE {orders} (theirs integer)"))
        .await;
    refused(
        target.promote(generation.id).await,
        TargetErrorKind::Refused,
        "`orders`",
    );
    assert_eq!(states(&*target).await, [GenerationState::Building]);
    database.execute(&format!("DROP TABLE {orders}")).await;
    target.promote(generation.id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_and_dependent_views_survive_a_promotion() {
    let database = Database::postgres().await;
    let target = database.open().await;
    let reader = "gnomon_target_test_reader";
    let readable =
        format!("SELECT has_table_privilege('{reader}', 'orders_by_customer.orders', 'SELECT')");
    let first = created(&*target, &orders()).await.unwrap();
    target.promote(first.id).await.unwrap();
    database
        .execute(&format!(
            "DO $$ BEGIN CREATE ROLE {reader};
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             GRANT SELECT ON orders_by_customer.orders TO {reader};
             CREATE VIEW public.mine AS SELECT customer FROM orders_by_customer.orders"
        ))
        .await;
    let same_columns = created(&*target, &orders_of("orders_by_customer", 2))
        .await
        .unwrap();
    target.promote(same_columns.id).await.unwrap();
    assert_eq!(database.texts(&readable).await, ["true"]);
    assert_eq!(
        database.texts("SELECT count(*) FROM public.mine").await,
        ["0"]
    );

    // Other columns: the view is made anew, the grant stays, and what hangs
    // on the old columns is not dropped behind its owner's back.
    let columns = vec![
        column("order_id", ColumnType::Integer, false),
        column("customer", ColumnType::Text, true),
    ];
    let other = description(
        "orders_by_customer",
        3,
        vec![table("orders", columns, &["order_id"], &[])],
    );
    let other = created(&*target, &other).await.unwrap();
    refused(
        target.promote(other.id).await,
        TargetErrorKind::Refused,
        "mine",
    );
    database.execute("DROP VIEW public.mine").await;
    target.promote(other.id).await.unwrap();
    assert_eq!(database.texts(&readable).await, ["true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_does_not_keep_readers_waiting() {
    let database = Database::postgres().await;
    let target = database.open().await;
    let first = created(&*target, &orders()).await.unwrap();
    target.promote(first.id).await.unwrap();
    let second = created(&*target, &orders()).await.unwrap();
    let mut reader = database.connect().await;
    for statement in ["BEGIN", "SELECT * FROM orders_by_customer.orders"] {
        sqlx::query(statement).execute(&mut reader).await.unwrap();
    }
    refused(
        target.promote(second.id).await,
        TargetErrorKind::Retry,
        "55P03",
    );
    sqlx::query("COMMIT").execute(&mut reader).await.unwrap();
    target.promote(second.id).await.unwrap();
}
