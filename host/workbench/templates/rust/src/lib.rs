//! What customers spend: one row for each of them.

use gnomon_sdk::prelude::*;

/// A row, and with it the table.
#[derive(Row)]
#[row(table = "{{projection}}")]
pub struct Customer {
    #[key]
    pub customer_id: String,
    pub orders: i64,
    pub spent_cents: i64,
    pub last_order_at: Option<Timestamp>,
}

/// The events that are wanted, each with the fields that are wanted of its data.
#[derive(Events)]
pub enum Event {
    OrderPlaced {
        customer_id: String,
    },
    PaymentReceived {
        customer_id: String,
        amount_cents: i64,
    },
}

pub struct Spending;

impl Projection for Spending {
    const NAME: &'static str = "{{projection}}";
    /// Increase this whenever the same events should produce different rows.
    const VERSION: u32 = 1;
    type Event = Event;
    type Tables = (Customer,);

    fn apply(event: Event, context: &EventContext, tables: &mut Tables) -> Result<()> {
        match event {
            // `merge` creates the row if it is missing, each column at zero.
            Event::OrderPlaced { customer_id } => tables.merge(
                customer_id,
                [
                    Customer::orders.add(1),
                    Customer::last_order_at.max(context.recorded_at),
                ],
            ),
            Event::PaymentReceived {
                customer_id,
                amount_cents,
            } => {
                if amount_cents < 0 {
                    reject!("a payment of {amount_cents} cents");
                }
                tables.merge(customer_id, [Customer::spent_cents.add(amount_cents)]);
            }
        }
        Ok(())
    }
}

gnomon_sdk::export!(Spending);
