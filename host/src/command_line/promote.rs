//! `gnomon promote` and `gnomon rollback`: which generation readers see.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::{Context, host, output, overtaken, wait};
use crate::operations::{
    CancelRollback, Operations, Patience, Promote as Promotion, Rollback as GoBack, SwitchRequest,
    Switched,
};

/// Promotes the candidate: readers see the generation that was built
///
/// A candidate that has not caught up is promoted when it has. Exits with 1 if
/// readers do not see it when the time is up, or if it has to catch up and no host
/// runs. The request stays in the registry.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon promote order_summary
  gnomon promote order_summary --cascade    drops views of yours that cannot stay")]
pub(super) struct Promote {
    /// The projection
    name: String,
    #[command(flatten)]
    how: How,
}

/// Goes back to the generation that was live before
///
/// That generation catches up first, while readers see the live one. From now on
/// a candidate waits for `gnomon promote`. A promotion, a deployment or a rebuild
/// that comes before the rollback is done cancels it. Exits with 1 if readers do
/// not see the generation when the time is up, or if it has to catch up and no
/// host runs. The request stays in the registry.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon rollback order_summary
  gnomon rollback order_summary --cancel    one that has not caught up yet")]
pub(super) struct Rollback {
    /// The projection
    name: String,
    /// Cancels a rollback that has not happened yet
    #[arg(long, conflicts_with_all = ["cascade", "timeout"])]
    cancel: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
struct How {
    /// Drops views of yours that depend on columns which the generation lacks
    #[arg(long)]
    cascade: bool,
    /// How long to wait at most; the request stays in the registry
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = wait::duration)]
    timeout: Duration,
}

impl How {
    fn patience(&self) -> Patience {
        host::patience(Some(self.timeout))
    }
}

impl Promote {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let operations = host::patient_operations(context, self.how.patience()).await?;
        let promotion = Promotion {
            name: self.name,
            cascade: self.how.cascade,
        };
        let request = promotion.request(&operations).await?;
        carry_out(context, &operations, request).await
    }
}

impl Rollback {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let operations = host::patient_operations(context, self.how.patience()).await?;
        let name = self.name;
        if self.cancel {
            return cancel(context, &operations, name).await;
        }
        let cascade = self.how.cascade;
        let request = GoBack { name, cascade }.request(&operations).await?;
        carry_out(context, &operations, request).await
    }
}

async fn cancel(
    context: &Context,
    operations: &Operations,
    name: String,
) -> anyhow::Result<ExitCode> {
    let cancelled = CancelRollback { name }.run(operations).await?;
    let mut stdout = output::stdout();
    if context.json {
        output::write_json(&mut stdout, &cancelled)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = &cancelled.name;
    for generation in &cancelled.cancelled {
        writeln!(
            stdout,
            "{name}: the rollback to generation {generation} is cancelled"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn carry_out(
    context: &Context,
    operations: &Operations,
    request: SwitchRequest,
) -> anyhow::Result<ExitCode> {
    if !context.json {
        let mut stdout = output::stdout();
        for sentence in overtaken::sentences(&request.name, &request.overtaken) {
            writeln!(stdout, "{sentence}")?;
        }
    }
    let switched = request.carry_out(operations).await?;
    show(context, &switched)?;
    Ok(ExitCode::from(u8::from(!switched.is_live())))
}

/// Shows which generation readers see.
pub(super) fn show(context: &Context, switched: &Switched) -> anyhow::Result<()> {
    let mut stdout = output::stdout();
    if context.json {
        return output::write_json(&mut stdout, switched);
    }
    let words = if switched.is_live() {
        "readers see it now"
    } else {
        "it has to catch up first, and no host is running; start one with `gnomon run`"
    };
    writeln!(
        stdout,
        "{}: generation {} (version {}): {words}",
        switched.name, switched.generation, switched.version
    )?;
    Ok(())
}
