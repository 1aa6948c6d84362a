//! What is written is what is read, for every canonical value.

use gnomon_model::Floats;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::runtime::Handle;

use super::*;

on_both!(
    any_row_comes_back_as_it_was,
    any_key_finds_its_row,
    edge_values_come_back_as_they_were,
);

const TYPES: [ColumnType; 10] = [
    ColumnType::Boolean,
    ColumnType::Integer,
    ColumnType::Float,
    ColumnType::Decimal,
    ColumnType::Text,
    ColumnType::Bytes,
    ColumnType::Timestamp,
    ColumnType::Date,
    ColumnType::Uuid,
    ColumnType::Json,
];

/// JSON in its normal form, the one that both databases give back.
const JSON: [&str; 9] = [
    "null",
    "true",
    "[]",
    "{}",
    r#""é\n\"\\ \u0001 😀""#,
    "1.50",
    "123456789012345678901234567890.000000000000000001",
    r#"{"a": 1, "b": [1, 2, {"c": null}], "aa": ""}"#,
    r#"[1, "two", [3]]"#,
];

fn edge_values(column_type: ColumnType) -> Vec<Value> {
    match column_type {
        ColumnType::Boolean => vec![Value::Boolean(false), Value::Boolean(true)],
        ColumnType::Integer => [i64::MIN, i64::MIN + 1, -1, 0, 1, (1 << 53) + 1, i64::MAX]
            .map(Value::Integer)
            .to_vec(),
        ColumnType::Float => [
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            0.0,
            f64::from_bits(1),
            f64::MIN_POSITIVE,
            0.1 + 0.2,
            1.0,
            9_007_199_254_740_993.0,
            1e18,
            9.3e18,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
        ]
        .map(Value::Float)
        .to_vec(),
        ColumnType::Decimal => [
            "0",
            "0.000",
            "-0.10",
            "1.50",
            "10000",
            "12345678901234567890.1234567890",
            "-99999999999999999999999999999999999999",
            "0.0000000000000000000000000000010",
        ]
        .map(|text| Value::decimal(text).unwrap())
        .to_vec(),
        ColumnType::Text => {
            let mut texts: Vec<Value> = [
                "",
                " ",
                "é",
                "e\u{301}",
                "\u{1}\u{7f}\r\n\t",
                "\u{feff}",
                "\u{10ffff}",
                "'\";--\\",
                "NULL",
            ]
            .map(text)
            .to_vec();
            texts.push(text(&"long ".repeat(400)));
            texts
        }
        ColumnType::Bytes => {
            vec![
                Value::Bytes(vec![]),
                Value::Bytes(vec![0]),
                Value::Bytes((0..=255).collect()),
            ]
        }
        ColumnType::Timestamp => [
            -62_135_596_800_000_000,
            -1,
            0,
            1,
            1_736_937_000_123_456,
            253_402_300_799_999_999,
        ]
        .map(Value::Timestamp)
        .to_vec(),
        ColumnType::Date => [-719_162, -1, 0, 19_782, 2_932_896]
            .map(Value::Date)
            .to_vec(),
        ColumnType::Uuid => vec![
            Value::Uuid(uuid::Uuid::nil()),
            Value::Uuid(uuid::Uuid::max()),
            Value::Uuid(uuid::Uuid::new_v4()),
        ],
        ColumnType::Json => JSON.map(|text| Value::Json(text.to_owned())).to_vec(),
    }
}

fn values(column_type: ColumnType, floats: Floats) -> BoxedStrategy<Value> {
    let random = match column_type {
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::Integer => any::<i64>().prop_map(Value::Integer).boxed(),
        ColumnType::Float => any::<u64>()
            .prop_map(|bits| Value::Float(f64::from_bits(bits)))
            .boxed(),
        ColumnType::Decimal => "-?[0-9]{1,40}(\\.[0-9]{1,20})?"
            .prop_map(|text| Value::decimal(&text).unwrap())
            .boxed(),
        ColumnType::Text => any::<String>()
            .prop_map(|text| Value::Text(text.replace('\0', "")))
            .boxed(),
        ColumnType::Bytes => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        ColumnType::Timestamp => (-62_135_596_800_000_000..=253_402_300_799_999_999_i64)
            .prop_map(Value::Timestamp)
            .boxed(),
        ColumnType::Date => (-719_162..=2_932_896).prop_map(Value::Date).boxed(),
        ColumnType::Uuid => any::<[u8; 16]>()
            .prop_map(|bytes| Value::Uuid(uuid::Uuid::from_bytes(bytes)))
            .boxed(),
        ColumnType::Json => any::<i64>()
            .prop_map(|number| Value::Json(number.to_string()))
            .boxed(),
    };
    let random = random
        .prop_filter_map("the database has no NaN", move |value| match value {
            value @ Value::Json(_) => Some(value),
            mut value => value
                .check(column_type, floats, &mut 0)
                .ok()
                .map(|()| value),
        })
        .boxed();
    prop_oneof![3 => random, 1 => proptest::sample::select(storable(column_type, floats))].boxed()
}

fn storable(column_type: ColumnType, floats: Floats) -> Vec<Value> {
    let mut values = edge_values(column_type);
    if floats == Floats::NotNan {
        values.retain(|value| !matches!(value, Value::Float(number) if number.is_nan()));
    }
    values
}

/// A column of every type, nullable, beside an integer key.
fn everything() -> Description {
    let mut columns = vec![column("id", ColumnType::Integer, false)];
    columns.extend(TYPES.map(|column_type| column(&format!("a_{column_type}"), column_type, true)));
    description(
        "everything",
        1,
        vec![table("everything", columns, &["id"], &[])],
    )
}

