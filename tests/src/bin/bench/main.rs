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
#[command(
    after_help = "How long they take with their defaults, about, on 2 cores: rebuild 15 \
    minutes, scale 8, idle 4, the others 1 or 2 each. Whatever else the machine does is measured \
    too, so let it do nothing else. A part that finds wrong rows fails."
)]
struct Arguments {
    /// What to measure
    #[command(subcommand)]
    measurement: Measurement,
    /// One JSON document instead of tables
    #[arg(long, global = true)]
    json: bool,
    /// A file that the JSON document is written to as well
    #[arg(long, global = true, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Measurement {
    /// All that follows, in about 40 minutes
    All(All),
    /// How fast read models are rebuilt, beside code written by hand
    Rebuild(rebuild::Arguments),
    /// How fast longer logs are rebuilt, and the host's memory with the longest
    Scale(scale::Arguments),
    /// What a guest costs beside native code
    Guests(guests::Arguments),
    /// From the commit of an event to its row in the read model
    Delay(delay::Arguments),
    /// The same with ten projections, at several rates
    Live(live::Arguments),
    /// The delay of a live read model while it is rebuilt
    Beside(beside::Arguments),
    /// How long a projection pauses for hot reloads
    Reload(reload::Arguments),
    /// What a host that has nothing to do asks of its databases
    Idle(idle::Arguments),
    /// What waking the reader costs the writers
    Waking(waking::Arguments),
    /// Builds read models by hand; `rebuild` starts it
    #[command(hide = true)]
    Contend(contenders::Arguments),
}

#[derive(clap::Args)]
struct All {
    /// Events of the log that is rebuilt; `scale` goes to five times as many
    #[arg(long, default_value_t = 1_000_000)]
    events: usize,
}

impl All {
    /// Every measurement, with its defaults otherwise.
    fn parts(&self) -> Result<Vec<Measurement>, clap::Error> {
        let events = self.events;
        let (log, lengths) = (
            format!("--events={events}"),
            format!("--events={},{events},{}", events / 10, events * 5),
        );
        let parts: [&[&str]; 9] = [
            &["rebuild", &log],
            &["scale", &lengths],
            &["guests"],
            &["delay"],
            &["live"],
            &["beside", &log],
            &["reload"],
            &["idle"],
            &["waking"],
        ];
        let parse = |part: &[&str]| Arguments::try_parse_from([&["bench"], part].concat());
        parts
            .into_iter()
            .map(|part| Ok(parse(part)?.measurement))
            .collect()
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Measurement::Contend(arguments) = &arguments.measurement {
        return contenders::build(arguments);
    }
    let mut report = Report::begin(Machine::look()?, !arguments.json)?;
    measure(&arguments.measurement, &mut report)?;
    if let Some(file) = &arguments.output {
        report.write(file)?;
    }
    report.end()
}

fn measure(measurement: &Measurement, report: &mut Report) -> Result<()> {
    match measurement {
        Measurement::All(all) => {
            let parts = all.parts()?;
            parts.iter().try_for_each(|part| measure(part, report))
        }
        Measurement::Rebuild(of) => report.add("rebuild", of, &rebuild::measure(of)?),
        Measurement::Scale(of) => report.add("scale", of, &scale::measure(of)?),
        Measurement::Guests(of) => report.add("guests", of, &guests::measure(of)?),
        Measurement::Delay(of) => report.add("delay", of, &delay::measure(of)?),
        Measurement::Live(of) => report.add("live", of, &live::measure(of)?),
        Measurement::Beside(of) => report.add("beside", of, &beside::measure(of)?),
        Measurement::Reload(of) => report.add("reload", of, &reload::measure(of)?),
        Measurement::Idle(of) => report.add("idle", of, &idle::measure(of)?),
        Measurement::Waking(of) => report.add("waking", of, &waking::measure(of)?),
        Measurement::Contend(of) => contenders::build(of),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_can_be_measured_with_what_it_is_given() -> Result<()> {
        let parts = All { events: 2_000 }.parts()?;
        let measured = Measurement::augment_subcommands(clap::Command::new("bench"));
        let hidden_and_all = 2;
        assert_eq!(
            parts.len() + hidden_and_all,
            measured.get_subcommands().count()
        );
        Ok(())
    }
}
