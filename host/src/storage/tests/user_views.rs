//! What users have set on the public views, and made on top of them, survives
//! a promotion.

use super::*;
use crate::generation::GenerationState;

on_both!(
    a_view_of_a_user_shows_the_new_generation,
    new_columns_at_the_end_leave_views_of_users_alone,
    a_view_that_would_break_is_named,
    a_view_on_a_table_that_is_gone_is_named,
);

const MINE: &str = "CREATE VIEW mine AS SELECT customer FROM";

fn integer(name: &str) -> Column {
    column(name, ColumnType::Integer, false)
}

fn customer() -> Column {
    column("customer", ColumnType::Text, true)
}

/// The next version of [`orders`] with these columns.
fn with_columns(columns: Vec<Column>) -> Description {
    let key = columns[0].name.clone();
    description(
        "orders_by_customer",
        2,
        vec![table("orders", columns, &[&key], &[])],
    )
}

async fn live(database: &Database) -> Storage {
    let mut started = started(database, &orders()).await;
    started.put(vec![order(1, "old")]).await.unwrap();
    promoted(&started.storage, started.generation.id).await;
    started.storage
}

/// A user's view of the customers.
async fn mine(database: &Database) {
    let orders = database.public("orders_by_customer", "orders");
    database.execute(&format!("{MINE} {orders}")).await;
}

async fn seen(database: &Database) -> Vec<String> {
    database
        .texts("SELECT customer FROM mine ORDER BY customer")
        .await
}

/// A candidate at the live generation's position, with these rows.
async fn candidate(storage: &Storage, description: &Description, rows: Vec<Row>) -> GenerationId {
    let generation = created(storage, description).await.unwrap();
    let mut started = started_on(storage.clone(), generation).await;
    started.put(rows).await.unwrap();
    started.generation.id
}

async fn refusal(storage: &Storage, id: GenerationId) -> String {
    match storage.registry.promote(id).await.unwrap() {
        Promotion::Refused(reason) => reason,
        other => panic!("{other:?}"),
    }
}

async fn a_view_of_a_user_shows_the_new_generation(database: &Database) {
    let storage = live(database).await;
    mine(database).await;
    let id = candidate(&storage, &orders(), vec![order(1, "new")]).await;
    promoted(&storage, id).await;
    assert_eq!(seen(database).await, ["new"]);
}

async fn new_columns_at_the_end_leave_views_of_users_alone(database: &Database) {
    let storage = live(database).await;
    mine(database).await;
    let wider = with_columns(vec![integer("id"), customer(), integer("cents")]);
    let row = vec![Value::Integer(1), text("new"), Value::Integer(5)];
    let id = candidate(&storage, &wider, vec![row]).await;
    promoted(&storage, id).await;
    assert_eq!(seen(database).await, ["new"]);
}

async fn a_view_that_would_break_is_named(database: &Database) {
    let storage = live(database).await;
    mine(database).await;
    let other = with_columns(vec![integer("id"), column("buyer", ColumnType::Text, true)]);
    let id = candidate(&storage, &other, vec![order(1, "new")]).await;
    let reason = refusal(&storage, id).await;
    assert!(
        reason.contains("mine") && reason.contains("--cascade"),
        "{reason}"
    );
    assert_eq!(seen(database).await, ["old"]);
    assert_eq!(
        stored(&storage, id).await.unwrap().state,
        GenerationState::Building
    );

    storage
        .registry
        .set_goal(id, Goal::PromoteCascade)
        .await
        .unwrap();
    promoted(&storage, id).await;
    let orders = database.public("orders_by_customer", "orders");
    let buyers = format!("SELECT buyer FROM {orders}");
    assert_eq!(database.texts(&buyers).await, ["new"]);
}

