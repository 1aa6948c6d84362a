//! Rebuilding read models from all events: Gnomon beside code written by hand,
//! interleaved in one run.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use gnomon_tests::harness::{Installation, System};
use serde::Serialize;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::contenders::{Contender, Models, SCHEMA, differences};
use crate::databases::runtime;
use crate::report::Measured;
use crate::statistics::median;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Events of the log
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// How often each way is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The read models that are built together: A (order_summary),
    /// B (customer_value), C (daily_revenue)
    #[arg(long, default_values = ["A", "B", "ABC"])]
    models: Vec<Models>,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            events: 1_000_000,
            rounds: 3,
            models: ["A", "B", "ABC"]
                .iter()
                .filter_map(|letters| letters.parse().ok())
                .collect(),
        }
    }
}

/// One way to rebuild.
#[derive(Serialize)]
pub(crate) struct Rebuild {
    measurement: &'static str,
    read_models: String,
    way: String,
    /// Events of the log per second.
    median: f64,
    min: f64,
    max: f64,
    /// Of the medians, to the expert's with 20,000 events a batch.
    ratio_to_expert: f64,
    /// Peak of the host's memory, in bytes; zero for the others.
    host_memory: u64,
    /// Written to the write-ahead log, in bytes, in the last round.
    wal_bytes: i64,
}

impl Measured for Rebuild {
    const TITLE: &'static str =
        "Rebuild from all events, PostgreSQL to PostgreSQL (events of the log per second)";
    const HEADINGS: &'static [&'static str] = &[
        "read models",
        "way",
        "median",
        "min",
        "max",
        "to expert",
        "host memory",
        "WAL",
    ];

    fn cells(&self) -> Vec<String> {
        const MIB: u64 = 1 << 20;
        vec![
            self.read_models.clone(),
            self.way.clone(),
            format!("{:.0}", self.median),
            format!("{:.0}", self.min),
            format!("{:.0}", self.max),
            format!("{:.2}", self.ratio_to_expert),
            match self.host_memory / MIB {
                0 => String::new(),
                memory => format!("{memory} MiB"),
            },
            format!("{} MiB", self.wal_bytes / (1 << 20)),
        ]
    }
}

/// The measurements of one way.
struct Way {
    name: String,
    is_the_measure: bool,
    rates: Vec<f64>,
    host_memory: u64,
    wal_bytes: i64,
}

impl Way {
    fn new(name: String, is_the_measure: bool) -> Self {
        Self {
            name,
            is_the_measure,
            rates: Vec::new(),
            host_memory: 0,
            wal_bytes: 0,
        }
    }

    fn add(&mut self, events: i64, time: Duration) {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 16 digits")]
        self.rates.push(events as f64 / time.as_secs_f64());
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Rebuild>> {
    let mut measured = Vec::new();
    for models in &arguments.models {
        measured.extend(measure_models(*models, arguments)?);
    }
    Ok(measured)
}

fn measure_models(models: Models, arguments: &Arguments) -> Result<Vec<Rebuild>> {
    let mut installation = Installation::in_one_database(System::Postgres);
    for folder in models.folders() {
        installation = installation.with_example(folder);
    }
    installation.append_orders(arguments.events, 1);
    installation.events.execute("ANALYZE events");
    let head = installation.head();
    let runtime = runtime()?;
    let mut connection = runtime.block_on(PgConnection::connect(&installation.events.url()))?;
    let mut gnomon = Way::new("gnomon".to_owned(), false);
    let mut by_hand: Vec<(Contender, Way)> = Contender::ALL
        .into_iter()
        .map(|contender| {
            let is_the_measure = contender == Contender::Expert { batch: 20_000 };
            (contender, Way::new(contender.name(), is_the_measure))
        })
        .collect();
    for _ in 0..arguments.rounds {
        forget(&installation, models);
        let before = runtime.block_on(wal_position(&mut connection))?;
        let started = Instant::now();
        let finished = installation.run(&["run", "--until-caught-up"]);
        gnomon.add(head, started.elapsed());
        ensure!(finished.code == Some(0), "the host failed: {finished:?}");
        gnomon.host_memory = gnomon.host_memory.max(finished.memory);
        gnomon.wal_bytes = runtime.block_on(wal_position(&mut connection))? - before;
        for (contender, way) in &mut by_hand {
            let before = runtime.block_on(wal_position(&mut connection))?;
            let started = Instant::now();
            runtime.block_on(contender.build(&mut connection, models, head))?;
            way.add(contender.end(head), started.elapsed());
            way.wal_bytes = runtime.block_on(wal_position(&mut connection))? - before;
            if contender.is_whole() {
                let rows = runtime.block_on(differences(&mut connection, models))?;
                ensure!(rows == 0, "{} gives {rows} other rows", way.name);
            }
        }
    }
    let ways: Vec<Way> = std::iter::once(gnomon)
        .chain(by_hand.into_iter().map(|(_, way)| way))
        .collect();
    let expert = ways
        .iter()
        .find(|way| way.is_the_measure)
        .map_or(f64::NAN, |way| median(way.rates.clone()));
    Ok(ways
        .into_iter()
        .map(|way| summary(way, models, expert))
        .collect())
}

/// Makes Gnomon begin from nothing.
fn forget(installation: &Installation, models: Models) {
    let mut statements = format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;");
    statements.push_str(
        "DO $$ DECLARE own text; BEGIN \
           FOR own IN SELECT nspname FROM pg_namespace WHERE nspname LIKE 'gnomon%' \
           LOOP EXECUTE format('DROP SCHEMA %I CASCADE', own); END LOOP; END $$;",
    );
    for folder in models.folders() {
        let projection = folder.replace('-', "_");
        statements.push_str(&format!("DROP SCHEMA IF EXISTS {projection} CASCADE;"));
    }
    installation.events.execute(&statements);
}

async fn wal_position(connection: &mut PgConnection) -> Result<i64> {
    let position = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
    Ok(sqlx::query_scalar(position).fetch_one(connection).await?)
}

fn summary(way: Way, models: Models, expert: f64) -> Rebuild {
    let middle = median(way.rates.clone());
    Rebuild {
        measurement: "rebuild",
        read_models: models.to_string(),
        way: way.name,
        median: middle,
        min: way.rates.iter().copied().fold(f64::INFINITY, f64::min),
        max: way.rates.iter().copied().fold(0.0, f64::max),
        ratio_to_expert: middle / expert,
        host_memory: way.host_memory,
        wal_bytes: way.wal_bytes,
    }
}
