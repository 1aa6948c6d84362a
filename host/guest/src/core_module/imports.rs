//! What a core module imports: the contract, as the canonical ABI passes it.

use gnomon_model::Value;
use wasmtime::{AsContextMut as _, Caller, Linker};

use super::super::bad_value::List;
use super::super::call::Call;
use super::lifting::{Lift, LiftError, Span};
use super::lowering::Lower;
use super::{cannot_leave, core_of_call};

const READ_MODEL: &str = "gnomon:projection/read-model@0.1.0";
const LOG: &str = "gnomon:projection/log@0.1.0";

/// A call of an import: what the guest passes, and what it works on.
struct Entered<'a> {
    lift: Lift<'a>,
    call: &'a mut Call,
}

impl<'a> Entered<'a> {
    fn new(caller: &'a mut Caller<'_, Call>) -> wasmtime::Result<Self> {
        let memory = core_of_call(caller.data())?.memory;
        let (memory, call) = memory.data_and_store_mut(caller);
        let lift = Lift::new(memory, call.transfer_limit());
        Ok(Self { lift, call })
    }

    /// The number of a table that is open.
    fn table(&self, handle: u32) -> wasmtime::Result<usize> {
        core_of_call(self.call)?.tables.number(handle)
    }

    fn lift<R>(
        &mut self,
        read: impl FnOnce(&mut Lift<'a>) -> Result<R, LiftError>,
    ) -> wasmtime::Result<R> {
        read(&mut self.lift).map_err(|error| error.end(self.call))
    }

    /// Reads what is meant for columns of a table.
    fn for_table<R>(
        &mut self,
        table: usize,
        list: List<'_>,
        read: impl FnOnce(&mut Lift<'a>) -> Result<R, LiftError>,
    ) -> wasmtime::Result<R> {
        read(&mut self.lift).map_err(|error| match error {
            LiftError::Value(value) => self.call.refuse(table, list, &value),
            error => error.end(self.call),
        })
    }

    fn values(&mut self, table: usize, list: List<'_>, span: Span) -> wasmtime::Result<Vec<Value>> {
        self.for_table(table, list, |lift| lift.values(span))
    }
}

const fn span(at: u32, len: u32) -> Span {
    Span { at, len }
}

/// Answers a call.
fn reply(
    caller: &mut Caller<'_, Call>,
    lower: impl FnOnce(&mut Lower<'_>) -> wasmtime::Result<()>,
) -> wasmtime::Result<()> {
    let mut reply = Lower::begin(caller.as_context_mut())?;
    lower(&mut reply)?;
    reply.end();
    Ok(())
}

/// Offers the contract to core modules.
pub(in super::super) fn add_to_linker(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    add_tables(linker)?;
    add_reads(linker)?;
    add_writes(linker)?;
    linker.func_wrap(
        LOG,
        "write",
        |mut caller: Caller<'_, Call>, level: u32, at: u32, len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let level = entered.lift(|_| Lift::level(level))?;
            let message = entered.lift(|lift| lift.text(span(at, len)))?;
            entered.call.log(level, message);
            Ok(())
        },
    )?;
    Ok(())
}

fn add_tables(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    linker.func_wrap(
        READ_MODEL,
        "[constructor]table",
        |mut caller: Caller<'_, Call>, at: u32, len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let name = entered.lift(|lift| lift.text(span(at, len)))?;
            let number = entered.call.open_table(name)?;
            let core = entered.call.core.as_mut().ok_or_else(cannot_leave)?;
            core.tables.open(number)
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[resource-drop]table",
        |mut caller: Caller<'_, Call>, table: u32| {
            let call = caller.data_mut();
            let core = call.core.as_mut().ok_or_else(cannot_leave)?;
            core.tables.close(table)?;
            call.close_table();
            Ok(())
        },
    )?;
    Ok(())
}

fn add_reads(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    linker.func_wrap(
        READ_MODEL,
        "[method]table.get",
        |mut caller: Caller<'_, Call>, table: u32, key: u32, key_len: u32, at: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let key = entered.values(table, List::Key, span(key, key_len))?;
            let row = entered
                .call
                .with_work(|work| work.writes.get(&mut work.rows, table, key))?;
            reply(&mut caller, |lower| lower.row_to(at, row))
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[method]table.get-many",
        |mut caller: Caller<'_, Call>, table: u32, keys: u32, keys_len: u32, at: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let keys =
                entered.for_table(table, List::Key, |lift| lift.keys(span(keys, keys_len)))?;
            let rows = entered
                .call
                .with_work(|work| work.writes.get_many(&mut work.rows, table, keys))?;
            reply(&mut caller, |lower| lower.optional_rows_to(at, rows))
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[method]table.find",
        |mut caller: Caller<'_, Call>,
         table: u32,
         columns: u32,
         columns_len: u32,
         values: u32,
         values_len: u32,
         limit: u32,
         at: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let columns = entered.lift(|lift| lift.texts(span(columns, columns_len)))?;
            let values =
                entered.values(table, List::Columns(&columns), span(values, values_len))?;
            let limit = usize::try_from(limit)?;
            let rows = entered.call.with_work(|work| {
                work.writes
                    .find(&mut work.rows, table, &columns, values, limit)
            })?;
            reply(&mut caller, |lower| lower.rows_to(at, rows))
        },
    )?;
    Ok(())
}

