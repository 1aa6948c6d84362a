//! `gnomon deploy`: a module into the registry.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use gnomon_event_store::source;
use serde_json::json;

use super::overtaken::{Overtaken, rollbacks};
use super::patience::Patience;
use super::patient::Patient;
use super::promote::wait_until_live;
use super::waiting::{Own, has_host};
use super::{Context, host, output, wait};
use crate::deployment::{Deployed, deploy};
use crate::generation::{Generation, GenerationId, Goal, Module};
use crate::registry::Registry;
use crate::supervisor::load_module;
use crate::{module_file, storage};

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
        let file = self.file.display();
        let configuration = context.configuration()?;
        let bytes = module_file::read(&self.file)?;
        let limits = configuration.limits_of_loading();
        let guest = load_module(&host::engine()?, &bytes, &limits)
            .with_context(|| format!("{file} is refused"))?;
        let module = Module {
            hash: guest.hash().clone(),
            bytes,
            description: (**guest.description()).clone(),
        };
        let patience = if self.wait {
            Patience::new(self.timeout)
        } else {
            Patience::none()
        };
        let storage = patience
            .ask(async || storage::open(&configuration.read_models).await)
            .await?;
        let registry = Patient::new(storage, patience);
        let start = source::start(&configuration.events);
        let goal = if self.hold { Goal::Hold } else { Goal::Promote };
        let name = &module.description.name;
        let mut own = registry.generations().await?;
        own.retain(|generation| generation.projection == *name);
        let deployed = deploy(&registry, &module, &start, goal)
            .await
            .with_context(|| format!("{file} is refused"))?;
        let has_host = has_host(&registry).await?;
        say(context, &module, &deployed, self.hold, has_host, &own)?;
        if self.wait
            && let Some(generation) = awaited(&registry, &module, &deployed).await?
        {
            wait_until_live(context, &registry, name, generation).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The generation that readers are to see. A module that was deployed before
/// may be one that is still being built.
async fn awaited(
    registry: &dyn Registry,
    module: &Module,
    deployed: &Deployed,
) -> anyhow::Result<Option<GenerationId>> {
    if let Deployed::Building(generation) = deployed {
        return Ok(Some(*generation));
    }
    let name = &module.description.name;
    let own = Own::read(registry, name).await?;
    let candidate = own
        .candidate()
        .filter(|candidate| candidate.module == module.hash);
    let is_held =
        |candidate: &Generation| !candidate.goal.is_promotion() && candidate.obstacle.is_none();
    if let Some(held) = candidate.filter(|candidate| is_held(candidate)) {
        anyhow::bail!(
            "{name}: generation {} of this module is held, so readers do not see it before \
             `gnomon promote {name}`",
            held.id
        );
    }
    Ok(candidate.map(|candidate| candidate.id))
}

fn say(
    context: &Context,
    module: &Module,
    deployed: &Deployed,
    hold: bool,
    has_host: bool,
    before: &[Generation],
) -> anyhow::Result<()> {
    let name = &module.description.name;
    let version = module.description.version;
    let (overtaken, rollbacks) = match deployed {
        Deployed::Building(_) => (Overtaken::by_new(before, !hold), Vec::new()),
        Deployed::Nothing | Deployed::Reloaded(_) => {
            (Overtaken::default(), rollbacks(before.iter()))
        }
    };
    let (action, generations): (&str, Vec<GenerationId>) = match deployed {
        Deployed::Nothing => ("nothing", Vec::new()),
        Deployed::Reloaded(generations) => ("reloaded", generations.clone()),
        Deployed::Building(generation) => ("building", vec![*generation]),
    };
    let mut stdout = output::stdout();
    if context.json {
        let shown = json!({
            "name": name,
            "version": version,
            "module": module.hash,
            "action": action,
            "generations": generations,
            "overtaken": overtaken.json(),
            "has_host": has_host,
        });
        writeln!(stdout, "{shown}")?;
        return Ok(());
    }
    let hash = module.hash.short();
    let later = if has_host {
        ""
    } else {
        "; no host is running, so start one with `gnomon run`"
    };
    match deployed {
        Deployed::Nothing => writeln!(stdout, "{name}: module {hash} is deployed already")?,
        Deployed::Reloaded(_) => writeln!(
            stdout,
            "{name}: the next batch runs module {hash} (version {version}){later}"
        )?,
        Deployed::Building(generation) => writeln!(
            stdout,
            "{name}: version {version} is being built as generation {generation}, and {}{later}",
            if hold {
                format!("then waits for `gnomon promote {name}`")
            } else {
                "is promoted when it has caught up".to_owned()
            }
        )?,
    }
    for sentence in overtaken.sentences(name) {
        writeln!(stdout, "{sentence}")?;
    }
    for generation in rollbacks {
        writeln!(
            stdout,
            "{name}: a rollback to generation {generation} is still wanted; \
             `gnomon rollback {name} --cancel` ends it"
        )?;
    }
    Ok(())
}
