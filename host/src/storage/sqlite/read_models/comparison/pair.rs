//! One table of both generations, compared by SQL.

use std::fmt::Write as _;

use gnomon_model::{Column, ColumnType, Key, PAGE_BYTES, Row, Table, row_size};
use rusqlite::{Connection, OptionalExtension, params_from_iter};

use super::{key_columns, number};
use crate::json_text::JsonRow;
use crate::read_models::{ColumnDifference, Difference, RowDifference, TableComparison};
use crate::read_models::{identifier::column_names, identifier::quoted};
use crate::storage::sqlite::read_models::writer::read_row;
use crate::storage::{sqlite::cell::Cell, sqlite::cell::read, sqlite::cell::shown};

/// A table of both sides, with the same key.
pub(super) struct Pair<'a> {
    /// Its quoted name on the first side.
    pub(super) left: String,
    pub(super) right: String,
    pub(super) here: &'a Table,
    pub(super) there: &'a Table,
    /// The columns beside the key that both have.
    pub(super) common: Vec<&'a Column>,
}

impl Pair<'_> {
    fn key(&self) -> Vec<String> {
        column_names(self.here, &self.here.primary_key)
    }

    /// `l` joined with the row of `r` that has its key.
    fn joined(&self) -> String {
        format!(
            "{} l LEFT JOIN {} r ON {}",
            self.left,
            self.right,
            self.same_key()
        )
    }

    fn same_key(&self) -> String {
        let columns = self.key().into_iter();
        let equal: Vec<String> = columns
            .map(|column| format!("l.{column} = r.{column}"))
            .collect();
        equal.join(" AND ")
    }

    /// Whether `r` has no such row; no key is null.
    fn is_missing(&self) -> String {
        format!(
            "r.{} IS NULL",
            self.key().first().map_or("rowid", String::as_str)
        )
    }

    /// Whether any common column differs.
    fn differs(&self) -> String {
        let side = |side: &str| -> String {
            let columns: Vec<String> = self
                .common
                .iter()
                .map(|column| format!("{side}.{}", quoted(&column.name)))
                .collect();
            columns.join(", ")
        };
        match self.common.as_slice() {
            [] => "0".to_owned(),
            [_] => format!("{} IS NOT {}", side("l"), side("r")),
            // As row values: an OR of 500 columns is nested too deeply.
            _ => format!("({}) IS NOT ({})", side("l"), side("r")),
        }
    }

    pub(super) fn count_differences(
        &self,
        connection: &Connection,
        found: &mut TableComparison,
    ) -> rusqlite::Result<()> {
        let mut statement = format!(
            "SELECT count(*) FILTER (WHERE {missing}), \
             count(*) FILTER (WHERE NOT ({missing}) AND {differs})",
            missing = self.is_missing(),
            differs = self.differs(),
        );
        for column in &self.common {
            let column = quoted(&column.name);
            // Writing to a string cannot fail.
            let _ = write!(
                statement,
                ", count(*) FILTER (WHERE NOT ({}) AND l.{column} IS NOT r.{column})",
                self.is_missing(),
            );
        }
        let _ = write!(statement, " FROM {}", self.joined());
        connection.query_row(&statement, [], |row| {
            found.only_left = number(row.get(0)?);
            found.different = number(row.get(1)?);
            for (place, column) in self.common.iter().enumerate() {
                let rows = number(row.get(place + 2)?);
                if rows > 0 {
                    found.different_columns.push(ColumnDifference {
                        column: column.name.clone(),
                        rows,
                    });
                }
            }
            Ok(())
        })?;
        let in_both = found.left_rows.saturating_sub(found.only_left);
        found.only_right = found.right_rows.saturating_sub(in_both);
        Ok(())
    }

    /// The first differing rows of either side, in the order of the keys.
    pub(super) fn samples(
        &self,
        connection: &Connection,
        limit: usize,
    ) -> rusqlite::Result<Vec<RowDifference>> {
        let statement = format!(
            "SELECT * FROM (
                 SELECT CASE WHEN {missing} THEN 'left' ELSE 'both' END, {left_key} FROM {joined}
                 WHERE {missing} OR {differs}
                 UNION ALL
                 SELECT 'right', {right_key} FROM {right} r
                 WHERE NOT EXISTS (SELECT 1 FROM {left} l WHERE {same_key}))
             ORDER BY {order} LIMIT {limit}",
            missing = self.is_missing(),
            differs = self.differs(),
            left_key = self.numbered_key("l"),
            right_key = self.numbered_key("r"),
            joined = self.joined(),
            right = self.right,
            left = self.left,
            same_key = self.same_key(),
            order = self.order(),
        );
        let mut statement = connection.prepare(&statement)?;
        let mut found = statement.query([])?;
        let (mut samples, mut bytes) = (Vec::new(), 0);
        while let Some(row) = found.next()? {
            let difference = match row.get_ref(0)?.as_str()? {
                "left" => Difference::OnlyLeft,
                "right" => Difference::OnlyRight,
                _ => Difference::Different,
            };
            let key = key_columns(self.here)
                .enumerate()
                .map(|(place, column)| Ok(read(column.column_type, row.get_ref(place + 1)?)?))
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let (sample, size) = self.sample(connection, difference, &Key::new(key))?;
            samples.push(sample);
            bytes += size;
            // The rest is counted only.
            if bytes >= PAGE_BYTES {
                break;
            }
        }
        Ok(samples)
    }

    /// The key as columns k0, k1 and so on.
    fn numbered_key(&self, side: &str) -> String {
        let numbered = self.key().into_iter().enumerate();
        let columns: Vec<String> = numbered
            .map(|(place, column)| format!("{side}.{column} AS k{place}"))
            .collect();
        columns.join(", ")
    }

    fn order(&self) -> String {
        let terms: Vec<String> = key_columns(self.here)
            .enumerate()
            .map(|(place, column)| match column.column_type {
                // Stored as text; numbers that are equal as floats are few.
                ColumnType::Decimal => format!("CAST(k{place} AS REAL), k{place}"),
                _ => format!("k{place}"),
            })
            .collect();
        terms.join(", ")
    }

    fn sample(
        &self,
        connection: &Connection,
        difference: Difference,
        key: &Key,
    ) -> rusqlite::Result<(RowDifference, usize)> {
        let left = self.row(connection, &self.left, self.here, key)?;
        let right = self.row(connection, &self.right, self.there, key)?;
        let size = [&left, &right]
            .into_iter()
            .flatten()
            .map(|row| row_size(row))
            .sum();
        let (left, right) = match (left, right) {
            (Some(left), Some(right)) => {
                let (left, right) = self.differing(&left, &right);
                (Some(left), Some(right))
            }
            (left, right) => (
                left.map(|row| whole(self.here, &row)),
                right.map(|row| whole(self.there, &row)),
            ),
        };
        let names = key_columns(self.here).map(|column| column.name.clone());
        let sample = RowDifference {
            difference,
            key: names.zip(key.values().iter().map(shown)).collect(),
            left,
            right,
        };
        Ok((sample, size))
    }

    fn row(
        &self,
        connection: &Connection,
        name: &str,
        table: &Table,
        key: &Key,
    ) -> rusqlite::Result<Option<Row>> {
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let is_key: Vec<String> = self.key().iter().map(|key| format!("{key} = ?")).collect();
        let statement = format!(
            "SELECT {} FROM {name} WHERE {}",
            column_names(table, &all).join(", "),
            is_key.join(" AND ")
        );
        let key = params_from_iter(key.values().iter().map(Cell));
        connection
            .prepare_cached(&statement)?
            .query_row(key, |row| read_row(&table.columns, row))
            .optional()
    }

    /// The values of both sides in the columns in which they differ.
    fn differing(&self, left: &Row, right: &Row) -> (JsonRow, JsonRow) {
        let value = |table: &Table, row: &Row, name: &str| {
            let place = table.columns.iter().position(|column| column.name == name);
            place.and_then(|place| row.get(place)).cloned()
        };
        self.common
            .iter()
            .filter_map(|column| {
                let left = value(self.here, left, &column.name)?;
                let right = value(self.there, right, &column.name)?;
                (left != right).then(|| {
                    let name = &column.name;
                    ((name.clone(), shown(&left)), (name.clone(), shown(&right)))
                })
            })
            .unzip()
    }
}

fn whole(table: &Table, row: &Row) -> JsonRow {
    let names = table.columns.iter().map(|column| column.name.clone());
    names.zip(row.iter().map(shown)).collect()
}
