//! The read models of `projections/`, folded by hand.

use std::collections::HashMap;
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize, Serializer};

/// A set of read models that are built together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Models {
    pub(crate) orders: bool,
    pub(crate) customers: bool,
    pub(crate) days: bool,
}

impl Models {
    pub(crate) const NONE: Self = Self {
        orders: false,
        customers: false,
        days: false,
    };
    pub(crate) const ALL: Self = Self {
        orders: true,
        customers: true,
        days: true,
    };
    pub(crate) const EACH: [Self; 3] = [
        Self {
            orders: true,
            ..Self::NONE
        },
        Self {
            customers: true,
            ..Self::NONE
        },
        Self {
            days: true,
            ..Self::NONE
        },
    ];

    /// The folders of their projections.
    pub(crate) fn folders(self) -> Vec<&'static str> {
        [
            (self.orders, "order-summary"),
            (self.customers, "customer-value"),
            (self.days, "daily-revenue"),
        ]
        .into_iter()
        .filter_map(|(wanted, folder)| wanted.then_some(folder))
        .collect()
    }

    /// Their projections and tables.
    pub(crate) fn tables(self) -> Vec<(&'static str, &'static str)> {
        [
            (self.orders, ("order_summary", "order_summaries")),
            (self.customers, ("customer_value", "customer_value")),
            (self.days, ("daily_revenue", "daily_revenue")),
        ]
        .into_iter()
        .filter_map(|(wanted, table)| wanted.then_some(table))
        .collect()
    }

    /// The event types that matter to them.
    pub(crate) fn event_types(self) -> Vec<&'static str> {
        let mut types = Vec::new();
        if self.orders {
            types.extend(["OrderPacked", "OrderShipped", "OrderDelivered"]);
        }
        if self.orders || self.customers {
            types.extend(["OrderPlaced", "OrderCancelled"]);
        }
        types.push("PaymentReceived");
        types
    }
}

impl FromStr for Models {
    type Err = String;

    fn from_str(letters: &str) -> Result<Self, String> {
        let mut models = Self::NONE;
        for letter in letters.chars() {
            match letter {
                'A' => models.orders = true,
                'B' => models.customers = true,
                'C' => models.days = true,
                other => return Err(format!("`{other}` is none of A, B, C")),
            }
        }
        Ok(models)
    }
}

impl Serialize for Models {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl std::fmt::Display for Models {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let letters = [(self.orders, "A"), (self.customers, "B"), (self.days, "C")];
        for (wanted, letter) in letters {
            if wanted {
                formatter.write_str(letter)?;
            }
        }
        Ok(())
    }
}

/// An event as it is read.
pub(crate) struct Event {
    pub(crate) event_type: String,
    pub(crate) data: String,
    /// Microseconds since the Unix epoch.
    pub(crate) at: i64,
}

/// What an event says that matters to one of the read models.
pub(crate) enum Fact {
    Placed {
        order: String,
        customer: String,
        total: i64,
        items: i64,
    },
    Paid {
        order: String,
        customer: String,
        amount: i64,
    },
    Cancelled {
        order: String,
        customer: String,
    },
    Moved {
        order: String,
        status: &'static str,
    },
}

#[derive(Deserialize)]
struct Placed {
    order_id: String,
    customer_id: String,
    total_cents: i64,
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    qty: i64,
}

#[derive(Deserialize)]
struct Paid {
    order_id: String,
    customer_id: String,
    amount_cents: i64,
}

#[derive(Deserialize)]
struct Cancelled {
    order_id: String,
    customer_id: String,
}

#[derive(Deserialize)]
struct Moved {
    order_id: String,
}

