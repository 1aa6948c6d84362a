//! Hot reloads under load: how long a projection pauses for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use gnomon_tests::harness::{Installation, ORDER_SUMMARY, System, another_build, example};
use serde::Serialize;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::databases::runtime;
use crate::log::{Placed, insert, orders};
use crate::report::Measured;

/// Events of one insert.
const EVENTS_PER_INSERT: usize = 20;
/// How long the watcher rests between two looks at the checkpoint.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Inserts before the first reload.
const WARM_UP: Duration = Duration::from_secs(3);

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Reloads in a row
    #[arg(long, default_value_t = 100)]
    reloads: usize,
    /// Events a second
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
}

/// What reloads did to the batches.
#[derive(Serialize)]
pub(crate) struct Reload {
    situation: &'static str,
    reloads: usize,
    events_per_second: f64,
    batches: usize,
    p99_pause_ms: f64,
    longest_pause_ms: f64,
}

impl Measured for Reload {
    const HEADINGS: &'static [&'static str] = &[
        "situation",
        "reloads",
        "events/s",
        "batches",
        "p99 pause",
        "longest pause",
    ];

    fn title(&self) -> String {
        "Pauses between two commits of a projection under load".to_owned()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.situation.to_owned(),
            self.reloads.to_string(),
            format!("{:.0}", self.events_per_second),
            self.batches.to_string(),
            format!("{:.1} ms", self.p99_pause_ms),
            format!("{:.1} ms", self.longest_pause_ms),
        ]
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Reload>> {
    let installation =
        Installation::new(System::Postgres, System::Postgres).with_example("order-summary");
    installation.succeed(&["events", "--limit", "1"]);
    let module = example("order-summary");
    let builds = [another_build(&module, 1), another_build(&module, 2)];
    let files = ["one.wasm", "two.wasm"].map(|name| installation.path(name));
    for (file, bytes) in files.iter().zip(&builds) {
        std::fs::write(file, bytes)?;
    }
    let host = installation.start_host();
    let fed = Arc::new(AtomicBool::new(true));
    let feeder = std::thread::spawn({
        let (url, fed, rate) = (installation.events.url(), Arc::clone(&fed), arguments.rate);
        move || feed(&url, rate, &fed)
    });
    std::thread::sleep(WARM_UP);
    let url = installation.read_models.url();
    let quiet = watched(&url, || {
        std::thread::sleep(WARM_UP);
        Ok(())
    })?;
    let reloaded = watched(&url, || {
        let before = host.reloads();
        for (round, file) in files.iter().cycle().take(arguments.reloads).enumerate() {
            installation.succeed(&["deploy", &file.display().to_string()]);
            host.wait_for_reloads(before + round + 1);
        }
        Ok(())
    })?;
    fed.store(false, Ordering::Relaxed);
    feeder
        .join()
        .map_err(|_| anyhow!("the feeder panicked"))??;
    installation.wait_for("order_summary", installation.head());
    installation.events.execute("ANALYZE events");
    ORDER_SUMMARY.assert_right(
        &installation.events,
        &installation.read_models,
        "after the reloads",
    );
    Ok(vec![
        quiet.measured("without reloads", 0),
        reloaded.measured("with reloads", arguments.reloads),
    ])
}

/// Inserts events at a rate until it is told to end.
fn feed(url: &str, rate: u32, goes_on: &AtomicBool) -> Result<()> {
    let every = Duration::from_secs(1) * u32::try_from(EVENTS_PER_INSERT)? / rate;
    runtime()?.block_on(async {
        let mut connection = PgConnection::connect(url).await?;
        let mut orders = orders(3);
        let mut next = Instant::now();
        while goes_on.load(Ordering::Relaxed) {
            let placed: Vec<Placed> = orders.by_ref().take(EVENTS_PER_INSERT).collect();
            insert(&mut connection, &placed).await?;
            next += every;
            tokio::time::sleep_until(next.into()).await;
        }
        Ok(())
    })
}

/// The pauses that were seen while something went on.
struct Pauses {
    pauses: Vec<f64>,
    events: i64,
    time: Duration,
}

impl Pauses {
    fn measured(mut self, situation: &'static str, reloads: usize) -> Reload {
        self.pauses.sort_by(f64::total_cmp);
        let place = (self.pauses.len() * 99 / 100).min(self.pauses.len().saturating_sub(1));
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 16 digits")]
        let events_per_second = self.events as f64 / self.time.as_secs_f64();
        Reload {
            situation,
            reloads,
            events_per_second,
            batches: self.pauses.len(),
            p99_pause_ms: self.pauses.get(place).copied().unwrap_or_default(),
            longest_pause_ms: self.pauses.last().copied().unwrap_or_default(),
        }
    }
}

/// Watches the checkpoint while `work` goes on.
fn watched(url: &str, work: impl FnOnce() -> Result<()>) -> Result<Pauses> {
    let goes_on = Arc::new(AtomicBool::new(true));
    let watcher = std::thread::spawn({
        let (url, goes_on) = (url.to_owned(), Arc::clone(&goes_on));
        move || watch(&url, &goes_on)
    });
    let worked = work();
    goes_on.store(false, Ordering::Relaxed);
    let pauses = watcher
        .join()
        .map_err(|_| anyhow!("the watcher panicked"))??;
    worked?;
    Ok(pauses)
}

fn watch(url: &str, goes_on: &AtomicBool) -> Result<Pauses> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut connection = runtime.block_on(PgConnection::connect(url))?;
    let mut look = || -> Result<i64> {
        let position = sqlx::query_scalar(
            "SELECT c.position FROM gnomon.checkpoints c \
             JOIN gnomon.generations g ON g.id = c.generation WHERE g.state = 'live'",
        );
        Ok(runtime.block_on(position.fetch_one(&mut connection))?)
    };
    let first = look()?;
    let started = Instant::now();
    let (mut last, mut moved) = (first, Instant::now());
    let mut pauses = Vec::new();
    while goes_on.load(Ordering::Relaxed) {
        let position = look()?;
        if position != last {
            pauses.push(moved.elapsed().as_secs_f64() * 1e3);
            (last, moved) = (position, Instant::now());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(Pauses {
        pauses,
        events: last - first,
        time: started.elapsed(),
    })
}
