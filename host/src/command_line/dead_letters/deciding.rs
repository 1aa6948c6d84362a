//! Decisions to leave events out: `gnomon dead-letters skip`, `discard`,
//! `skips` and `unskip`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use gnomon_model::{Position, readable};

use super::super::{Context, output, style};
use super::order_advice;
use crate::operations::{self, DeadLetters, DiscardOne, Discarded, Operations, Skipped};
use crate::registry::user_and_machine;

/// Leaves an event out permanently
///
/// Every generation of the projection does so: the one that is halted on the
/// event, or has parked it, goes on at once, and rebuilds, new versions, copies
/// and comparisons leave it out too. An event that is still to come can be
/// skipped beforehand; one that every generation has applied cannot.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Skip {
    /// The projection
    name: String,
    /// The position of the event
    #[arg(long, value_name = "N", value_parser = position)]
    position: Position,
    /// Why, for those who read the list of skips later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Skips events that wait; their streams go on with the next event
///
/// Each of them becomes a skip of the projection, as by `dead-letters skip`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["position", "stream", "all"])))]
pub(in super::super) struct Discard {
    /// The projection
    name: String,
    /// The event at this position
    #[arg(long, value_name = "N", value_parser = position)]
    position: Option<Position>,
    /// All events of this stream that wait
    #[arg(long, value_name = "S")]
    stream: Option<String>,
    /// All events that wait, of every stream
    #[arg(long)]
    all: bool,
    /// Does not ask
    #[arg(long)]
    yes: bool,
    /// Why, for those who read the list of skips later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Shows which events a projection skips, and who decided it
#[derive(Debug, clap::Args)]
pub(in super::super) struct Skips {
    /// The projection
    name: String,
}

/// Takes the decision to skip an event back
///
/// A generation that has left the event out stays as it is; a rebuild applies
/// the event in its place.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Unskip {
    /// The projection
    name: String,
    /// The position of the event
    #[arg(long, value_name = "N", value_parser = position)]
    position: Position,
}

fn position(text: &str) -> Result<Position, String> {
    text.parse()
        .ok()
        .and_then(Position::new)
        .ok_or_else(|| "it is not a position".to_owned())
}

impl Skip {
    pub(super) async fn run(
        self,
        context: &Context,
        operations: &Operations,
    ) -> anyhow::Result<ExitCode> {
        let skip = operations::Skip {
            name: self.name,
            position: self.position,
            reason: self.reason,
            actor: user_and_machine(),
        };
        show_skipped(context, &skip.run(operations).await?)
    }
}

impl Discard {
    pub(super) async fn run(
        self,
        context: &Context,
        operations: &Operations,
    ) -> anyhow::Result<ExitCode> {
        let Self { name, reason, .. } = self;
        if let Some(position) = self.position {
            let discard = DiscardOne {
                name,
                position,
                reason,
                actor: user_and_machine(),
            };
            return show_skipped(context, &discard.run(operations).await?);
        }
        if self.all && !self.yes {
            let letters = DeadLetters::of(operations, &name, false).await?;
            ask(&name, letters.count())?;
        }
        let discard = operations::Discard {
            name,
            stream: self.stream,
            reason,
            actor: user_and_machine(),
        };
        show_discarded(context, &discard.run(operations).await?)
    }
}

fn show_skipped(context: &Context, skipped: &Skipped) -> anyhow::Result<ExitCode> {
    let mut stdout = output::stdout();
    if context.json {
        output::write_json(&mut stdout, skipped)?;
        return Ok(ExitCode::SUCCESS);
    }
    let Skipped { name, skip, .. } = skipped;
    let described = format!(
        "event {} ({} in stream {})",
        skip.global_position,
        readable::name(&skip.event_type),
        readable::name(&skip.stream_id)
    );
    match (skipped.new, skipped.done) {
        (false, _) => writeln!(stdout, "{name}: {described} is skipped already")?,
        (true, true) => writeln!(stdout, "{name}: {described} is skipped")?,
        (true, false) if skipped.is_ahead => {
            writeln!(stdout, "{name}: {described} will be skipped when it comes")?;
        }
        (true, false) => writeln!(
            stdout,
            "{name}: recorded; the host that runs the projection will skip {described}"
        )?,
    }
    if skipped.applied_late > 0 {
        writeln!(
            stdout,
            "{name}: {}",
            order_advice(name, skipped.applied_late)
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_discarded(context: &Context, discarded: &Discarded) -> anyhow::Result<ExitCode> {
    let mut stdout = output::stdout();
    let Discarded { name, skipped, .. } = discarded;
    if context.json {
        output::write_json(&mut stdout, discarded)?;
    } else if discarded.done {
        writeln!(
            stdout,
            "{name}: {skipped} events are skipped, also by rebuilds and new versions; {} dead \
             letters still wait",
            discarded.dead_letters
        )?;
    } else {
        writeln!(
            stdout,
            "{name}: {skipped} skips are recorded; the host that runs the projection will do it"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks whether all of them are meant.
fn ask(name: &str, count: u64) -> anyhow::Result<()> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "{name}: all {count} dead letters would be skipped permanently, the good events behind them \
         too; add --yes if that is meant, or name one with --position or --stream"
    );
    let mut stderr = anstream::stderr();
    write!(
        stderr,
        "{name}: skip all {count} dead letters permanently, the good events behind them too? [y/N] "
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    anyhow::ensure!(
        matches!(answer.trim(), "y" | "Y" | "yes"),
        "{name}: nothing was done"
    );
    Ok(())
}

impl Skips {
    pub(super) async fn run(
        self,
        context: &Context,
        operations: &Operations,
    ) -> anyhow::Result<ExitCode> {
        let mut skips = operations::Skips::of(operations, &self.name).await?;
        let mut stdout = output::stdout();
        let mut table = style::table(&["position", "stream", "event", "when", "who", "why"]);
        loop {
            let page = skips.next(operations).await?;
            if page.is_empty() {
                break;
            }
            for skip in page {
                if context.json {
                    output::write_json(&mut stdout, &skip)?;
                    continue;
                }
                table.add_row([
                    style::grouped(skip.global_position.get()),
                    readable::name(&skip.stream_id),
                    readable::name(&skip.event_type),
                    skip.decided_at,
                    skip.actor,
                    skip.reason.unwrap_or_default(),
                ]);
            }
        }
        if !context.json {
            match table.is_empty() {
                true => writeln!(stdout, "{} skips no event", self.name)?,
                false => writeln!(stdout, "{table}")?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Unskip {
    pub(super) async fn run(
        self,
        context: &Context,
        operations: &Operations,
    ) -> anyhow::Result<ExitCode> {
        let unskip = operations::Unskip {
            name: self.name,
            position: self.position,
        };
        let unskipped = unskip.run(operations).await?;
        let name = &unskipped.name;
        let position = unskipped.global_position;
        let mut stdout = output::stdout();
        if context.json {
            output::write_json(&mut stdout, &unskipped)?;
        } else if unskipped.rebuild_needed {
            writeln!(
                stdout,
                "{name}: event {position} is no longer skipped; its rows are as before until `gnomon \
                 rebuild {name}` applies it in its place"
            )?;
        } else {
            writeln!(stdout, "{name}: event {position} is no longer skipped")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
