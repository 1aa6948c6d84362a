//! The limits: everything folded in memory and copied once, one SQL statement
//! for each read model, and only reading.

use std::fmt::Write as _;

use anyhow::{Context as _, Result};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use super::connect;
use super::reading::page;
use super::tables::{add_indexes, add_keys, make};
use crate::contenders::{Folded, SCHEMA, Task};

/// Events that are read at a time.
const PAGE: i64 = 20_000;

/// Folds all events, copies the rows, and makes the keys. A crash begins
/// again.
pub(crate) async fn fold_and_copy(events: &str, task: Task) -> Result<()> {
    let (connection, models) = (&mut connect(events).await?, task.models);
    make(connection, models, false).await?;
    let mut folded = Folded::new(models);
    let mut after = 0;
    loop {
        let (events, last) = page(connection, task, after, PAGE).await?;
        if events.is_empty() {
            break;
        }
        for event in &events {
            folded.fold(event)?;
        }
        after = last;
    }
    let mut text = String::new();
    for (id, change) in &folded.orders {
        let placed = change
            .placed
            .as_ref()
            .context("an order that was never placed")?;
        writeln!(
            text,
            "{id}\t{}\t{}\t{}\t{}\t{}\t{}",
            placed.customer,
            placed.total,
            change.status,
            time(placed.placed_at)?,
            time(change.updated_at)?,
            placed.items
        )?;
    }
    copy(connection, "order_summaries", &mut text).await?;
    for (id, change) in &folded.customers {
        let last = change.last_order_at.map_or(Ok("\\N".to_owned()), time)?;
        writeln!(
            text,
            "{id}\t{}\t{}\t{}\t{last}",
            change.orders, change.paid, change.cancelled
        )?;
    }
    copy(connection, "customer_value", &mut text).await?;
    for (day, change) in &folded.days {
        let date =
            jiff::civil::date(1970, 1, 1).checked_add(jiff::Span::new().days(i64::from(*day)))?;
        writeln!(text, "{date}\t{}\t{}", change.revenue, change.payments)?;
    }
    copy(connection, "daily_revenue", &mut text).await?;
    add_keys(connection, models).await?;
    add_indexes(connection, models).await
}

fn time(microseconds: i64) -> Result<String> {
    Ok(jiff::Timestamp::from_microsecond(microseconds)?.to_string())
}

async fn copy(connection: &mut PgConnection, table: &str, text: &mut String) -> Result<()> {
    if !text.is_empty() {
        let statement = format!("COPY {SCHEMA}.{table} FROM STDIN");
        let mut copy = connection.copy_in_raw(&statement).await?;
        copy.send(text.as_bytes()).await?;
        copy.finish().await?;
        text.clear();
    }
    Ok(())
}

/// One statement for each read model.
pub(crate) async fn sql(events: &str, task: Task) -> Result<()> {
    let (connection, models) = (&mut connect(events).await?, task.models);
    make(connection, models, false).await?;
    let statements = [
        (
            models.orders,
            "order_summaries SELECT placed.id, placed.customer, placed.total, \
               CASE last.event_type WHEN 'OrderPlaced' THEN 'placed' WHEN 'PaymentReceived' THEN 'paid' \
                 WHEN 'OrderPacked' THEN 'packed' WHEN 'OrderShipped' THEN 'shipped' \
                 WHEN 'OrderDelivered' THEN 'delivered' ELSE 'cancelled' END, \
               placed.at, last.at, placed.items \
             FROM (SELECT stream_id, (event_data->>'order_id')::uuid AS id, \
                 event_data->>'customer_id' AS customer, \
                 (event_data->>'total_cents')::bigint AS total, created_at AS at, \
                 (SELECT sum((item->>'qty')::bigint)::bigint \
                  FROM jsonb_array_elements(event_data->'items') AS item) AS items \
               FROM events WHERE event_type = 'OrderPlaced') AS placed \
             JOIN (SELECT stream_id, \
                 (array_agg(event_type ORDER BY version DESC))[1] AS event_type, \
                 max(created_at) AS at \
               FROM events GROUP BY stream_id) AS last USING (stream_id)",
        ),
        (
            models.customers,
            "customer_value SELECT event_data->>'customer_id', \
               count(*) FILTER (WHERE event_type = 'OrderPlaced'), \
               coalesce(sum((event_data->>'amount_cents')::bigint) \
                 FILTER (WHERE event_type = 'PaymentReceived'), 0)::bigint, \
               count(*) FILTER (WHERE event_type = 'OrderCancelled'), \
               max(created_at) FILTER (WHERE event_type = 'OrderPlaced') \
             FROM events WHERE event_type IN ('OrderPlaced', 'PaymentReceived', 'OrderCancelled') \
             GROUP BY 1",
        ),
        (
            models.days,
            "daily_revenue SELECT (created_at AT TIME ZONE 'UTC')::date, \
               sum((event_data->>'amount_cents')::bigint)::bigint, count(*) \
             FROM events WHERE event_type = 'PaymentReceived' GROUP BY 1",
        ),
    ];
    for (_, statement) in statements.iter().filter(|(wanted, _)| *wanted) {
        let insert = format!("INSERT INTO {SCHEMA}.{statement}");
        connection.execute(AssertSqlSafe(insert)).await?;
    }
    add_keys(connection, models).await?;
    add_indexes(connection, models).await
}

/// Reads all events that matter, and does nothing with them.
pub(crate) async fn read(events: &str, task: Task) -> Result<()> {
    let connection = &mut connect(events).await?;
    let mut after = 0;
    loop {
        let (events, last) = page(connection, task, after, PAGE).await?;
        if events.is_empty() {
            return Ok(());
        }
        after = last;
    }
}
