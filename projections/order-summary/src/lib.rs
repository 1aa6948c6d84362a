//! One row for each order: who placed it, what it costs and where it stands.

use gnomon_sdk::prelude::*;
use serde::Deserialize;

/// One row for each order.
#[derive(Row, Debug, PartialEq)]
#[row(table = "order_summaries", index(customer_id))]
pub struct OrderSummary {
    /// The order.
    #[key]
    pub order_id: Uuid,
    /// Who placed it.
    pub customer_id: String,
    /// What it costs.
    pub total_cents: i64,
    /// placed, paid, packed, shipped, delivered or cancelled.
    pub status: String,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// When something last happened to it.
    pub updated_at: Timestamp,
    /// How many pieces were ordered.
    pub item_count: i64,
}

/// What happens to an order.
#[derive(Events)]
#[expect(missing_docs, reason = "the names say it")]
pub enum OrderEvent {
    OrderPlaced {
        order_id: Uuid,
        customer_id: String,
        total_cents: i64,
        items: Vec<Item>,
    },
    PaymentReceived {
        order_id: Uuid,
    },
    OrderPacked {
        order_id: Uuid,
    },
    OrderShipped {
        order_id: Uuid,
    },
    OrderDelivered {
        order_id: Uuid,
    },
    OrderCancelled {
        order_id: Uuid,
    },
}

/// One line of an order.
#[derive(Deserialize)]
pub struct Item {
    qty: i64,
}

/// The projection.
pub struct OrderSummaries;

impl Projection for OrderSummaries {
    const NAME: &'static str = "order_summary";
    const VERSION: u32 = 1;
    type Event = OrderEvent;
    type Tables = (OrderSummary,);

    fn apply(event: OrderEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
        let at = context.recorded_at;
        let (order_id, status) = match event {
            OrderEvent::OrderPlaced {
                order_id,
                customer_id,
                total_cents,
                items,
            } => {
                tables.put(OrderSummary {
                    order_id,
                    customer_id,
                    total_cents,
                    status: "placed".to_owned(),
                    placed_at: at,
                    updated_at: at,
                    item_count: items.iter().map(|item| item.qty).sum(),
                });
                return Ok(());
            }
            OrderEvent::PaymentReceived { order_id } => (order_id, "paid"),
            OrderEvent::OrderPacked { order_id } => (order_id, "packed"),
            OrderEvent::OrderShipped { order_id } => (order_id, "shipped"),
            OrderEvent::OrderDelivered { order_id } => (order_id, "delivered"),
            OrderEvent::OrderCancelled { order_id } => (order_id, "cancelled"),
        };
        tables.patch(
            order_id,
            [
                OrderSummary::status.set(status),
                OrderSummary::updated_at.set(at),
            ],
        );
        Ok(())
    }
}

gnomon_sdk::export!(OrderSummaries);
