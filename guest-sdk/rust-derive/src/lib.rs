//! The derive macros of `gnomon-sdk`, where they are documented by example.

mod events;
mod names;
mod row;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Makes a struct the row of a table.
///
/// ```
/// # use gnomon_sdk::prelude::*;
/// #[derive(Row)]
/// #[row(table = "orders", index(customer_id), index(status, placed_at))]
/// struct Order {
///     #[key]
///     order_id: Uuid,
///     customer_id: String,
///     status: String,
///     placed_at: Timestamp,
///     shipped_at: Option<Timestamp>,
/// }
/// ```
///
/// * `table` is the table's name; each field is a column of the field's name,
///   in this order. `Option` makes it nullable.
/// * `#[key]` marks the primary key. Several fields make a key of several
///   columns, given as a tuple.
/// * Each `index(…)` declares a secondary index, and makes a function that
///   selects by it: `Order::by_customer_id("c7")`,
///   `Order::by_status_and_placed_at("paid", at)`.
/// * Each field outside of the key gets a constant for changes:
///   `Order::status.set("shipped")`.
#[proc_macro_derive(Row, attributes(row, key))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    row::derive(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}

/// Makes an enum the events of a projection: their decoder and the
/// subscription at once.
///
/// ```
/// # use gnomon_sdk::prelude::*;
/// # #[derive(serde::Deserialize)]
/// # struct Shipment {}
/// #[derive(Events)]
/// enum OrderEvent {
///     OrderPlaced { order_id: Uuid, total_cents: i64 },
///     OrderShipped(Shipment),
///     #[event(name = "order.closed")]
///     Closed,
/// }
/// ```
///
/// * A variant's name is the type of event, unless `#[event(name = "…")]`
///   says another.
/// * The fields of a variant are read from the event's data by serde, and
///   `#[serde(…)]` on them works as in a struct; fields of the data that the
///   variant does not name are passed over. `Variant(T)` reads a `T`, which
///   implements `Deserialize`; a variant without fields reads nothing.
/// * `#[event(other)]` on a variant without fields makes it stand for every
///   other type of event; the projection then reads all of them.
#[proc_macro_derive(Events, attributes(event, serde))]
pub fn derive_events(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    events::derive(&input)
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
