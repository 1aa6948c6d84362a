//! Measures what no test can promise: how long things take on this machine.
//!
//! `make bench` runs all measurements, `tests/bench NAME` one of them; the
//! script starts the PostgreSQL server that they need.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::machine::Machine;
use crate::report::Report;

mod arena;
mod beside;
mod contenders;
mod databases;
mod delay;
mod guests;
mod idle;
mod live;
mod log;
mod machine;
mod processes;
mod rebuild;
mod reload;
mod report;
mod scale;
mod statistics;
mod waking;
mod watcher;
mod writer;

/// Measures Gnomon on this machine
#[derive(Parser)]
struct Arguments {
    /// What to measure; all of it where nothing is named
    #[command(subcommand)]
    measurement: Option<Measurement>,
    /// One JSON document instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// A file that the JSON document is written to as well
    #[arg(long, global = true, value_name = "FILE")]
    output: Option<PathBuf>,
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
    /// The same with ten projections, at several rates
    Live(live::Arguments),
    /// How fast longer logs are rebuilt, and the host's memory with the longest
    Scale(scale::Arguments),
    /// What a guest costs beside native code
    Guests(guests::Arguments),
    /// How long a projection pauses for hot reloads
    Reload(reload::Arguments),
    /// What a host that has nothing to do asks of its databases
    Idle(idle::Arguments),
    /// Builds read models by hand; `rebuild` starts it
    #[command(hide = true)]
    Contend(contenders::Arguments),
}

/// What `make bench` measures, in this order.
const ALL: [&str; 7] = [
    "rebuild", "live", "delay", "beside", "reload", "idle", "waking",
];

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(Measurement::Contend(arguments)) = &arguments.measurement {
        return contenders::build(arguments);
    }
    let mut report = Report::begin(Machine::look()?, !arguments.json)?;
    match arguments.measurement {
        Some(measurement) => measure(&measurement, &mut report)?,
        None => {
            for name in ALL {
                let defaults = Arguments::try_parse_from(["bench", name])?;
                if let Some(measurement) = defaults.measurement {
                    measure(&measurement, &mut report)?;
                }
            }
        }
    }
    if let Some(file) = &arguments.output {
        report.write(file)?;
    }
    report.end()
}

fn measure(measurement: &Measurement, report: &mut Report) -> Result<()> {
    match measurement {
        Measurement::Delay(of) => report.add("delay", of, &delay::measure(of)?),
        Measurement::Waking(of) => report.add("waking", of, &waking::measure(of)?),
        Measurement::Rebuild(of) => report.add("rebuild", of, &rebuild::measure(of)?),
        Measurement::Beside(of) => report.add("beside", of, &beside::measure(of)?),
        Measurement::Live(of) => report.add("live", of, &live::measure(of)?),
        Measurement::Scale(of) => report.add("scale", of, &scale::measure(of)?),
        Measurement::Guests(of) => report.add("guests", of, &guests::measure(of)?),
        Measurement::Reload(of) => report.add("reload", of, &reload::measure(of)?),
        Measurement::Idle(of) => report.add("idle", of, &idle::measure(of)?),
        Measurement::Contend(of) => contenders::build(of),
    }
}
