//! The delay of a read model: from the commit of an event until a reader sees
//! its row.

use std::time::{Duration, Instant};

use anyhow::Result;
use gnomon_tests::harness::{Installation, ORDER_SUMMARY, PATIENCE, System};
use serde::Serialize;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::databases::runtime;
use crate::log::orders;
use crate::report::Measured;
use crate::statistics::Summary;
use crate::watcher::Watcher;
use crate::writer::{Rhythm, WARM_UP_ORDERS, Writer};

#[derive(clap::Args, Serialize)]
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

/// The delays of one writer.
#[derive(Serialize)]
pub(crate) struct Delay {
    writer: &'static str,
    load: String,
    events: usize,
    events_per_second: f64,
    #[serde(flatten)]
    delay: Summary,
}

impl Measured for Delay {
    const HEADINGS: &'static [&'static str] = &[
        "writer", "load", "events", "events/s", "min", "p50", "p99", "max",
    ];

    fn title(&self) -> String {
        "Delay from the commit of an event to its row in the read model (gnomon run, one writer)"
            .to_owned()
    }

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
    let measured = runtime()?.block_on(async {
        let url = installation.events.url();
        let mut writers = [
            (
                "gnomon's append",
                Writer::Own(gnomon_event_store::open(&url.parse()?).await?),
            ),
            (
                "foreign INSERT",
                Writer::Foreign(PgConnection::connect(&url).await?),
            ),
        ];
        let watcher = Watcher::start(&installation.read_models.url(), &["order_summary"]);
        let delays = measure_all(&mut writers, &loads, &watcher).await;
        // Why the rows did not come, if it is the watcher's fault.
        watcher.end()?;
        delays
    })?;
    // Autovacuum has not seen them yet.
    installation.events.execute("ANALYZE events");
    ORDER_SUMMARY.assert_right(
        &installation.events,
        &installation.read_models,
        "after the events of both writers",
    );
    Ok(measured)
}

async fn measure_all(
    writers: &mut [(&'static str, Writer)],
    loads: &[Load],
    watcher: &Watcher,
) -> Result<Vec<Delay>> {
    let mut orders = orders(1);
    for (_, writer) in writers.iter_mut() {
        let mut warm_up = orders.by_ref().take(WARM_UP_ORDERS);
        writer
            .write_all(&mut warm_up, Rhythm::FAST, watcher)
            .await?;
    }
    let mut delays = Vec::new();
    for load in loads {
        for (name, writer) in writers.iter_mut() {
            let mut placed = orders.by_ref().take(usize::try_from(load.events)?);
            let started = Instant::now();
            let rhythm = Rhythm::one_every(load.every);
            let times = writer.write_all(&mut placed, rhythm, watcher).await?;
            delays.push(Delay {
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
