//! Two generations at one position: what differs, counted and shown.

use serde::Serialize;
use serde_json::json;

use super::*;
use crate::read_models::{ColumnDifference, Compared, Comparison, Difference, TableComparison};

on_both!(
    equal_generations_differ_in_nothing,
    generations_at_different_positions_are_not_compared,
    rows_are_only_here_only_there_or_different,
    samples_are_the_first_by_key,
    columns_that_only_one_has_are_named,
    tables_with_other_keys_are_not_compared,
    a_table_that_only_one_has_is_counted,
    a_null_differs_from_a_value_and_not_from_a_null,
    what_is_gone_cannot_be_compared,
    five_hundred_columns_are_compared,
    documents_are_shown_as_they_are,
    large_rows_are_few_samples,
);

/// What is shown, as a value.
fn value(shown: impl Serialize) -> serde_json::Value {
    serde_json::to_value(shown).unwrap()
}

/// A live generation and a candidate.
async fn pair(database: &Database, left: &Description, right: &Description) -> (Started, Started) {
    let live = started(database, left).await;
    promoted(&live.storage, live.generation.id).await;
    let generation = created_for(&live.storage, right, Goal::Compare)
        .await
        .unwrap();
    let candidate = started_on(live.storage.clone(), generation).await;
    (live, candidate)
}

async fn compared(left: &Started, right: &Started, samples: usize) -> Comparison {
    let (left, right, storage) = (left.generation.id, right.generation.id, &left.storage);
    match storage
        .read_models
        .compare(left, right, samples)
        .await
        .unwrap()
    {
        Compared::Together(comparison) => comparison,
        apart @ Compared::Apart { .. } => panic!("{apart:?}"),
    }
}

/// The comparison of the only table.
async fn compared_table(left: &Started, right: &Started, samples: usize) -> TableComparison {
    let mut comparison = compared(left, right, samples).await;
    assert_eq!(comparison.tables.len(), 1);
    comparison.tables.remove(0)
}

async fn equal_generations_differ_in_nothing(database: &Database) {
    let (mut live, mut candidate) = pair(database, &orders(), &orders()).await;
    // In other batches, by other ways.
    live.put(vec![order(1, "ada"), order(2, "bob")])
        .await
        .unwrap();
    live.put(vec![order(3, "cyd")]).await.unwrap();
    candidate
        .put(vec![order(3, "cyd"), order(2, "eve")])
        .await
        .unwrap();
    candidate
        .put(vec![order(1, "ada"), order(2, "bob")])
        .await
        .unwrap();
    let comparison = compared(&live, &candidate, 20).await;
    assert!(comparison.is_equal(), "{comparison:?}");
    assert_eq!(comparison.position.get(), 2);
    assert_eq!(
        (
            comparison.tables[0].left_rows,
            comparison.tables[0].right_rows
        ),
        (3, 3)
    );
}

async fn generations_at_different_positions_are_not_compared(database: &Database) {
    let (mut live, candidate) = pair(database, &orders(), &orders()).await;
    live.put(vec![order(1, "ada")]).await.unwrap();
    let (left, right) = (live.generation.id, candidate.generation.id);
    assert_eq!(
        live.storage
            .read_models
            .compare(left, right, 20)
            .await
            .unwrap(),
        Compared::Apart {
            left: Position::new(1).unwrap(),
            right: Position::START
        }
    );
}

async fn rows_are_only_here_only_there_or_different(database: &Database) {
    let (mut live, mut candidate) = pair(database, &orders(), &orders()).await;
    let here = [(1, "ada"), (2, "bob"), (4, "dan"), (5, "eve")];
    let there = [(2, "bob"), (3, "cyd"), (4, "DAN"), (5, "EVE"), (6, "fay")];
    live.put(here.map(|(id, name)| order(id, name)).to_vec())
        .await
        .unwrap();
    candidate
        .put(there.map(|(id, name)| order(id, name)).to_vec())
        .await
        .unwrap();

    let table = compared_table(&live, &candidate, 20).await;

    assert_eq!((table.left_rows, table.right_rows), (4, 5));
    assert_eq!(
        (table.only_left, table.only_right, table.different),
        (1, 2, 2)
    );
    assert_eq!(
        table.different_columns,
        [ColumnDifference {
            column: "customer".to_owned(),
            rows: 2
        }]
    );
    assert!(!table.is_equal());
    let shown: Vec<_> = table
        .samples
        .into_iter()
        .map(|sample| {
            let (left, right) = (value(&sample.left), value(&sample.right));
            (sample.difference, value(&sample.key), left, right)
        })
        .collect();
    let name = |name| json!({ "customer": name });
    assert_eq!(
        shown,
        [
            (
                Difference::OnlyLeft,
                json!({"id": 1}),
                json!({"id": 1, "customer": "ada"}),
                json!(null)
            ),
            (
                Difference::OnlyRight,
                json!({"id": 3}),
                json!(null),
                json!({"id": 3, "customer": "cyd"})
            ),
            (
                Difference::Different,
                json!({"id": 4}),
                name("dan"),
                name("DAN")
            ),
            (
                Difference::Different,
                json!({"id": 5}),
                name("eve"),
                name("EVE")
            ),
            (
                Difference::OnlyRight,
                json!({"id": 6}),
                json!(null),
                json!({"id": 6, "customer": "fay"})
            ),
        ]
    );
}

