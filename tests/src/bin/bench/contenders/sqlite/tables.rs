//! The tables, as Gnomon makes them.

use std::path::Path;

use anyhow::Result;

use super::driver::Driver;
use crate::contenders::{Models, remove};

const ORDERS: &str = "CREATE TABLE order_summaries (order_id TEXT NOT NULL, \
    customer_id TEXT NOT NULL, total_cents INTEGER NOT NULL, status TEXT NOT NULL, \
    placed_at TEXT NOT NULL, updated_at TEXT NOT NULL, item_count INTEGER NOT NULL, \
    PRIMARY KEY (order_id)) STRICT, WITHOUT ROWID";
const CUSTOMERS: &str = "CREATE TABLE customer_value (customer_id TEXT NOT NULL, \
    orders INTEGER NOT NULL, paid_cents INTEGER NOT NULL, cancelled INTEGER NOT NULL, \
    last_order_at TEXT, PRIMARY KEY (customer_id)) STRICT, WITHOUT ROWID";
const DAYS: &str = "CREATE TABLE daily_revenue (day TEXT NOT NULL, \
    revenue_cents INTEGER NOT NULL, payments INTEGER NOT NULL, PRIMARY KEY (day)) \
    STRICT, WITHOUT ROWID";

/// Makes the tables anew, with a checkpoint.
pub(super) async fn make<D: Driver>(file: &Path, models: Models) -> Result<D> {
    remove(file)?;
    let mut connection = D::open(file).await?;
    let checkpoint = "CREATE TABLE checkpoint (position INTEGER NOT NULL) STRICT";
    connection.execute(checkpoint, &[]).await?;
    let start = "INSERT INTO checkpoint VALUES (0)";
    connection.execute(start, &[]).await?;
    let tables = [
        (models.orders, ORDERS),
        (models.customers, CUSTOMERS),
        (models.days, DAYS),
    ];
    for (_, table) in tables.into_iter().filter(|(wanted, _)| *wanted) {
        connection.execute(table, &[]).await?;
    }
    Ok(connection)
}

/// Adds the secondary index that `order_summary` declares, and closes the file.
pub(super) async fn finish<D: Driver>(mut connection: D, models: Models) -> Result<()> {
    if models.orders {
        let index = "CREATE INDEX orders_of_customer ON order_summaries (customer_id)";
        connection.execute(index, &[]).await?;
    }
    connection.close().await
}
