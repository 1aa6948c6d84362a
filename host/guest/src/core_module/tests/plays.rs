//! What the puppet is told to do.

use gnomon_model::{Row, Value};
use proptest::prelude::*;

use super::image::{COLUMNS, HANDLES, IMAGE, Image, REPLIES, REPLY, unpacked};

/// One thing to do; what is read is written again.
#[derive(Clone, Debug)]
pub(super) enum Play {
    Open(&'static str),
    Drop,
    Get(Value),
    GetMany(Vec<Value>),
    Find(usize, Vec<Value>, u32),
    Put(Row),
    Patch(Value, Vec<(u8, usize, Value)>),
    Merge(Value, Vec<(u8, usize, Value)>),
    Remove(Value),
    PatchWhere(usize, Vec<Value>, Vec<(u8, usize, Value)>),
    RemoveWhere(usize, Vec<Value>),
    Log(u32, String),
    Reject(u64, String),
    /// What is wrong from now on.
    Fault(u32),
}

/// The image and the calls for these plays, with one table open.
pub(super) fn staged(plays: &[Play]) -> (Image, Vec<[u32; 9]>) {
    let mut image = Image::at(IMAGE);
    let mut calls = Vec::new();
    for (place, play) in [&Play::Open("puppets")]
        .into_iter()
        .chain(plays)
        .enumerate()
    {
        let reply = REPLIES + REPLY * u32::try_from(place).unwrap();
        stage(play, reply, &mut image, &mut calls);
    }
    (image, calls)
}

pub(super) fn stage(play: &Play, reply: u32, image: &mut Image, calls: &mut Vec<[u32; 9]>) {
    // The first argument is the handle, which lies in memory.
    const TABLE: u32 = 1;
    let index = |image: &mut Image, index: usize| {
        let columns: &[&str] = if index == 0 {
            &["count"]
        } else {
            &["label", "number"]
        };
        unpacked(image.texts(columns))
    };
    let put_back = |at: u32| [5, 0b111, HANDLES, at, at + 4, 0, 0, 0, 0];
    match play {
        Play::Open(name) => {
            let [at, len] = unpacked(image.text(name));
            calls.push([0, 0, at, len, HANDLES, 0, 0, 0, 0]);
        }
        Play::Drop => calls.push([1, TABLE, HANDLES, 0, 0, 0, 0, 0, 0]),
        Play::Get(key) => {
            let [at, len] = unpacked(image.cells(std::slice::from_ref(key)));
            calls.push([2, TABLE, HANDLES, at, len, reply, 0, 0, 0]);
            calls.push(put_back(reply + 4));
        }
        Play::GetMany(keys) => {
            let keys: Vec<_> = (keys.iter())
                .map(|key| image.cells(std::slice::from_ref(key)))
                .collect();
            let [at, len] = unpacked(image.list(&keys));
            calls.push([3, TABLE, HANDLES, at, len, reply, 0, 0, 0]);
            // The second row, if there is one.
            calls.push([14, 0b010, reply + 16, reply, 24, 0, 0, 0, 0]);
            calls.push(put_back(reply + 16 + 16));
        }
        Play::Find(number, values, limit) => {
            let [columns, columns_len] = index(image, *number);
            let [at, len] = unpacked(image.cells(values));
            calls.push([
                4,
                TABLE,
                HANDLES,
                columns,
                columns_len,
                at,
                len,
                *limit,
                reply,
            ]);
            calls.push([14, 0b010, reply + 16, reply, 8, 0, 0, 0, 0]);
            calls.push(put_back(reply + 16));
        }
        Play::Put(row) => {
            let [at, len] = unpacked(image.cells(row));
            calls.push([5, TABLE, HANDLES, at, len, 0, 0, 0, 0]);
        }
        Play::Patch(key, changes) | Play::Merge(key, changes) => {
            let verb = if matches!(play, Play::Patch(..)) {
                6
            } else {
                7
            };
            let [at, len] = unpacked(image.cells(std::slice::from_ref(key)));
            let [changes, changes_len] = unpacked(image.changes(changes));
            calls.push([verb, TABLE, HANDLES, at, len, changes, changes_len, 0, 0]);
        }
        Play::Remove(key) => {
            let [at, len] = unpacked(image.cells(std::slice::from_ref(key)));
            calls.push([8, TABLE, HANDLES, at, len, 0, 0, 0, 0]);
        }
        Play::PatchWhere(number, values, changes) => {
            let [columns, columns_len] = index(image, *number);
            let [at, len] = unpacked(image.cells(values));
            let [changes, changes_len] = unpacked(image.changes(changes));
            calls.push([
                9,
                TABLE,
                HANDLES,
                columns,
                columns_len,
                at,
                len,
                changes,
                changes_len,
            ]);
        }
        Play::RemoveWhere(number, values) => {
            let [columns, columns_len] = index(image, *number);
            let [at, len] = unpacked(image.cells(values));
            calls.push([10, TABLE, HANDLES, columns, columns_len, at, len, 0, 0]);
        }
        Play::Log(level, message) => {
            let [at, len] = unpacked(image.text(message));
            calls.push([11, 0, *level, at, len, 0, 0, 0, 0]);
        }
        Play::Reject(position, message) => {
            let message = image.text(message);
            let result = [[1, 0, 0, 0, 0, 0, 0, 0], position.to_le_bytes(), message];
            let at = image.add(result.as_flattened());
            calls.push([12, 0, at, 0, 0, 0, 0, 0, 0]);
        }
        Play::Fault(fault) => calls.push([13, 0, *fault, 0, 0, 0, 0, 0, 0]),
    }
}

pub(super) fn cell(column: usize) -> BoxedStrategy<Value> {
    let (_, column_type, nullable) = COLUMNS[column];
    let value = match column_type {
        0 => any::<bool>().prop_map(Value::Boolean).boxed(),
        1 => (-3_i64..3).prop_map(Value::Integer).boxed(),
        2 => any::<f64>().prop_map(Value::Float).boxed(),
        3 => "-?[0-9]{1,3}(\\.[0-9]{1,2})?"
            .prop_map(|text| Value::decimal(&text).unwrap())
            .boxed(),
        4 if column == 0 => key().boxed(),
        4 => "[a-zä€🦀]{0,3}".prop_map(Value::Text).boxed(),
        5 => any::<Vec<u8>>().prop_map(Value::Bytes).boxed(),
        6 => (-9_i64..9).prop_map(Value::Timestamp).boxed(),
        7 => (-9_i32..9).prop_map(Value::Date).boxed(),
        8 => any::<u128>()
            .prop_map(|number| Value::Uuid(uuid::Uuid::from_u128(number)))
            .boxed(),
        _ => prop::sample::select(vec!["1", "{}", "{", "[null]"])
            .prop_map(|text| Value::Json(text.to_owned()))
            .boxed(),
    };
    match nullable {
        true => prop_oneof![1 => Just(Value::Null), 4 => value].boxed(),
        false => value,
    }
}

pub(super) fn key() -> impl Strategy<Value = Value> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(|key| Value::Text(key.to_owned()))
}

