//! `gnomon wait`: until the read model holds an event.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use gnomon_model::Position;

use super::{Context, host, output};
use crate::operations::{self, Operations};

/// Waits until a read model holds an event
///
/// Without --position, waits until the read model has caught up: until it holds
/// the event that is the last one when the command starts. Exits with 1 when the
/// time is up, when the projection has halted before that event, and at once if
/// there is no such projection and no new file in the projections directory could
/// be it. Asks a database that is out of reach again until the time is up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon wait order_summary
  gnomon wait order_summary --position 50000 --timeout 2m")]
pub(super) struct Wait {
    /// The projection
    name: String,
    /// The event's position [default: that of the last event]
    #[arg(long, value_name = "N", value_parser = position)]
    position: Option<Position>,
    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

fn position(text: &str) -> Result<Position, String> {
    text.parse()
        .ok()
        .and_then(Position::new)
        .ok_or_else(|| format!("a position is a number from 0 to {}", Position::MAX))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "a time is a number and a unit, as in `30s` or `2m`".to_owned())
}

impl Wait {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let patience = host::patience(Some(self.timeout));
        let operations = Operations::open_when_created(context.configuration()?, patience).await?;
        let wait = operations::Wait {
            name: self.name,
            position: self.position,
        };
        let waited = wait.run(&operations).await?;
        let mut stdout = output::stdout();
        if context.json {
            output::write_json(&mut stdout, &waited)?;
        } else {
            writeln!(stdout, "{} is at position {}", waited.name, waited.position)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
