//! `gnomon deploy`: a module into the registry.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::{Context, host, output, overtaken, promote, wait};
use crate::module_file;
use crate::operations::{self, DeployAction, Deploying, OperationError, Operations};
use crate::supervisor;

/// Deploys a module
///
/// The module goes into the registry in the read-model database, from which every
/// host takes it. If version, tables and subscription are those of the live
/// module, the next batch runs the new code. The host builds a higher version next
/// to the live one, and promotes it when it has caught up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon deploy order-summary.wasm
  gnomon deploy order-summary.wasm --wait         until readers see it
  gnomon deploy order-summary.wasm --hold         then gnomon diff, gnomon promote")]
pub(super) struct Deploy {
    /// The module
    file: PathBuf,
    /// Builds it and leaves the promotion to `gnomon promote`
    #[arg(long)]
    hold: bool,
    /// Waits until readers see it
    #[arg(long, conflicts_with = "hold")]
    wait: bool,
    /// How long to wait at most [default: as long as it takes; 30s if no host runs]
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = wait::duration)]
    timeout: Option<Duration>,
}

impl Deploy {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let refused = || format!("{} is refused", self.file.display());
        let configuration = context.configuration()?;
        let bytes = module_file::read(&self.file)?;
        let engine = supervisor::engine()?;
        let deploy =
            operations::Deploy::load(&engine, bytes, configuration).with_context(refused)?;
        let deploy = operations::Deploy {
            hold: self.hold,
            ..deploy
        };
        let patience = host::patience_if(self.wait, self.timeout);
        let operations = Operations::create(configuration, patience).await?;
        let deployed = deploy.run(&operations).await;
        let deploying = match deployed {
            Err(error @ OperationError::Deployment(_)) => Err(error).with_context(refused)?,
            deployed => deployed?,
        };
        show(context, &deploying, self.hold)?;
        if self.wait
            && let Some(switched) = deploying.until_live(&operations).await?
        {
            promote::show(context, &switched)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn show(context: &Context, deploying: &Deploying, hold: bool) -> anyhow::Result<()> {
    let mut stdout = output::stdout();
    if context.json {
        return output::write_json(&mut stdout, deploying);
    }
    let Deploying { name, version, .. } = deploying;
    let hash = deploying.module.short();
    let later = overtaken::later(deploying.has_host);
    match deploying.action {
        DeployAction::Nothing => writeln!(stdout, "{name}: module {hash} is deployed already")?,
        DeployAction::Reloaded => writeln!(
            stdout,
            "{name}: the next batch runs module {hash} (version {version}){later}"
        )?,
        DeployAction::Building => {
            for generation in &deploying.generations {
                writeln!(
                    stdout,
                    "{name}: version {version} is being built as generation {generation}, and \
                     {}{later}",
                    if hold {
                        format!("then waits for `gnomon promote {name}`")
                    } else {
                        "is promoted when it has caught up".to_owned()
                    }
                )?;
            }
        }
    }
    for sentence in overtaken::sentences(name, &deploying.overtaken) {
        writeln!(stdout, "{sentence}")?;
    }
    for generation in &deploying.rollbacks {
        writeln!(
            stdout,
            "{name}: a rollback to generation {generation} is still wanted; \
             `gnomon rollback {name} --cancel` ends it"
        )?;
    }
    Ok(())
}
