//! The order log: what happened in a shop, made up from a seed.
//!
//! ```text
//! placed ──> paid (once or twice) ──> packed ──> shipped ──> delivered
//!    └──> cancelled <──┘
//! ```
//!
//! A hundred orders are under way at any time, and each event is the next one
//! of any of them. Some customers come often. About one event is recorded
//! every three and a half minutes, and whenever a day ends there may be one in
//! its last microsecond and one in the first of the next. The same seed gives
//! the same log, and a longer log begins with the shorter one.
#![expect(
    clippy::indexing_slicing,
    reason = "what is wrong here is a mistake of the tests, and the panic is its message"
)]

use jiff::{SignedDuration, Timestamp};
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde::Serialize;
use uuid::{Builder, Uuid};

/// Orders that are under way at the same time.
const OPEN_ORDERS: usize = 100;
const CUSTOMERS: u32 = 2_000;
/// Customers who place a quarter of all orders.
const FREQUENT_CUSTOMERS: u32 = 20;
const MICROSECONDS_BETWEEN_EVENTS_MAX: i64 = 420_000_000;

const CURRENCIES: [&str; 4] = ["EUR", "EUR", "USD", "GBP"];
const CARRIERS: [&str; 4] = ["DHL", "UPS", "La Poste", "Österreichische Post"];
const REASONS: [&str; 5] = [
    "changed my mind",
    "found it cheaper",
    "ordered \"twice\"",
    "zu spät geliefert",
    "другой размер 👟",
];

/// An event as the event store takes it in: one line of NDJSON.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope {
    /// A random UUID.
    pub event_id: String,
    /// `Order-` and the order's id.
    pub stream_id: String,
    /// Place in the stream, from 1.
    pub version: u64,
    /// Always 1.
    pub schema_version: u32,
    /// Type and data.
    #[serde(flatten)]
    pub event: OrderEvent,
    /// Who and why.
    pub metadata: Metadata,
    /// RFC 3339, UTC, microseconds.
    pub recorded_at: String,
}

/// What is said about an event.
#[derive(Clone, Debug, Serialize)]
pub struct Metadata {
    /// The same for all events of an order.
    pub correlation_id: String,
    /// The event before it in its order; for the first one, the correlation id.
    pub causation_id: String,
    /// Who did it.
    pub user_id: String,
}

/// What can happen to an order.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event_type", content = "data")]
#[expect(missing_docs, reason = "the fields are those of any order")]
pub enum OrderEvent {
    /// A customer ordered something.
    OrderPlaced {
        order_id: String,
        customer_id: String,
        total_cents: i64,
        currency: &'static str,
        items: Vec<Item>,
    },
    /// All of an order was paid, or a part of it.
    PaymentReceived {
        order_id: String,
        customer_id: String,
        amount_cents: i64,
    },
    /// An order is in its box.
    OrderPacked { order_id: String },
    /// An order is on its way.
    OrderShipped {
        order_id: String,
        carrier: &'static str,
        tracking: String,
    },
    /// An order has arrived.
    OrderDelivered { order_id: String },
    /// The customer does not want it any more.
    OrderCancelled {
        order_id: String,
        customer_id: String,
        reason: &'static str,
    },
}

/// A line of an order.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// What.
    pub sku: String,
    /// How many.
    pub qty: i64,
    /// What each costs.
    pub price_cents: i64,
}

/// An order that is under way.
struct Order {
    id: String,
    customer: String,
    correlation: String,
    last_event: String,
    version: u64,
    unpaid_cents: i64,
    step: Step,
}

/// What has happened to an order.
#[derive(Clone, Copy)]
enum Step {
    Placed,
    PartlyPaid,
    Paid,
    Packed,
    Shipped,
    /// Delivered or cancelled.
    Closed,
}

/// The events of the shop, without end.
pub struct Orders {
    random: Xoshiro256PlusPlus,
    clock: Timestamp,
    open: Vec<Order>,
}

