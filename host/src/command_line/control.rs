//! `gnomon pause` and `gnomon resume`: the desired state of a projection.

use std::io::Write as _;
use std::process::ExitCode;

use super::{Context, host, output};
use crate::operations::{self, DesiredState};

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
        let operations = host::operations(context).await?;
        let pause = operations::Pause { name: self.name };
        show(context, &pause.run(&operations).await?)
    }
}

impl Resume {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let operations = host::operations(context).await?;
        let resume = operations::Resume {
            name: self.name,
            accept_history: self.accept_history,
        };
        let desired = resume.run(&operations).await?;
        if desired.stale_dead_letters > 0 {
            let DesiredState {
                name,
                stale_dead_letters: waiting,
                ..
            } = &desired;
            output::say(&format!(
                "{name}: {waiting} dead letters are events of the store as it was; look at them with \
                 `gnomon dead-letters list {name}`, and leave out those that are not in the store \
                 any more"
            ));
        }
        show(context, &desired)
    }
}

fn show(context: &Context, desired: &DesiredState) -> anyhow::Result<ExitCode> {
    let mut stdout = output::stdout();
    if context.json {
        output::write_json(&mut stdout, desired)?;
    } else {
        writeln!(stdout, "{} will be {}", desired.name, desired.desired_state)?;
    }
    Ok(ExitCode::SUCCESS)
}
