//! Tables as a projection declares them, and the check of a row against them.

use serde::{Deserialize, Serialize};

use crate::value::{ColumnType, Floats, InvalidValue, Key, Value};

/// What a key, or the values of an index together with the key, may hold. A
/// leaf of an index of PostgreSQL holds 2,704 bytes, with headers. No row has a
/// longer one, so the database is not asked for it.
pub(crate) const ENTRY_BYTES_MAX: usize = 2_500;

/// One row: its values in the order of the table's columns.
pub type Row = Vec<Value>;

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// `[a-z][a-z0-9_]*`, at most 63 bytes.
    pub name: String,
    /// What it holds.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Whether it may be null.
    pub nullable: bool,
}

/// One secondary index: the places of its columns in the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Index {
    /// Column numbers, in the order in which the index was declared.
    pub columns: Vec<usize>,
}

/// A table whose declaration was checked: names are valid and unique, and the
/// key and the indexes refer to columns by number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// `[a-z][a-z0-9_]*`, at most 63 bytes.
    pub name: String,
    /// In this order wherever a row is passed.
    pub columns: Vec<Column>,
    /// Column numbers of the primary key; at least one, none nullable.
    pub primary_key: Vec<usize>,
    /// Secondary indexes.
    pub indexes: Vec<Index>,
}

/// A guest broke the schema that it declared. The message completes
/// "the projection broke its schema: …".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The projection declared no such table.
    #[error("it declares no table `{0}`")]
    UnknownTable(String),
    /// The table has no such column.
    #[error("table `{table}` has no column `{column}`")]
    UnknownColumn {
        /// The table.
        table: String,
        /// The name that was used.
        column: String,
    },
    /// A row or key of another length.
    #[error("table `{table}`: {what} has {expected} values, {found} were given")]
    Arity {
        /// The table.
        table: String,
        /// "a row", "the primary key" or "the index on (…)".
        what: String,
        /// How many values it takes.
        expected: usize,
        /// How many were given.
        found: usize,
    },
    /// A value that its column cannot hold.
    #[error("table `{table}`, column `{column}` of type {column_type}: {reason}")]
    Value {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// What the column holds.
        column_type: ColumnType,
        /// What is wrong with the value.
        reason: InvalidValue,
    },
    /// `find`, `patch-where` or `remove-where` without a declared index.
    #[error("table `{table}` declares no index on ({columns})")]
    MissingIndex {
        /// The table.
        table: String,
        /// The columns that were asked for, in their order.
        columns: String,
    },
    /// A change to a column of the primary key.
    #[error("table `{table}`, column `{column}`: a change cannot touch the primary key")]
    ChangedKey {
        /// The table.
        table: String,
        /// The key's column.
        column: String,
    },
    /// A key, or the values of an index together with the key, beyond what an
    /// index of PostgreSQL can hold.
    #[error("table `{table}`: {what} may hold {ENTRY_BYTES_MAX} bytes, {found} were given")]
    EntryTooLong {
        /// The table.
        table: String,
        /// "the primary key" or "the index on (…) with the key".
        what: String,
        /// How many bytes were given.
        found: usize,
    },
    /// More calls that write than a batch may make.
    #[error("a batch may make {limit} writes, this one made more (limits.batch-writes)")]
    TooManyWrites {
        /// The configured limit.
        limit: u64,
    },
    /// A read that gives more than the guest could hold.
    #[error("it asked for more than {limit} bytes of rows at once (limits.memory)")]
    LargeReply {
        /// The limit, in bytes.
        limit: u64,
    },
    /// More bytes written than a batch may write.
    #[error("a batch may write {limit} bytes, this one wrote more (limits.batch-write-bytes)")]
    TooManyBytes {
        /// The configured limit, in bytes.
        limit: u64,
    },
}

impl Table {
    /// The number of the column with this name.
    ///
    /// # Errors
    /// [`Violation::UnknownColumn`] if there is none.
    pub fn column(&self, name: &str) -> Result<usize, Violation> {
        self.columns
            .iter()
            .position(|column| column.name == name)
            .ok_or_else(|| Violation::UnknownColumn {
                table: self.name.clone(),
                column: shown(name),
            })
    }

    /// Checks one value for column number `column` and brings it to the form
    /// that both databases give back. JSON takes it from `room`, in bytes.
    ///
    /// # Errors
    /// [`Violation::Value`] if the column cannot hold it.
    pub fn check_value(
        &self,
        column: usize,
        value: &mut Value,
        floats: Floats,
        room: &mut usize,
    ) -> Result<(), Violation> {
        let Some(declared) = self.columns.get(column) else {
            return Err(Violation::UnknownColumn {
                table: self.name.clone(),
                column: format!("number {column}"),
            });
        };
        let checked = match value {
            Value::Null if declared.nullable => Ok(()),
            Value::Null => Err(InvalidValue::Null),
            _ => value.check(declared.column_type, floats, room),
        };
        checked.map_err(|reason| Violation::Value {
            table: self.name.clone(),
            column: declared.name.clone(),
            column_type: declared.column_type,
            reason,
        })?;
        if let Value::Decimal(decimal) = value
            && self.identifies(column)
        {
            decimal.shorten();
        }
        Ok(())
    }

