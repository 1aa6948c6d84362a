//! `find` gives pages in the order of the keys' values.

use gnomon_model::{PAGE_BYTES, row_size};

use super::*;

on_both!(
    pages_come_in_key_order,
    decimal_keys_are_in_numeric_order,
    text_keys_are_in_byte_order,
    a_null_finds_nulls,
    a_key_of_many_columns_is_paged,
    large_rows_come_in_pages_of_few,
);

/// All rows of a find, read in pages of this size.
async fn paged(
    started: &mut Started,
    description: &Description,
    values: &[Value],
    page_rows: usize,
) -> Vec<Row> {
    let table = &description.tables[0];
    let mut found: Vec<Row> = vec![];
    loop {
        let after = found.last().map(|row| table.key_of(row));
        let page = started
            .writer
            .find(0, 0, values, after.as_ref(), page_rows)
            .await
            .unwrap();
        assert!(page.rows.len() <= page_rows);
        assert!(!page.rows.is_empty() || !page.more);
        found.extend(page.rows);
        if !page.more {
            return found;
        }
    }
}

/// Puts rows with these keys and expects them in this order, for every size
/// of page.
async fn in_order(database: &Database, key: ColumnType, expected: Vec<Value>) {
    let columns = vec![
        column("k", key, false),
        column("g", ColumnType::Text, false),
    ];
    let keyed = description("keyed", 1, vec![table("keyed", columns, &["k"], &[&["g"]])]);
    let mut started = started(database, &keyed).await;
    let in_group = |group: &str| -> Vec<Row> {
        expected
            .iter()
            .map(|key| vec![key.clone(), text(group)])
            .collect()
    };
    let rows = in_group("here");
    let mut reversed = rows.clone();
    reversed.reverse();
    started.put(reversed).await.unwrap();
    for page_rows in 1..=expected.len() + 1 {
        assert_eq!(
            paged(&mut started, &keyed, &[text("here")], page_rows).await,
            rows
        );
    }
    assert_eq!(
        paged(&mut started, &keyed, &[text("there")], 2).await,
        Vec::<Row>::new()
    );
}

async fn pages_come_in_key_order(database: &Database) {
    let keys = [i64::MIN, -1, 0, 2, 10, i64::MAX];
    in_order(
        database,
        ColumnType::Integer,
        keys.map(Value::Integer).to_vec(),
    )
    .await;
}

async fn decimal_keys_are_in_numeric_order(database: &Database) {
    let keys = [
        "-100",
        "-12.5",
        "-2",
        "0",
        "0.001",
        "2",
        "10",
        "10.5",
        "100000000000000000000",
    ];
    let keys = keys.map(|text| Value::decimal(text).unwrap()).to_vec();
    in_order(database, ColumnType::Decimal, keys).await;
}

async fn text_keys_are_in_byte_order(database: &Database) {
    let keys = [
        "",
        " ",
        "A",
        "B",
        "a",
        "a b",
        "ab",
        "b",
        "é",
        "\u{ffff}",
        "\u{10000}",
    ];
    in_order(database, ColumnType::Text, keys.map(text).to_vec()).await;
}

async fn a_null_finds_nulls(database: &Database) {
    let columns = vec![
        column("id", ColumnType::Integer, false),
        column("a", ColumnType::Text, true),
        column("b", ColumnType::Boolean, true),
    ];
    let nullable = description(
        "nullable",
        1,
        vec![table("t", columns, &["id"], &[&["a", "b"]])],
    );
    let mut started = started(database, &nullable).await;
    let row = |id, a: Value, b: Value| vec![Value::Integer(id), a, b];
    let rows = vec![
        row(1, Value::Null, Value::Null),
        row(2, text("x"), Value::Null),
        row(3, Value::Null, Value::Boolean(true)),
        row(4, text("x"), Value::Boolean(true)),
        row(5, Value::Null, Value::Null),
    ];
    started.put(rows.clone()).await.unwrap();
    for (a, b, expected) in [
        (Value::Null, Value::Null, vec![0, 4]),
        (text("x"), Value::Null, vec![1]),
        (Value::Null, Value::Boolean(true), vec![2]),
        (text("x"), Value::Boolean(true), vec![3]),
        (text("x"), Value::Boolean(false), vec![]),
    ] {
        let expected: Vec<Row> = expected
            .into_iter()
            .map(|place: usize| rows[place].clone())
            .collect();
        assert_eq!(paged(&mut started, &nullable, &[a, b], 1).await, expected);
    }
}

