//! What is different between two sets of rows.

use gnomon_model::{Description, Key, Row, Table};

use super::{End, Outcome};
use crate::fixture::{TableRows, Tables, cell_json};

/// A row that is not the same on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowDifference {
    /// Its table.
    pub table: String,
    /// The columns of its key, with their values as JSON.
    pub key: Vec<(String, String)>,
    /// What is different.
    pub change: Change,
}

/// How a row is different; values are JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// There is such a row only on the left: its columns beside the key.
    OnlyLeft(Vec<(String, String)>),
    /// Only on the right.
    OnlyRight(Vec<(String, String)>),
    /// Columns with other values, left and right.
    Columns(Vec<(String, String, String)>),
}

/// Two runs that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// The first row that differs.
    Row(RowDifference),
    /// The rows are the same, but they ended differently.
    End(End, End),
}

/// The first thing that is different, if anything is. The messages of
/// rejections may differ: they may well tell of the batch.
pub(super) fn between(
    left: &Outcome,
    right: &Outcome,
    description: &Description,
) -> Option<Difference> {
    let end = |end: &End| match end {
        End::Applied => None,
        End::Rejected { position, .. } => Some(Some(*position)),
        End::Failed { .. } => Some(None),
    };
    if end(&left.end) != end(&right.end) {
        return Some(Difference::End(left.end.clone(), right.end.clone()));
    }
    rows(&left.rows, &right.rows, description)
        .next()
        .map(Difference::Row)
}

/// The rows that differ, by table and key.
pub(super) fn rows<'a>(
    left: &'a Tables,
    right: &'a Tables,
    description: &'a Description,
) -> impl Iterator<Item = RowDifference> + 'a {
    let sides = left.iter().zip(right);
    description
        .tables
        .iter()
        .zip(sides)
        .flat_map(|(table, (left, right))| of_table(table, left, right))
}

fn of_table<'a>(
    table: &'a Table,
    left: &'a TableRows,
    right: &'a TableRows,
) -> impl Iterator<Item = RowDifference> + 'a {
    let only_right = right.keys().filter(|key| !left.contains_key(*key));
    let mut keys: Vec<&Key> = left.keys().chain(only_right).collect();
    keys.sort_unstable();
    keys.into_iter().filter_map(|key| {
        let change = match (left.get(key), right.get(key)) {
            (Some(left), Some(right)) if left == right => return None,
            (Some(left), Some(right)) => Change::Columns(changed(table, left, right)),
            (Some(left), None) => Change::OnlyLeft(beside_key(table, left)),
            (None, Some(right)) => Change::OnlyRight(beside_key(table, right)),
            (None, None) => return None,
        };
        let columns = table.primary_key.iter().zip(key.values());
        Some(RowDifference {
            table: table.name.clone(),
            key: columns
                .map(|(column, value)| (name(table, *column), cell_json(value)))
                .collect(),
            change,
        })
    })
}

fn name(table: &Table, column: usize) -> String {
    let column = table.columns.get(column);
    column.map_or_else(String::new, |column| column.name.clone())
}

fn changed(table: &Table, left: &Row, right: &Row) -> Vec<(String, String, String)> {
    (0..)
        .zip(left.iter().zip(right))
        .filter(|(_, (left, right))| left != right)
        .map(|(column, (left, right))| (name(table, column), cell_json(left), cell_json(right)))
        .collect()
}

fn beside_key(table: &Table, row: &Row) -> Vec<(String, String)> {
    (0..)
        .zip(row)
        .filter(|(column, _)| !table.primary_key.contains(column))
        .map(|(column, value)| (name(table, column), cell_json(value)))
        .collect()
}
