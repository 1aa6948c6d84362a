//! Waiting for what hosts do, with progress on a terminal.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::progress;
use crate::generation::{Generation, GenerationId, GenerationState, RunState};
use crate::status;
use crate::target::Target;

/// How often the read-model database is asked.
pub(super) const POLL: Duration = Duration::from_millis(50);
/// Nothing is drawn about what is over by then.
const DRAWN_AFTER: Duration = Duration::from_secs(1);

/// The generations of one projection that commands act on.
pub(super) struct Own {
    pub(super) all: Vec<Generation>,
}

impl Own {
    /// Reads them.
    pub(super) async fn read(target: &dyn Target, name: &str) -> anyhow::Result<Self> {
        let mut all = target.generations().await?;
        all.retain(|generation| generation.projection == name);
        anyhow::ensure!(
            !all.is_empty(),
            "there is no projection `{name}`; `gnomon status` lists all"
        );
        Ok(Self { all })
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

/// Whether some host is there to do the work.
pub(super) async fn has_host(target: &dyn Target) -> anyhow::Result<bool> {
    Ok(!target.hosts().await?.is_empty())
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
    pub(super) target: &'a dyn Target,
    pub(super) generation: GenerationId,
    pub(super) projection: &'a str,
    /// How long at most; `None` for as long as it takes.
    pub(super) limit: Option<Duration>,
    /// Where it is going, for the progress bar.
    pub(super) goal: u64,
}

impl Waiting<'_> {
    /// Waits for `judge` to say that it is over. It is given `None` when the
    /// generation is gone.
    pub(super) async fn wait<T>(
        &self,
        mut judge: impl FnMut(Option<&Generation>) -> anyhow::Result<Verdict<T>>,
    ) -> anyhow::Result<T> {
        let started = Instant::now();
        let mut bar: Option<ProgressBar> = None;
        loop {
            let generations = self.target.generations().await?;
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
            }
            if self.limit.is_some_and(|limit| started.elapsed() >= limit) {
                anyhow::bail!("{}", self.too_late(found).await?);
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn too_late(&self, found: Option<&Generation>) -> anyhow::Result<String> {
        let limit = self.limit.unwrap_or_default();
        let name = self.projection;
        let Some(found) = found else {
            return Ok(format!("{name}: generation {} is gone", self.generation));
        };
        let cause = status::state_of(found, has_host(self.target).await?)
            .1
            .map_or_else(String::new, |cause| format!(" ({cause})"));
        Ok(format!(
            "{name}: generation {} is {} at position {} after {limit:?}{cause}; what was asked for \
             stays wanted, and `gnomon status {name}` shows how it goes on{}",
            found.id,
            found.state.name(),
            found.position,
            how_to_end(found)
        ))
    }
}

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
        "; the rollback stays wanted, and `gnomon rollback {} --cancel` ends it",
        found.projection
    )
}
