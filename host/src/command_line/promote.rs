//! `gnomon promote` and `gnomon rollback`: which generation readers see.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;

use super::overtaken::{Overtaken, rollbacks};
use super::patience::Patience;
use super::patient::Patient;
use super::waiting::{Own, Verdict, Waiting, ensure_it_moves, has_host};
use super::{Context, host, output, wait};
use crate::generation::{Generation, GenerationId, GenerationState, Goal};
use crate::registry::{Promotion, Registry};

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
        Patience::new(Some(self.timeout))
    }

    const fn goal(&self) -> Goal {
        if self.cascade {
            Goal::PromoteCascade
        } else {
            Goal::Promote
        }
    }
}

impl Promote {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let registry = host::patient_registry(context, self.how.patience()).await?;
        let own = Own::read(&*registry, &self.name).await?;
        let candidate = own.candidate().with_context(|| {
            format!(
                "{0} has no candidate; `gnomon rebuild {0}` or `gnomon deploy` creates one",
                self.name
            )
        })?;
        switch(context, &registry, &own, candidate, self.how.goal()).await
    }
}

impl Rollback {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let registry = host::patient_registry(context, self.how.patience()).await?;
        let own = Own::read(&*registry, &self.name).await?;
        if self.cancel {
            return cancel(context, &*registry, &self.name, &own).await;
        }
        let retired = own.retired().with_context(|| {
            format!(
                "{} has no retired generation to go back to; projections.keep-generations says how \
                 many are kept",
                self.name
            )
        })?;
        switch(context, &registry, &own, retired, self.how.goal()).await
    }
}

async fn cancel(
    context: &Context,
    registry: &dyn Registry,
    name: &str,
    own: &Own,
) -> anyhow::Result<ExitCode> {
    let wanted = rollbacks(own.all.iter());
    anyhow::ensure!(
        !wanted.is_empty(),
        "{name}: there is no rollback to cancel; `gnomon status {name}` shows what was asked for"
    );
    for generation in &wanted {
        registry.set_goal(*generation, Goal::Rest).await?;
    }
    let mut stdout = output::stdout();
    if context.json {
        writeln!(stdout, "{}", json!({"name": name, "cancelled": wanted}))?;
        return Ok(ExitCode::SUCCESS);
    }
    for generation in wanted {
        writeln!(
            stdout,
            "{name}: the rollback to generation {generation} is cancelled"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn switch(
    context: &Context,
    registry: &Patient,
    own: &Own,
    generation: &Generation,
    goal: Goal,
) -> anyhow::Result<ExitCode> {
    let name = &generation.projection;
    registry.set_goal(generation.id, goal).await?;
    let overtaken = Overtaken::by_promotion(&own.all, generation.id);
    if !context.json {
        let mut stdout = output::stdout();
        for sentence in overtaken.sentences(name) {
            writeln!(stdout, "{sentence}")?;
        }
    }
    if has_host(registry).await? {
        wait_until_live(context, registry, name, generation.id).await?;
        return Ok(ExitCode::SUCCESS);
    }
    // Nobody moves it, so this process may switch as well as a host.
    let is_complete = generation.state != GenerationState::Building;
    let promotion = if is_complete {
        registry.promote(generation.id).await?
    } else {
        Promotion::Behind
    };
    match promotion {
        Promotion::Done => {
            say(context, generation, "live", "readers see it now")?;
            Ok(ExitCode::SUCCESS)
        }
        Promotion::Refused(reason) => anyhow::bail!(refused(name, &reason)),
        Promotion::NotWanted => anyhow::bail!(
            "{name}: generation {} will not be promoted, because a newer request came first; \
             `gnomon status {name}` shows it",
            generation.id
        ),
        // It stays wanted, but readers do not see it.
        Promotion::Behind => {
            say(
                context,
                generation,
                generation.state.name(),
                "it has to catch up first, and no host is running; start one with `gnomon run`",
            )?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Waits until readers see a generation, and says so.
pub(super) async fn wait_until_live(
    context: &Context,
    registry: &Patient,
    name: &str,
    generation: GenerationId,
) -> anyhow::Result<()> {
    let goal = registry
        .generations()
        .await?
        .iter()
        .filter(|known| known.projection == name)
        .map(|known| known.position.get())
        .max();
    let waiting = Waiting {
        registry,
        generation,
        projection: name,
        goal: goal.unwrap_or_default(),
        needs_host: true,
    };
    let live = waiting
        .wait(|found| {
            let found = found.with_context(|| {
                format!("{name}: generation {generation} was dropped before readers saw it")
            })?;
            if found.state == GenerationState::Live {
                return Ok(Verdict::Over(found.clone()));
            }
            if let Some(obstacle) = &found.obstacle {
                anyhow::bail!(refused(name, &obstacle.reason));
            }
            anyhow::ensure!(
                found.goal.is_promotion(),
                "{name}: generation {generation} will not be promoted, because a newer request \
                 came first; `gnomon status {name}` shows it"
            );
            ensure_it_moves(found)?;
            Ok(Verdict::NotYet)
        })
        .await?;
    say(context, &live, "live", "readers see it now")
}

fn refused(name: &str, reason: &str) -> String {
    format!("{name}: it is not promoted: {reason}")
}

fn say(context: &Context, generation: &Generation, state: &str, words: &str) -> anyhow::Result<()> {
    let Generation {
        id,
        projection,
        description,
        ..
    } = generation;
    let version = description.version;
    let mut stdout = output::stdout();
    if context.json {
        let shown = json!({
            "name": projection,
            "generation": id,
            "version": version,
            "state": state,
        });
        writeln!(stdout, "{shown}")?;
    } else {
        writeln!(
            stdout,
            "{projection}: generation {id} (version {version}): {words}"
        )?;
    }
    Ok(())
}