impl Event {
    pub(crate) fn fact(&self) -> Result<Fact> {
        let data = &self.data;
        Ok(match self.event_type.as_str() {
            "OrderPlaced" => {
                let placed: Placed = serde_json::from_str(data)?;
                Fact::Placed {
                    order: placed.order_id,
                    customer: placed.customer_id,
                    total: placed.total_cents,
                    items: placed.items.iter().map(|item| item.qty).sum(),
                }
            }
            "PaymentReceived" => {
                let paid: Paid = serde_json::from_str(data)?;
                Fact::Paid {
                    order: paid.order_id,
                    customer: paid.customer_id,
                    amount: paid.amount_cents,
                }
            }
            "OrderCancelled" => {
                let cancelled: Cancelled = serde_json::from_str(data)?;
                Fact::Cancelled {
                    order: cancelled.order_id,
                    customer: cancelled.customer_id,
                }
            }
            other => {
                let status = match other {
                    "OrderPacked" => "packed",
                    "OrderShipped" => "shipped",
                    "OrderDelivered" => "delivered",
                    _ => bail!("nobody asked for {other}"),
                };
                let moved: Moved = serde_json::from_str(data)?;
                Fact::Moved {
                    order: moved.order_id,
                    status,
                }
            }
        })
    }
}

/// What a batch does to one order.
pub(crate) struct OrderChange {
    /// The row, if the order was placed in this batch.
    pub(crate) placed: Option<PlacedOrder>,
    pub(crate) status: &'static str,
    pub(crate) updated_at: i64,
}

pub(crate) struct PlacedOrder {
    pub(crate) customer: String,
    pub(crate) total: i64,
    pub(crate) items: i64,
    pub(crate) placed_at: i64,
}

/// What a batch adds to one customer.
#[derive(Default)]
pub(crate) struct CustomerChange {
    pub(crate) orders: i64,
    pub(crate) paid: i64,
    pub(crate) cancelled: i64,
    pub(crate) last_order_at: Option<i64>,
}

/// What a batch adds to one day.
#[derive(Default)]
pub(crate) struct DayChange {
    pub(crate) revenue: i64,
    pub(crate) payments: i64,
}

/// What a batch does, each key once.
pub(crate) struct Folded {
    models: Models,
    pub(crate) orders: HashMap<String, OrderChange>,
    pub(crate) customers: HashMap<String, CustomerChange>,
    /// By day since the Unix epoch.
    pub(crate) days: HashMap<i32, DayChange>,
}

impl Folded {
    pub(crate) fn new(models: Models) -> Self {
        Self {
            models,
            orders: HashMap::new(),
            customers: HashMap::new(),
            days: HashMap::new(),
        }
    }

    pub(crate) fn fold(&mut self, event: &Event) -> Result<()> {
        let at = event.at;
        match event.fact()? {
            Fact::Placed {
                order,
                customer,
                total,
                items,
            } => {
                if self.models.customers {
                    let change = self.customers.entry(customer.clone()).or_default();
                    change.orders += 1;
                    change.last_order_at = change.last_order_at.max(Some(at));
                }
                if self.models.orders {
                    let change = OrderChange {
                        placed: Some(PlacedOrder {
                            customer,
                            total,
                            items,
                            placed_at: at,
                        }),
                        status: "placed",
                        updated_at: at,
                    };
                    self.orders.insert(order, change);
                }
            }
            Fact::Paid {
                order,
                customer,
                amount,
            } => {
                self.move_order(order, "paid", at);
                if self.models.customers {
                    self.customers.entry(customer).or_default().paid += amount;
                }
                if self.models.days {
                    let day = self.days.entry(day(at)?).or_default();
                    day.revenue += amount;
                    day.payments += 1;
                }
            }
            Fact::Cancelled { order, customer } => {
                self.move_order(order, "cancelled", at);
                if self.models.customers {
                    self.customers.entry(customer).or_default().cancelled += 1;
                }
            }
            Fact::Moved { order, status } => self.move_order(order, status, at),
        }
        Ok(())
    }

    fn move_order(&mut self, order: String, status: &'static str, at: i64) {
        if !self.models.orders {
            return;
        }
        let change = self.orders.entry(order).or_insert(OrderChange {
            placed: None,
            status,
            updated_at: at,
        });
        (change.status, change.updated_at) = (status, at);
    }
}

/// The UTC day of a time, since the Unix epoch.
pub(crate) fn day(at: i64) -> Result<i32> {
    const DAY: i64 = 86_400_000_000;
    i32::try_from(at.div_euclid(DAY)).context("a day beyond all calendars")
}
