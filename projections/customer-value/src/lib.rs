//! One row for each customer: how many orders, what was paid, how often they
//! cancelled.

use gnomon_sdk::prelude::*;

/// One row for each customer.
#[derive(Row, Debug, PartialEq)]
#[row(table = "customer_value")]
pub struct CustomerValue {
    /// The customer.
    #[key]
    pub customer_id: String,
    /// How many orders they placed.
    pub orders: i64,
    /// What they paid.
    pub paid_cents: i64,
    /// How many orders they cancelled.
    pub cancelled: i64,
    /// When they last placed an order.
    pub last_order_at: Option<Timestamp>,
}

/// What customers do.
#[derive(Events)]
#[expect(missing_docs, reason = "the names say it")]
pub enum CustomerEvent {
    OrderPlaced {
        customer_id: String,
    },
    PaymentReceived {
        customer_id: String,
        amount_cents: i64,
    },
    OrderCancelled {
        customer_id: String,
    },
}

/// The projection.
pub struct CustomerValues;

impl Projection for CustomerValues {
    const NAME: &'static str = "customer_value";
    const VERSION: u32 = 1;
    type Event = CustomerEvent;
    type Tables = (CustomerValue,);

    fn apply(event: CustomerEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
        match event {
            CustomerEvent::OrderPlaced { customer_id } => tables.merge(
                customer_id,
                [
                    CustomerValue::orders.add(1),
                    CustomerValue::last_order_at.max(context.recorded_at),
                ],
            ),
            CustomerEvent::PaymentReceived {
                customer_id,
                amount_cents,
            } => {
                tables.merge(customer_id, [CustomerValue::paid_cents.add(amount_cents)]);
            }
            CustomerEvent::OrderCancelled { customer_id } => {
                tables.merge(customer_id, [CustomerValue::cancelled.add(1)]);
            }
        }
        Ok(())
    }
}

gnomon_sdk::export!(CustomerValues);
