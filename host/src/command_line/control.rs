//! `gnomon pause` and `gnomon resume`: the desired state of a projection.

use std::io::Write as _;
use std::process::ExitCode;

use serde_json::json;

use super::{Context, host, output};

/// Makes a projection stand still
///
/// Its read model keeps serving. The host that runs it notices within a
/// second; without a host it will stand still when one starts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon pause order_summary")]
pub(super) struct Pause {
    /// The projection
    name: String,
}

/// Lets a projection go on that was paused or has halted
///
/// A projection that has halted tries the same event again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon resume order_summary")]
pub(super) struct Resume {
    /// The projection
    name: String,
}

impl Pause {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let target = host::registry(context).await?;
        target.pause(&self.name).await?;
        say(context, &self.name, "paused")
    }
}

impl Resume {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let target = host::registry(context).await?;
        target.resume(&self.name).await?;
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
        writeln!(stdout, "{name} is to be {desired}")?;
    }
    Ok(ExitCode::SUCCESS)
}
