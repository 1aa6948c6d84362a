//! `gnomon pause` and `gnomon resume`: the desired state of a projection.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::waiting::Own;
use super::{Context, host, output};

/// Pauses a projection
///
/// Readers still see its rows. The host that runs it notices within a second. If
/// no host runs, the projection is paused when one starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon pause order_summary")]
pub(super) struct Pause {
    /// The projection
    name: String,
}

/// Resumes a projection that is paused or has halted
///
/// A projection that has halted tries the same event again. If it has halted
/// because the event store is not the one that it read, it continues only if the
/// store is the right one now, or with --accept-history.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon resume order_summary
  gnomon resume order_summary --accept-history    the rows are right as they are")]
pub(super) struct Resume {
    /// The projection
    name: String,
    /// Accepts the event store as it is now: the rows stay as they are, and the
    /// host applies the next events to them
    #[arg(long)]
    accept_history: bool,
}

impl Pause {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let registry = host::storage(context).await?.registry;
        let name = &self.name;
        let own = Own::read(&*registry, name).await?;
        anyhow::ensure!(
            !own.all.iter().any(|generation| generation.is_removed),
            "{name} was removed, so it stands still already; `gnomon resume {name}` brings it back"
        );
        registry.pause(name).await?;
        say(context, name, "paused")
    }
}

impl Resume {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let registry = host::storage(context).await?.registry;
        let name = &self.name;
        let own = Own::read(&*registry, name).await?;
        if self.accept_history {
            registry.accept_history(name).await?;
            let waiting: u64 = own
                .all
                .iter()
                .map(|generation| generation.dead_letters)
                .sum();
            if waiting > 0 {
                output::say(&format!(
                    "{name}: {waiting} dead letters are events of the store as it was; look at them \
                     with `gnomon dead-letters list {name}`, and leave out those that are not in the \
                     store any more"
                ));
            }
        } else {
            registry.resume(&self.name).await?;
        }
        say(context, &self.name, "running")
    }
}

fn say(context: &Context, name: &str, desired: &str) -> anyhow::Result<ExitCode> {
    let mut stdout = output::stdout();
    if context.json {
        writeln!(
            stdout,
            "{}",
            json!({ "name": name, "desired_state": desired })
        )?;
    } else {
        writeln!(stdout, "{name} will be {desired}")?;
    }
    Ok(ExitCode::SUCCESS)
}
