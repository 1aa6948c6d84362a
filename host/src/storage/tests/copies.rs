//! A copy of a read model as it stood earlier, beside the original.

use super::*;

on_both!(
    a_copy_has_names_of_its_own,
    a_copy_does_not_take_the_names_of_others,
);

async fn a_copy_has_names_of_its_own(database: &Database) {
    let mut original = started(database, &orders()).await;
    let storage = original.storage.clone();
    original.put(vec![order(1, "now")]).await.unwrap();
    promoted(&storage, original.generation.id).await;
    let description = orders();
    let mut new = new_generation(&original.generation.module, &description);
    new.projection = "orders_before";
    new.until = Position::new(7);
    let copy = storage.registry.create_generation(new).await.unwrap();
    assert_eq!(copy.projection, "orders_before");
    assert_eq!(copy.copy_of.as_deref(), Some("orders_by_customer"));
    assert_eq!(copy.description.name, "orders_before");
    assert_eq!(stored(&storage, copy.id).await.as_ref(), Some(&copy));

    let mut copy = started_on(storage, copy).await;
    copy.put(vec![order(1, "then")]).await.unwrap();
    promoted(&copy.storage, copy.generation.id).await;
    let copied = if database.is_postgres() {
        database.public("orders_before", "orders")
    } else {
        database.public("", "orders_before_orders")
    };
    for (table, customer) in [
        (database.public("orders_by_customer", "orders"), "now"),
        (copied, "then"),
    ] {
        let customers = format!("SELECT customer FROM {table}");
        assert_eq!(database.texts(&customers).await, [customer]);
    }
    // Its number of events is its end, so it is behind nobody.
    let again = orders();
    let mut new = new_generation(&original.generation.module, &again);
    (new.projection, new.newest) = ("orders_before", Some(copy.generation.id));
    let again = copy.storage.registry.create_generation(new).await.unwrap();
    promoted(&copy.storage, again.id).await;
    copy.storage
        .registry
        .drop_projection("orders_before", false)
        .await
        .unwrap();
    let left = copy.storage.registry.generations().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, original.generation.id);
}

async fn a_copy_does_not_take_the_names_of_others(database: &Database) {
    let storage = database.open().await;
    let taken = if database.is_postgres() {
        "CREATE SCHEMA copy; CREATE TABLE copy.theirs (id integer)"
    } else {
        "CREATE TABLE copy_orders (id integer)"
    };
    database.execute(taken).await;
    let original = created(&storage, &orders()).await.unwrap();
    let description = orders();
    let mut new = new_generation(&original.module, &description);
    new.projection = "copy";
    refused(
        storage.registry.create_generation(new).await,
        StorageErrorKind::Refused,
        "copy",
    );
}