async fn samples_are_the_first_by_key(database: &Database) {
    let (mut live, mut candidate) = pair(database, &orders(), &orders()).await;
    let rows = |ids: std::ops::Range<i64>, name: &str| ids.map(|id| order(id, name)).collect();
    live.put(rows(0..1_000, "ada")).await.unwrap();
    candidate.put(rows(0..1_200, "bob")).await.unwrap();
    let table = compared_table(&live, &candidate, 3).await;
    assert_eq!((table.different, table.only_right), (1_000, 200));
    let keys: Vec<_> = table
        .samples
        .iter()
        .map(|sample| value(&sample.key))
        .collect();
    assert_eq!(keys, [json!({"id": 0}), json!({"id": 1}), json!({"id": 2})]);
    let table = compared_table(&live, &candidate, 0).await;
    assert_eq!((table.different, table.samples.len()), (1_000, 0));
}

async fn columns_that_only_one_has_are_named(database: &Database) {
    let id = || column("id", ColumnType::Integer, false);
    let named = |columns| description("totals", 1, vec![table("totals", columns, &["id"], &[])]);
    let old = named(vec![
        id(),
        column("cents", ColumnType::Integer, false),
        column("note", ColumnType::Text, true),
        column("gone", ColumnType::Text, true),
    ]);
    let new = named(vec![
        column("note", ColumnType::Text, true),
        id(),
        column("cents", ColumnType::Decimal, false),
    ]);
    let (mut live, mut candidate) = pair(database, &old, &new).await;
    live.put(vec![vec![
        Value::Integer(1),
        Value::Integer(2),
        text("a"),
        text("x"),
    ]])
    .await
    .unwrap();
    let row = vec![
        text("b"),
        Value::Integer(1),
        Value::decimal("2.50").unwrap(),
    ];
    candidate.put(vec![row]).await.unwrap();

    let table = compared_table(&live, &candidate, 20).await;

    assert_eq!(table.only_left_columns, ["cents", "gone"]);
    assert_eq!(table.only_right_columns, ["cents"]);
    assert_eq!((table.different, table.samples.len()), (1, 1));
    assert_eq!(value(&table.samples[0].left), json!({"note": "a"}));
    assert_eq!(value(&table.samples[0].right), json!({"note": "b"}));
}

async fn tables_with_other_keys_are_not_compared(database: &Database) {
    let columns = || {
        vec![
            column("id", ColumnType::Integer, false),
            column("customer", ColumnType::Text, false),
        ]
    };
    let keyed = |key| description("totals", 1, vec![table("totals", columns(), key, &[])]);
    let (mut live, candidate) = pair(database, &keyed(&["id"]), &keyed(&["customer"])).await;
    live.put(vec![order(1, "ada")]).await.unwrap();
    let mut candidate = candidate;
    candidate
        .put(vec![order(1, "ada"), order(2, "bob")])
        .await
        .unwrap();
    let table = compared_table(&live, &candidate, 20).await;
    assert!(
        table.incomparable.as_ref().unwrap().contains("key"),
        "{table:?}"
    );
    assert_eq!((table.left_rows, table.right_rows), (1, 2));
    assert!(!table.is_equal());
}

