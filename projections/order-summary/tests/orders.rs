//! The life of an order, as one row.

#![allow(clippy::unwrap_used, reason = "a test")]

use gnomon_sdk::testing::{GivenEvent, event, given};
use order_summary::{OrderSummaries, OrderSummary};
use serde_json::json;

const ORDER: &str = "0191a2b3-c4d5-4e6f-8a9b-000000000001";

fn placed() -> GivenEvent {
    event(
        "OrderPlaced",
        json!({
            "order_id": ORDER, "customer_id": "c1", "total_cents": 3_500, "currency": "EUR",
            "items": [
                {"sku": "A", "qty": 2, "price_cents": 1_000},
                {"sku": "B", "qty": 1, "price_cents": 1_500},
            ],
        }),
    )
    .at("2025-01-15T10:00:00Z")
}

fn happened(event_type: &str, at: &str) -> GivenEvent {
    event(event_type, json!({"order_id": ORDER, "customer_id": "c1"})).at(at)
}

#[test]
fn an_order_is_one_row_with_its_last_status() {
    let rows = given::<OrderSummaries>([
        placed(),
        happened("PaymentReceived", "2025-01-15T10:05:00Z"),
        happened("OrderPacked", "2025-01-15T11:00:00Z"),
        happened("OrderShipped", "2025-01-16T08:30:00Z"),
    ])
    .rows::<OrderSummary>();
    assert_eq!(
        rows,
        [OrderSummary {
            order_id: ORDER.parse().unwrap(),
            customer_id: "c1".to_owned(),
            total_cents: 3_500,
            status: "shipped".to_owned(),
            placed_at: "2025-01-15T10:00:00Z".parse().unwrap(),
            updated_at: "2025-01-16T08:30:00Z".parse().unwrap(),
            item_count: 3,
        }]
    );
}

#[test]
fn every_event_has_its_status() {
    for (event_type, status) in [
        ("PaymentReceived", "paid"),
        ("OrderPacked", "packed"),
        ("OrderShipped", "shipped"),
        ("OrderDelivered", "delivered"),
        ("OrderCancelled", "cancelled"),
    ] {
        let events = [placed(), happened(event_type, "2025-01-16T00:00:00Z")];
        let rows = given::<OrderSummaries>(events).rows::<OrderSummary>();
        assert_eq!(rows.first().unwrap().status, status);
    }
}

#[test]
fn an_order_that_was_never_placed_has_no_row() {
    let rows = given::<OrderSummaries>([happened("OrderShipped", "2025-01-16T00:00:00Z")])
        .rows::<OrderSummary>();
    assert_eq!(rows, []);
}

#[test]
fn a_broken_event_is_named() {
    let events = [placed(), event("OrderPacked", json!({"order_id": "17"}))];
    let rejection = given::<OrderSummaries>(events).rejection();
    assert_eq!(rejection.position, 2);
    let expected = "OrderPacked: its data cannot be read: \
                    `order_id` is \"17\": `17` is not a UUID";
    let message = &rejection.message;
    assert!(message.starts_with(expected), "{message}");
}
