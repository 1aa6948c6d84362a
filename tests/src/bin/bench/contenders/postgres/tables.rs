//! The tables that the contenders fill, in a schema of their own, as Gnomon
//! makes them.

use anyhow::Result;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor as _};

use crate::contenders::{Models, SCHEMA};

/// Makes the tables anew, with a checkpoint.
pub(crate) async fn make(connection: &mut PgConnection, models: Models, keys: bool) -> Result<()> {
    let mut statements = vec![
        format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"),
        format!("CREATE SCHEMA {SCHEMA}"),
        format!("CREATE TABLE {SCHEMA}.checkpoint (position bigint NOT NULL)"),
        format!("INSERT INTO {SCHEMA}.checkpoint VALUES (0)"),
    ];
    let tables = [
        (
            models.orders,
            "order_summaries (order_id uuid NOT NULL, customer_id text COLLATE \"C\" NOT NULL, \
             total_cents bigint NOT NULL, status text COLLATE \"C\" NOT NULL, \
             placed_at timestamptz NOT NULL, updated_at timestamptz NOT NULL, \
             item_count bigint NOT NULL)",
        ),
        (
            models.customers,
            "customer_value (customer_id text COLLATE \"C\" NOT NULL, orders bigint NOT NULL, \
             paid_cents bigint NOT NULL, cancelled bigint NOT NULL, last_order_at timestamptz)",
        ),
        (
            models.days,
            "daily_revenue (day date NOT NULL, revenue_cents bigint NOT NULL, \
             payments bigint NOT NULL)",
        ),
    ];
    statements.extend(
        tables
            .iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, table)| format!("CREATE TABLE {SCHEMA}.{table}")),
    );
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    if keys {
        add_keys(connection, models).await?;
    }
    Ok(())
}

/// SQL for a time that was bound in microseconds since the Unix epoch.
pub(crate) fn timestamp(microseconds: &str) -> String {
    format!("TIMESTAMPTZ 'epoch' + {microseconds} * INTERVAL '1 microsecond'")
}

/// Adds the primary keys.
pub(crate) async fn add_keys(connection: &mut PgConnection, models: Models) -> Result<()> {
    let keys = [
        (models.orders, "order_summaries", "order_id"),
        (models.customers, "customer_value", "customer_id"),
        (models.days, "daily_revenue", "day"),
    ];
    for (_, table, key) in keys.iter().filter(|(wanted, ..)| *wanted) {
        let add = format!("ALTER TABLE {SCHEMA}.{table} ADD PRIMARY KEY ({key})");
        connection.execute(AssertSqlSafe(add)).await?;
    }
    Ok(())
}

/// Adds the secondary index that `order_summary` declares.
pub(crate) async fn add_indexes(connection: &mut PgConnection, models: Models) -> Result<()> {
    if models.orders {
        let index = format!("CREATE INDEX ON {SCHEMA}.order_summaries (customer_id, order_id)");
        connection.execute(AssertSqlSafe(index)).await?;
    }
    Ok(())
}

/// Moves the checkpoint, in the transaction of the rows.
pub(crate) async fn move_checkpoint(connection: &mut PgConnection, to: i64) -> Result<()> {
    sqlx::query(AssertSqlSafe(format!(
        "UPDATE {SCHEMA}.checkpoint SET position = $1"
    )))
    .bind(to)
    .execute(connection)
    .await?;
    Ok(())
}