impl Orders {
    /// The log that a seed gives.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            clock: jiff::civil::date(2025, 1, 1)
                .to_zoned(jiff::tz::TimeZone::UTC)
                .map_or(Timestamp::UNIX_EPOCH, |start| start.timestamp()),
            open: Vec::with_capacity(OPEN_ORDERS),
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_ratio(percent, 100)
    }

    fn pick(&mut self, words: &'static [&'static str]) -> &'static str {
        words.choose(&mut self.random).copied().unwrap_or_default()
    }

    fn uuid(&mut self) -> Uuid {
        Builder::from_random_bytes(self.random.random()).into_uuid()
    }

    fn advance_clock(&mut self) {
        const DAY: i64 = 86_400_000_000;
        let now = self.clock.as_microsecond();
        let mut next = now
            + self
                .random
                .random_range(0..=MICROSECONDS_BETWEEN_EVENTS_MAX);
        let midnight = (now / DAY + 1) * DAY;
        if next >= midnight {
            next = match self.random.random_range(0..3) {
                0 if now < midnight - 1 => midnight - 1,
                1 => midnight,
                _ => next,
            };
        }
        self.clock = Timestamp::UNIX_EPOCH
            .checked_add(SignedDuration::from_micros(next))
            .unwrap_or(Timestamp::MAX);
    }

    fn place(&mut self) -> Envelope {
        let number = if self.chance(25) {
            self.random.random_range(0..FREQUENT_CUSTOMERS)
        } else {
            self.random.random_range(0..CUSTOMERS)
        };
        let items: Vec<Item> = (0..self.random.random_range(1..=5))
            .map(|_| Item {
                sku: format!("SKU-{:04}", self.random.random_range(0..500)),
                qty: self.random.random_range(1..=4),
                price_cents: self.random.random_range(99..=50_000),
            })
            .collect();
        let total_cents = items.iter().map(|item| item.qty * item.price_cents).sum();
        let correlation = self.uuid().to_string();
        let order = Order {
            id: self.uuid().to_string(),
            customer: format!("C-{number:05}"),
            last_event: correlation.clone(),
            correlation,
            version: 0,
            unpaid_cents: total_cents,
            step: Step::Placed,
        };
        let event = OrderEvent::OrderPlaced {
            order_id: order.id.clone(),
            customer_id: order.customer.clone(),
            total_cents,
            currency: self.pick(&CURRENCIES),
            items,
        };
        self.open.push(order);
        self.envelope(self.open.len() - 1, event)
    }

    fn move_on(&mut self, number: usize) -> Envelope {
        let order_id = self.open[number].id.clone();
        let reached = self.open[number].step;
        let (event, step) = match reached {
            Step::Placed if self.chance(8) => self.cancel(number),
            Step::Placed if self.chance(10) => {
                let all = self.open[number].unpaid_cents;
                self.pay(number, all / 2, Step::PartlyPaid)
            }
            Step::Placed | Step::PartlyPaid => {
                let all = self.open[number].unpaid_cents;
                self.pay(number, all, Step::Paid)
            }
            Step::Paid if self.chance(4) => self.cancel(number),
            Step::Paid => (OrderEvent::OrderPacked { order_id }, Step::Packed),
            Step::Packed => {
                let event = OrderEvent::OrderShipped {
                    order_id,
                    carrier: self.pick(&CARRIERS),
                    tracking: format!("{:012X}", self.random.random_range(0..1_u64 << 48)),
                };
                (event, Step::Shipped)
            }
            Step::Shipped | Step::Closed => (OrderEvent::OrderDelivered { order_id }, Step::Closed),
        };
        self.open[number].step = step;
        let envelope = self.envelope(number, event);
        if matches!(step, Step::Closed) {
            self.open.swap_remove(number);
        }
        envelope
    }

    fn pay(&mut self, number: usize, amount_cents: i64, step: Step) -> (OrderEvent, Step) {
        let order = &mut self.open[number];
        order.unpaid_cents -= amount_cents;
        let event = OrderEvent::PaymentReceived {
            order_id: order.id.clone(),
            customer_id: order.customer.clone(),
            amount_cents,
        };
        (event, step)
    }

    fn cancel(&mut self, number: usize) -> (OrderEvent, Step) {
        let event = OrderEvent::OrderCancelled {
            order_id: self.open[number].id.clone(),
            customer_id: self.open[number].customer.clone(),
            reason: self.pick(&REASONS),
        };
        (event, Step::Closed)
    }

    fn envelope(&mut self, number: usize, event: OrderEvent) -> Envelope {
        let event_id = self.uuid().to_string();
        let by_customer = matches!(
            event,
            OrderEvent::OrderPlaced { .. }
                | OrderEvent::PaymentReceived { .. }
                | OrderEvent::OrderCancelled { .. }
        );
        let order = &mut self.open[number];
        order.version += 1;
        Envelope {
            stream_id: format!("Order-{}", order.id),
            version: order.version,
            schema_version: 1,
            event,
            metadata: Metadata {
                correlation_id: order.correlation.clone(),
                causation_id: std::mem::replace(&mut order.last_event, event_id.clone()),
                user_id: if by_customer {
                    order.customer.clone()
                } else {
                    "warehouse".to_owned()
                },
            },
            event_id,
            recorded_at: self.clock.to_string(),
        }
    }
}

