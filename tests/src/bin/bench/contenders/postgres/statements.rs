//! What most people write: a statement for each event and table, a transaction
//! and a checkpoint for a thousand events.

use anyhow::Result;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use super::connect;
use super::reading::page;
use super::tables::{add_indexes, make, move_checkpoint, timestamp};
use crate::contenders::{Event, Fact, Models, SCHEMA, Task, day};

/// Events in a transaction.
const BATCH: i64 = 1_000;

/// Builds the read models.
pub(crate) async fn statements(events: &str, task: Task) -> Result<()> {
    let connection = &mut connect(events).await?;
    make(connection, task.models, true).await?;
    let mut after = 0;
    loop {
        let (events, last) = page(connection, task, after, BATCH).await?;
        if events.is_empty() {
            return add_indexes(connection, task.models).await;
        }
        let mut transaction = connection.begin().await?;
        for event in &events {
            apply(&mut transaction, task.models, event).await?;
        }
        move_checkpoint(&mut transaction, last).await?;
        transaction.commit().await?;
        after = last;
    }
}

async fn apply(connection: &mut PgConnection, models: Models, event: &Event) -> Result<()> {
    let at = event.at;
    match event.fact()? {
        Fact::Placed {
            order,
            customer,
            total,
            items,
        } => {
            if models.orders {
                let time = timestamp("$4");
                let insert = format!(
                    "INSERT INTO {SCHEMA}.order_summaries VALUES \
                     ($1::uuid, $2, $3, 'placed', {time}, {time}, $5)"
                );
                sqlx::query(AssertSqlSafe(insert))
                    .bind(&order)
                    .bind(&customer)
                    .bind(total)
                    .bind(at)
                    .bind(items)
                    .execute(&mut *connection)
                    .await?;
            }
            if models.customers {
                let insert = format!(
                    "INSERT INTO {SCHEMA}.customer_value AS c VALUES ($1, 1, 0, 0, {}) \
                     ON CONFLICT (customer_id) DO UPDATE SET orders = c.orders + 1, \
                       last_order_at = greatest(c.last_order_at, excluded.last_order_at)",
                    timestamp("$2")
                );
                sqlx::query(AssertSqlSafe(insert))
                    .bind(&customer)
                    .bind(at)
                    .execute(&mut *connection)
                    .await?;
            }
        }
        Fact::Paid {
            order,
            customer,
            amount,
        } => {
            move_order(connection, models, order, "paid", at).await?;
            if models.customers {
                let insert = format!(
                    "INSERT INTO {SCHEMA}.customer_value AS c VALUES ($1, 0, $2, 0, NULL) \
                     ON CONFLICT (customer_id) DO UPDATE SET paid_cents = c.paid_cents + $2"
                );
                sqlx::query(AssertSqlSafe(insert))
                    .bind(&customer)
                    .bind(amount)
                    .execute(&mut *connection)
                    .await?;
            }
            if models.days {
                let insert = format!(
                    "INSERT INTO {SCHEMA}.daily_revenue AS d VALUES (DATE '1970-01-01' + $1, $2, 1) \
                     ON CONFLICT (day) DO UPDATE SET revenue_cents = d.revenue_cents + $2, \
                       payments = d.payments + 1"
                );
                sqlx::query(AssertSqlSafe(insert))
                    .bind(day(at)?)
                    .bind(amount)
                    .execute(connection)
                    .await?;
            }
        }
        Fact::Cancelled { order, customer } => {
            move_order(connection, models, order, "cancelled", at).await?;
            if models.customers {
                let insert = format!(
                    "INSERT INTO {SCHEMA}.customer_value AS c VALUES ($1, 0, 0, 1, NULL) \
                     ON CONFLICT (customer_id) DO UPDATE SET cancelled = c.cancelled + 1"
                );
                sqlx::query(AssertSqlSafe(insert))
                    .bind(&customer)
                    .execute(connection)
                    .await?;
            }
        }
        Fact::Moved { order, status } => move_order(connection, models, order, status, at).await?,
    }
    Ok(())
}

async fn move_order(
    connection: &mut PgConnection,
    models: Models,
    order: String,
    status: &str,
    at: i64,
) -> Result<()> {
    if models.orders {
        let update = format!(
            "UPDATE {SCHEMA}.order_summaries SET status = $2, updated_at = {} WHERE order_id = $1::uuid",
            timestamp("$3")
        );
        sqlx::query(AssertSqlSafe(update))
            .bind(&order)
            .bind(status)
            .bind(at)
            .execute(connection)
            .await?;
    }
    Ok(())
}
