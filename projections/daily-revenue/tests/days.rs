//! What was paid on each day.

#![allow(clippy::unwrap_used, reason = "a test")]

use daily_revenue::{DailyRevenue, Revenue};
use gnomon_sdk::testing::{event, given};
use serde_json::json;

#[test]
fn a_day_begins_and_ends_at_midnight_in_utc() {
    let paid =
        |cents: i64, at: &str| event("PaymentReceived", json!({"amount_cents": cents})).at(at);
    let rows = given::<Revenue>([
        paid(100, "2025-01-15T00:00:00Z"),
        paid(200, "2025-01-15T23:59:59.999999Z"),
        paid(400, "2025-01-16T00:00:00Z"),
        paid(800, "2025-01-16T01:00:00+02:00"),
    ])
    .rows::<DailyRevenue>();

    let row = |day: &str, revenue_cents, payments| DailyRevenue {
        day: day.parse().unwrap(),
        revenue_cents,
        payments,
    };
    assert_eq!(
        rows,
        [row("2025-01-15", 1_100, 3), row("2025-01-16", 400, 1)]
    );
}
