//! `gnomon wait`: until the read model holds an event.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use serde_json::json;

use super::Context;
use super::waiting::has_host;
use crate::generation::{Generation, GenerationState, RunState};
use crate::{status, target};

/// How often the read-model database is asked.
const POLL: Duration = Duration::from_millis(20);

/// Waits until a read model holds an event
///
/// Exits with 1 when the time is up, or when the projection has halted before
/// that event.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon wait order_summary --position 50000
  gnomon wait order_summary --position 50000 --timeout 2m")]
pub(super) struct Wait {
    /// The projection
    name: String,
    /// The event's position
    #[arg(long, value_name = "N", value_parser = position)]
    position: Position,
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
        let configuration = context.configuration()?;
        let started = Instant::now();
        // A host that is just starting makes the registry.
        let target = loop {
            match target::open_existing(&configuration.read_models).await? {
                Some(target) => break target,
                None if started.elapsed() < self.timeout => tokio::time::sleep(POLL).await,
                None => anyhow::bail!(target::no_registry(&configuration.read_models)),
            }
        };
        loop {
            let generations = target.generations().await?;
            let own: Vec<&Generation> = generations
                .iter()
                .filter(|generation| generation.projection == self.name)
                .collect();
            let shown = status::shown(&own);
            if let Some(shown) = shown
                && shown.state == GenerationState::Live
                && shown.position >= self.position
            {
                self.say(context, shown.position, started.elapsed())?;
                return Ok(ExitCode::SUCCESS);
            }
            if let Some(halted) = shown.and_then(|shown| shown.report.as_ref())
                && halted.state == RunState::Halted
            {
                anyhow::bail!(
                    "{} halted before event {}: {}",
                    self.name,
                    self.position,
                    halted.cause.as_deref().unwrap_or("no reason was recorded")
                );
            }
            if started.elapsed() >= self.timeout {
                let has_hosts = has_host(&*target).await?;
                anyhow::bail!(self.too_late(shown, has_hosts));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn say(&self, context: &Context, position: Position, waited: Duration) -> anyhow::Result<()> {
        let mut stdout = anstream::stdout();
        if context.json {
            let shown = json!({
                "name": self.name,
                "position": position,
                "waited_seconds": waited.as_secs_f64(),
            });
            writeln!(stdout, "{shown}")?;
        } else {
            writeln!(stdout, "{} is at position {position}", self.name)?;
        }
        Ok(())
    }

    fn too_late(&self, shown: Option<&Generation>, has_hosts: bool) -> String {
        let Some(shown) = shown else {
            return format!(
                "there was no projection `{}` within {:?}; `gnomon status` lists all",
                self.name, self.timeout
            );
        };
        let (_, cause) = status::state_of(shown, has_hosts);
        let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
        format!(
            "{} is at position {} ({}) and did not reach {} within {:?}{cause}",
            self.name,
            shown.position,
            shown.state.name(),
            self.position,
            self.timeout
        )
    }
}
