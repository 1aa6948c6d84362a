//! A reader of read models, who looks for rows again and again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use gnomon_tests::harness::PATIENCE;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::log::Placed;
use crate::statistics::Times;

/// How long the watcher rests between two looks. It is part of what is
/// measured, and shorter rests take the processor from the host.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// The oldest orders of a projection are looked for, so many at a time: where
/// rows are late, a look does not get slow, and make them later.
const LOOKED_FOR_MAX: usize = 16;

/// A thread that looks for the rows of orders, on a connection of its own.
/// Where there are several projections, each looks after its share: every
/// order is looked for in one of them, by turns.
pub(crate) struct Watcher {
    watched: Arc<Mutex<Watched>>,
    thread: JoinHandle<Result<()>>,
}

/// An order whose row is not there yet.
struct Awaited {
    order: String,
    committed: Instant,
}

struct Watched {
    /// Of each projection, the oldest first.
    awaited: Vec<VecDeque<Awaited>>,
    /// The projection whose turn it is.
    next: usize,
    delays: Vec<Duration>,
    ends: bool,
}

impl Watcher {
    /// Watches the table `order_summaries` of these projections.
    pub(crate) fn start(url: &str, projections: &[&str]) -> Self {
        let watched = Arc::new(Mutex::new(Watched {
            awaited: projections.iter().map(|_| VecDeque::new()).collect(),
            next: 0,
            delays: Vec::new(),
            ends: false,
        }));
        let thread = std::thread::spawn({
            let url = url.to_owned();
            let queries: Vec<String> = projections.iter().map(|name| query(name)).collect();
            let shared = Arc::clone(&watched);
            move || watch(&url, &queries, &shared)
        });
        Self { watched, thread }
    }

    /// Expects the rows of orders that were committed just now.
    pub(crate) fn expect(&self, orders: Vec<Placed>) {
        let committed = Instant::now();
        let mut watched = lock(&self.watched);
        for order in orders {
            let next = watched.next;
            watched.next = (next + 1) % watched.awaited.len();
            if let Some(awaited) = watched.awaited.get_mut(next) {
                awaited.push_back(Awaited {
                    order: order.order,
                    committed,
                });
            }
        }
    }

    /// The delays since the last call.
    pub(crate) async fn wait_for_all(&self) -> Result<Times> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let missing = {
                let mut watched = lock(&self.watched);
                let missing: usize = watched.awaited.iter().map(VecDeque::len).sum();
                if missing == 0 {
                    return Ok(watched.delays.drain(..).collect());
                }
                missing
            };
            if self.thread.is_finished() || Instant::now() > deadline {
                bail!("the rows of {missing} orders do not come");
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn end(self) -> Result<()> {
        lock(&self.watched).ends = true;
        self.thread
            .join()
            .map_err(|_| anyhow!("the watcher panicked"))?
    }
}

/// The orders that have a row.
fn query(projection: &str) -> String {
    format!(
        "SELECT order_id::text FROM {projection}.order_summaries WHERE order_id = ANY ($1::uuid[])"
    )
}

fn watch(url: &str, queries: &[String], watched: &Mutex<Watched>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut connection = runtime.block_on(PgConnection::connect(url))?;
    // A plan from when the tables were empty would read all of them when they
    // have grown, and take the processors from those who are measured.
    runtime.block_on(connection.execute("SET plan_cache_mode = force_custom_plan"))?;
    while !lock(watched).ends {
        for (projection, query) in queries.iter().enumerate() {
            let orders = lock(watched).oldest(projection);
            if orders.is_empty() {
                continue;
            }
            let found = sqlx::query_scalar(AssertSqlSafe(query.as_str())).bind(orders);
            let found: Vec<String> = runtime
                .block_on(found.fetch_all(&mut connection))
                .context("cannot read the read models")?;
            lock(watched).found(projection, &found);
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

impl Watched {
    /// The orders that are looked for in a projection.
    fn oldest(&self, projection: usize) -> Vec<String> {
        let awaited = self.awaited.get(projection).into_iter().flatten();
        awaited
            .take(LOOKED_FOR_MAX)
            .map(|awaited| awaited.order.clone())
            .collect()
    }

    fn found(&mut self, projection: usize, found: &[String]) {
        let Some(awaited) = self.awaited.get_mut(projection) else {
            return;
        };
        awaited.retain(|awaited| {
            let is_there = found.contains(&awaited.order);
            if is_there {
                self.delays.push(awaited.committed.elapsed());
            }
            !is_there
        });
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
