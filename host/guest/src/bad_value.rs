//! Values that no column can hold, by the columns that they were passed for.

use gnomon_model::{ColumnType, InvalidValue, Table};

use super::convert;

/// The longest name of a column that a message shows.
const NAME_CHARACTERS_MAX: usize = 80;

/// A value that is none of its own type, in a list of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadValue {
    column: Column,
    reason: InvalidValue,
}

/// Which column it was passed for.
#[derive(Debug, PartialEq, Eq)]
enum Column {
    /// By its place in the list.
    Place(usize),
    /// By the name that the guest gave.
    Name(String),
}

/// What a list of values is.
#[derive(Clone, Copy)]
pub(super) enum List<'a> {
    /// A row, or changes, which name their columns.
    Row,
    /// A primary key.
    Key,
    /// Values of these columns.
    Columns(&'a [String]),
}

impl BadValue {
    /// A value at this place of a list.
    pub(super) const fn at(place: usize, reason: InvalidValue) -> Self {
        Self {
            column: Column::Place(place),
            reason,
        }
    }

    /// The value of a change to this column.
    pub(super) fn of(column: &str, reason: InvalidValue) -> Self {
        let name = convert::one_line(column, NAME_CHARACTERS_MAX);
        Self {
            column: Column::Name(name),
            reason,
        }
    }

    /// Table, column, declared type, value, and what is wrong with it.
    pub(super) fn message(&self, table: &Table, list: List<'_>) -> String {
        let by_number = |number: usize| {
            let column = table.columns.get(number)?;
            Some((column.name.clone(), Some(column.column_type)))
        };
        let by_name = |name: &str| {
            let known = table.column(name).ok().and_then(by_number);
            known.unwrap_or_else(|| (convert::one_line(name, NAME_CHARACTERS_MAX), None))
        };
        let (name, column_type) = match (&self.column, list) {
            (Column::Name(name), _) => by_name(name),
            (Column::Place(place), list) => {
                let found = match list {
                    List::Row => by_number(*place),
                    List::Key => table.primary_key.get(*place).copied().and_then(by_number),
                    List::Columns(names) => names.get(*place).map(|name| by_name(name)),
                };
                found.unwrap_or_else(|| (format!("number {}", place + 1), None))
            }
        };
        let of_type = match column_type {
            Some(column_type) => format!(" of type {}", ColumnType::name(column_type)),
            None => String::new(),
        };
        let (table, reason) = (&table.name, &self.reason);
        format!("it passed a bad value: table `{table}`, column `{name}`{of_type}: {reason}")
    }
}
