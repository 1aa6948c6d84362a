//! `gnomon diff` and `gnomon verify`: two generations, row by row.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use gnomon_event_store::source;
use gnomon_model::Position;
use serde::Serialize;

use super::patience::{Patience, may_pass};
use super::patient::Patient;
use super::shown_comparison::{Sides, write_comparison};
use super::waiting::{Own, Verdict, Waiting, ensure_it_moves, has_host};
use super::{Context, host, output, wait};
use crate::generation::{Generation, GenerationId, GenerationState, Goal};
use crate::operations::meeting::Meeting;
use crate::read_models::{Comparison, TableComparison};
use crate::registry::{NewGeneration, Registry};
use crate::shutdown::Shutdown;
use crate::supervisor::{Scope, Supervisor};

/// Differing rows of each table that are shown.
const SAMPLES: usize = 20;
/// For how long a comparison outlives a command that was killed.
const ATTENDED_FOR: Duration = Duration::from_secs(15);

/// Compares the candidate with the live generation, row by row
///
/// Compares both at the same position, and waits for a candidate that is being
/// built. If events keep coming, both pause for a moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon deploy order-summary.wasm --hold
  gnomon diff order_summary
  gnomon diff order_summary --json | jq .tables")]
pub(super) struct Diff {
    /// The projection
    name: String,
    /// How long to wait at most [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = wait::duration)]
    timeout: Option<Duration>,
}

/// Rebuilds a read model separately and compares it with the live one
///
/// Finds rows that drifted, or that somebody edited by hand. Exits with 1 and
/// shows the differences if there are any. Readers notice nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon verify order_summary")]
pub(super) struct Verify {
    /// The projection
    name: String,
    /// How long to wait at most [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = wait::duration)]
    timeout: Option<Duration>,
}

impl Diff {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let patience = Patience::new(self.timeout);
        let registry = host::patient_registry(context, patience).await?;
        let name = &self.name;
        let own = Own::read(&*registry, name).await?;
        own.ensure_it_is_wanted()?;
        let candidate = own.candidate().with_context(|| {
            format!(
                "{name} has no candidate; `gnomon rebuild {name} --hold` or `gnomon deploy --hold` \
                 creates one"
            )
        })?;
        let live = own
            .live()
            .with_context(|| format!("{name} has no live generation to compare with"))?;
        let comparison = compare_with_help(context, &registry, live, candidate).await?;
        say(
            context,
            name,
            live,
            candidate,
            &comparison,
            Sides::CANDIDATE,
        )?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verify {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let configuration = context.configuration()?;
        let patience = Patience::new(self.timeout);
        let registry = host::patient_registry(context, patience).await?;
        let name = &self.name;
        let own = Own::read(&*registry, name).await?;
        own.ensure_it_is_wanted()?;
        let live = own
            .live()
            .with_context(|| format!("{name} has no live generation to verify"))?;
        let module = registry
            .module(&live.module)
            .await?
            .context("the registry has lost the module of the projection; deploy it again")?;
        let rebuilt = registry
            .create_generation(NewGeneration {
                projection: name,
                module: &module.hash,
                description: &module.description,
                goal: Goal::Compare,
                until: live.until,
                newest: own.newest(),
                start: &source::start(&configuration.events),
            })
            .await?;
        let verified = verify(context, &registry, live, &rebuilt).await;
        // A host drops it later where this fails.
        let dropping = Patience::new(Some(ATTENDED_FOR));
        let dropping = Patient::new(registry.storage().clone(), dropping);
        if let Err(error) = dropping.drop_generation(rebuilt.id).await {
            tracing::debug!("generation {} is dropped later: {error}", rebuilt.id);
        }
        let comparison = verified?;
        say(context, name, live, &rebuilt, &comparison, Sides::REBUILT)?;
        Ok(ExitCode::from(u8::from(!comparison.is_equal())))
    }
}

async fn verify(
    context: &Context,
    registry: &Patient,
    live: &Generation,
    rebuilt: &Generation,
) -> anyhow::Result<Comparison> {
    registry
        .attend(rebuilt.id, Some(live.position), ATTENDED_FOR)
        .await?;
    compare_with_help(context, registry, live, rebuilt).await
}

/// Compares the two, and does what a host would do where none is there, or
/// where the one that is there goes away meanwhile.
async fn compare_with_help(
    context: &Context,
    registry: &Patient,
    live: &Generation,
    other: &Generation,
) -> anyhow::Result<Comparison> {
    let time_is_up = registry.patience().end();
    tokio::pin!(time_is_up);
    let mut helper = Helper::start_if_needed(context, registry, &[live.id, other.id]).await?;
    loop {
        let nobody_else_works = helper.is_some();
        let compared = tokio::select! {
            compared = compare(registry, live, other, nobody_else_works) => Some(compared),
            () = all_hosts_gone(registry), if !nobody_else_works => None,
            () = &mut time_is_up => Some(Err(anyhow::anyhow!(
                "{}: generations {} and {} were not compared within {:?}",
                live.projection,
                live.id,
                other.id,
                registry.patience().limit().unwrap_or_default()
            ))),
        };
        if let Some(compared) = compared {
            Helper::stop(helper).await;
            return compared;
        }
        helper = Helper::start_if_needed(context, registry, &[live.id, other.id]).await?;
    }
}

/// Waits until no host is there any more.
async fn all_hosts_gone(registry: &dyn Registry) {
    // A database that is out of reach says nothing about hosts.
    while has_host(registry).await.unwrap_or(true) {
        tokio::time::sleep(HOST_POLL).await;
    }
}

