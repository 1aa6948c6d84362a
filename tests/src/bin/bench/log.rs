//! The events that are written: orders of the log, each in a stream of its own.

use anyhow::Result;
use gnomon::event_store::{NewEvent, StreamId};
use gnomon_tests::orders::{Envelope, OrderEvent, Orders};

/// An order that was placed.
pub(crate) struct Placed {
    pub(crate) order: String,
    pub(crate) stream: StreamId,
    /// The event's data.
    pub(crate) data: String,
}

impl Placed {
    pub(crate) fn event(&self) -> Result<NewEvent> {
        Ok(NewEvent::new("OrderPlaced", &self.data)?)
    }
}

/// Orders without end. The first event of each is enough: it makes one row.
pub(crate) fn orders(seed: u64) -> impl Iterator<Item = Placed> {
    Orders::new(seed).filter_map(|envelope| placed(&envelope))
}

fn placed(envelope: &Envelope) -> Option<Placed> {
    let OrderEvent::OrderPlaced { order_id, .. } = &envelope.event else {
        return None;
    };
    let event = serde_json::to_value(&envelope.event).ok()?;
    Some(Placed {
        order: order_id.clone(),
        stream: StreamId::new(envelope.stream_id.clone()).ok()?,
        data: event.get("data")?.to_string(),
    })
}
