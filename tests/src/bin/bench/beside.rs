//! The delay of a live read model while it is rebuilt beside itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use gnomon_tests::harness::{Installation, ORDER_SUMMARY, System};
use serde::Serialize;
use serde_json::Value;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::databases::runtime;
use crate::log::{self, orders};
use crate::report::Measured;
use crate::statistics::{Summary, Times};
use crate::watcher::Watcher;
use crate::writer::{Rhythm, WARM_UP_ORDERS, Writer};

/// The seed of the orders that are written while the log is rebuilt; the log
/// has another one.
const LIVE_SEED: u64 = 2;
/// How long the log may take to be projected at first.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Events that are rebuilt
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// Events a second that are written meanwhile
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// How long the writer writes before the rebuild, for comparison
    #[arg(long, default_value_t = 15)]
    seconds: u32,
}

/// The delays in one situation.
#[derive(Serialize)]
pub(crate) struct Beside {
    situation: &'static str,
    events: usize,
    /// Events rebuilt per second; zero where none are.
    rebuilt_per_second: f64,
    #[serde(flatten)]
    delay: Summary,
}

impl Measured for Beside {
    const HEADINGS: &'static [&'static str] = &[
        "situation",
        "events",
        "rebuilt/s",
        "min",
        "p50",
        "p99",
        "max",
    ];

    fn title(&self) -> String {
        "Delay of the live read model, alone and while it is rebuilt from all events".to_owned()
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.situation.to_owned(),
            self.events.to_string(),
            format!("{:.0}", self.rebuilt_per_second),
        ];
        cells.extend(self.delay.cells());
        cells
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Beside>> {
    let installation =
        Installation::new(System::Postgres, System::Postgres).with_example("order-summary");
    log::append(&installation, 0..arguments.events)?;
    let head = installation.head();
    let _host = installation.start_host();
    installation.wait_for_status("order_summary", PATIENCE, |status| {
        status["position"] == head && status["generation_state"] == "live"
    });
    let rhythm = Rhythm::one_every(Duration::from_secs(1) / arguments.rate);
    let second = usize::try_from(arguments.rate)?;
    let measured = runtime()?.block_on(async {
        let store = gnomon_event_store::open(&installation.events.url().parse()?).await?;
        let mut writer = Writer::Own(store);
        let watcher = Watcher::start(&installation.read_models.url(), &["order_summary"]);
        let mut registry = PgConnection::connect(&installation.read_models.url()).await?;
        let mut orders = orders(LIVE_SEED);
        let mut first = orders.by_ref().take(WARM_UP_ORDERS);
        writer.write_all(&mut first, Rhythm::FAST, &watcher).await?;

        let mut next = orders
            .by_ref()
            .take(second * usize::try_from(arguments.seconds)?);
        let alone = writer.write_all(&mut next, rhythm, &watcher).await?;

        let rebuilt = installation.json(&["rebuild", "order_summary", "--hold"]);
        let generation = rebuilt.get("generation").and_then(Value::as_i64);
        let generation = generation.context("`rebuild` names no generation")?;
        let started = Instant::now();
        let mut times = Vec::new();
        while is_building(&mut registry, generation).await? {
            let mut next = orders.by_ref().take(second / 4);
            times.push(writer.write_all(&mut next, rhythm, &watcher).await?);
        }
        let rebuilt = f64::from(u32::try_from(head)?) / started.elapsed().as_secs_f64();
        watcher.end()?;
        anyhow::Ok(vec![
            beside("alone", 0.0, &alone),
            beside("beside a rebuild", rebuilt, &Times::together(times)),
        ])
    })?;
    // Autovacuum has not seen them yet.
    installation.events.execute("ANALYZE events");
    ORDER_SUMMARY.assert_right(
        &installation.events,
        &installation.read_models,
        "beside a rebuild",
    );
    Ok(measured)
}

fn beside(situation: &'static str, rebuilt_per_second: f64, times: &Times) -> Beside {
    Beside {
        situation,
        events: times.len(),
        rebuilt_per_second,
        delay: times.summary(),
    }
}

async fn is_building(registry: &mut PgConnection, generation: i64) -> Result<bool> {
    let state: String = sqlx::query_scalar("SELECT state FROM gnomon.generations WHERE id = $1")
        .bind(generation)
        .fetch_one(registry)
        .await?;
    Ok(state == "building")
}