pub(super) fn row() -> impl Strategy<Value = Row> {
    (0..COLUMNS.len()).map(cell).collect::<Vec<_>>()
}

pub(super) fn changes() -> impl Strategy<Value = Vec<(u8, usize, Value)>> {
    let change = (1..COLUMNS.len()).prop_flat_map(|column| {
        let verb = prop_oneof![3 => Just(0_u8), 1 => 0..4_u8];
        (verb, Just(column), cell(column))
    });
    prop::collection::vec(change, 0..4)
}

pub(super) fn indexed() -> impl Strategy<Value = (usize, Vec<Value>)> {
    prop_oneof![
        cell(2).prop_map(|count| (0, vec![count])),
        (cell(5), cell(12)).prop_map(|(label, number)| (1, vec![label, number])),
    ]
}

pub(super) fn play() -> impl Strategy<Value = Play> {
    prop_oneof![
        2 => key().prop_map(Play::Get),
        2 => prop::collection::vec(key(), 2..4).prop_map(Play::GetMany),
        2 => (indexed(), 0..3_u32).prop_map(|((index, values), limit)| Play::Find(index, values, limit)),
        5 => row().prop_map(Play::Put),
        3 => (key(), changes()).prop_map(|(key, changes)| Play::Patch(key, changes)),
        3 => (key(), changes()).prop_map(|(key, changes)| Play::Merge(key, changes)),
        1 => key().prop_map(Play::Remove),
        1 => (indexed(), changes()).prop_map(|((index, values), changes)| Play::PatchWhere(index, values, changes)),
        1 => indexed().prop_map(|(index, values)| Play::RemoveWhere(index, values)),
        1 => (0..7_u32, ".{0,9}").prop_map(|(level, message)| Play::Log(level, message)),
    ]
}

/// What ends a batch, or makes it go wrong.
pub(super) fn turn() -> impl Strategy<Value = Play> {
    prop_oneof![
        Just(Play::Open("puppets")),
        Just(Play::Open("strangers")),
        Just(Play::Drop),
        (0..3_u64, ".{0,9}").prop_map(|(position, message)| Play::Reject(position, message)),
        (0..8_u32).prop_map(Play::Fault),
    ]
}
