//! What a Gnomon read model is made of: values, schemas, events and the
//! semantics of writing rows.
//!
//! ```text
//! guest ──> Value::check ──> BatchWrites ──> TableWrites ──> one statement per table
//!              (schema)      (one op per row)   (sorted rows)
//! ```
//!
//! The crate knows no database and no WebAssembly. The host runs it between
//! the guest and the database; the SDK's test bench runs it in memory. Both
//! give the same rows because both run this code.

mod budget;
mod change;
mod description;
mod event;
mod event_list;
mod event_page;
pub mod json;
mod memory;
#[cfg(feature = "module-hash")]
mod module_hash;
pub mod readable;
mod schema;
mod storage_error;
mod value;
mod writes;

pub use change::{Change, Changes, Resized};
pub use description::{
    DeclaredTable, Description, InvalidDescription, Subscription, is_projection_name,
};
pub use event::{Event, EventRef, Payload, PayloadRef, Position, category};
pub use event_list::EventList;
pub use event_page::EventPage;
pub use memory::MemoryTables;
#[cfg(feature = "module-hash")]
pub use module_hash::ModuleHash;
pub use schema::{Column, Index, Row, Table, Violation};
pub use storage_error::{StorageError, StorageErrorKind};
pub use value::{ColumnType, Decimal, Floats, InvalidValue, Key, KeyMap, Value};
pub use writes::{
    BatchWrites, CommittedRows, FoldedRows, FoundRows, PAGE_BYTES, TableWrites, WriteError,
    WriteLimits, row_size,
};
