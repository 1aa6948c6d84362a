//! The other side of the boundary: the host's imports as a [`Backend`], and
//! what the exports do.

use std::panic::PanicHookInfo;
use std::sync::Once;

use crate::backend::{Backend, RawRow};
use crate::error::Result;
use crate::event::{EventContext, Events, Payload};
use crate::log::Level;
use crate::projection::{Projection, apply_one};
use crate::row::{TableSchema, TableSet};
use crate::tables::Tables;
use crate::types::Timestamp;
use crate::value::{ColumnType, RawChange, Value};

/// What `wit-bindgen` makes of the contract.
#[allow(
    clippy::all,
    clippy::pedantic,
    clippy::restriction,
    missing_docs,
    unreachable_pub,
    unsafe_code,
    reason = "generated"
)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "wit",
        world: "projection",
        pub_export_macro: true,
        export_macro_name: "export_component",
        default_bindings_module: "gnomon_sdk::guest::bindings",
        with: {
            "gnomon:projection/types@0.1.0/value": crate::value::Value,
            "gnomon:projection/read-model@0.1.0/change": crate::value::RawChange,
        },
    });
}

mod calls;
mod realloc;

use bindings::gnomon::projection::{log as host_log, read_model, types};

/// The tables behind the host's imports.
#[derive(Default)]
pub struct HostTables {
    /// One handle for each table that the batch has used.
    open: Vec<(&'static str, read_model::Table)>,
}

impl HostTables {
    fn table(&mut self, name: &'static str) -> &read_model::Table {
        // Mostly it is the same text in the same place, and comparing texts is a
        // call.
        let place = self
            .open
            .iter()
            .position(|(open, _)| std::ptr::eq(*open, name) || *open == name);
        let place = place.unwrap_or_else(|| {
            self.open.push((name, read_model::Table::new(name)));
            self.open.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "found, or pushed just now")]
        &self.open[place].1
    }
}

fn owned(columns: &[&str]) -> Vec<String> {
    columns.iter().map(|&column| column.to_owned()).collect()
}

impl Backend for HostTables {
    fn get(&mut self, table: &'static str, key: Vec<Value>) -> Result<Option<RawRow>> {
        Ok(self.table(table).get(&key))
    }

    fn get_many(
        &mut self,
        table: &'static str,
        keys: Vec<Vec<Value>>,
    ) -> Result<Vec<Option<RawRow>>> {
        Ok(self.table(table).get_many(&keys))
    }

    fn find(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
        limit: u32,
    ) -> Result<Vec<RawRow>> {
        Ok(self.table(table).find(&owned(columns), &values, limit))
    }

    fn put(&mut self, table: &'static str, row: RawRow) {
        calls::put(self.table(table), &row);
    }

    fn patch(&mut self, table: &'static str, key: Vec<Value>, changes: Vec<RawChange>) {
        calls::patch(self.table(table), &key, &changes);
    }

    fn merge(&mut self, table: &'static str, key: Vec<Value>, changes: Vec<RawChange>) {
        calls::merge(self.table(table), &key, &changes);
    }

    fn remove(&mut self, table: &'static str, key: Vec<Value>) {
        self.table(table).remove(&key);
    }

    fn patch_where(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
        changes: Vec<RawChange>,
    ) {
        self.table(table)
            .patch_where(&owned(columns), &values, &changes);
    }

    fn remove_where(
        &mut self,
        table: &'static str,
        columns: &'static [&'static str],
        values: Vec<Value>,
    ) {
        self.table(table).remove_where(&owned(columns), &values);
    }
}

/// The export `describe`.
pub fn describe<P: Projection>() -> bindings::Description {
    report_panics();
    types::Description {
        name: P::NAME.to_owned(),
        version: P::VERSION,
        subscription: types::Subscription {
            event_types: owned(P::Event::TYPES),
            categories: owned(P::CATEGORIES),
            metadata: P::METADATA,
        },
        tables: P::Tables::schemas().iter().map(table_schema).collect(),
    }
}

/// The export `apply`.
pub fn apply<P: Projection>(events: Vec<bindings::Event>) -> Result<(), bindings::Rejection> {
    report_panics();
    let mut tables = Tables::new(HostTables::default());
    for event in events {
        let event = EventContext::from(event);
        apply_one::<P>(&event, &mut tables).map_err(|message| types::Rejection {
            position: event.position,
            message,
        })?;
    }
    Ok(())
}

pub(crate) fn log(level: Level, message: &str) {
    let level = match level {
        Level::Trace => host_log::Level::Trace,
        Level::Debug => host_log::Level::Debug,
        Level::Info => host_log::Level::Info,
        Level::Warn => host_log::Level::Warn,
        Level::Error => host_log::Level::Error,
    };
    host_log::write(level, message);
}

/// A panic becomes a trap, which says nothing of its cause; so its message
/// and place go to the host's log first.
fn report_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic: &PanicHookInfo<'_>| {
            let message = panic
                .payload_as_str()
                .unwrap_or("a panic without a message");
            match panic.location() {
                Some(place) => log(Level::Error, &format!("panic at {place}: {message}")),
                None => log(Level::Error, &format!("panic: {message}")),
            }
        }));
    });
}

fn table_schema(schema: &TableSchema) -> types::TableSchema {
    types::TableSchema {
        name: schema.name.to_owned(),
        columns: schema
            .columns
            .iter()
            .map(|column| types::Column {
                name: column.name.to_owned(),
                column_type: column_type(column.column_type),
                nullable: column.nullable,
            })
            .collect(),
        primary_key: owned(schema.primary_key),
        indexes: schema
            .indexes
            .iter()
            .map(|columns| owned(columns))
            .collect(),
    }
}

const fn column_type(column_type: ColumnType) -> types::ColumnType {
    match column_type {
        ColumnType::Boolean => types::ColumnType::Boolean,
        ColumnType::Integer => types::ColumnType::Integer,
        ColumnType::Float => types::ColumnType::Float,
        ColumnType::Decimal => types::ColumnType::Decimal,
        ColumnType::Text => types::ColumnType::Text,
        ColumnType::Bytes => types::ColumnType::Bytes,
        ColumnType::Timestamp => types::ColumnType::Timestamp,
        ColumnType::Date => types::ColumnType::Date,
        ColumnType::Uuid => types::ColumnType::Uuid,
        ColumnType::Json => types::ColumnType::Json,
    }
}

impl From<types::Event> for EventContext {
    fn from(event: types::Event) -> Self {
        Self {
            position: event.position,
            id: event.id,
            stream_id: event.stream_id,
            event_type: event.event_type,
            version: event.version,
            schema_version: event.schema_version,
            data: match event.data {
                types::Payload::Json(text) => Payload::Json(text),
                types::Payload::Binary(bytes) => Payload::Binary(bytes),
            },
            metadata: event.metadata,
            recorded_at: Timestamp::from_microseconds(event.recorded_at),
        }
    }
}
