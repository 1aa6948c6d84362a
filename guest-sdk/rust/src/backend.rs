//! The seam below [`Tables`](crate::Tables): the host's imports on wasm, the
//! test bench's memory elsewhere.

use crate::error::Result;
use crate::value::{RawChange, Value};

/// One row as it crosses the boundary.
pub(crate) type RawRow = Vec<Value>;

/// The operations of the contract's `read-model`, by the names of tables and
/// columns.
pub(crate) trait Backend {
    fn get(&mut self, table: &'static str, key: Vec<Value>) -> Result<Option<RawRow>>;

    fn get_many(
        &mut self,
        table: &'static str,
        keys: Vec<Vec<Value>>,
    ) -> Result<Vec<Option<RawRow>>>;

    fn find(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
        limit: u32,
    ) -> Result<Vec<RawRow>>;

    fn put(&mut self, table: &'static str, row: RawRow);

    fn patch(&mut self, table: &'static str, key: Vec<Value>, changes: Vec<RawChange>);

    fn merge(&mut self, table: &'static str, key: Vec<Value>, changes: Vec<RawChange>);

    fn remove(&mut self, table: &'static str, key: Vec<Value>);

    fn patch_where(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
        changes: Vec<RawChange>,
    );

    fn remove_where(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
    );
}
