//! Runs a projection over tables in memory, through the host's write buffer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;

use gnomon_model::{
    BatchWrites, Column, DeclaredTable, Description, Event, Floats, InvalidValue, MemoryTables,
    Subscription, Violation, WriteError, WriteLimits,
};

use super::Rejection;
use super::values::{all_from_host, all_to_host, changes_to_host, column_type};
use crate::backend::{Backend, RawRow};
use crate::error::{Error, Result};
use crate::event::{EventContext, Events, Payload};
use crate::projection::{Projection, apply_one};
use crate::row::{Row, TableSchema, TableSet};
use crate::tables::Tables;
use crate::types::Timestamp;
use crate::value::{RawChange, Value};

/// The stricter of the two databases, so that what passes here passes on both.
const FLOATS: Floats = Floats::NotNan;

/// What the projection declares, as the host checks it.
pub(super) fn describe<P: Projection>() -> Result<Arc<Description>, String> {
    let names = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let table = |schema: &TableSchema| DeclaredTable {
        name: schema.name.to_owned(),
        columns: schema
            .columns
            .iter()
            .map(|column| Column {
                name: column.name.to_owned(),
                column_type: column_type(column.column_type),
                nullable: column.nullable,
            })
            .collect(),
        primary_key: names(schema.primary_key),
        indexes: schema.indexes.iter().map(|index| names(index)).collect(),
    };
    Description::check(
        P::NAME.to_owned(),
        P::VERSION,
        Subscription {
            event_types: names(P::Event::TYPES),
            categories: names(P::CATEGORIES),
            metadata: P::METADATA,
        },
        P::Tables::schemas().iter().map(table).collect(),
    )
    .map(Arc::new)
    .map_err(|problems| problems.to_string())
}

/// The rows of one table.
pub(super) fn rows<R: Row>(tables: &MemoryTables, description: &Description) -> Result<Vec<R>> {
    let number = description
        .table(R::SCHEMA.name)
        .ok_or_else(|| Error::new("the projection declares no such table"))?;
    tables
        .rows(number)
        .map(|row| R::from_values(all_from_host(row.clone())))
        .collect()
}

/// Runs the projection over all events, so many in a batch.
pub(super) fn run<P: Projection>(
    description: &Arc<Description>,
    events: &[Event],
    batch_events: usize,
) -> Result<MemoryTables, Rejection> {
    let mut committed = MemoryTables::new(Arc::clone(description));
    for events in events.chunks(batch_events) {
        committed = apply::<P>(description, committed, events)?;
    }
    Ok(committed)
}

/// One batch.
fn apply<P: Projection>(
    description: &Arc<Description>,
    committed: MemoryTables,
    events: &[Event],
) -> Result<MemoryTables, Rejection> {
    let batch = Rc::new(RefCell::new(Batch::new(description, committed)));
    let mut tables = Tables::new(Box::new(BenchTables(Rc::clone(&batch))));
    let mut position = 0;
    for event in events {
        position = event.position.get();
        let applied = apply_one::<P>(&context(event), &mut tables);
        // A trap comes first: in the sandbox nothing runs after it.
        let trap = batch.borrow_mut().trap.take();
        if let Some(message) = trap.or(applied.err()) {
            return Err(Rejection { position, message });
        }
    }
    let none = Batch::new(description, MemoryTables::new(Arc::clone(description)));
    let Batch {
        writes,
        mut committed,
        ..
    } = batch.replace(none);
    let written = writes
        .finish(&mut committed)
        .map_err(|WriteError::Violation(violation)| Rejection {
            position,
            message: broken_schema(&violation),
        })?;
    committed.commit(written);
    Ok(committed)
}

fn context(event: &Event) -> EventContext {
    EventContext {
        position: event.position.get(),
        id: event.id.clone(),
        stream_id: event.stream_id.clone(),
        event_type: event.event_type.clone(),
        version: event.version,
        schema_version: event.schema_version,
        data: match &event.data {
            // A test gives no event that cannot be read.
            gnomon_model::Payload::Json(text) | gnomon_model::Payload::Unreadable(text) => {
                Payload::Json(text.clone())
            }
            gnomon_model::Payload::Binary(bytes) => Payload::Binary(bytes.clone()),
        },
        metadata: event.metadata.clone(),
        recorded_at: Timestamp::from_microseconds(event.recorded_at),
    }
}

fn broken_schema(reason: &impl std::fmt::Display) -> String {
    format!("the projection broke its schema: {reason}")
}

struct Batch {
    writes: BatchWrites,
    committed: MemoryTables,
    /// What a call did that would have trapped in the sandbox.
    trap: Option<String>,
}