impl Iterator for Orders {
    type Item = Envelope;

    fn next(&mut self) -> Option<Envelope> {
        self.advance_clock();
        let number = self.random.random_range(0..OPEN_ORDERS);
        Some(if number < self.open.len() {
            self.move_on(number)
        } else {
            self.place()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn lines(seed: u64, events: usize) -> Vec<String> {
        Orders::new(seed)
            .take(events)
            .map(|envelope| serde_json::to_string(&envelope).unwrap())
            .collect()
    }

    #[test]
    fn a_seed_gives_the_same_log_again() {
        assert_eq!(lines(1, 2_000), lines(1, 2_000));
        assert_eq!(lines(1, 1_000), lines(1, 2_000)[..1_000]);
        assert_ne!(lines(1, 10), lines(2, 10));
    }

    #[test]
    fn it_has_what_the_projections_need_to_be_tested() {
        let mut types = BTreeMap::<String, usize>::new();
        let mut versions = BTreeMap::<String, u64>::new();
        let mut ids = BTreeSet::new();
        let mut days = BTreeSet::new();
        let mut last = String::new();
        let (mut before_midnight, mut at_midnight) = (0, 0);
        for envelope in Orders::new(1).take(50_000) {
            let line = serde_json::to_value(&envelope).unwrap();
            *types
                .entry(line["event_type"].as_str().unwrap().to_owned())
                .or_default() += 1;
            let version = versions.entry(envelope.stream_id.clone()).or_default();
            *version += 1;
            assert_eq!(envelope.version, *version);
            assert_eq!(
                envelope.stream_id,
                format!("Order-{}", line["data"]["order_id"].as_str().unwrap())
            );
            assert!(ids.insert(envelope.event_id));
            let time: Timestamp = envelope.recorded_at.parse().unwrap();
            let last_time: Option<Timestamp> = last.parse().ok();
            assert!(last_time.is_none_or(|last| last <= time));
            before_midnight += usize::from(envelope.recorded_at.ends_with("23:59:59.999999Z"));
            at_midnight += usize::from(envelope.recorded_at.ends_with("00:00:00Z"));
            days.insert(envelope.recorded_at[..10].to_owned());
            last = envelope.recorded_at;
        }
        assert_eq!(types.len(), 6, "{types:?}");
        assert!(types.values().all(|count| *count > 500), "{types:?}");
        assert!(days.len() > 90, "{} days, until {last}", days.len());
        assert!(
            before_midnight > 10 && at_midnight > 10,
            "{before_midnight} {at_midnight}"
        );
    }
}
