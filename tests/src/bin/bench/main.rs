//! Measures what no test can promise: how long things take on this machine.
//!
//! `make bench` runs all measurements, `tests/bench NAME` one of them; the
//! script starts the PostgreSQL server that they need.

use std::io::Write as _;

use anyhow::Result;
use clap::{Parser, Subcommand};

mod beside;
mod contenders;
mod databases;
mod delay;
mod idle;
mod log;
mod rebuild;
mod reload;
mod report;
mod statistics;
mod waking;

/// Measures Gnomon on this machine
#[derive(Parser)]
struct Arguments {
    /// What to measure; all of it where nothing is named
    #[command(subcommand)]
    measurement: Option<Measurement>,
    /// One JSON object a line instead of tables
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Measurement {
    /// From the commit of an event to its row in the read model
    Delay(delay::Arguments),
    /// What waking the reader costs the writers
    Waking(waking::Arguments),
    /// How fast read models are rebuilt, beside code written by hand
    Rebuild(rebuild::Arguments),
    /// The delay of a live read model while it is rebuilt
    Beside(beside::Arguments),
    /// How long a projection pauses for hot reloads
    Reload(reload::Arguments),
    /// What a host that has nothing to do asks of its databases
    Idle(idle::Arguments),
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let json = arguments.json;
    if !json {
        writeln!(anstream::stdout(), "{}\n", databases::machine()?)?;
    }
    match arguments.measurement {
        Some(measurement) => measure(&measurement, json),
        None => all().iter().try_for_each(|each| measure(each, json)),
    }
}

fn measure(measurement: &Measurement, json: bool) -> Result<()> {
    match measurement {
        Measurement::Delay(arguments) => report::print(&delay::measure(arguments)?, json),
        Measurement::Waking(arguments) => report::print(&waking::measure(arguments)?, json),
        Measurement::Rebuild(arguments) => report::print(&rebuild::measure(arguments)?, json),
        Measurement::Beside(arguments) => report::print(&beside::measure(arguments)?, json),
        Measurement::Reload(arguments) => report::print(&reload::measure(arguments)?, json),
        Measurement::Idle(arguments) => report::print(&idle::measure(arguments)?, json),
    }
}

fn all() -> [Measurement; 6] {
    [
        Measurement::Delay(delay::Arguments::default()),
        Measurement::Waking(waking::Arguments::default()),
        Measurement::Rebuild(rebuild::Arguments::default()),
        Measurement::Beside(beside::Arguments::default()),
        Measurement::Reload(reload::Arguments::default()),
        Measurement::Idle(idle::Arguments::default()),
    ]
}
