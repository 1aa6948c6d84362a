//! The delay of a read model: from the commit of an event until a reader sees
//! its row.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use gnomon::event_store::{self, EventStore, ExpectedVersion};
use gnomon_tests::harness::{Installation, System};
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use crate::databases::runtime;
use crate::log::{Placed, orders};
use crate::report::Measured;
use crate::statistics::{Summary, Times};

/// How long the watcher rests between two looks. It is part of what is
/// measured, and shorter rests take the processor from the host.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Orders before the first that counts: connections, caches, plans.
pub(crate) const WARM_UP_ORDERS: usize = 200;
/// A row that is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Events a second
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How long each writer writes at that rate
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Events that come alone
    #[arg(long, default_value_t = 15)]
    alone: u32,
    /// Seconds between those
    #[arg(long, default_value_t = 2)]
    pause: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            rate: 200,
            seconds: 20,
            alone: 15,
            pause: 2,
        }
    }
}

/// The delays of one writer.
#[derive(Serialize)]
pub(crate) struct Delay {
    measurement: &'static str,
    writer: &'static str,
    load: String,
    events: usize,
    events_per_second: f64,
    #[serde(flatten)]
    delay: Summary,
}

impl Measured for Delay {
    const TITLE: &'static str =
        "Delay from the commit of an event to its row in the read model (gnomon run, one writer)";
    const HEADINGS: &'static [&'static str] = &[
        "writer", "load", "events", "events/s", "min", "p50", "p99", "max",
    ];

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.writer.to_owned(),
            self.load.clone(),
            self.events.to_string(),
            format!("{:.1}", self.events_per_second),
        ];
        cells.extend(self.delay.cells());
        cells
    }
}

/// A rhythm of events.
struct Load {
    name: String,
    events: u32,
    every: Duration,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Delay>> {
    let installation =
        Installation::new(System::Postgres, System::Postgres).with_example("order-summary");
    installation.succeed(&["events", "--limit", "1"]);
    let _host = installation.start_host();
    installation.wait_for_status("order_summary", PATIENCE, |status| {
        status["generation_state"] == "live"
    });
    let loads = [
        Load {
            name: format!("{} a second", arguments.rate),
            events: arguments.rate * arguments.seconds,
            every: Duration::from_secs(1) / arguments.rate,
        },
        Load {
            name: format!("one every {} s", arguments.pause),
            events: arguments.alone,
            every: Duration::from_secs(arguments.pause.into()),
        },
    ];
    let runtime = runtime()?;
    runtime.block_on(async {
        let url = installation.events.url();
        let mut writers = [
            (
                "gnomon's append",
                Writer::Own(event_store::open(&url.parse()?).await?),
            ),
            (
                "foreign INSERT",
                Writer::Foreign(PgConnection::connect(&url).await?),
            ),
        ];
        let watcher = Watcher::start(installation.read_models.url());
        let delays = measure_all(&mut writers, &loads, &watcher).await;
        // Why the rows did not come, if it is the watcher's fault.
        watcher.end()?;
        delays
    })
}

async fn measure_all(
    writers: &mut [(&'static str, Writer)],
    loads: &[Load],
    watcher: &Watcher,
) -> Result<Vec<Delay>> {
    let mut orders = orders(1);
    for (_, writer) in writers.iter_mut() {
        let mut warm_up = orders.by_ref().take(WARM_UP_ORDERS);
        write(writer, &mut warm_up, Duration::ZERO, watcher).await?;
    }
    let mut delays = Vec::new();
    for load in loads {
        for (name, writer) in writers.iter_mut() {
            let mut placed = orders.by_ref().take(usize::try_from(load.events)?);
            let started = Instant::now();
            let times = write(writer, &mut placed, load.every, watcher).await?;
            delays.push(Delay {
                measurement: "delay",
                writer: name,
                load: load.name.clone(),
                events: times.len(),
                events_per_second: f64::from(load.events) / started.elapsed().as_secs_f64(),
                delay: times.summary(),
            });
        }
    }
    Ok(delays)
}

/// Writes orders in a rhythm, and waits until all of them are rows.
pub(crate) async fn write(
    writer: &mut Writer,
    orders: &mut impl Iterator<Item = Placed>,
    every: Duration,
    watcher: &Watcher,
) -> Result<Times> {
    let mut next = Instant::now();
    for order in orders {
        next += every;
        writer.write(&order).await?;
        watcher.expect(order.order);
        tokio::time::sleep_until(next.into()).await;
    }
    watcher.wait_for_all().await
}

pub(crate) enum Writer {
    Own(Arc<dyn EventStore>),
    Foreign(PgConnection),
}

impl Writer {
    /// Comes back when the event is committed.
    async fn write(&mut self, order: &Placed) -> Result<()> {
        match self {
            Self::Own(store) => {
                store
                    .append(&order.stream, ExpectedVersion::Any, &[order.event()?])
                    .await?;
            }
            Self::Foreign(connection) => {
                connection
                    .execute(
                        sqlx::query(
                            "INSERT INTO events (id, stream_id, stream_type, event_type, \
                               event_data, metadata, version) \
                             VALUES (gen_random_uuid(), $1, 'Order', 'OrderPlaced', $2::jsonb, \
                               '{}', 1)",
                        )
                        .bind(order.stream.as_str())
                        .bind(&order.data),
                    )
                    .await?;
            }
        }
        Ok(())
    }
}

/// A thread that looks for rows again and again, on a connection of its own.
pub(crate) struct Watcher {
    watched: Arc<Mutex<Watched>>,
    thread: JoinHandle<Result<()>>,
}

#[derive(Default)]
struct Watched {
    /// Orders that were committed, and when.
    committed: HashMap<String, Instant>,
    delays: Vec<Duration>,
    ends: bool,
}

impl Watcher {
    pub(crate) fn start(url: String) -> Self {
        let watched = Arc::new(Mutex::new(Watched::default()));
        let shared = Arc::clone(&watched);
        let thread = std::thread::spawn(move || watch(&url, &shared));
        Self { watched, thread }
    }

    fn expect(&self, order: String) {
        lock(&self.watched).committed.insert(order, Instant::now());
    }

    /// The delays since the last call.
    async fn wait_for_all(&self) -> Result<Times> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            {
                let mut watched = lock(&self.watched);
                if watched.committed.is_empty() {
                    return Ok(watched.delays.drain(..).collect());
                }
            }
            if self.thread.is_finished() || Instant::now() > deadline {
                bail!(
                    "the rows of {} orders do not come",
                    lock(&self.watched).committed.len()
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

fn watch(url: &str, watched: &Mutex<Watched>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut connection = runtime.block_on(PgConnection::connect(url))?;
    loop {
        let orders: Vec<String> = {
            let watched = lock(watched);
            if watched.ends {
                return Ok(());
            }
            watched.committed.keys().cloned().collect()
        };
        if !orders.is_empty() {
            let found = sqlx::query_scalar::<_, String>(
                "SELECT order_id::text FROM order_summary.order_summaries \
                 WHERE order_id = ANY ($1::uuid[])",
            )
            .bind(&orders)
            .fetch_all(&mut connection);
            let found = runtime
                .block_on(found)
                .context("cannot read the read model")?;
            let mut watched = lock(watched);
            for order in found {
                if let Some(committed) = watched.committed.remove(&order) {
                    watched.delays.push(committed.elapsed());
                }
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn lock(watched: &Mutex<Watched>) -> MutexGuard<'_, Watched> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}
