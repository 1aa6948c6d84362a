//! Who writes orders while somebody watches.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use gnomon_event_store::{EventStore, ExpectedVersion};
use sqlx::postgres::PgConnection;

use crate::log::{Placed, insert};
use crate::statistics::Times;
use crate::watcher::Watcher;

/// Orders before the first that counts: connections, caches, plans.
pub(crate) const WARM_UP_ORDERS: usize = 200;

/// One writer of orders.
pub(crate) enum Writer {
    /// Gnomon's own, which commits each order by itself.
    Own(Arc<dyn EventStore>),
    /// Any program that inserts into the table.
    Foreign(PgConnection),
}

/// How orders follow each other.
#[derive(Clone, Copy)]
pub(crate) struct Rhythm {
    pub(crate) orders_per_commit: usize,
    /// From one commit to the next.
    pub(crate) every: Duration,
}

impl Rhythm {
    /// One after another, without a rest.
    pub(crate) const FAST: Self = Self::one_every(Duration::ZERO);

    pub(crate) const fn one_every(every: Duration) -> Self {
        Self {
            orders_per_commit: 1,
            every,
        }
    }
}

impl Writer {
    /// Writes orders in a rhythm, and waits until all of them are rows.
    pub(crate) async fn write_all(
        &mut self,
        orders: &mut impl Iterator<Item = Placed>,
        rhythm: Rhythm,
        watcher: &Watcher,
    ) -> Result<Times> {
        let mut next = Instant::now();
        loop {
            let together: Vec<Placed> = orders.take(rhythm.orders_per_commit).collect();
            if together.is_empty() {
                return watcher.wait_for_all().await;
            }
            next += rhythm.every;
            self.write(&together).await?;
            watcher.expect(together);
            tokio::time::sleep_until(next.into()).await;
        }
    }

    /// Comes back when the events are committed.
    async fn write(&mut self, orders: &[Placed]) -> Result<()> {
        match self {
            Self::Own(store) => {
                for order in orders {
                    store
                        .append(&order.stream, ExpectedVersion::Any, &[order.event()?])
                        .await?;
                }
                Ok(())
            }
            Self::Foreign(connection) => insert(connection, orders).await,
        }
    }
}
