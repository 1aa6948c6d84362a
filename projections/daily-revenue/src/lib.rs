//! One row for each day: what was paid on it, in UTC.

use gnomon_sdk::prelude::*;

/// One row for each day on which something was paid.
#[derive(Row, Debug, PartialEq)]
#[row(table = "daily_revenue")]
pub struct DailyRevenue {
    /// The day, in UTC.
    #[key]
    pub day: Date,
    /// What was paid.
    pub revenue_cents: i64,
    /// How many payments that were.
    pub payments: i64,
}

/// What brings revenue.
#[derive(Events)]
#[expect(missing_docs, reason = "the names say it")]
pub enum RevenueEvent {
    PaymentReceived { amount_cents: i64 },
}

/// The projection.
pub struct Revenue;

impl Projection for Revenue {
    const NAME: &'static str = "daily_revenue";
    const VERSION: u32 = 1;
    type Event = RevenueEvent;
    type Tables = (DailyRevenue,);

    fn apply(event: RevenueEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
        let RevenueEvent::PaymentReceived { amount_cents } = event;
        tables.merge(
            Date::from(context.recorded_at),
            [
                DailyRevenue::revenue_cents.add(amount_cents),
                DailyRevenue::payments.add(1),
            ],
        );
        Ok(())
    }
}

gnomon_sdk::export!(Revenue);
