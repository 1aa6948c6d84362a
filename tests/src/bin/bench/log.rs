//! The events that are written: the order log, and orders of it, each in a
//! stream of its own.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::Range;

use anyhow::{Context as _, Result};
use gnomon_demo::{Envelope, OrderEvent, Orders};
use gnomon_event_store::{NewEvent, StreamId, parse_timestamp};
use gnomon_model::{Event, Payload, Position};
use gnomon_tests::harness::Installation;
use serde_json::Value;
use sqlx::postgres::PgConnection;

use crate::processes;

/// The seed of the order log; what is written beside it has another one.
pub(crate) const SEED: u64 = 1;

/// Appends a part of the order log, which may take long.
pub(crate) fn append(installation: &Installation, part: Range<usize>) -> Result<()> {
    let path = installation.path("orders.ndjson");
    let mut file = BufWriter::new(File::create(&path)?);
    for envelope in Orders::new(SEED).take(part.end).skip(part.start) {
        serde_json::to_writer(&mut file, &envelope)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    processes::run(&mut installation.command(&["append", "--file", "orders.ndjson"]))?;
    std::fs::remove_file(path)?;
    Ok(())
}

/// The beginning of the order log, as the host reads it.
pub(crate) fn events(count: usize) -> Result<Vec<Event>> {
    (1..)
        .zip(Orders::new(SEED).take(count))
        .map(event)
        .collect()
}

fn event((position, envelope): (u64, Envelope)) -> Result<Event> {
    let written = serde_json::to_value(&envelope.event)?;
    let text = |key: &str| written.get(key).map(Value::to_string);
    let event_type = written.get("event_type").and_then(Value::as_str);
    Ok(Event {
        position: Position::new(position).context("a position beyond all numbers")?,
        id: envelope.event_id,
        stream_id: envelope.stream_id,
        event_type: event_type.unwrap_or_default().to_owned(),
        version: envelope.version,
        schema_version: envelope.schema_version,
        data: Payload::Json(text("data").unwrap_or_default()),
        metadata: String::new(),
        recorded_at: parse_timestamp(&envelope.recorded_at)?,
    })
}

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

/// Inserts orders as any program may, all in one transaction.
pub(crate) async fn insert(connection: &mut PgConnection, orders: &[Placed]) -> Result<()> {
    let streams: Vec<&str> = orders.iter().map(|order| order.stream.as_str()).collect();
    let data: Vec<&str> = orders.iter().map(|order| order.data.as_str()).collect();
    sqlx::query(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version) \
         SELECT gen_random_uuid(), stream, 'Order', 'OrderPlaced', data::jsonb, '{}', 1 \
         FROM unnest($1::text[], $2::text[]) AS placed (stream, data)",
    )
    .bind(&streams)
    .bind(&data)
    .execute(connection)
    .await?;
    Ok(())
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