/// Brings the second generation to where the first is, and compares them.
async fn compare(
    registry: &Patient,
    live: &Generation,
    other: &Generation,
    nobody_else_works: bool,
) -> anyhow::Result<Comparison> {
    let is_apart = other.goal == Goal::Compare;
    // Where nobody moves the live one, the other must not go past it.
    let stop_at = (is_apart || nobody_else_works).then_some(live.position);
    wait_for_build(registry, live.position, other, stop_at).await?;
    if stop_at.is_some() && !nobody_else_works {
        // The live one may have gone on meanwhile; this one follows.
        registry.attend(other.id, None, ATTENDED_FOR).await?;
    }
    // The times of a meeting are not those of an outage, so it begins again.
    let meeting = Meeting::new(registry.storage().clone(), live.id, other.id);
    registry
        .patience()
        .ask(async || meeting.compare(SAMPLES).await)
        .await
}

/// Waits until a generation has got as far as the live one was.
async fn wait_for_build(
    registry: &Patient,
    goal: Position,
    other: &Generation,
    stop_at: Option<Position>,
) -> anyhow::Result<()> {
    let name = &other.projection;
    let waiting = Waiting {
        registry,
        generation: other.id,
        projection: name,
        goal: goal.get(),
        needs_host: false,
    };
    let attending = async {
        loop {
            if stop_at.is_some() {
                registry.attend(other.id, stop_at, ATTENDED_FOR).await?;
            }
            tokio::time::sleep(ATTENDED_FOR / 4).await;
        }
        #[expect(unreachable_code, reason = "gives the loop its type")]
        anyhow::Ok(())
    };
    let built = waiting.wait(|found| {
        let found = found.with_context(|| {
            format!("{name}: generation {} was dropped meanwhile", other.id)
        })?;
        anyhow::ensure!(
            found.state != GenerationState::Live,
            "{name}: generation {} was promoted meanwhile; deploy or rebuild with --hold to compare first",
            other.id
        );
        ensure_it_moves(found)?;
        Ok(if found.position >= goal {
            Verdict::Over(())
        } else {
            Verdict::NotYet
        })
    });
    tokio::select! {
        built = built => built,
        attended = attending => attended,
    }
}

/// A comparison in JSON.
#[derive(Serialize)]
struct Shown<'a> {
    name: &'a str,
    live: GenerationId,
    #[serde(skip_serializing_if = "Option::is_none")]
    candidate: Option<GenerationId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuilt: Option<GenerationId>,
    equal: bool,
    position: Position,
    applied_late: u64,
    changed_skips: u64,
    tables: &'a [TableComparison],
}

fn say(
    context: &Context,
    name: &str,
    live: &Generation,
    other: &Generation,
    comparison: &Comparison,
    sides: Sides,
) -> anyhow::Result<()> {
    let mut stdout = output::stdout();
    if context.json {
        // Not by way of a value: cells would be rounded there.
        let shown = Shown {
            name,
            live: live.id,
            candidate: (sides == Sides::CANDIDATE).then_some(other.id),
            rebuilt: (sides == Sides::REBUILT).then_some(other.id),
            equal: comparison.is_equal(),
            position: comparison.position,
            applied_late: live.applied_late,
            changed_skips: live.changed_skips,
            tables: &comparison.tables,
        };
        writeln!(stdout, "{}", serde_json::to_string(&shown)?)?;
        return Ok(());
    }
    write_comparison(&mut stdout, name, comparison, sides)?;
    // Differences that come from these are no drift.
    for deviation in live.deviations() {
        writeln!(stdout, "{name}: {deviation}")?;
    }
    Ok(())
}

/// A host in this process that does what a comparison needs, where no other
/// host is there.
struct Helper {
    supervisor: Supervisor,
}

/// How often it is looked whether a host is there.
const HOST_POLL: Duration = Duration::from_millis(100);
/// How long a host that has just started may take to say that it is there.
const HOST_STARTS: Duration = Duration::from_secs(5);

impl Helper {
    async fn start_if_needed(
        context: &Context,
        registry: &Patient,
        generations: &[GenerationId],
    ) -> anyhow::Result<Option<Self>> {
        let started = Instant::now();
        let mut refused_since = None;
        loop {
            if has_host(registry).await? {
                // A host that was killed seems to be there for some seconds, and
                // then nothing would move.
                let known = registry.generations().await?;
                let is_held = known
                    .iter()
                    .any(|known| generations.contains(&known.id) && known.host.is_some());
                if is_held || started.elapsed() > ATTENDED_FOR {
                    return Ok(None);
                }
            } else {
                match Self::start(context, registry, generations).await {
                    Ok(helper) => return Ok(Some(helper)),
                    Err(error) if may_pass(&error) => {
                        if !registry.patience().has_another_try(&*error).await {
                            return Err(error);
                        }
                    }
                    // Perhaps a host has come in between.
                    Err(error) => {
                        let since = *refused_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > HOST_STARTS {
                            return Err(error);
                        }
                    }
                }
            }
            tokio::time::sleep(HOST_POLL).await;
        }
    }

    async fn start(
        context: &Context,
        registry: &Patient,
        generations: &[GenerationId],
    ) -> anyhow::Result<Self> {
        let parts = host::parts(context, registry.storage().clone()).await?;
        let ours: BTreeSet<GenerationId> = generations.iter().copied().collect();
        let supervisor =
            Supervisor::start(parts, Scope::Generations(ours), Shutdown::default()).await?;
        Ok(Self { supervisor })
    }

    async fn stop(helper: Option<Self>) {
        if let Some(helper) = helper {
            helper.supervisor.stop().await;
        }
    }
}