async fn a_key_of_many_columns_is_paged(database: &Database) {
    let columns = vec![
        column("day", ColumnType::Date, false),
        column("shop", ColumnType::Text, false),
        column("rate", ColumnType::Float, false),
    ];
    let many = description(
        "many",
        1,
        vec![table("t", columns, &["rate", "shop", "day"], &[&["shop"]])],
    );
    let mut started = started(database, &many).await;
    let mut rows = vec![];
    for rate in [f64::NEG_INFINITY, -1.5, 0.0, 1e-300, 2.0, f64::INFINITY] {
        for shop in ["a", "b"] {
            for day in [-719_162, -1, 0, 20_000, 2_932_896] {
                rows.push(vec![Value::Date(day), text(shop), Value::Float(rate)]);
            }
        }
    }
    started.put(rows.clone()).await.unwrap();
    rows.retain(|row| row[1] == text("b"));
    for page_rows in [1, 2, 7, 100] {
        assert_eq!(
            paged(&mut started, &many, &[text("b")], page_rows).await,
            rows
        );
    }
}

/// Rows of 1 MiB, which a host must not read by the thousand.
async fn large_rows_come_in_pages_of_few(database: &Database) {
    const ROWS: i64 = 60;
    let columns = vec![
        column("id", ColumnType::Decimal, false),
        column("g", ColumnType::Text, false),
        column("large", ColumnType::Text, false),
    ];
    for key_type in [ColumnType::Integer, ColumnType::Decimal] {
        let mut columns = columns.clone();
        columns[0].column_type = key_type;
        let name = format!("large_{}", key_type.name());
        let large = description(&name, 1, vec![table(&name, columns, &["id"], &[&["g"]])]);
        let mut started = started(database, &large).await;
        let rows: Vec<Row> = (0..ROWS)
            .map(|id| {
                let id = match key_type {
                    ColumnType::Integer => Value::Integer(id),
                    _ => Value::decimal(&id.to_string()).unwrap(),
                };
                vec![id, text("here"), text(&"x".repeat(1 << 20))]
            })
            .collect();
        started.put(rows.clone()).await.unwrap();
        let keys: Vec<Key> = rows.iter().map(|row| large.tables[0].key_of(row)).collect();
        let (mut found, mut read, mut calls) = (Vec::new(), Vec::new(), 0);
        while found.len() < rows.len() {
            let after = found.last().map(|row: &Row| large.tables[0].key_of(row));
            let values = [text("here")];
            let page = started
                .writer
                .find(0, 0, &values, after.as_ref(), 1_000)
                .await;
            let page = page.unwrap();
            let bytes: usize = page.rows.iter().map(|row| row_size(row)).sum();
            assert!(bytes < PAGE_BYTES + (2 << 20), "{bytes} bytes in a page");
            assert!(!page.rows.is_empty());
            found.extend(page.rows);
            assert!(page.more || found.len() == rows.len());
            calls += 1;
        }
        while read.len() < keys.len() {
            let page = started.writer.rows(0, &keys[read.len()..]).await.unwrap();
            let bytes: usize = page.iter().flatten().map(|row| row_size(row)).sum();
            assert!(bytes < PAGE_BYTES + (2 << 20), "{bytes} bytes in a page");
            assert!(!page.is_empty());
            read.extend(page.into_iter().flatten());
            calls += 1;
        }
        assert!(found == rows && read == rows, "other rows came back");
        assert!(calls < ROWS, "{calls} questions for {ROWS} rows, twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn text_keys_are_in_byte_order_in_a_database_that_sorts_by_language() {
    let by_language = "ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    text_keys_are_in_byte_order(&Database::postgres_with(by_language).await).await;
}