    /// Checks a whole row, in place. Its JSON may take `room` bytes.
    ///
    /// # Errors
    /// [`Violation::Arity`] or [`Violation::Value`].
    pub fn check_row(
        &self,
        row: &mut Row,
        floats: Floats,
        mut room: usize,
    ) -> Result<(), Violation> {
        self.check_arity("a row", self.columns.len(), row.len())?;
        for (column, value) in row.iter_mut().enumerate() {
            self.check_value(column, value, floats, &mut room)?;
        }
        self.check_entries(row)
    }

    /// Checks that the key and the entries of all indexes fit into an index of
    /// either database.
    pub(crate) fn check_entries(&self, row: &[Value]) -> Result<(), Violation> {
        let bytes = |columns: &[usize]| -> usize {
            columns
                .iter()
                .filter_map(|column| row.get(*column))
                .map(Value::content_bytes)
                .sum()
        };
        let too_long = |what: String, found| Violation::EntryTooLong {
            table: self.name.clone(),
            what,
            found,
        };
        let key = bytes(&self.primary_key);
        if key > ENTRY_BYTES_MAX {
            return Err(too_long("the primary key".to_owned(), key));
        }
        for index in &self.indexes {
            let found = key + bytes(&index.columns);
            if found > ENTRY_BYTES_MAX {
                let names: Vec<&str> = index
                    .columns
                    .iter()
                    .filter_map(|column| self.columns.get(*column))
                    .map(|column| column.name.as_str())
                    .collect();
                let what = format!("the index on ({}) with the key", names.join(", "));
                return Err(too_long(what, found));
            }
        }
        Ok(())
    }

    /// Checks the values of a primary key, given in the key's order.
    ///
    /// # Errors
    /// [`Violation::Arity`] or [`Violation::Value`].
    pub fn checked_key(&self, values: Vec<Value>, floats: Floats) -> Result<Key, Violation> {
        self.check_arity("the primary key", self.primary_key.len(), values.len())?;
        self.checked_columns(&self.primary_key, values, floats)
            .map(Key::new)
    }

    /// Checks the values of a declared index and returns its number with them.
    ///
    /// # Errors
    /// [`Violation::UnknownColumn`], [`Violation::MissingIndex`],
    /// [`Violation::Arity`] or [`Violation::Value`].
    pub fn checked_index(
        &self,
        columns: &[String],
        values: Vec<Value>,
        floats: Floats,
    ) -> Result<(usize, Vec<Value>), Violation> {
        let numbers = columns
            .iter()
            .map(|name| self.column(name))
            .collect::<Result<Vec<_>, _>>()?;
        let Some((number, index)) = self
            .indexes
            .iter()
            .enumerate()
            .find(|(_, index)| index.columns == numbers)
        else {
            return Err(Violation::MissingIndex {
                table: self.name.clone(),
                columns: listed(columns),
            });
        };
        let what = format!("the index on ({})", listed(columns));
        self.check_arity(&what, index.columns.len(), values.len())?;
        Ok((
            number,
            self.checked_columns(&index.columns, values, floats)?,
        ))
    }

    /// Checks that a row may have this key.
    ///
    /// # Errors
    /// [`Violation::EntryTooLong`].
    pub(crate) fn check_key_length(&self, key: &Key) -> Result<(), Violation> {
        match key.content_bytes() {
            ..=ENTRY_BYTES_MAX => Ok(()),
            found => Err(Violation::EntryTooLong {
                table: self.name.clone(),
                what: "the primary key".to_owned(),
                found,
            }),
        }
    }

    /// The primary key of a row that was checked.
    #[must_use]
    pub fn key_of(&self, row: &[Value]) -> Key {
        Key::new(self.pick(&self.primary_key, row))
    }

    /// The values of these columns of a row that was checked.
    #[must_use]
    pub fn pick(&self, columns: &[usize], row: &[Value]) -> Vec<Value> {
        columns
            .iter()
            .filter_map(|column| row.get(*column).cloned())
            .collect()
    }

    /// Whether a column is part of the primary key or of an index. Two
    /// decimals that differ only in trailing zeros are equal there, so such
    /// columns hold the shortest form.
    #[must_use]
    pub fn identifies(&self, column: usize) -> bool {
        self.primary_key.contains(&column)
            || self
                .indexes
                .iter()
                .any(|index| index.columns.contains(&column))
    }

    fn checked_columns(
        &self,
        columns: &[usize],
        mut values: Vec<Value>,
        floats: Floats,
    ) -> Result<Vec<Value>, Violation> {
        // No JSON is in a key or an index.
        let mut room = 0;
        for (column, value) in columns.iter().zip(&mut values) {
            self.check_value(*column, value, floats, &mut room)?;
        }
        Ok(values)
    }

    fn check_arity(&self, what: &str, expected: usize, found: usize) -> Result<(), Violation> {
        if expected == found {
            return Ok(());
        }
        Err(Violation::Arity {
            table: self.name.clone(),
            what: what.to_owned(),
            expected,
            found,
        })
    }
}

/// How many columns of an index a message names.
const COLUMNS_SHOWN: usize = 32;

/// The beginning of a name that a guest gave.
pub(crate) fn shown(name: &str) -> String {
    const CHARACTERS_SHOWN: usize = 80;
    name.chars().take(CHARACTERS_SHOWN).collect()
}

fn listed(columns: &[String]) -> String {
    let names = columns.iter().take(COLUMNS_SHOWN);
    names.map(|name| shown(name)).collect::<Vec<_>>().join(", ")
}
