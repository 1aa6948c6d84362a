//! The statements, each for one row.

use anyhow::Result;

use super::driver::{Cell, Driver};
use crate::contenders::Folded;

const PLACE_ORDER: &str = "INSERT INTO order_summaries VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const MOVE_ORDER: &str =
    "UPDATE order_summaries SET status = ?2, updated_at = ?3 WHERE order_id = ?1";
const ADD_TO_CUSTOMER: &str = "INSERT INTO customer_value VALUES (?1, ?2, ?3, ?4, ?5) \
    ON CONFLICT (customer_id) DO UPDATE SET orders = orders + excluded.orders, \
      paid_cents = paid_cents + excluded.paid_cents, cancelled = cancelled + excluded.cancelled, \
      last_order_at = max(ifnull(last_order_at, excluded.last_order_at), \
                          ifnull(excluded.last_order_at, last_order_at))";
const ADD_TO_DAY: &str = "INSERT INTO daily_revenue VALUES (date(?1, 'unixepoch'), ?2, ?3) \
    ON CONFLICT (day) DO UPDATE SET revenue_cents = revenue_cents + excluded.revenue_cents, \
      payments = payments + excluded.payments";

/// Moves the checkpoint, in the transaction of the rows.
pub(super) async fn move_checkpoint<D: Driver>(connection: &mut D, to: i64) -> Result<()> {
    let update = "UPDATE checkpoint SET position = ?1";
    connection.execute(update, &[Cell::Integer(to)]).await
}

/// What some events do, each key once.
pub(super) async fn write<D: Driver>(connection: &mut D, folded: &Folded) -> Result<()> {
    for (id, change) in &folded.orders {
        let updated_at = text(change.updated_at)?;
        let Some(placed) = &change.placed else {
            let cells = [
                Cell::Text(id),
                Cell::Text(change.status),
                Cell::Text(&updated_at),
            ];
            connection.execute(MOVE_ORDER, &cells).await?;
            continue;
        };
        let cells = [
            Cell::Text(id),
            Cell::Text(&placed.customer),
            Cell::Integer(placed.total),
            Cell::Text(change.status),
            Cell::Text(&text(placed.placed_at)?),
            Cell::Text(&updated_at),
            Cell::Integer(placed.items),
        ];
        connection.execute(PLACE_ORDER, &cells).await?;
    }
    for (id, change) in &folded.customers {
        let last_order_at = change.last_order_at.map(text).transpose()?;
        let cells = [
            Cell::Text(id),
            Cell::Integer(change.orders),
            Cell::Integer(change.paid),
            Cell::Integer(change.cancelled),
            last_order_at.as_deref().map_or(Cell::Null, Cell::Text),
        ];
        connection.execute(ADD_TO_CUSTOMER, &cells).await?;
    }
    for (day, change) in &folded.days {
        const DAY_SECONDS: i64 = 86_400;
        let cells = [
            Cell::Integer(i64::from(*day) * DAY_SECONDS),
            Cell::Integer(change.revenue),
            Cell::Integer(change.payments),
        ];
        connection.execute(ADD_TO_DAY, &cells).await?;
    }
    Ok(())
}

/// A time as Gnomon writes it.
fn text(microseconds: i64) -> Result<String> {
    let time = jiff::Timestamp::from_microsecond(microseconds)?;
    Ok(format!("{time:.6}"))
}
