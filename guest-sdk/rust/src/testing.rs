//! The test bench: given events, expected rows.
//!
//! It runs a projection natively, over tables in memory and with the host's
//! own semantics of writing. The events go through it several times, cut into
//! batches in several ways: all at once, one by one, and between. Rows that
//! depend on the cut mean that the projection keeps something in memory, and
//! fail the test.
//!
//! ```toml
//! [dev-dependencies]
//! gnomon-sdk = { version = "0.1", features = ["testing"] }
//! ```
//!
//! ```
//! use gnomon_sdk::prelude::*;
//! use gnomon_sdk::testing::{event, given};
//! use serde_json::json;
//!
//! #[derive(Row, Debug, PartialEq)]
//! #[row(table = "spending")]
//! struct Spending {
//!     #[key]
//!     customer_id: String,
//!     spent_cents: i64,
//! }
//!
//! #[derive(Events)]
//! enum PaymentEvent {
//!     PaymentReceived { customer_id: String, amount_cents: i64 },
//! }
//!
//! struct CustomerSpending;
//!
//! impl Projection for CustomerSpending {
//!     const NAME: &'static str = "spending";
//!     const VERSION: u32 = 1;
//!     type Event = PaymentEvent;
//!     type Tables = (Spending,);
//!
//!     fn apply(event: PaymentEvent, _: &EventContext, tables: &mut Tables) -> Result<()> {
//!         let PaymentEvent::PaymentReceived { customer_id, amount_cents } = event;
//!         tables.merge(customer_id, [Spending::spent_cents.add(amount_cents)]);
//!         Ok(())
//!     }
//! }
//!
//! let payment = |cents: i64| {
//!     event("PaymentReceived", json!({"customer_id": "c1", "amount_cents": cents}))
//! };
//! assert_eq!(
//!     given::<CustomerSpending>([payment(100), payment(50)]).rows::<Spending>(),
//!     [Spending { customer_id: "c1".to_owned(), spent_cents: 150 }],
//! );
//!
//! let rejection = given::<CustomerSpending>([event("PaymentReceived", json!({}))]).rejection();
//! assert!(rejection.message.contains("missing field `customer_id`"));
//! ```

#![expect(
    clippy::panic,
    reason = "a test bench reports by failing the test that called it"
)]

mod bench;
mod given;
mod values;

use std::marker::PhantomData;
use std::sync::Arc;

use gnomon_model::{Description, MemoryTables};

use crate::projection::Projection;
use crate::row::Row;

pub use given::{GivenEvent, event};

/// Batches of so many events are tried, besides all at once.
const BATCH_EVENTS: [usize; 4] = [1, 2, 3, 7];

/// The first event that a projection could not apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The event's position; the first of the given events has 1.
    pub position: u64,
    /// The message that the host would get.
    pub message: String,
}

/// What a projection makes of the given events.
#[derive(Clone, Debug)]
#[must_use]
pub struct Outcome<P> {
    description: Arc<Description>,
    result: Result<MemoryTables, Rejection>,
    of: PhantomData<fn(P)>,
}

/// Runs a projection over these events, in this order. Those that it does not
/// subscribe to are left out, as the host would.
///
/// # Panics
/// When the host would refuse the projection, or its rows depend on how the
/// events are cut into batches.
#[track_caller]
pub fn given<P: Projection>(events: impl IntoIterator<Item = GivenEvent>) -> Outcome<P> {
    let description = match bench::describe::<P>() {
        Ok(description) => description,
        Err(problem) => panic!("the host would refuse the projection: {problem}"),
    };
    let events = given::place(&description, events);
    let at_once = bench::run::<P>(&description, &events, events.len().max(1));
    // Applied one by one, a failure shows at the event that caused it.
    let mut result = at_once.clone();
    for batch_events in BATCH_EVENTS {
        let cut = bench::run::<P>(&description, &events, batch_events);
        match (&at_once, &cut) {
            (Ok(expected), Ok(found)) if expected == found => {}
            (Err(_), Err(_)) => {}
            _ => panic!(
                "the result depends on how the events are cut into batches, so the projection \
                 keeps something in memory from one event to the next\n\
                 all at once: {at_once:?}\n\
                 {batch_events} at a time: {cut:?}"
            ),
        }
        if batch_events == 1 {
            result = cut;
        }
    }
    Outcome {
        description,
        result,
        of: PhantomData,
    }
}

impl<P: Projection> Outcome<P> {
    /// The rows of a table, in primary-key order.
    ///
    /// # Panics
    /// When an event was rejected, or the projection declares no such table.
    #[must_use]
    #[track_caller]
    pub fn rows<R: Row>(&self) -> Vec<R> {
        let tables = match &self.result {
            Ok(tables) => tables,
            Err(Rejection { position, message }) => {
                panic!("event {position} was rejected: {message}")
            }
        };
        match bench::rows(tables, &self.description) {
            Ok(rows) => rows,
            Err(error) => panic!("table {}: {error}", R::SCHEMA.name),
        }
    }

    /// The rejection of the first event that could not be applied.
    ///
    /// # Panics
    /// When all were applied.
    #[must_use]
    #[track_caller]
    pub fn rejection(&self) -> Rejection {
        match &self.result {
            Ok(_) => panic!("all events were applied"),
            Err(rejection) => rejection.clone(),
        }
    }
}