async fn a_view_on_a_table_that_is_gone_is_named(database: &Database) {
    let storage = live(database).await;
    mine(database).await;
    let renamed = description(
        "orders_by_customer",
        2,
        vec![table("sales", vec![integer("id")], &["id"], &[])],
    );
    let id = candidate(&storage, &renamed, vec![vec![Value::Integer(1)]]).await;
    assert!(refusal(&storage, id).await.contains("mine"));
    assert_eq!(seen(database).await, ["old"]);
    database.execute("DROP VIEW mine").await;
    storage.registry.set_goal(id, Goal::Promote).await.unwrap();
    promoted(&storage, id).await;
}

/// What users set on a view in PostgreSQL, as one text.
async fn set_on_orders(database: &Database) -> Vec<String> {
    database
        .texts(
            "SELECT format('%s|%s|%s|%s|%s|%s', pg_get_userbyid(c.relowner),
                 has_table_privilege('gnomon_storage_test_views', c.oid, 'INSERT'),
                 has_column_privilege('gnomon_storage_test_views', c.oid, 'customer', 'SELECT'),
                 has_column_privilege('gnomon_storage_test_views', c.oid, 1::smallint, 'SELECT'),
                 obj_description(c.oid) || col_description(c.oid, 2), c.reloptions)
             FROM pg_class c WHERE c.oid = 'orders_by_customer.orders'::regclass",
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_set_on_a_view_survives() {
    let database = Database::postgres().await;
    let storage = live(&database).await;
    let role = "gnomon_storage_test_views";
    database
        .execute(&format!(
            "DO $$ BEGIN CREATE ROLE {role};
             EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END $$;
             ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role};
             ALTER VIEW orders_by_customer.orders SET (security_barrier = true);
             GRANT INSERT ON orders_by_customer.orders TO {role};
             GRANT SELECT (customer) ON orders_by_customer.orders TO {role};
             COMMENT ON VIEW orders_by_customer.orders IS 'it''s ours, ';
             COMMENT ON COLUMN orders_by_customer.orders.customer IS 'who \\ paid'"
        ))
        .await;
    let before = set_on_orders(&database).await;
    assert_eq!(
        before,
        ["postgres|t|t|f|it's ours, who \\ paid|{security_barrier=true}"]
    );

    // In place, and made anew: the key has another name.
    let other = with_columns(vec![integer("order_id"), customer()]);
    for description in [orders(), other] {
        let id = candidate(&storage, &description, vec![order(1, "new")]).await;
        promoted(&storage, id).await;
        assert_eq!(set_on_orders(&database).await, before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_stands_on_a_view_is_named() {
    let database = Database::postgres().await;
    let storage = live(&database).await;
    database
        .execute(
            "CREATE SCHEMA reports;
             CREATE VIEW reports.\"By Name\" AS SELECT customer FROM orders_by_customer.orders;
             CREATE MATERIALIZED VIEW reports.stored AS SELECT * FROM orders_by_customer.orders;
             CREATE FUNCTION reports.first() RETURNS text BEGIN ATOMIC
                 SELECT customer FROM orders_by_customer.orders LIMIT 1; END;
             CREATE FUNCTION reports.refuse() RETURNS trigger LANGUAGE plpgsql
                 AS 'BEGIN RETURN NULL; END';
             CREATE TRIGGER no_inserts INSTEAD OF INSERT ON orders_by_customer.orders
                 FOR EACH ROW EXECUTE FUNCTION reports.refuse();
             CREATE TABLE reports.kept (rows orders_by_customer.orders[])",
        )
        .await;
    let other = with_columns(vec![integer("order_id"), customer()]);
    let id = candidate(&storage, &other, vec![order(1, "new")]).await;
    let reason = refusal(&storage, id).await;
    for name in [
        "view `reports.\"By Name\"`",
        "materialized view `reports.stored`",
        "function reports.first()",
        "trigger no_inserts on view orders_by_customer.orders",
        "column rows of table reports.kept",
    ] {
        assert!(reason.contains(name), "`{name}` is not in: {reason}");
    }
    // With the same columns none of them is in the way.
    let id = candidate(&storage, &orders(), vec![order(1, "new")]).await;
    promoted(&storage, id).await;
    let first = database.texts("SELECT reports.first()").await;
    assert_eq!(first, ["new"]);
}
