//! The statements that compare two tables with one key.

use gnomon_model::{Column, ColumnType, Table};

use crate::read_models::identifier::quoted;

/// Two tables whose keys have the same columns.
pub(super) struct Pair {
    join: String,
    /// A column that is null where the row is missing.
    anchor: String,
    keys: Vec<Column>,
    /// The columns beside the key that both have.
    pub(super) values: Vec<Column>,
    left_columns: Vec<Column>,
    right_columns: Vec<Column>,
}

impl Pair {
    /// Each side is a qualified name and what was declared.
    pub(super) fn new(left: (&str, &Table), right: (&str, &Table)) -> Self {
        let ((left_name, left), (right_name, right)) = (left, right);
        let columns = left.primary_key.iter();
        let keys: Vec<Column> = columns
            .filter_map(|column| left.columns.get(*column))
            .cloned()
            .collect();
        let values = left.columns.iter().enumerate();
        let values = values
            .filter(|(number, column)| {
                !left.primary_key.contains(number) && has_column(right, column)
            })
            .map(|(_, column)| column.clone())
            .collect();
        let same: Vec<String> = keys
            .iter()
            .map(|key| format!("l.{0} = r.{0}", quoted(&key.name)))
            .collect();
        Self {
            join: format!(
                "FROM {left_name} l FULL JOIN {right_name} r ON {}",
                same.join(" AND ")
            ),
            anchor: keys
                .first()
                .map(|key| quoted(&key.name))
                .unwrap_or_default(),
            keys,
            values,
            left_columns: left.columns.clone(),
            right_columns: right.columns.clone(),
        }
    }

    /// All counts in one pass.
    pub(super) fn counts(&self) -> String {
        let anchor = &self.anchor;
        let both = format!("l.{anchor} IS NOT NULL AND r.{anchor} IS NOT NULL");
        let columns: Vec<String> = self
            .differences()
            .iter()
            .map(|differs| format!("count(*) FILTER (WHERE {both} AND {differs})"))
            .collect();
        format!(
            "SELECT count(l.{anchor}) AS left_rows, count(r.{anchor}) AS right_rows,
                    count(*) FILTER (WHERE r.{anchor} IS NULL) AS only_left,
                    count(*) FILTER (WHERE l.{anchor} IS NULL) AS only_right,
                    count(*) FILTER (WHERE {both} AND ({})) AS different,
                    ARRAY[{}]::bigint[] AS different_columns
             {}",
            self.any_difference(),
            columns.join(", "),
            self.join,
        )
    }

    /// The first differing rows by key; `$1` is how many.
    pub(super) fn samples(&self) -> String {
        let anchor = &self.anchor;
        let key = |column: &Column| format!("coalesce(l.{0}, r.{0})", quoted(&column.name));
        let keys: Vec<String> = self.keys.iter().map(key).collect();
        format!(
            "SELECT {} AS key,
                    CASE WHEN l.{anchor} IS NOT NULL THEN {} END AS left_row,
                    CASE WHEN r.{anchor} IS NOT NULL THEN {} END AS right_row,
                    ARRAY[{}]::boolean[] AS differs
             {} WHERE l.{anchor} IS NULL OR r.{anchor} IS NULL OR {}
             ORDER BY {} LIMIT $1",
            json(&self.keys, key),
            json(&self.left_columns, |column| format!(
                "l.{}",
                quoted(&column.name)
            )),
            json(&self.right_columns, |column| format!(
                "r.{}",
                quoted(&column.name)
            )),
            self.differences().join(", "),
            self.join,
            self.any_difference(),
            keys.join(", "),
        )
    }

    fn differences(&self) -> Vec<String> {
        self.values
            .iter()
            .map(|column| format!("l.{0} IS DISTINCT FROM r.{0}", quoted(&column.name)))
            .collect()
    }

    fn any_difference(&self) -> String {
        match self.differences().as_slice() {
            [] => "false".to_owned(),
            differences => differences.join(" OR "),
        }
    }
}

/// Columns as the text of a JSON object. A decimal is a string there, as its
/// digits would not survive as a number.
fn json(columns: &[Column], cell: impl Fn(&Column) -> String) -> String {
    let cells: Vec<String> = columns
        .iter()
        .map(|column| {
            let cast = match column.column_type {
                ColumnType::Decimal => "::text",
                _ => "",
            };
            format!("{}{cast} AS {}", cell(column), quoted(&column.name))
        })
        .collect();
    format!(
        "(SELECT to_json(cells)::text FROM (SELECT {}) cells)",
        cells.join(", ")
    )
}

/// Whether a table has the same column, with the same type.
pub(super) fn has_column(table: &Table, column: &Column) -> bool {
    let mut columns = table.columns.iter();
    columns.any(|other| (&other.name, other.column_type) == (&column.name, column.column_type))
}
