//! The example projections as native code: on the host's own write buffer, as
//! a guest's calls are, and into hash maps, which is the least that they take.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use gnomon_model::{BatchWrites, Change, Description, Floats, MemoryTables, Value, WriteLimits};

use crate::contenders::{Event, Fact, Folded, Models, day};

/// Native code in the place of one projection.
pub(super) struct Native {
    models: Models,
    description: Arc<Description>,
    buffered: Vec<Duration>,
    folded: Vec<Duration>,
}

impl Native {
    pub(super) const fn new(models: Models, description: Arc<Description>) -> Self {
        Self {
            models,
            description,
            buffered: Vec::new(),
            folded: Vec::new(),
        }
    }

    /// Whether a projection, in whatever language, is to give the same rows.
    pub(super) fn writes_the_tables_of(&self, description: &Description) -> bool {
        self.description.tables == description.tables
    }

    /// Applies the events in both ways, and gives the rows.
    pub(super) fn apply(
        &mut self,
        events: &[gnomon_model::Event],
        batch: usize,
    ) -> Result<MemoryTables> {
        let events: Vec<Event> = events.iter().map(read).collect::<Result<_>>()?;
        let started = Instant::now();
        let mut tables = MemoryTables::new(Arc::clone(&self.description));
        for batch in events.chunks(batch) {
            let description = Arc::clone(&self.description);
            let mut writes = BatchWrites::new(description, Floats::All, WriteLimits::NONE);
            for event in batch {
                self.write(event, &mut writes, &mut tables)?;
            }
            let written = writes.finish(&mut tables)?;
            tables.commit(written);
        }
        self.buffered.push(started.elapsed());

        let started = Instant::now();
        let mut folded = Folded::new(self.models);
        for event in &events {
            folded.fold(event)?;
        }
        self.folded.push(started.elapsed());
        Ok(tables)
    }

    /// What was measured since the last call, in both ways.
    pub(super) fn take_times(&mut self) -> (Vec<Duration>, Vec<Duration>) {
        (
            std::mem::take(&mut self.buffered),
            std::mem::take(&mut self.folded),
        )
    }

    /// What the projection does with an event; each has one table.
    fn write(
        &self,
        event: &Event,
        writes: &mut BatchWrites,
        tables: &mut MemoryTables,
    ) -> Result<()> {
        const TABLE: usize = 0;
        let at = Value::Timestamp(event.at);
        let set = |column, value| Change::Set(column, value);
        let add = |column, number| Change::Add(column, Value::Integer(number));
        let fact = event.fact()?;
        if self.models.customers {
            let (customer, changes) = match fact {
                Fact::Placed { customer, .. } => {
                    let last = Change::Max("last_order_at", at);
                    (customer, vec![add("orders", 1), last])
                }
                Fact::Paid {
                    customer, amount, ..
                } => (customer, vec![add("paid_cents", amount)]),
                Fact::Cancelled { customer, .. } => (customer, vec![add("cancelled", 1)]),
                Fact::Moved { .. } => return Ok(()),
            };
            writes.merge(TABLE, vec![Value::Text(customer)], changes)?;
        } else if self.models.days {
            if let Fact::Paid { amount, .. } = fact {
                let changes = vec![add("revenue_cents", amount), add("payments", 1)];
                writes.merge(TABLE, vec![Value::Date(day(event.at)?)], changes)?;
            }
        } else {
            let (order, status) = match fact {
                Fact::Placed {
                    order,
                    customer,
                    total,
                    items,
                } => {
                    let row = vec![
                        Value::uuid(&order)?,
                        Value::Text(customer),
                        Value::Integer(total),
                        Value::Text("placed".to_owned()),
                        at.clone(),
                        at,
                        Value::Integer(items),
                    ];
                    return Ok(writes.put(tables, TABLE, row)?);
                }
                Fact::Paid { order, .. } => (order, "paid"),
                Fact::Cancelled { order, .. } => (order, "cancelled"),
                Fact::Moved { order, status } => (order, status),
            };
            let changes = vec![
                set("status", Value::Text(status.to_owned())),
                set("updated_at", at),
            ];
            writes.patch(TABLE, vec![Value::uuid(&order)?], changes)?;
        }
        Ok(())
    }
}

fn read(event: &gnomon_model::Event) -> Result<Event> {
    let gnomon_model::Payload::Json(data) = &event.data else {
        bail!("event {} is not JSON", event.position);
    };
    Ok(Event {
        event_type: event.event_type.clone(),
        data: data.clone(),
        at: event.recorded_at,
    })
}
