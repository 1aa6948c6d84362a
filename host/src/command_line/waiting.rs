//! Waiting for what hosts do, with progress on a terminal.

use std::time::{Duration, Instant};

use gnomon_databases::spelling::near;
use indicatif::ProgressBar;

use super::patient::Patient;
use super::{output, progress};
use crate::generation::{Generation, GenerationId, GenerationState, RunState};
use crate::operations::status;
use crate::registry::{Registry, dropped_projection, removed_projection};

/// How often the read-model database is asked.
pub(super) const POLL: Duration = Duration::from_millis(50);
/// Nothing is drawn about what is over by then.
const DRAWN_AFTER: Duration = Duration::from_secs(1);
/// How often it is looked whether a host is there to do the work.
const HOST_LOOK: Duration = Duration::from_secs(1);
/// How often it is said at most why a generation stands still.
const SAY_EVERY: Duration = Duration::from_secs(5);
/// How long a host may take to come where the user has set no limit.
const HOST_COMES: Duration = Duration::from_secs(30);

/// The generations of one projection that commands act on.
pub(super) struct Own {
    pub(super) all: Vec<Generation>,
}

impl Own {
    /// Reads them.
    pub(super) async fn read(registry: &dyn Registry, name: &str) -> anyhow::Result<Self> {
        let mut all = registry.generations().await?;
        let (own, others): (Vec<_>, Vec<_>) = all
            .drain(..)
            .partition(|generation| generation.projection == name);
        if own.is_empty() {
            if registry.dropped_at(name).await?.is_some() {
                return Err(dropped_projection(name).into());
            }
            anyhow::bail!(unknown(name, names(&others)));
        }
        Ok(Self { all: own })
    }

    /// Refuses a projection that was removed: nothing that is asked of it would
    /// happen until somebody brings it back.
    pub(super) fn ensure_it_is_wanted(&self) -> anyhow::Result<()> {
        let removed = self.all.iter().find(|generation| generation.is_removed);
        match removed {
            Some(generation) => Err(removed_projection(&generation.projection).into()),
            None => Ok(()),
        }
    }

    /// The live one, or the first that is built.
    pub(super) fn shown(&self) -> Option<&Generation> {
        status::shown(&self.refs())
    }

    pub(super) fn live(&self) -> Option<&Generation> {
        self.all
            .iter()
            .find(|generation| generation.state == GenerationState::Live)
    }

    /// The newest one that is being built to be the live one.
    pub(super) fn candidate(&self) -> Option<&Generation> {
        self.all
            .iter()
            .filter(|generation| generation.is_candidate())
            .max_by_key(|generation| generation.id)
    }

    pub(super) fn retired(&self) -> Option<&Generation> {
        status::retired(&self.refs())
    }

    /// The newest of all.
    pub(super) fn newest(&self) -> Option<GenerationId> {
        self.all.iter().map(|generation| generation.id).max()
    }

    fn refs(&self) -> Vec<&Generation> {
        self.all.iter().collect()
    }
}

/// The projections that these are generations of.
pub(super) fn names(generations: &[Generation]) -> impl Iterator<Item = &str> {
    generations
        .iter()
        .map(|generation| generation.projection.as_str())
}

/// What to say of a projection that nobody knows, where these are known.
pub(super) fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let meant = near(name, known).map_or_else(
        || "; ".to_owned(),
        |near| format!("; did you mean `{near}`? "),
    );
    format!("there is no projection `{name}`{meant}`gnomon status` lists all")
}

/// Whether some host is there to do the work.
pub(super) async fn has_host(registry: &dyn Registry) -> anyhow::Result<bool> {
    Ok(!registry.hosts().await?.is_empty())
}

/// What becomes of a generation that is waited for.
pub(super) enum Verdict<T> {
    /// This; the wait is over.
    Over(T),
    /// It goes on.
    NotYet,
}

/// A generation that is waited for.
pub(super) struct Waiting<'a> {
    /// The database, and how long the wait takes at most.
    pub(super) registry: &'a Patient,
    pub(super) generation: GenerationId,
    pub(super) projection: &'a str,
    /// Where it is going, for the progress bar.
    pub(super) goal: u64,
    /// Whether a host has to do the work, rather than this process, which then
    /// looks at the time itself.
    pub(super) needs_host: bool,
}

