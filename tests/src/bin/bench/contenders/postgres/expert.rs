//! What an expert writes: each key of a batch once, one statement for each
//! table, checkpoint and rows in one transaction.

use anyhow::Result;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::connect;
use super::reading::page;
use super::tables::{add_indexes, make, move_checkpoint, timestamp};
use crate::contenders::{Folded, SCHEMA, Task};

/// Builds the read models in batches of so many events.
pub(crate) async fn expert(events: &str, task: Task, batch: i64) -> Result<()> {
    let connection = &mut connect(events).await?;
    make(connection, task.models, true).await?;
    let mut after = 0;
    loop {
        let (events, last) = page(connection, task, after, batch).await?;
        if events.is_empty() {
            return add_indexes(connection, task.models).await;
        }
        let mut folded = Folded::new(task.models);
        for event in &events {
            folded.fold(event)?;
        }
        write(connection, &folded, last).await?;
        after = last;
    }
}

async fn write(connection: &mut PgConnection, folded: &Folded, last: i64) -> Result<()> {
    let mut transaction = connection.begin().await?;
    write_orders(&mut transaction, folded).await?;
    write_customers(&mut transaction, folded).await?;
    write_days(&mut transaction, folded).await?;
    move_checkpoint(&mut transaction, last).await?;
    transaction.commit().await?;
    Ok(())
}

async fn write_orders(connection: &mut PgConnection, folded: &Folded) -> Result<()> {
    let (mut ids, mut customers, mut totals, mut statuses) = (vec![], vec![], vec![], vec![]);
    let (mut placed_at, mut updated_at, mut items) = (vec![], vec![], vec![]);
    let (mut moved, mut moved_to, mut moved_at) = (vec![], vec![], vec![]);
    for (id, change) in &folded.orders {
        let Some(placed) = &change.placed else {
            moved.push(id.as_str());
            moved_to.push(change.status);
            moved_at.push(change.updated_at);
            continue;
        };
        ids.push(id.as_str());
        customers.push(placed.customer.as_str());
        totals.push(placed.total);
        statuses.push(change.status);
        placed_at.push(placed.placed_at);
        updated_at.push(change.updated_at);
        items.push(placed.items);
    }
    if !ids.is_empty() {
        sqlx::query(AssertSqlSafe(format!(
            "INSERT INTO {SCHEMA}.order_summaries \
             SELECT id::uuid, customer, total, status, {}, {}, items \
             FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], \
               $6::bigint[], $7::bigint[]) AS r (id, customer, total, status, placed, updated, items) \
             ON CONFLICT (order_id) DO UPDATE SET customer_id = excluded.customer_id, \
               total_cents = excluded.total_cents, status = excluded.status, \
               placed_at = excluded.placed_at, updated_at = excluded.updated_at, \
               item_count = excluded.item_count",
            timestamp("placed"),
            timestamp("updated")
        )))
        .bind(&ids)
        .bind(&customers)
        .bind(&totals)
        .bind(&statuses)
        .bind(&placed_at)
        .bind(&updated_at)
        .bind(&items)
        .execute(&mut *connection)
        .await?;
    }
    if !moved.is_empty() {
        sqlx::query(AssertSqlSafe(format!(
            "UPDATE {SCHEMA}.order_summaries AS o SET status = r.status, \
               updated_at = {} FROM unnest($1::text[], $2::text[], $3::bigint[]) \
               AS r (id, status, updated) WHERE o.order_id = r.id::uuid",
            timestamp("r.updated")
        )))
        .bind(&moved)
        .bind(&moved_to)
        .bind(&moved_at)
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn write_customers(connection: &mut PgConnection, folded: &Folded) -> Result<()> {
    if folded.customers.is_empty() {
        return Ok(());
    }
    let (mut ids, mut orders, mut paid) = (vec![], vec![], vec![]);
    let (mut cancelled, mut last) = (vec![], vec![]);
    for (id, change) in &folded.customers {
        ids.push(id.as_str());
        orders.push(change.orders);
        paid.push(change.paid);
        cancelled.push(change.cancelled);
        last.push(change.last_order_at);
    }
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO {SCHEMA}.customer_value AS c \
         SELECT id, orders, paid, cancelled, {} \
         FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[]) \
           AS r (id, orders, paid, cancelled, last) \
         ON CONFLICT (customer_id) DO UPDATE SET orders = c.orders + excluded.orders, \
           paid_cents = c.paid_cents + excluded.paid_cents, \
           cancelled = c.cancelled + excluded.cancelled, \
           last_order_at = greatest(c.last_order_at, excluded.last_order_at)",
        timestamp("last")
    )))
    .bind(&ids)
    .bind(&orders)
    .bind(&paid)
    .bind(&cancelled)
    .bind(&last)
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_days(connection: &mut PgConnection, folded: &Folded) -> Result<()> {
    if folded.days.is_empty() {
        return Ok(());
    }
    let (mut days, mut revenue, mut payments) = (vec![], vec![], vec![]);
    for (day, change) in &folded.days {
        days.push(*day);
        revenue.push(change.revenue);
        payments.push(change.payments);
    }
    sqlx::query(AssertSqlSafe(format!(
        "INSERT INTO {SCHEMA}.daily_revenue AS d \
         SELECT DATE '1970-01-01' + day, revenue, payments \
         FROM unnest($1::int[], $2::bigint[], $3::bigint[]) AS r (day, revenue, payments) \
         ON CONFLICT (day) DO UPDATE SET revenue_cents = d.revenue_cents + excluded.revenue_cents, \
           payments = d.payments + excluded.payments"
    )))
    .bind(&days)
    .bind(&revenue)
    .bind(&payments)
    .execute(connection)
    .await?;
    Ok(())
}
