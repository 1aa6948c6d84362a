//! What customers are worth.

#![allow(clippy::unwrap_used, reason = "a test")]

use customer_value::{CustomerValue, CustomerValues};
use gnomon_sdk::testing::{event, given};
use serde_json::json;

#[test]
fn orders_payments_and_cancellations_are_counted_by_customer() {
    let placed = |customer: &str, at: &str| {
        event(
            "OrderPlaced",
            json!({"customer_id": customer, "total_cents": 900}),
        )
        .at(at)
    };
    let paid = |customer: &str, cents: i64| {
        event(
            "PaymentReceived",
            json!({"customer_id": customer, "amount_cents": cents}),
        )
    };
    let cancelled = |customer: &str| event("OrderCancelled", json!({"customer_id": customer}));

    let rows = given::<CustomerValues>([
        placed("c1", "2025-01-15T12:00:00Z"),
        paid("c1", 900),
        placed("c2", "2025-01-15T13:00:00Z"),
        // Recorded later, on a clock that was behind.
        placed("c1", "2025-01-15T11:00:00Z"),
        cancelled("c1"),
        paid("c1", 50),
        paid("c3", 10),
    ])
    .rows::<CustomerValue>();

    let row = |customer: &str, orders, paid_cents, cancelled, last: Option<&str>| CustomerValue {
        customer_id: customer.to_owned(),
        orders,
        paid_cents,
        cancelled,
        last_order_at: last.map(|at| at.parse().unwrap()),
    };
    assert_eq!(
        rows,
        [
            row("c1", 2, 950, 1, Some("2025-01-15T12:00:00Z")),
            row("c2", 1, 0, 0, Some("2025-01-15T13:00:00Z")),
            row("c3", 0, 10, 0, None),
        ]
    );
}

#[test]
fn a_sum_beyond_64_bits_is_rejected_and_does_not_wrap() {
    let paid = |cents: i64| {
        event(
            "PaymentReceived",
            json!({"customer_id": "c1", "amount_cents": cents}),
        )
    };
    let rejection = given::<CustomerValues>([paid(i64::MAX), paid(1)]).rejection();
    assert_eq!(rejection.position, 2);
    assert!(
        rejection.message.contains("paid_cents"),
        "{}",
        rejection.message
    );
}
