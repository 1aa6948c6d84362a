//! Rebuilding read models from all events: Gnomon beside code written by hand,
//! interleaved in one run.

use anyhow::Result;
use gnomon_tests::harness::System;
use serde::Serialize;

use crate::arena::Arena;
use crate::contenders::{Contender, Models};
use crate::report::{Measured, grouped, mebibytes};

mod way;

use way::Way;

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Events of the log
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
    /// How often each way is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The read models that are built together: A (order_summary),
    /// B (customer_value), C (daily_revenue)
    #[arg(long, default_values = ["A", "B", "ABC"], value_delimiter = ',')]
    models: Vec<Models>,
    /// What events and read models are in
    #[arg(long, value_enum, default_values = ["postgres", "sqlite"], value_delimiter = ',')]
    systems: Vec<System>,
}

/// One way to rebuild.
#[derive(Serialize)]
pub(crate) struct Rebuild {
    system: System,
    read_models: Models,
    way: &'static str,
    /// Of the log; a slow way gets a part of it.
    events: i64,
    /// Events of the log per second.
    median: f64,
    min: f64,
    max: f64,
    /// Of the medians, to the expert's.
    ratio_to_expert: f64,
    /// The median of the rounds, as what follows.
    client_cpu_seconds: f64,
    /// Of all processes of the server, if there is one.
    server_cpu_seconds: Option<f64>,
    /// The most of all rounds.
    peak_memory_bytes: u64,
    wal_bytes: Option<u64>,
}

impl Measured for Rebuild {
    const HEADINGS: &'static [&'static str] = &[
        "way",
        "events",
        "median",
        "min",
        "max",
        "to expert",
        "client CPU",
        "server CPU",
        "peak memory",
        "WAL",
    ];

    fn title(&self) -> String {
        let system = match self.system {
            System::Postgres => "PostgreSQL to PostgreSQL",
            System::Sqlite => "SQLite to SQLite",
        };
        format!(
            "Rebuild of {} from all events, {system} (events of the log per second)",
            self.read_models
        )
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.way.to_owned(),
            self.events.to_string(),
            grouped(self.median),
            grouped(self.min),
            grouped(self.max),
            format!("{:.2}", self.ratio_to_expert),
            format!("{:.2} s", self.client_cpu_seconds),
            self.server_cpu_seconds
                .map(|seconds| format!("{seconds:.2} s"))
                .unwrap_or_default(),
            mebibytes(self.peak_memory_bytes),
            self.wal_bytes.map(mebibytes).unwrap_or_default(),
        ]
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Rebuild>> {
    let mut measured = Vec::new();
    for system in &arguments.systems {
        let mut arena = Arena::new(*system)?;
        arena.grow(arguments.events)?;
        for models in &arguments.models {
            measured.extend(measure_models(&mut arena, *models, arguments.rounds)?);
        }
    }
    Ok(measured)
}

fn measure_models(arena: &mut Arena, models: Models, rounds: usize) -> Result<Vec<Rebuild>> {
    let head = arena.head();
    let installation = arena.installation(models);
    let mut gnomon = Way::new("gnomon", head);
    let mut by_hand: Vec<(Contender, Way)> = Contender::of(arena.system())
        .iter()
        .map(|contender| (*contender, Way::new(contender.name(), contender.end(head))))
        .collect();
    for round in 0..rounds {
        arena.forget()?;
        gnomon.add(arena.run(&mut installation.command(&["run", "--until-caught-up"]))?);
        for (contender, way) in &mut by_hand {
            way.add(arena.run_by_hand(*contender, models, contender.end(head))?);
            let is_whole = contender.end(head) == head;
            if contender.writes() && (is_whole || round == 0) {
                arena.check(*contender, models)?;
            }
        }
    }
    let expert = by_hand
        .iter()
        .find(|(contender, _)| *contender == Contender::expert(arena.system()))
        .map_or(f64::NAN, |(_, way)| way.rate());
    Ok(std::iter::once(&gnomon)
        .chain(by_hand.iter().map(|(_, way)| way))
        .map(|way| way.figures(arena.system(), models, expert))
        .collect())
}