impl Batch {
    fn new(description: &Arc<Description>, committed: MemoryTables) -> Self {
        Self {
            writes: BatchWrites::new(Arc::clone(description), FLOATS, WriteLimits::NONE),
            committed,
            trap: None,
        }
    }
}

/// Why a call traps.
enum Trap {
    Value(InvalidValue),
    Schema(Violation),
}

impl From<InvalidValue> for Trap {
    fn from(reason: InvalidValue) -> Self {
        Self::Value(reason)
    }
}

impl From<Violation> for Trap {
    fn from(reason: Violation) -> Self {
        Self::Schema(reason)
    }
}

impl From<WriteError<Infallible>> for Trap {
    fn from(error: WriteError<Infallible>) -> Self {
        let WriteError::Violation(reason) = error;
        Self::Schema(reason)
    }
}

/// The host's tables, in memory. After a trap nothing is written any more.
struct BenchTables(Rc<RefCell<Batch>>);

impl BenchTables {
    /// Makes a call on a table; a call that traps gives an error too, so that
    /// the projection stops at its next `?`.
    fn call<T>(
        &self,
        table: &'static str,
        call: impl FnOnce(&mut BatchWrites, &mut MemoryTables, usize) -> Result<T, Trap>,
    ) -> Result<T> {
        let mut batch = self.0.borrow_mut();
        let Batch {
            writes,
            committed,
            trap,
        } = &mut *batch;
        if let Some(message) = trap {
            return Err(Error::new(message));
        }
        let result = writes
            .table(table)
            .map_err(Trap::from)
            .and_then(|table| call(writes, committed, table));
        result.map_err(|reason| {
            let message = match reason {
                Trap::Value(reason) => broken_schema(&format_args!("table `{table}`: {reason}")),
                Trap::Schema(reason) => broken_schema(&reason),
            };
            *trap = Some(message.clone());
            Error::new(message)
        })
    }

    /// Makes a call that writes; what went wrong is remembered.
    fn write(
        &self,
        table: &'static str,
        call: impl FnOnce(&mut BatchWrites, &mut MemoryTables, usize) -> Result<(), Trap>,
    ) {
        let _ = self.call(table, call);
    }
}

fn owned(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|&column| column.to_owned()).collect()
}

impl Backend for BenchTables {
    fn get(&mut self, table: &'static str, key: Vec<Value>) -> Result<Option<RawRow>> {
        self.call(table, |writes, committed, table| {
            let row = writes.get(committed, table, all_to_host(key)?)?;
            Ok(row.map(all_from_host))
        })
    }

    fn get_many(
        &mut self,
        table: &'static str,
        keys: Vec<Vec<Value>>,
    ) -> Result<Vec<Option<RawRow>>> {
        self.call(table, |writes, committed, table| {
            let keys = keys
                .into_iter()
                .map(all_to_host)
                .collect::<Result<_, _>>()?;
            let rows = writes.get_many(committed, table, keys)?;
            Ok(rows.into_iter().map(|row| row.map(all_from_host)).collect())
        })
    }

    fn find(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
        limit: u32,
    ) -> Result<Vec<RawRow>> {
        self.call(table, |writes, committed, table| {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let values = all_to_host(values)?;
            let rows = writes.find(committed, table, &owned(columns), values, limit)?;
            Ok(rows.into_iter().map(all_from_host).collect())
        })
    }

    fn put(&mut self, table: &'static str, row: RawRow) {
        self.write(table, |writes, committed, table| {
            Ok(writes.put(committed, table, all_to_host(row)?)?)
        });
    }

    fn patch(&mut self, table: &'static str, key: Vec<Value>, changes: Vec<RawChange>) {
        self.write(table, |writes, _, table| {
            Ok(writes.patch(table, all_to_host(key)?, changes_to_host(changes)?)?)
        });
    }

    fn merge(&mut self, table: &'static str, key: Vec<Value>, changes: Vec<RawChange>) {
        self.write(table, |writes, _, table| {
            Ok(writes.merge(table, all_to_host(key)?, changes_to_host(changes)?)?)
        });
    }

    fn remove(&mut self, table: &'static str, key: Vec<Value>) {
        self.write(table, |writes, committed, table| {
            Ok(writes.remove(committed, table, all_to_host(key)?)?)
        });
    }

    fn patch_where(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
        changes: Vec<RawChange>,
    ) {
        self.write(table, |writes, committed, table| {
            let (values, changes) = (all_to_host(values)?, changes_to_host(changes)?);
            Ok(writes.patch_where(committed, table, &owned(columns), values, changes)?)
        });
    }

    fn remove_where(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
    ) {
        self.write(table, |writes, committed, table| {
            Ok(writes.remove_where(committed, table, &owned(columns), all_to_host(values)?)?)
        });
    }
}
