//! `spending` with a new column: how many orders there were.

use gnomon_sdk::prelude::*;

/// One row for each customer.
#[derive(Row, Debug, PartialEq)]
#[row(table = "spending", index(paid_cents))]
pub struct Spending {
    /// The customer.
    #[key]
    pub customer_id: String,
    /// How many payments they made.
    pub payments: i64,
    /// What they paid.
    pub paid_cents: i64,
    /// How many orders they placed.
    pub orders: i64,
}

/// The sum of all rows of the other table.
#[derive(Row, Debug, PartialEq)]
#[row(table = "spending_total")]
pub struct Total {
    /// Always `all`.
    #[key]
    pub scope: String,
    /// How many payments there were.
    pub payments: i64,
    /// What was paid.
    pub paid_cents: i64,
    /// How many orders were placed.
    pub orders: i64,
}

/// What brings money, or promises some.
#[derive(Events)]
#[expect(missing_docs, reason = "the names say it")]
pub enum SpendingEvent {
    OrderPlaced {
        customer_id: String,
    },
    PaymentReceived {
        customer_id: String,
        amount_cents: i64,
    },
}

/// The projection.
pub struct SpendingOfCustomers;

impl Projection for SpendingOfCustomers {
    const NAME: &'static str = "spending";
    const VERSION: u32 = 2;
    type Event = SpendingEvent;
    type Tables = (Spending, Total);

    fn apply(event: SpendingEvent, _: &EventContext, tables: &mut Tables) -> Result<()> {
        match event {
            SpendingEvent::OrderPlaced { customer_id } => {
                tables.merge(customer_id, [Spending::orders.add(1)]);
                tables.merge("all", [Total::orders.add(1)]);
            }
            SpendingEvent::PaymentReceived {
                customer_id,
                amount_cents,
            } => {
                tables.merge(
                    customer_id,
                    [
                        Spending::payments.add(1),
                        Spending::paid_cents.add(amount_cents),
                    ],
                );
                tables.merge(
                    "all",
                    [Total::payments.add(1), Total::paid_cents.add(amount_cents)],
                );
            }
        }
        Ok(())
    }
}

gnomon_sdk::export!(SpendingOfCustomers);
