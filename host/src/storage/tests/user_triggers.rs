//! What users have made on the views of a SQLite file survives a promotion,
//! or stands in its way.

use super::*;
use crate::generation::GenerationState;

/// A live generation of `orders`, and what a user makes on it.
async fn with_users(database: &Database, made: &str) -> Started {
    let mut started = started(database, &orders()).await;
    started.put(vec![order(1, "ada")]).await.unwrap();
    promoted(&started.storage, started.generation.id).await;
    database.execute(made).await;
    started
}

/// A candidate, as far as the live generation, without the column `customer`.
async fn without_customer(started: &Started, goal: Goal) -> GenerationId {
    let columns = vec![column("id", ColumnType::Integer, false)];
    let tables = vec![table("orders", columns, &["id"], &[])];
    candidate(started, &description("orders_by_customer", 2, tables), goal).await
}

async fn candidate(started: &Started, description: &Description, goal: Goal) -> GenerationId {
    let storage = started.storage.clone();
    let generation = created_for(&storage, description, goal).await.unwrap();
    let id = generation.id;
    let mut candidate = started_on(storage, generation).await;
    candidate.commit(&[]).await.unwrap();
    id
}

async fn names(database: &Database, kind: &str) -> Vec<String> {
    database
        .texts(&format!(
            "SELECT name FROM sqlite_schema WHERE type = '{kind}' ORDER BY name"
        ))
        .await
}

const LOG: &str = "CREATE TABLE log (said text);";
const ON_INSERT: &str = "CREATE TRIGGER on_insert INSTEAD OF INSERT ON orders BEGIN
    INSERT INTO log VALUES ('insert ' || NEW.id); END;";
const ON_DELETE: &str = "CREATE TRIGGER \"on; delete\" INSTEAD OF DELETE ON orders BEGIN
    INSERT INTO log VALUES ('delete ' || OLD.id || OLD.customer); END;";

#[tokio::test(flavor = "multi_thread")]
async fn triggers_on_a_public_view_survive_a_promotion() {
    let database = Database::sqlite();
    let started = with_users(&database, &[LOG, ON_INSERT, ON_DELETE].concat()).await;
    let same = candidate(&started, &orders(), Goal::Promote).await;
    promoted(&started.storage, same).await;
    database.execute("INSERT INTO orders (id) VALUES (7)").await;
    assert_eq!(database.texts("SELECT said FROM log").await, ["insert 7"]);
    assert_eq!(
        names(&database, "trigger").await,
        ["on; delete", "on_insert"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_uses_a_column_that_goes_is_in_the_way() {
    let database = Database::sqlite();
    let started = with_users(&database, &[LOG, ON_INSERT, ON_DELETE].concat()).await;
    let id = without_customer(&started, Goal::Promote).await;
    let Promotion::Refused(reason) = started.storage.registry.promote(id).await.unwrap() else {
        panic!("it was promoted");
    };
    assert!(reason.contains("the trigger `on; delete`"), "{reason}");
    assert!(!reason.contains("on_insert"), "{reason}");
    assert_eq!(names(&database, "trigger").await.len(), 2);
    assert_eq!(database.texts("SELECT customer FROM orders").await, ["ada"]);
    let stands = stored(&started.storage, id).await.unwrap();
    assert_eq!(
        (stands.goal, stands.obstacle),
        (Goal::Hold, refusal(reason))
    );

    let cascade = Goal::PromoteCascade;
    started
        .storage
        .registry
        .set_goal(id, cascade)
        .await
        .unwrap();
    assert_eq!(stored(&started.storage, id).await.unwrap().obstacle, None);
    promoted(&started.storage, id).await;
    assert_eq!(names(&database, "trigger").await, ["on_insert"]);
    database.execute("INSERT INTO orders (id) VALUES (7)").await;
    assert_eq!(database.texts("SELECT said FROM log").await, ["insert 7"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_on_a_users_table_that_reads_a_public_view_is_in_the_way_too() {
    let database = Database::sqlite();
    let made = "CREATE TABLE theirs (id integer, more text);
        CREATE TRIGGER reads AFTER UPDATE OF id ON theirs BEGIN
            UPDATE theirs SET more = (SELECT customer FROM orders WHERE id = NEW.id); END;
        CREATE TRIGGER harmless AFTER INSERT ON theirs BEGIN
            UPDATE theirs SET more = (SELECT count(*) FROM orders); END;";
    let started = with_users(&database, made).await;
    let id = without_customer(&started, Goal::Promote).await;
    let Promotion::Refused(reason) = started.storage.registry.promote(id).await.unwrap() else {
        panic!("it was promoted");
    };
    assert!(reason.contains("`reads`"), "{reason}");
    assert!(!reason.contains("harmless"), "{reason}");
    assert_eq!(names(&database, "trigger").await, ["harmless", "reads"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_on_a_users_view_goes_with_it() {
    let database = Database::sqlite();
    let made = "CREATE VIEW mine AS SELECT customer FROM orders;
        CREATE VIEW on_mine AS SELECT * FROM mine;
        CREATE VIEW counted AS SELECT count(*) AS orders FROM orders;
        CREATE VIEW broken AS SELECT no_such_column FROM orders;
        CREATE TRIGGER on_view INSTEAD OF DELETE ON on_mine BEGIN
            SELECT OLD.customer FROM orders; END;";
    let started = with_users(&database, made).await;
    let id = without_customer(&started, Goal::Promote).await;
    let Promotion::Refused(reason) = started.storage.registry.promote(id).await.unwrap() else {
        panic!("it was promoted");
    };
    for view in ["`mine`", "`on_mine`"] {
        assert!(reason.contains(view), "{reason}");
    }
    // What was of no use before is nobody's loss.
    for other in ["counted", "broken"] {
        assert!(!reason.contains(other), "{reason}");
    }
    let cascade = Goal::PromoteCascade;
    started
        .storage
        .registry
        .set_goal(id, cascade)
        .await
        .unwrap();
    promoted(&started.storage, id).await;
    assert_eq!(
        names(&database, "view").await,
        ["broken", "counted", "orders"]
    );
    assert_eq!(database.texts("SELECT orders FROM counted").await, ["0"]);
    assert_eq!(
        stored(&started.storage, id).await.unwrap().state,
        GenerationState::Live
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_the_place_of_a_public_view_is_in_the_way() {
    let database = Database::sqlite();
    let started = with_users(&database, "").await;
    let id = candidate(&started, &orders(), Goal::Promote).await;
    database
        .execute("DROP VIEW orders; CREATE TABLE orders (theirs integer)")
        .await;
    let Promotion::Refused(reason) = started.storage.registry.promote(id).await.unwrap() else {
        panic!("it was promoted");
    };
    assert!(reason.contains("a table `orders`"), "{reason}");
    let dropped = started
        .storage
        .registry
        .drop_projection("orders_by_customer", false);
    dropped.await.unwrap();
    assert_eq!(names(&database, "view").await, [""; 0]);
}
