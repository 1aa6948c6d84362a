//! Any sequence of calls, cut into batches anyhow, does what a naive model
//! does that knows no batches and no pending changes.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use proptest::prelude::*;

use super::{BatchWrites, WriteError, WriteLimits};
use crate::change::Change;
use crate::description::{DeclaredTable, Description, Subscription};
use crate::memory::MemoryTables;
use crate::schema::{Column, Row, Violation};
use crate::value::{ColumnType, Floats, Value};

mod folded;
mod pages;
mod waiting;

use waiting::Waiting;

/// The key, then columns on which changes work differently.
const COLUMNS: [(&str, ColumnType, bool); 7] = [
    ("id", ColumnType::Integer, false),
    ("label", ColumnType::Text, true),
    ("count", ColumnType::Integer, false),
    ("amount", ColumnType::Decimal, true),
    ("score", ColumnType::Float, true),
    ("at", ColumnType::Timestamp, true),
    ("rank", ColumnType::Decimal, false),
];
const INDEXES: [&[usize]; 2] = [&[1], &[6, 1]];

/// One call, all arguments of which the schema allows.
#[derive(Clone, Debug)]
enum Call {
    Get(i64),
    GetMany(Vec<i64>),
    Find(usize, Vec<Value>, usize),
    Put(Row),
    Patch(i64, Vec<Change<'static>>),
    Merge(i64, Vec<Change<'static>>),
    Remove(i64),
    PatchWhere(usize, Vec<Value>, Vec<Change<'static>>),
    RemoveWhere(usize, Vec<Value>),
}

fn description() -> Arc<Description> {
    let name = |column: &usize| COLUMNS[*column].0.to_owned();
    let table = DeclaredTable {
        name: "rows".to_owned(),
        columns: COLUMNS
            .iter()
            .map(|(name, column_type, nullable)| Column {
                name: (*name).to_owned(),
                column_type: *column_type,
                nullable: *nullable,
            })
            .collect(),
        primary_key: vec!["id".to_owned()],
        indexes: INDEXES
            .iter()
            .map(|columns| columns.iter().map(name).collect())
            .collect(),
    };
    let subscription = Subscription::default();
    Arc::new(Description::check("test".to_owned(), 1, subscription, vec![table]).unwrap())
}

fn index_names(index: usize) -> Vec<String> {
    INDEXES[index]
        .iter()
        .map(|column| COLUMNS[*column].0.to_owned())
        .collect()
}

/// A sum that leaves its column's range, or becomes NaN.
#[derive(Debug, PartialEq)]
struct Refused;

/// Rows by key; every call is done at once.
#[derive(Clone, Debug, Default, PartialEq)]
struct Naive(BTreeMap<i64, Row>);

impl Naive {
    fn call(&mut self, call: &Call) -> Result<Vec<Option<Row>>, Refused> {
        match call {
            Call::Get(id) => return Ok(vec![self.0.get(id).cloned()]),
            Call::GetMany(ids) => {
                return Ok(ids.iter().map(|id| self.0.get(id).cloned()).collect());
            }
            Call::Find(index, values, limit) => {
                let found = self.found(*index, values).into_iter().take(*limit);
                return Ok(found.map(|id| self.0.get(&id).cloned()).collect());
            }
            Call::Put(row) => {
                self.0.insert(id_of(row), canonical(row.clone())?);
            }
            Call::Patch(id, changes) => {
                if let Some(row) = self.0.remove(id) {
                    self.0.insert(*id, changed(row, changes)?);
                }
            }
            Call::Merge(id, changes) => {
                let row = self.0.remove(id).unwrap_or_else(|| zero(*id));
                self.0.insert(*id, changed(row, changes)?);
            }
            Call::Remove(id) => {
                self.0.remove(id);
            }
            Call::PatchWhere(index, values, changes) => {
                for id in self.found(*index, values) {
                    if let Some(row) = self.0.remove(&id) {
                        self.0.insert(id, changed(row, changes)?);
                    }
                }
            }
            Call::RemoveWhere(index, values) => {
                for id in self.found(*index, values) {
                    self.0.remove(&id);
                }
            }
        }
        Ok(Vec::new())
    }

    fn found(&self, index: usize, values: &[Value]) -> Vec<i64> {
        let wanted: Vec<String> = values.iter().map(numeric).collect();
        let of_row = |row: &Row| -> Vec<String> {
            INDEXES[index]
                .iter()
                .map(|column| numeric(&row[*column]))
                .collect()
        };
        self.0
            .iter()
            .filter(|(_, row)| of_row(row) == wanted)
            .map(|(id, _)| *id)
            .collect()
    }
}

/// A text that is equal for equal cells of an index, where 1.0 equals 1.
fn numeric(value: &Value) -> String {
    match value {
        Value::Decimal(number) => number
            .as_str()
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned(),
        other => format!("{other:?}"),
    }
}

fn id_of(row: &Row) -> i64 {
    match row[0] {
        Value::Integer(id) => id,
        _ => panic!("the first column is the key"),
    }
}

fn zero(id: i64) -> Row {
    vec![
        Value::Integer(id),
        Value::Null,
        Value::Integer(0),
        Value::Null,
        Value::Null,
        Value::Null,
        decimal("0"),
    ]
}

/// What the table keeps of a row: no negative zero, no NaN, and `rank`, which
/// an index has, in its shortest form.
fn canonical(mut row: Row) -> Result<Row, Refused> {
    if let Value::Float(score) = &mut row[4] {
        if score.is_nan() {
            return Err(Refused);
        }
        if *score == 0.0 {
            *score = 0.0;
        }
    }
    if let Value::Decimal(rank) = &mut row[6] {
        rank.shorten();
    }
    Ok(row)
}

fn changed(mut row: Row, changes: &[Change<'_>]) -> Result<Row, Refused> {
    for change in changes {
        let (Change::Set(name, value)
        | Change::Add(name, value)
        | Change::Min(name, value)
        | Change::Max(name, value)) = change;
        let column = COLUMNS
            .iter()
            .position(|(column, ..)| column == name)
            .unwrap();
        let cell = row[column].clone();
        row[column] = match (change, &cell, value) {
            (Change::Add(..), Value::Integer(a), Value::Integer(b)) => {
                Value::Integer(a.checked_add(*b).ok_or(Refused)?)
            }
            (Change::Add(..), Value::Float(a), Value::Float(b)) => Value::Float(a + b),
            (Change::Add(..), Value::Decimal(a), Value::Decimal(b)) => {
                Value::Decimal(a.checked_add(b).ok_or(Refused)?)
            }
            (Change::Min(..), old, new) if *old != Value::Null && old.order(new).is_le() => cell,
            (Change::Max(..), old, new) if *old != Value::Null && old.order(new).is_ge() => cell,
            _ => value.clone(),
        };
        row = canonical(row)?;
    }
    Ok(row)
}

fn decimal(text: &str) -> Value {
    Value::decimal(text).unwrap()
}

/// Makes a call on the buffer. Reads give their rows.
fn call(
    writes: &mut BatchWrites,
    committed: &mut Waiting,
    call: &Call,
) -> Result<Vec<Option<Row>>, WriteError<Infallible>> {
    let key = |id: &i64| vec![Value::Integer(*id)];
    let nothing = |()| Vec::new();
    match call.clone() {
        Call::Get(id) => writes.get(committed, 0, key(&id)).map(|row| vec![row]),
        Call::GetMany(ids) => writes.get_many(committed, 0, ids.iter().map(key).collect()),
        Call::Find(index, values, limit) => writes
            .find(committed, 0, &index_names(index), values, limit)
            .map(|rows| rows.into_iter().map(Some).collect()),
        Call::Put(row) => writes.put(committed, 0, row).map(nothing),
        Call::Patch(id, changes) => Ok(writes.patch(0, key(&id), changes).map(nothing)?),
        Call::Merge(id, changes) => Ok(writes.merge(0, key(&id), changes).map(nothing)?),
        Call::Remove(id) => writes.remove(committed, 0, key(&id)).map(nothing),
        Call::PatchWhere(index, values, changes) => writes
            .patch_where(committed, 0, &index_names(index), values, changes)
            .map(nothing),
        Call::RemoveWhere(index, values) => writes
            .remove_where(committed, 0, &index_names(index), values)
            .map(nothing),
    }
}

/// Runs a batch. `Ok(false)` says that it failed, as the naive model did.
fn run_batch(
    description: &Arc<Description>,
    committed: &mut Waiting,
    naive: &mut Naive,
    calls: &[Call],
    folds: bool,
) -> Result<bool, TestCaseError> {
    let mut writes = BatchWrites::new(Arc::clone(description), Floats::NotNan, WriteLimits::NONE);
    let mut refused = false;
    for made in calls {
        let expected = naive.call(made);
        refused |= expected == Err(Refused);
        match call(&mut writes, committed, made) {
            Ok(rows) if !refused => prop_assert_eq!(Ok(rows), expected, "{:?}", made),
            // A refused change may wait until its row is read.
            Ok(_) => {}
            Err(error) => {
                prop_assert!(refused, "{:?} failed: {}", made, error);
                return Ok(false);
            }
        }
    }
    let done = if folds {
        writes.fold(committed)
    } else {
        writes.finish(committed).map(|written| {
            committed.flush();
            committed.committed.commit(written);
        })
    };
    match done {
        Ok(()) => {
            prop_assert!(!refused, "a sum that left its range was lost");
            Ok(true)
        }
        Err(error) => {
            prop_assert!(refused, "finish failed: {}", error);
            Ok(false)
        }
    }
}

fn value(column: usize) -> BoxedStrategy<Value> {
    match column {
        1 => prop_oneof![Just("a"), Just("b"), Just("")]
            .prop_map(|text| Value::Text(text.to_owned()))
            .boxed(),
        2 => prop_oneof![
            4 => -3_i64..4,
            1 => Just(i64::MAX),
            1 => Just(i64::MIN),
        ]
        .prop_map(Value::Integer)
        .boxed(),
        3 | 6 => prop_oneof![
            Just("0.1"),
            Just("1.50"),
            Just("-1.5"),
            Just("1.0"),
            Just("1")
        ]
        .prop_map(decimal)
        .boxed(),
        4 => prop_oneof![
            Just(0.1),
            Just(0.2),
            Just(1e16),
            Just(-1e16),
            Just(-0.0),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
        ]
        .prop_map(Value::Float)
        .boxed(),
        _ => (-2_i64..3).prop_map(Value::Timestamp).boxed(),
    }
}

fn cell(column: usize) -> BoxedStrategy<Value> {
    if COLUMNS[column].2 {
        prop_oneof![1 => Just(Value::Null), 3 => value(column)].boxed()
    } else {
        value(column)
    }
}

fn id() -> impl Strategy<Value = i64> {
    0_i64..5
}

fn row() -> impl Strategy<Value = Row> {
    let cells: Vec<_> = (1..COLUMNS.len()).map(cell).collect();
    (id(), cells).prop_map(|(id, cells)| {
        let mut row = vec![Value::Integer(id)];
        row.extend(cells);
        row
    })
}

fn change() -> impl Strategy<Value = Change<'static>> {
    (1..COLUMNS.len()).prop_flat_map(|column| {
        let name = COLUMNS[column].0;
        let sums = matches!(column, 2 | 3 | 4 | 6);
        (cell(column), value(column), 0..4_u8).prop_map(move |(cell, value, verb)| match verb {
            1 if sums => Change::Add(name, value),
            2 => Change::Min(name, value),
            3 => Change::Max(name, value),
            _ => Change::Set(name, cell),
        })
    })
}

fn changes() -> impl Strategy<Value = Vec<Change<'static>>> {
    prop::collection::vec(change(), 0..4)
}

fn indexed() -> impl Strategy<Value = (usize, Vec<Value>)> {
    (0..INDEXES.len()).prop_flat_map(|index| {
        let cells: Vec<_> = INDEXES[index].iter().map(|column| cell(*column)).collect();
        (Just(index), cells)
    })
}

fn any_call() -> impl Strategy<Value = Call> {
    prop_oneof![
        2 => id().prop_map(Call::Get),
        1 => prop::collection::vec(id(), 0..4).prop_map(Call::GetMany),
        2 => (indexed(), 0..6_usize).prop_map(|((index, values), limit)| Call::Find(index, values, limit)),
        4 => row().prop_map(Call::Put),
        5 => (id(), changes()).prop_map(|(id, changes)| Call::Patch(id, changes)),
        5 => (id(), changes()).prop_map(|(id, changes)| Call::Merge(id, changes)),
        2 => id().prop_map(Call::Remove),
        2 => (indexed(), changes()).prop_map(|((index, values), changes)| Call::PatchWhere(index, values, changes)),
        1 => indexed().prop_map(|(index, values)| Call::RemoveWhere(index, values)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_and_failures_do_not_depend_on_the_cut(
        batches in prop::collection::vec(
            (prop::collection::vec(any_call(), 1..25), any::<bool>()),
            1..8,
        ),
    ) {
        let description = description();
        let mut committed = Waiting::new(&description);
        let mut naive = Naive::default();
        for (calls, folds) in &batches {
            let before = committed.rows();
            if !run_batch(&description, &mut committed, &mut naive, calls, *folds)? {
                prop_assert_eq!(committed.rows(), before, "a batch that failed left something");
                return Ok(());
            }
            prop_assert_eq!(committed.rows(), naive.0.values().cloned().collect::<Vec<_>>());
        }
    }
}

#[test]
fn a_batch_writes_each_row_once_in_key_order() {
    let description = description();
    let mut committed = MemoryTables::new(Arc::clone(&description));
    let mut writes = BatchWrites::new(Arc::clone(&description), Floats::All, WriteLimits::NONE);
    for id in [3, 1, 2, 1, 3] {
        let add = Change::Add("count", Value::Integer(1));
        writes
            .merge(0, vec![Value::Integer(id)], vec![add])
            .unwrap();
    }
    writes
        .remove(&mut committed, 0, vec![Value::Integer(2)])
        .unwrap();
    let written = writes.finish(&mut committed).unwrap();
    let counts: Vec<_> = written[0]
        .upserts
        .iter()
        .map(|row| (&row[0], &row[2]))
        .collect();
    assert_eq!(
        counts,
        [
            (&Value::Integer(1), &Value::Integer(2)),
            (&Value::Integer(3), &Value::Integer(2)),
        ]
    );
    assert_eq!(written[0].deletes.len(), 1);
}

#[test]
fn a_batch_that_writes_too_much_is_refused() {
    let limits = WriteLimits {
        writes: 2,
        ..WriteLimits::NONE
    };
    let mut writes = BatchWrites::new(description(), Floats::All, limits);
    let mut patch = || writes.patch(0, vec![Value::Integer(1)], Vec::new());
    assert_eq!((patch(), patch()), (Ok(()), Ok(())));
    assert_eq!(patch(), Err(Violation::TooManyWrites { limit: 2 }));
}

/// A committed row with a label of 1,000 bytes, and a batch that may hold and
/// read `limit` bytes.
fn with_a_large_row(limit: u64) -> (MemoryTables, BatchWrites) {
    let description = description();
    let mut committed = MemoryTables::new(Arc::clone(&description));
    let mut large = zero(1);
    large[1] = Value::Text("x".repeat(1_000));
    let mut writes = BatchWrites::new(Arc::clone(&description), Floats::All, WriteLimits::NONE);
    writes.put(&mut committed, 0, large).unwrap();
    let written = writes.finish(&mut committed).unwrap();
    committed.commit(written);
    let limits = WriteLimits {
        bytes: limit,
        reply_bytes: limit,
        ..WriteLimits::NONE
    };
    (
        committed,
        BatchWrites::new(description, Floats::All, limits),
    )
}

#[test]
fn committed_rows_that_a_batch_changes_count_as_held() {
    let add = || vec![Change::Add("count", Value::Integer(1))];
    let too_much = Err(WriteError::Violation(Violation::TooManyBytes {
        limit: 900,
    }));
    let (mut committed, mut writes) = with_a_large_row(900);
    writes.merge(0, vec![Value::Integer(1)], add()).unwrap();
    assert_eq!(writes.finish(&mut committed).map(|_| ()), too_much);
    let (mut committed, mut writes) = with_a_large_row(900);
    let label = vec![Value::Text("x".repeat(1_000))];
    let changed = writes.patch_where(&mut committed, 0, &index_names(0), label, add());
    assert_eq!(changed, too_much);
}

#[test]
fn a_reply_that_is_too_large_is_refused_however_often_it_repeats_a_row() {
    let large = Err(WriteError::Violation(Violation::LargeReply {
        limit: 5_000,
    }));
    let (mut committed, mut writes) = with_a_large_row(5_000);
    let keys = |count| vec![vec![Value::Integer(1)]; count];
    let mut rows = |count| {
        let rows = writes.get_many(&mut committed, 0, keys(count));
        rows.map(|rows| rows.len())
    };
    assert_eq!(rows(4), Ok(4));
    assert_eq!(rows(100), large);
}