/// Bit for bit: `Value` calls floats equal by their order.
fn assert_same(found: &[Option<Row>], expected: &[Row]) {
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(format!("{found:?}"), format!("{:?}", Some(expected)));
        for pair in found.iter().flatten().zip(expected) {
            if let (Value::Float(found), Value::Float(expected)) = pair {
                assert_eq!(found.to_bits(), expected.to_bits());
            }
        }
    }
    assert_eq!(found.len(), expected.len());
}

/// Runs an async property for many inputs.
fn for_any<S: Strategy>(strategy: &S, mut property: impl AsyncFnMut(S::Value)) {
    let config = Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    };
    let property = std::cell::RefCell::new(&mut property);
    TestRunner::new(config)
        .run(strategy, |value| {
            tokio::task::block_in_place(|| {
                Handle::current().block_on((*property.borrow_mut())(value));
            });
            Ok(())
        })
        .unwrap();
}

async fn any_row_comes_back_as_it_was(database: &Database) {
    let mut started = started(database, &everything()).await;
    let floats = started.storage.read_models.floats();
    let cells: Vec<_> = TYPES
        .iter()
        .map(|column_type| proptest::option::weighted(0.9, values(*column_type, floats)))
        .collect();
    let rows = proptest::collection::vec(cells, 1..40);
    for_any(&rows, async |rows: Vec<Vec<Option<Value>>>| {
        let rows: Vec<Row> = rows
            .into_iter()
            .zip(0..)
            .map(|(cells, id)| {
                let cells = cells.into_iter().map(|cell| cell.unwrap_or(Value::Null));
                [Value::Integer(id)].into_iter().chain(cells).collect()
            })
            .collect();
        started.put(rows.clone()).await.unwrap();
        let keys: Vec<Key> = rows
            .iter()
            .map(|row| Key::new(vec![row[0].clone()]))
            .collect();
        assert_same(&started.writer.rows(0, &keys).await.unwrap(), &rows);
    });
}

async fn any_key_finds_its_row(database: &Database) {
    for column_type in TYPES
        .into_iter()
        .filter(|column_type| *column_type != ColumnType::Json)
    {
        let columns = vec![
            column("k", column_type, false),
            column("v", column_type, false),
        ];
        let tables = vec![table("t", columns, &["k"], &[&["v"]])];
        let keyed = description(&format!("keyed_by_{column_type}"), 1, tables);
        let mut keyed_tables = keyed.clone();
        keyed_tables.tables[0].name = format!("t_{column_type}");
        let keyed = keyed_tables;
        let storage = database.open().await;
        let generation = created(&storage, &keyed).await.unwrap();
        let mut started = started_on(storage, generation).await;
        let floats = started.storage.read_models.floats();
        let key = values(column_type, floats)
            .prop_map(|mut value| {
                if let Value::Decimal(number) = &mut value {
                    number.shorten();
                }
                value
            })
            .boxed();
        let keys = proptest::collection::vec(key, 1..20);
        for_any(&keys, async |mut keys: Vec<Value>| {
            keys.sort_by(Value::order);
            keys.dedup();
            let group = keys[0].clone();
            let rows: Vec<Row> = keys
                .iter()
                .map(|key| vec![key.clone(), group.clone()])
                .collect();
            started.put(rows.clone()).await.unwrap();
            let keys: Vec<Key> = rows.iter().map(|row| keyed.tables[0].key_of(row)).collect();
            assert_same(&started.writer.rows(0, &keys).await.unwrap(), &rows);
            let found = started
                .writer
                .find(0, 0, &[group], None, 100)
                .await
                .unwrap();
            let found: Vec<Option<Row>> = found.rows.into_iter().map(Some).collect();
            assert_same(&found, &rows);
            let removed = [deletes(0, keys.clone())];
            started.commit(&removed).await.unwrap();
            assert!(
                started
                    .writer
                    .rows(0, &keys)
                    .await
                    .unwrap()
                    .iter()
                    .all(Option::is_none)
            );
        });
        started
            .storage
            .registry
            .release(started.lease)
            .await
            .unwrap();
    }
}

async fn edge_values_come_back_as_they_were(database: &Database) {
    let mut started = started(database, &everything()).await;
    let floats = started.storage.read_models.floats();
    let mut rows: Vec<Row> = vec![];
    for (place, column_type) in TYPES.into_iter().enumerate() {
        for value in storable(column_type, floats) {
            let mut row = vec![Value::Null; TYPES.len() + 1];
            row[0] = Value::Integer(i64::try_from(rows.len()).unwrap());
            row[place + 1] = value;
            rows.push(row);
        }
    }
    let keys: Vec<Key> = rows
        .iter()
        .map(|row| Key::new(vec![row[0].clone()]))
        .collect();
    started.put(rows.clone()).await.unwrap();
    assert_same(&started.writer.rows(0, &keys).await.unwrap(), &rows);

    // A row that comes alone is written in another way: once where there is
    // none, and once in place of another.
    started.commit(&[deletes(0, keys.clone())]).await.unwrap();
    for row in &rows {
        started.put(vec![row.clone()]).await.unwrap();
    }
    assert_same(&started.writer.rows(0, &keys).await.unwrap(), &rows);
    let others = rows.clone().into_iter().rev();
    for (row, other) in rows.iter_mut().zip(others) {
        row[1..].clone_from_slice(&other[1..]);
    }
    for row in &rows {
        started.put(vec![row.clone()]).await.unwrap();
    }
    assert_same(&started.writer.rows(0, &keys).await.unwrap(), &rows);
}
