//! Guests as components: wasmtime lifts and lowers what crosses the boundary.

use wasmtime::component::Resource;

use super::bad_value::List;
use super::bindings::TableHandle;
use super::bindings::gnomon::projection::{log, read_model, types};
use super::call::Call;
use super::convert;

/// The table's number in the description.
fn number(table: &Resource<TableHandle>) -> usize {
    table.rep() as usize
}

impl types::Host for Call {}
impl read_model::Host for Call {}

impl read_model::HostTable for Call {
    fn new(&mut self, name: String) -> wasmtime::Result<Resource<TableHandle>> {
        let number = self.open_table(&name)?;
        Ok(Resource::new_own(u32::try_from(number)?))
    }

    fn get(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
    ) -> wasmtime::Result<Option<Vec<types::Value>>> {
        let key = self.take(number(&table), List::Key, convert::values(key))?;
        let row = self.with_work(|work| work.writes.get(&mut work.rows, number(&table), key))?;
        Ok(row.map(convert::row))
    }

    fn get_many(
        &mut self,
        table: Resource<TableHandle>,
        keys: Vec<Vec<types::Value>>,
    ) -> wasmtime::Result<Vec<Option<Vec<types::Value>>>> {
        let keys = self.take(
            number(&table),
            List::Key,
            keys.into_iter().map(convert::values).collect(),
        )?;
        let rows =
            self.with_work(|work| work.writes.get_many(&mut work.rows, number(&table), keys))?;
        Ok(rows.into_iter().map(|row| row.map(convert::row)).collect())
    }

    fn find(
        &mut self,
        table: Resource<TableHandle>,
        columns: Vec<String>,
        values: Vec<types::Value>,
        limit: u32,
    ) -> wasmtime::Result<Vec<Vec<types::Value>>> {
        let values = self.take(
            number(&table),
            List::Columns(&columns),
            convert::values(values),
        )?;
        let limit = usize::try_from(limit)?;
        let rows = self.with_work(|work| {
            work.writes
                .find(&mut work.rows, number(&table), &columns, values, limit)
        })?;
        Ok(rows.into_iter().map(convert::row).collect())
    }

    fn put(
        &mut self,
        table: Resource<TableHandle>,
        row: Vec<types::Value>,
    ) -> wasmtime::Result<()> {
        let row = self.take(number(&table), List::Row, convert::values(row))?;
        self.with_work(|work| work.writes.put(&mut work.rows, number(&table), row))
    }

    fn patch(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
        mut changes: Vec<read_model::Change>,
    ) -> wasmtime::Result<()> {
        let key = self.take(number(&table), List::Key, convert::values(key))?;
        let changes = self.take(number(&table), List::Row, convert::changes(&mut changes))?;
        self.with_work(|work| Ok(work.writes.patch(number(&table), key, changes)?))
    }

    fn merge(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
        mut changes: Vec<read_model::Change>,
    ) -> wasmtime::Result<()> {
        let key = self.take(number(&table), List::Key, convert::values(key))?;
        let changes = self.take(number(&table), List::Row, convert::changes(&mut changes))?;
        self.with_work(|work| Ok(work.writes.merge(number(&table), key, changes)?))
    }

    fn remove(
        &mut self,
        table: Resource<TableHandle>,
        key: Vec<types::Value>,
    ) -> wasmtime::Result<()> {
        let key = self.take(number(&table), List::Key, convert::values(key))?;
        self.with_work(|work| work.writes.remove(&mut work.rows, number(&table), key))
    }

    fn patch_where(
        &mut self,
        table: Resource<TableHandle>,
        columns: Vec<String>,
        values: Vec<types::Value>,
        mut changes: Vec<read_model::Change>,
    ) -> wasmtime::Result<()> {
        let values = self.take(
            number(&table),
            List::Columns(&columns),
            convert::values(values),
        )?;
        let changes = self.take(number(&table), List::Row, convert::changes(&mut changes))?;
        self.with_work(|work| {
            work.writes
                .patch_where(&mut work.rows, number(&table), &columns, values, changes)
        })
    }

    fn remove_where(
        &mut self,
        table: Resource<TableHandle>,
        columns: Vec<String>,
        values: Vec<types::Value>,
    ) -> wasmtime::Result<()> {
        let values = self.take(
            number(&table),
            List::Columns(&columns),
            convert::values(values),
        )?;
        self.with_work(|work| {
            work.writes
                .remove_where(&mut work.rows, number(&table), &columns, values)
        })
    }

    fn drop(&mut self, _table: Resource<TableHandle>) -> wasmtime::Result<()> {
        self.close_table();
        Ok(())
    }
}

impl log::Host for Call {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.log(level, &message);
        Ok(())
    }
}
