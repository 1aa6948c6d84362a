//! What differs between two generations.

use gnomon_model::Position;
use serde::Serialize;

use crate::json_text::JsonRow;

/// The answer to [`super::ReadModels::compare`].
#[derive(Clone, Debug, PartialEq)]
pub enum Compared {
    /// They stand at different positions.
    Apart {
        /// Of the first.
        left: Position,
        /// Of the second.
        right: Position,
    },
    /// They stand at the same position.
    Together(Comparison),
}

/// Two generations, compared at one position.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Where both stood.
    pub position: Position,
    /// One entry for each table that either has, by name.
    pub tables: Vec<TableComparison>,
}

impl Comparison {
    /// Whether all rows are the same.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.tables.iter().all(TableComparison::is_equal)
    }
}

/// One table of two generations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TableComparison {
    /// The table.
    pub table: String,
    /// Where the declarations differ so that rows cannot be compared: the
    /// table is missing on one side, or has another key. A sentence fragment.
    pub incomparable: Option<String>,
    /// Columns that only the first has, or has with another type.
    pub only_left_columns: Vec<String>,
    /// Columns that only the second has, or has with another type.
    pub only_right_columns: Vec<String>,
    /// Rows of the first.
    pub left_rows: u64,
    /// Rows of the second.
    pub right_rows: u64,
    /// Rows whose key only the first has.
    pub only_left: u64,
    /// Rows whose key only the second has.
    pub only_right: u64,
    /// Rows that both have, with differing values in the common columns.
    pub different: u64,
    /// How many of those differ in which column; only columns that do.
    pub different_columns: Vec<ColumnDifference>,
    /// The first differing rows, by key.
    pub samples: Vec<RowDifference>,
}

impl TableComparison {
    /// Whether both have the same columns and rows.
    #[must_use]
    pub fn is_equal(&self) -> bool {
        self.incomparable.is_none()
            && self.only_left_columns.is_empty()
            && self.only_right_columns.is_empty()
            && self.only_left == 0
            && self.only_right == 0
            && self.different == 0
    }
}

/// How many rows differ in one column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ColumnDifference {
    /// The column.
    pub column: String,
    /// Rows that differ in it.
    pub rows: u64,
}

/// How the two sides of a row differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Difference {
    /// Only the first has it.
    OnlyLeft,
    /// Only the second has it.
    OnlyRight,
    /// Both have it, with other values.
    Different,
}

/// A row that differs. Values are JSON as the database shows them to people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RowDifference {
    /// How.
    pub difference: Difference,
    /// The primary key, by column.
    pub key: JsonRow,
    /// The first side's values of the differing columns, or the whole row;
    /// null where it has none.
    pub left: Option<JsonRow>,
    /// The second side's.
    pub right: Option<JsonRow>,
}
