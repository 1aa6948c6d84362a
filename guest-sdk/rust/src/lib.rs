//! Write Gnomon projections in Rust.
//!
//! ```text
//!            decode            apply                put, merge, patch, …
//! event ──> enum of events ──> your function ──> typed rows ──> host ──> SQL tables
//! ```
//!
//! A projection is an enum of the events it reads, a struct for each table it
//! writes, and one function between them:
//!
//! ```
//! use gnomon_sdk::prelude::*;
//!
//! /// One row for each customer.
//! #[derive(Row, Debug, PartialEq)]
//! #[row(table = "spending")]
//! struct Spending {
//!     #[key]
//!     customer_id: String,
//!     spent_cents: i64,
//!     last_paid_at: Option<Timestamp>,
//! }
//!
//! #[derive(Events)]
//! enum PaymentEvent {
//!     PaymentReceived { customer_id: String, amount_cents: i64 },
//! }
//!
//! struct CustomerSpending;
//!
//! impl Projection for CustomerSpending {
//!     const NAME: &'static str = "spending";
//!     const VERSION: u32 = 1;
//!     type Event = PaymentEvent;
//!     type Tables = (Spending,);
//!
//!     fn apply(event: PaymentEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
//!         match event {
//!             PaymentEvent::PaymentReceived { customer_id, amount_cents } => tables.merge(
//!                 customer_id,
//!                 [
//!                     Spending::spent_cents.add(amount_cents),
//!                     Spending::last_paid_at.max(context.recorded_at),
//!                 ],
//!             ),
//!         }
//!         Ok(())
//!     }
//! }
//!
//! gnomon_sdk::export!(CustomerSpending);
//! ```
//!
//! `gnomon build` compiles it to a component. The same code compiles
//! natively, where the `testing` feature gives it a test bench.
//!
//! A projection is a pure function: it has no clock, no randomness and no
//! input but its events and its own tables, and it keeps nothing in memory
//! from one batch to the next. What it cannot apply it rejects, by returning
//! an [`Error`]; what panics stops the projection too, with message and place
//! in the host's log.

// Derived code names the crate by its public name, in its own tests too.
extern crate self as gnomon_sdk;

#[cfg(any(test, all(target_family = "wasm", feature = "allocator")))]
mod allocator;
mod backend;
mod cell;
mod error;
mod event;
#[cfg(target_family = "wasm")]
#[doc(hidden)]
pub mod guest;
pub mod log;
mod projection;
mod reading;
mod row;
mod tables;
#[cfg(all(feature = "testing", not(target_family = "wasm")))]
pub mod testing;
mod types;
mod value;

pub use cell::{Cell, IntoCell, Ordered, Summable};
pub use error::{Error, Result};
pub use event::{EventContext, Events, Payload};
pub use gnomon_sdk_derive::{Events, Row};
pub use projection::Projection;
pub use row::{Change, Column, IntoKey, Row, Selection, TableSet};
pub use tables::Tables;
pub use types::{
    Date, Decimal, Json, ParseDecimalError, ParseTimeError, ParseUuidError, Timestamp, Uuid,
};

/// What a projection needs.
pub mod prelude {
    pub use crate::{
        Date, Decimal, Error, EventContext, Events, Json, Projection, Result, Row, Tables,
        Timestamp, Uuid, log, reject,
    };
}

/// What macros refer to. Nothing here is for people, and all of it may change.
#[doc(hidden)]
pub mod __private {
    pub use serde;

    pub use crate::event::unexpected;
    pub use crate::row::{ColumnSchema, TableSchema, next_cell};
    pub use crate::value::Value;

    /// Compiles only if `T` may stand in a key or an index.
    pub const fn require_ordered<T: crate::Ordered>() {}

    /// Compiles only if `T` may stand in a primary key.
    pub const fn require_key<T: crate::Ordered + crate::Cell<Plain = T>>() {}
}

/// Makes a projection the one that this crate's component exports. On targets
/// other than wasm it does nothing, so that tests link.
#[cfg(target_family = "wasm")]
#[macro_export]
macro_rules! export {
    ($projection:ty) => {
        const _: () = {
            struct Component;

            impl $crate::guest::bindings::Guest for Component {
                fn describe() -> $crate::guest::bindings::Description {
                    $crate::guest::describe::<$projection>()
                }

                fn apply(
                    events: ::std::vec::Vec<$crate::guest::bindings::Event>,
                ) -> ::core::result::Result<(), $crate::guest::bindings::Rejection> {
                    $crate::guest::apply::<$projection>(events)
                }
            }

            $crate::guest::bindings::export_component!(
                Component with_types_in $crate::guest::bindings
            );
        };
    };
}

/// Makes a projection the one that this crate's component exports. On targets
/// other than wasm it does nothing, so that tests link.
#[cfg(not(target_family = "wasm"))]
#[macro_export]
macro_rules! export {
    ($projection:ty) => {
        const _: () = {
            const fn is_projection<P: $crate::Projection>() {}
            is_projection::<$projection>();
        };
    };
}
