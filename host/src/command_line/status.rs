//! `gnomon status`: what every projection does, and why it is not moving.

use std::io::Write as _;
use std::process::ExitCode;

use super::{Context, style};
use crate::status::{self, ProjectionStatus};
use crate::{source, target};

/// Shows how far every projection is, and why it is not moving
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon status
  gnomon status order_summary
  gnomon status --json | jq -c 'select(.lag_events > 0)'")]
pub(super) struct Status {
    /// Only this projection
    name: Option<String>,
}

impl Status {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let configuration = context.configuration()?;
        let target = target::open(&configuration.read_models).await?;
        // What the hosts said of themselves is worth showing without a source.
        let source = source::open(&configuration.events)
            .await
            .inspect_err(|error| tracing::warn!("the lag is unknown: {error}"))
            .ok();
        let mut statuses = status::projections(source.as_deref(), &*target).await?;
        if let Some(name) = &self.name {
            statuses.retain(|status| status.name == *name);
            if statuses.is_empty() {
                anyhow::bail!("there is no projection `{name}`; `gnomon status` lists all");
            }
        }
        let mut stdout = anstream::stdout();
        if context.json {
            for status in &statuses {
                writeln!(stdout, "{}", serde_json::to_string(status)?)?;
            }
        } else if statuses.is_empty() {
            writeln!(
                stdout,
                "no projections yet; put a module into {} and start `gnomon run`",
                configuration.projections_directory.display()
            )?;
        } else {
            write_table(&mut stdout, &statuses)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn write_table(
    output: &mut impl std::io::Write,
    statuses: &[ProjectionStatus],
) -> anyhow::Result<()> {
    let mut table = style::table(&[
        "projection",
        "version",
        "state",
        "position",
        "head",
        "lag",
        "host",
    ]);
    for status in statuses {
        table.add_row([
            status.name.clone(),
            status.version.to_string(),
            status.state.name().to_owned(),
            style::grouped(status.position.get()),
            status
                .head
                .map_or_else(|| "unknown".to_owned(), |head| style::grouped(head.get())),
            lag(status),
            status.host.clone().unwrap_or_default(),
        ]);
    }
    writeln!(output, "{table}")?;
    for status in statuses {
        if let Some(cause) = &status.cause {
            writeln!(output, "{}: {cause}", status.name)?;
        }
        if let Some(candidate) = &status.candidate {
            writeln!(
                output,
                "{}: version {} is {} at position {}",
                status.name,
                candidate.version,
                candidate.state.name(),
                style::grouped(candidate.position.get())
            )?;
        }
    }
    Ok(())
}

fn lag(status: &ProjectionStatus) -> String {
    match (status.lag_events, status.lag_seconds) {
        (None, _) => "unknown".to_owned(),
        (Some(0), _) => "0".to_owned(),
        (Some(events), seconds) => format!(
            "{} ({:.1} s)",
            style::grouped(events),
            seconds.unwrap_or_default()
        ),
    }
}
