//! Following with many projections at once: from the commit of an event to its
//! row in each of them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gnomon_tests::harness::{
    Installation, ORDER_SUMMARY, PATIENCE, System, copy_of_projection, example,
};
use serde::Serialize;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::databases::runtime;
use crate::log::orders;
use crate::processes::Process;
use crate::report::{Measured, grouped};
use crate::statistics::Summary;
use crate::watcher::Watcher;
use crate::writer::{Rhythm, WARM_UP_ORDERS, Writer};

/// Commits of the writer a second, at most: each waits for the disk, which is
/// not what is measured.
const COMMITS_PER_SECOND: u32 = 200;

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Events a second, one rate after another
    #[arg(long, value_delimiter = ',', default_values_t = [200, 2_000])]
    rates: Vec<u32>,
    /// How many projections follow; all are copies of order_summary
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=99))]
    projections: u32,
    /// How long the writer writes at each rate
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// The delays at one rate.
#[derive(Serialize)]
pub(crate) struct Live {
    projections: u32,
    events: usize,
    events_per_second: f64,
    events_per_commit: usize,
    #[serde(flatten)]
    delay: Summary,
    /// Of one processor.
    host_cpu_percent: f64,
}

impl Measured for Live {
    const HEADINGS: &'static [&'static str] = &[
        "projections",
        "events",
        "events/s",
        "a commit",
        "min",
        "p50",
        "p99",
        "max",
        "host's CPU",
    ];

    fn title(&self) -> String {
        "Delay from the commit of an event to its row, looked for in all projections by turns \
         (one writer)"
            .to_owned()
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.projections.to_string(),
            self.events.to_string(),
            grouped(self.events_per_second),
            self.events_per_commit.to_string(),
        ];
        cells.extend(self.delay.cells());
        cells.push(format!("{:.0} %", self.host_cpu_percent));
        cells
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Live>> {
    let mut installation = Installation::new(System::Postgres, System::Postgres);
    let module = example("order-summary");
    // As long as the name in whose place they stand.
    let names: Vec<String> = (1..=arguments.projections)
        .map(|number| format!("order_copy_{number:02}"))
        .collect();
    for name in &names {
        let copy = copy_of_projection(&module, "order_summary", name);
        installation = installation.with_module(&format!("{name}.wasm"), &copy);
    }
    installation.succeed(&["events", "--limit", "1"]);
    let host = installation.start_host();
    for name in &names {
        installation.wait_for_status(name, PATIENCE, |status| {
            status["generation_state"] == "live"
        });
    }
    let projections: Vec<&str> = names.iter().map(String::as_str).collect();
    let process = Process(host.process());
    let measured = runtime()?.block_on(async {
        let connection = PgConnection::connect(&installation.events.url()).await?;
        let mut writer = Writer::Foreign(connection);
        let watcher = Watcher::start(&installation.read_models.url(), &projections);
        let measured = measure_rates(arguments, &mut writer, &watcher, process).await;
        // Why the rows did not come, if it is the watcher's fault.
        watcher.end()?;
        measured
    })?;
    // Autovacuum has not seen them yet.
    installation.events.execute("ANALYZE events");
    let (head, expected) = (
        installation.head(),
        ORDER_SUMMARY.expected(&installation.events),
    );
    for name in projections {
        installation.wait_for(name, head);
        let rows = installation.rows_of(name, ORDER_SUMMARY.table);
        ensure!(rows == expected, "the rows of {name} are wrong");
    }
    Ok(measured)
}

async fn measure_rates(
    arguments: &Arguments,
    writer: &mut Writer,
    watcher: &Watcher,
    host: Process,
) -> Result<Vec<Live>> {
    let mut orders = orders(1);
    let mut first = orders.by_ref().take(WARM_UP_ORDERS);
    writer.write_all(&mut first, Rhythm::FAST, watcher).await?;
    let mut measured = Vec::new();
    for rate in &arguments.rates {
        let events_per_commit = rate.div_ceil(COMMITS_PER_SECOND);
        let rhythm = Rhythm {
            orders_per_commit: usize::try_from(events_per_commit)?,
            every: Duration::from_secs(1) * events_per_commit / *rate,
        };
        let mut placed = orders
            .by_ref()
            .take(usize::try_from(rate * arguments.seconds)?);
        let (started, cpu) = (Instant::now(), host.cpu()?);
        let times = writer.write_all(&mut placed, rhythm, watcher).await?;
        let (elapsed, cpu) = (started.elapsed(), host.cpu()? - cpu);
        measured.push(Live {
            projections: arguments.projections,
            events: times.len(),
            events_per_second: f64::from(rate * arguments.seconds) / elapsed.as_secs_f64(),
            events_per_commit: rhythm.orders_per_commit,
            delay: times.summary(),
            host_cpu_percent: 100.0 * cpu.as_secs_f64() / elapsed.as_secs_f64(),
        });
    }
    Ok(measured)
}