async fn a_table_that_only_one_has_is_counted(database: &Database) {
    let declared = |name| {
        let columns = vec![column("id", ColumnType::Integer, false)];
        description("totals", 1, vec![table(name, columns, &["id"], &[])])
    };
    let (mut live, mut candidate) = pair(database, &declared("a"), &declared("b")).await;
    live.put(vec![vec![Value::Integer(1)]]).await.unwrap();
    let rows = (0..3).map(|id| vec![Value::Integer(id)]).collect();
    candidate.put(rows).await.unwrap();
    let comparison = compared(&live, &candidate, 20).await;
    let counted: Vec<_> = comparison
        .tables
        .iter()
        .map(|table| {
            let name = table.table.as_str();
            (
                name,
                table.incomparable.is_some(),
                table.left_rows,
                table.right_rows,
            )
        })
        .collect();
    assert_eq!(counted, [("a", true, 1, 0), ("b", true, 0, 3)]);
}

async fn a_null_differs_from_a_value_and_not_from_a_null(database: &Database) {
    let (mut live, mut candidate) = pair(database, &orders(), &orders()).await;
    let nobody = |id| vec![Value::Integer(id), Value::Null];
    live.put(vec![nobody(1), nobody(2), order(3, "")])
        .await
        .unwrap();
    candidate
        .put(vec![nobody(1), order(2, ""), nobody(3)])
        .await
        .unwrap();
    let table = compared_table(&live, &candidate, 20).await;
    assert_eq!(
        (table.only_left, table.only_right, table.different),
        (0, 0, 2)
    );
    assert_eq!(value(&table.samples[0].left), json!({"customer": null}));
    assert_eq!(value(&table.samples[0].right), json!({"customer": ""}));
}

async fn what_is_gone_cannot_be_compared(database: &Database) {
    let (live, candidate) = pair(database, &orders(), &orders()).await;
    let (left, right) = (live.generation.id, candidate.generation.id);
    live.storage.registry.drop_generation(right).await.unwrap();
    for (left, right) in [(left, right), (right, left)] {
        let result = live.storage.read_models.compare(left, right, 20).await;
        refused(result, StorageErrorKind::Refused, "generation 2");
    }
}

async fn five_hundred_columns_are_compared(database: &Database) {
    let columns = (0..500)
        .map(|number| column(&format!("c{number}"), ColumnType::Integer, false))
        .collect();
    let wide = description("wide", 1, vec![table("wide", columns, &["c0"], &[])]);
    let (mut live, mut candidate) = pair(database, &wide, &wide).await;
    let row: Row = (0..500).map(Value::Integer).collect();
    live.put(vec![row.clone()]).await.unwrap();
    let mut other = row;
    other[499] = Value::Integer(-1);
    candidate.put(vec![other]).await.unwrap();
    let table = compared_table(&live, &candidate, 20).await;
    assert_eq!(value(&table.samples[0].left), json!({"c499": 499}));
    assert_eq!(table.different_columns[0].column, "c499");
}

/// A table with a key and a column of this type.
fn with_a_column(name: &str, column_type: ColumnType) -> Description {
    let columns = vec![
        column("id", ColumnType::Integer, false),
        column("large", column_type, false),
    ];
    description(name, 1, vec![table(name, columns, &["id"], &[])])
}

async fn documents_are_shown_as_they_are(database: &Database) {
    let described = with_a_column("documents", ColumnType::Json);
    let (mut live, mut candidate) = pair(database, &described, &described).await;
    let row = |id, document: &str| vec![Value::Integer(id), Value::Json(document.to_owned())];
    let long = "9".repeat(400);
    let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
    let exact = "12345678901234567890.1234567890";
    live.put(vec![row(1, &long), row(2, &deep), row(3, exact)])
        .await
        .unwrap();
    candidate
        .put(vec![row(1, "0"), row(2, "0"), row(3, "0")])
        .await
        .unwrap();
    let table = compared_table(&live, &candidate, 20).await;
    let shown: Vec<String> = (table.samples.iter())
        .map(|sample| sample.left.as_ref().unwrap()["large"].to_string())
        .collect();
    assert_eq!(shown, [long, deep, exact.to_owned()]);
}

async fn large_rows_are_few_samples(database: &Database) {
    let described = with_a_column("texts", ColumnType::Text);
    let (mut live, mut candidate) = pair(database, &described, &described).await;
    let row = |id| vec![Value::Integer(id), text(&"x".repeat(4 << 20))];
    live.put((0..8).map(row).collect()).await.unwrap();
    candidate.put(Vec::new()).await.unwrap();
    let table = compared_table(&live, &candidate, 20).await;
    assert_eq!(table.only_left, 8);
    assert_eq!(table.samples.len(), 2, "samples of more than 8 MiB");
}
