//! A reader of read models, who looks for rows again and again.

use std::collections::HashMap;
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

/// A thread that looks for the rows of orders, on a connection of its own.
/// Where there are several projections, each looks after its share: every
/// order is looked for in one of them, by turns.
pub(crate) struct Watcher {
    watched: Arc<Mutex<Watched>>,
    thread: JoinHandle<Result<()>>,
}

/// An order whose row is not there yet.
struct Awaited {
    committed: Instant,
    /// The place of the projection among those that are watched.
    projection: usize,
}

struct Watched {
    awaited: HashMap<String, Awaited>,
    projections: usize,
    next: usize,
    delays: Vec<Duration>,
    ends: bool,
}

impl Watcher {
    /// Watches the table `order_summaries` of these projections.
    pub(crate) fn start(url: &str, projections: &[&str]) -> Self {
        let watched = Arc::new(Mutex::new(Watched {
            awaited: HashMap::new(),
            projections: projections.len(),
            next: 0,
            delays: Vec::new(),
            ends: false,
        }));
        let thread = std::thread::spawn({
            let (url, query) = (url.to_owned(), query(projections));
            let shared = Arc::clone(&watched);
            move || watch(&url, &query, &shared)
        });
        Self { watched, thread }
    }

    /// Expects the rows of orders that were committed just now.
    pub(crate) fn expect(&self, orders: Vec<Placed>) {
        let committed = Instant::now();
        let mut watched = lock(&self.watched);
        for order in orders {
            let awaited = Awaited {
                committed,
                projection: watched.next,
            };
            watched.awaited.insert(order.order, awaited);
            watched.next = (watched.next + 1) % watched.projections;
        }
    }

    /// The delays since the last call.
    pub(crate) async fn wait_for_all(&self) -> Result<Times> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let mut watched = lock(&self.watched);
                if watched.awaited.is_empty() {
                    return Ok(watched.delays.drain(..).collect());
                }
            }
            if self.thread.is_finished() || Instant::now() > deadline {
                bail!(
                    "the rows of {} orders do not come",
                    lock(&self.watched).awaited.len()
                );
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

/// The orders that have a row; a parameter for each projection.
fn query(projections: &[&str]) -> String {
    let queries: Vec<String> = (1..)
        .zip(projections)
        .map(|(number, projection)| {
            format!(
                "SELECT id::text FROM unnest(${number}::uuid[]) AS id WHERE EXISTS \
                   (SELECT FROM {projection}.order_summaries WHERE order_id = id)"
            )
        })
        .collect();
    queries.join(" UNION ALL ")
}

fn watch(url: &str, query: &str, watched: &Mutex<Watched>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut connection = runtime.block_on(PgConnection::connect(url))?;
    // The plan is made while the tables are small, and must not become slow as
    // they grow.
    runtime.block_on(connection.execute("SET enable_seqscan = off"))?;
    loop {
        let shares = {
            let watched = lock(watched);
            if watched.ends {
                return Ok(());
            }
            watched.shares()
        };
        if shares.iter().any(|orders| !orders.is_empty()) {
            let mut found = sqlx::query_scalar(AssertSqlSafe(query));
            for orders in shares {
                found = found.bind(orders);
            }
            let found: Vec<String> = runtime
                .block_on(found.fetch_all(&mut connection))
                .context("cannot read the read models")?;
            let mut watched = lock(watched);
            for order in found {
                if let Some(awaited) = watched.awaited.remove(&order) {
                    watched.delays.push(awaited.committed.elapsed());
                }
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

impl Watched {
    /// The orders that each projection is looked at for.
    fn shares(&self) -> Vec<Vec<String>> {
        let mut shares = vec![Vec::new(); self.projections];
        for (order, awaited) in &self.awaited {
            if let Some(share) = shares.get_mut(awaited.projection) {
                share.push(order.clone());
            }
        }
        shares
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
