//! A table of events in PostgreSQL.

use std::time::Duration;

mod care;
mod columns;
mod connection;
mod positions;
mod rows;

pub(crate) use care::{Attempts, Care, Caution, withheld};
pub(crate) use columns::{Columns, columns, is_there, require};
pub(crate) use connection::{connect, listener, pool, table_error};
pub(crate) use positions::{PositionColumn, position_column, refuse_unruly};
pub(crate) use rows::{Cells, Length, Scratch, event_columns, read_event, read_keys, time};

use super::{Relation, layout};

/// After this time without an append, readers may look less often than every
/// five milliseconds.
pub(crate) const QUIET: Duration = Duration::from_millis(200);

/// A string as a constant that no setting of the server reads differently.
pub(crate) fn literal(text: &str) -> String {
    match text.contains('\\') {
        true => format!("E{}", layout::literal(&text.replace('\\', "\\\\"))),
        false => layout::literal(text),
    }
}

/// The table as an object of the catalog; null where there is none.
pub(crate) fn regclass(table: &Relation) -> String {
    format!("to_regclass({})", literal(&table.sql()))
}