fn add_writes(linker: &mut Linker<Call>) -> wasmtime::Result<()> {
    linker.func_wrap(
        READ_MODEL,
        "[method]table.put",
        |mut caller: Caller<'_, Call>, table: u32, row: u32, row_len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let row = entered.values(table, List::Row, span(row, row_len))?;
            entered
                .call
                .with_work(|work| work.writes.put(&mut work.rows, table, row))
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[method]table.patch",
        |mut caller: Caller<'_, Call>,
         table: u32,
         key: u32,
         key_len: u32,
         changes: u32,
         changes_len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let key = entered.values(table, List::Key, span(key, key_len))?;
            let changes = entered.for_table(table, List::Row, |lift| {
                lift.changes(span(changes, changes_len))
            })?;
            entered
                .call
                .with_work(|work| Ok(work.writes.patch(table, key, changes)?))
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[method]table.merge",
        |mut caller: Caller<'_, Call>,
         table: u32,
         key: u32,
         key_len: u32,
         changes: u32,
         changes_len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let key = entered.values(table, List::Key, span(key, key_len))?;
            let changes = entered.for_table(table, List::Row, |lift| {
                lift.changes(span(changes, changes_len))
            })?;
            entered
                .call
                .with_work(|work| Ok(work.writes.merge(table, key, changes)?))
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[method]table.remove",
        |mut caller: Caller<'_, Call>, table: u32, key: u32, key_len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let key = entered.values(table, List::Key, span(key, key_len))?;
            entered
                .call
                .with_work(|work| work.writes.remove(&mut work.rows, table, key))
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[method]table.patch-where",
        |mut caller: Caller<'_, Call>,
         table: u32,
         columns: u32,
         columns_len: u32,
         values: u32,
         values_len: u32,
         changes: u32,
         changes_len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let columns = entered.lift(|lift| lift.texts(span(columns, columns_len)))?;
            let values =
                entered.values(table, List::Columns(&columns), span(values, values_len))?;
            let changes = entered.for_table(table, List::Row, |lift| {
                lift.changes(span(changes, changes_len))
            })?;
            entered.call.with_work(|work| {
                work.writes
                    .patch_where(&mut work.rows, table, &columns, values, changes)
            })
        },
    )?;
    linker.func_wrap(
        READ_MODEL,
        "[method]table.remove-where",
        |mut caller: Caller<'_, Call>,
         table: u32,
         columns: u32,
         columns_len: u32,
         values: u32,
         values_len: u32| {
            let mut entered = Entered::new(&mut caller)?;
            let table = entered.table(table)?;
            let columns = entered.lift(|lift| lift.texts(span(columns, columns_len)))?;
            let values =
                entered.values(table, List::Columns(&columns), span(values, values_len))?;
            entered.call.with_work(|work| {
                work.writes
                    .remove_where(&mut work.rows, table, &columns, values)
            })
        },
    )?;
    Ok(())
}