impl Waiting<'_> {
    /// Waits for `judge` to say that it is over. It is given `None` when the
    /// generation is gone.
    pub(super) async fn wait<T>(
        &self,
        mut judge: impl FnMut(Option<&Generation>) -> anyhow::Result<Verdict<T>>,
    ) -> anyhow::Result<T> {
        let patience = self.registry.patience();
        let started = Instant::now();
        let mut hosts = HostLook::default();
        let mut bar: Option<ProgressBar> = None;
        loop {
            let generations = self.registry.generations().await?;
            let found = generations
                .iter()
                .find(|generation| generation.id == self.generation);
            if let Verdict::Over(result) = judge(found)? {
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
                return Ok(result);
            }
            if let Some(found) = found
                && started.elapsed() > DRAWN_AFTER
            {
                bar.get_or_insert_with(|| progress::bar(self.projection, self.goal))
                    .set_position(found.position.get());
                hosts.say_if_it_stands(found);
            }
            if self.needs_host {
                if patience.is_over() {
                    anyhow::bail!("{}", self.too_late(found).await?);
                }
                hosts
                    .look(self.registry, patience.limit().is_none())
                    .await?;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn too_late(&self, found: Option<&Generation>) -> anyhow::Result<String> {
        let limit = self.registry.patience().limit().unwrap_or_default();
        let name = self.projection;
        let Some(found) = found else {
            return Ok(format!("{name}: generation {} is gone", self.generation));
        };
        let cause = status::state_of(found, has_host(self.registry).await?)
            .1
            .map_or_else(String::new, |cause| format!(" ({cause})"));
        Ok(format!(
            "{name}: generation {} is {} at position {} after {limit:?}{cause}; the request stays in \
             the registry, and `gnomon status {name}` shows its progress{}",
            found.id,
            found.state.name(),
            found.position,
            how_to_end(found)
        ))
    }
}

/// Looks whether a host is there to do what is waited for, and says if none is.
#[derive(Default)]
pub(super) struct HostLook {
    looked: Option<Instant>,
    /// Since when none is there.
    absent: Option<Instant>,
    /// The last cause that was told, and when.
    said: Option<(String, Instant)>,
}

impl HostLook {
    /// Looks once a second. Where nobody set a limit, the wait for a host has
    /// one all the same.
    ///
    /// # Errors
    /// When no host has come.
    pub(super) async fn look(
        &mut self,
        registry: &dyn Registry,
        must_come: bool,
    ) -> anyhow::Result<()> {
        if self.looked.is_some_and(|last| last.elapsed() < HOST_LOOK) {
            return Ok(());
        }
        let hosts = registry.hosts().await?;
        self.looked = Some(Instant::now());
        if !hosts.is_empty() {
            self.absent = None;
            return Ok(());
        }
        let absent = *self.absent.get_or_insert_with(|| {
            output::say(NO_HOST);
            Instant::now()
        });
        anyhow::ensure!(
            !must_come || absent.elapsed() < HOST_COMES,
            "no host has come within {HOST_COMES:?}; start one with `gnomon run`; the request \
             stays in the registry"
        );
        Ok(())
    }

    /// Says why a generation stands still, where waiting alone may not help.
    fn say_if_it_stands(&mut self, found: &Generation) {
        if found.host.is_none() {
            return;
        }
        let name = &found.projection;
        let (state, cause) = status::state_of(found, true);
        let cause = match state {
            RunState::Paused => {
                Some(cause.unwrap_or_else(|| format!("paused; `gnomon resume {name}` resumes it")))
            }
            RunState::Retrying | RunState::Waiting => cause,
            RunState::Running | RunState::Halted => None,
        };
        let is_news = |cause: &String| {
            self.said
                .as_ref()
                .is_none_or(|(said, when)| said != cause && when.elapsed() > SAY_EVERY)
        };
        if let Some(cause) = cause.filter(is_news) {
            output::say(&format!("{name}: {cause}"));
            self.said = Some((cause, Instant::now()));
        }
    }
}

/// What to say of work that nobody does.
pub(super) const NO_HOST: &str =
    "no host is running, so nothing happens yet; start one with `gnomon run`";

/// Ends a wait for a generation that has halted.
pub(super) fn ensure_it_moves(found: &Generation) -> anyhow::Result<()> {
    if let Some(report) = &found.report
        && report.state == RunState::Halted
        && found.host.is_some()
    {
        anyhow::bail!(
            "{}: generation {} cannot {}: {}{}",
            found.projection,
            found.id,
            if found.state == GenerationState::Retired {
                "catch up"
            } else {
                "be built"
            },
            report.cause.as_deref().unwrap_or("no reason was recorded"),
            how_to_end(found)
        );
    }
    Ok(())
}

/// How a rollback that stays wanted is ended.
fn how_to_end(found: &Generation) -> String {
    if found.state != GenerationState::Retired {
        return String::new();
    }
    format!(
        "; the rollback stays requested, and `gnomon rollback {} --cancel` ends it",
        found.projection
    )
}
