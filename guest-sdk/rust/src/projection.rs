//! The trait that a projection implements.

use crate::error::Result;
use crate::event::{EventContext, Events};
use crate::row::TableSet;
use crate::tables::Tables;

/// A pure function from events to rows.
///
/// The implementing type holds nothing: the host throws the instance away
/// after every batch, so what is to be remembered belongs into a table.
pub trait Projection {
    /// `[a-z][a-z0-9_]*`, at most 40 bytes. One live read model bears it.
    const NAME: &'static str;

    /// Raise it whenever history would project differently: the host builds
    /// the new version beside the old one and switches over.
    const VERSION: u32;

    /// The categories of streams to read, `Order` for the stream
    /// `Order-abc123`; none means all.
    const CATEGORIES: &'static [&'static str] = &[];

    /// Whether [`EventContext::metadata`] is filled in.
    const METADATA: bool = false;

    /// The events to read.
    type Event: Events;

    /// The tables to write: a tuple of rows.
    type Tables: TableSet;

    /// Applies one event.
    ///
    /// # Errors
    /// When the event cannot be applied; the projection's policy decides what
    /// follows. Nothing of the batch is kept.
    fn apply(event: Self::Event, context: &EventContext, tables: &mut Tables) -> Result<()>;
}

/// Decodes and applies one event; the message of an error names its type.
#[cfg_attr(
    not(any(target_family = "wasm", feature = "testing")),
    expect(dead_code, reason = "neither a host nor a test bench to stand on")
)]
pub(crate) fn apply_one<P: Projection>(
    context: &EventContext,
    tables: &mut Tables,
) -> Result<(), String> {
    let event = P::Event::decode(context).map_err(|error| {
        format!(
            "{}: its data cannot be read: {}",
            context.event_type,
            error.message()
        )
    })?;
    P::apply(event, context, tables).map_err(|error| {
        format!(
            "{}: {} (at {})",
            context.event_type,
            error.message(),
            error.place()
        )
    })
}
