//! `gnomon wait`: until the read model holds an event.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use gnomon_event_store::source;
use gnomon_model::Position;
use serde_json::json;

use super::patience::Patience;
use super::patient::Patient;
use super::waiting::{HostLook, has_host, names, unknown};
use super::{Context, output};
use crate::configuration::Configuration;
use crate::generation::{Generation, GenerationState, ModuleHash, RunState};
use crate::operations::status;
use crate::registry::{RefusedFile, Registry};
use crate::storage;

/// How often the read-model database is asked.
const POLL: Duration = Duration::from_millis(20);
/// How often the projections directory is looked at, as long as nobody knows the
/// projection.
const DIRECTORY_POLL: Duration = Duration::from_millis(250);

/// Waits until a read model holds an event
///
/// Without --position, waits until the read model has caught up: until it holds
/// the event that is the last one when the command starts. Exits with 1 when the
/// time is up, when the projection has halted before that event, and at once if
/// there is no such projection and no new file in the projections directory could
/// be it. Asks a database that is out of reach again until the time is up.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon wait order_summary
  gnomon wait order_summary --position 50000 --timeout 2m")]
pub(super) struct Wait {
    /// The projection
    name: String,
    /// The event's position [default: that of the last event]
    #[arg(long, value_name = "N", value_parser = position)]
    position: Option<Position>,
    /// How long to wait at most
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

fn position(text: &str) -> Result<Position, String> {
    text.parse()
        .ok()
        .and_then(Position::new)
        .ok_or_else(|| format!("a position is a number from 0 to {}", Position::MAX))
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<jiff::SignedDuration>()
        .ok()
        .and_then(|duration| Duration::try_from(duration).ok())
        .ok_or_else(|| "a time is a number and a unit, as in `30s` or `2m`".to_owned())
}

impl Wait {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let configuration = context.configuration()?;
        let patience = Patience::new(Some(self.timeout));
        let registry = loop {
            let found = patience
                .ask(async || storage::open_existing(&configuration.read_models).await)
                .await?;
            match found {
                Some(storage) => break Patient::new(storage, patience),
                // A host that is just starting makes the registry.
                None if !patience.is_over() && modules(configuration).next().is_some() => {
                    tokio::time::sleep(DIRECTORY_POLL).await;
                }
                None => anyhow::bail!(storage::no_registry(&configuration.read_models)),
            }
        };
        let patience = registry.patience();
        let goal = match self.position {
            Some(position) => position,
            None => {
                patience
                    .ask(async || {
                        let source = source::open(&configuration.events).await?;
                        Ok::<_, source::SourceError>(source.look().await?.head)
                    })
                    .await?
            }
        };
        let mut hosts = HostLook::default();
        let mut has_told = false;
        loop {
            let generations = registry.generations().await?;
            let own: Vec<&Generation> = generations
                .iter()
                .filter(|generation| generation.projection == self.name)
                .collect();
            let shown = status::shown(&own);
            let goal = self.goal_of(shown, goal)?;
            if let Some(shown) = shown
                && shown.state == GenerationState::Live
                && shown.position >= goal
            {
                self.say(context, shown.position, patience.elapsed())?;
                return Ok(ExitCode::SUCCESS);
            }
            if let Some(halted) = shown.and_then(|shown| shown.report.as_ref())
                && halted.state == RunState::Halted
            {
                anyhow::bail!(
                    "{} halted before event {goal}: {}",
                    self.name,
                    halted.cause.as_deref().unwrap_or("no reason was recorded")
                );
            }
            if own.is_empty() {
                let deployment = Deployment::look(configuration, &registry).await?;
                let file = match deployment.may_bring(&self.name, &generations) {
                    Ok(file) => file,
                    // A host may have deployed it between the two looks.
                    Err(_) if self.has_come(&registry).await? => continue,
                    Err(error) => return Err(error),
                };
                if !std::mem::replace(&mut has_told, true) {
                    output::say(&format!(
                        "there is no projection `{}` yet; waiting for a host to deploy {file}",
                        self.name
                    ));
                }
            }
            if patience.is_over() {
                let has_hosts = has_host(&registry).await?;
                anyhow::bail!(self.too_late(shown, goal, has_hosts));
            }
            hosts.look(&registry, false).await?;
            let poll = if own.is_empty() { DIRECTORY_POLL } else { POLL };
            tokio::time::sleep(poll).await;
        }
    }

    /// Whether somebody knows the projection now.
    async fn has_come(&self, registry: &dyn Registry) -> anyhow::Result<bool> {
        let generations = registry.generations().await?;
        Ok(generations
            .iter()
            .any(|generation| generation.projection == self.name))
    }

    /// Where it is to get to. A copy ends for good at its last event.
    fn goal_of(&self, shown: Option<&Generation>, goal: Position) -> anyhow::Result<Position> {
        let Some(until) = shown.and_then(|shown| shown.until) else {
            return Ok(goal);
        };
        anyhow::ensure!(
            self.position.is_none() || goal <= until,
            "{} is a copy that ends at event {until}, so it never holds event {goal}",
            self.name
        );
        Ok(goal.min(until))
    }

    fn say(&self, context: &Context, position: Position, waited: Duration) -> anyhow::Result<()> {
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "name": self.name,
                "position": position,
                "waited_seconds": waited.as_secs_f64(),
            });
            writeln!(stdout, "{shown}")?;
        } else {
            writeln!(stdout, "{} is at position {position}", self.name)?;
        }
        Ok(())
    }

    fn too_late(&self, shown: Option<&Generation>, goal: Position, has_hosts: bool) -> String {
        let Some(shown) = shown else {
            return format!(
                "there was no projection `{}` within {:?}; `gnomon status` lists all",
                self.name, self.timeout
            );
        };
        let (state, cause) = status::state_of(shown, has_hosts);
        let cause = match cause {
            Some(cause) => format!(": {cause}"),
            None if state == RunState::Paused => {
                format!(
                    ": it is paused, and `gnomon resume {}` resumes it",
                    self.name
                )
            }
            None => String::new(),
        };
        format!(
            "{} is at position {} ({}) and did not reach {goal} within {:?}{cause}",
            self.name,
            shown.position,
            shown.state.name(),
            self.timeout
        )
    }
}

/// The files of the projections directory; none where it cannot be read, as
/// that of another machine.
fn modules(configuration: &Configuration) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(&configuration.projections_directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        // A pipe or a device is no module, and reading it may never end.
        .filter(|path| path.is_file())
}

/// What hosts have made of the projections directory.
struct Deployment {
    /// What the hosts that are there have refused.
    refused: Vec<RefusedFile>,
    /// What those had refused that were there last, if none is.
    last_refused: Vec<RefusedFile>,
    /// A file that no host has dealt with yet.
    new_file: Option<String>,
}

impl Deployment {
    async fn look(configuration: &Configuration, registry: &dyn Registry) -> anyhow::Result<Self> {
        let hosts = registry.hosts().await?;
        let last_refused = if hosts.is_empty() {
            let notes = registry.last_notes().await?.into_iter();
            notes.flat_map(|notes| notes.refused).collect()
        } else {
            Vec::new()
        };
        let refused: Vec<RefusedFile> = hosts
            .into_iter()
            .flat_map(|host| host.notes.refused)
            .collect();
        let noted = registry.noted_files().await?;
        let is_refused = |name: &str| {
            refused
                .iter()
                .map(|refused| Path::new(&refused.place))
                .any(|place| place.file_name().is_some_and(|file| file == name))
        };
        let is_dealt_with = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let (Some(name), Ok(bytes)) = (name, std::fs::read(path)) else {
                return true;
            };
            let hash = ModuleHash::of(&bytes);
            is_refused(name)
                || noted
                    .iter()
                    .any(|(file, known)| file == name && *known == hash)
        };
        let new_file = modules(configuration)
            .find(|path| !is_dealt_with(path))
            .map(|path| path.display().to_string());
        Ok(Self {
            refused,
            last_refused,
            new_file,
        })
    }

    /// The file that may bring a projection that nobody knows, with what the
    /// last host had against it.
    ///
    /// # Errors
    /// When it will not come by itself, with the reason.
    fn may_bring(&self, name: &str, known: &[Generation]) -> anyhow::Result<String> {
        if let Some(refused) = refusal_of(name, &self.refused) {
            anyhow::bail!("there is no projection `{name}`: {}", refused.reason);
        }
        let file = self.new_file.as_deref();
        let file = file.ok_or_else(|| anyhow::anyhow!(unknown(name, names(known))))?;
        Ok(match refusal_of(name, &self.last_refused) {
            Some(refused) => format!("{file}; the last one did not: {}", refused.reason),
            None => file.to_owned(),
        })
    }
}

/// What was refused that is this projection, or has its name.
fn refusal_of<'a>(name: &str, refused: &'a [RefusedFile]) -> Option<&'a RefusedFile> {
    refused.iter().find(|refused| {
        let file = Path::new(&refused.place).file_stem();
        let file = file.and_then(|file| file.to_str());
        match &refused.projection {
            Some(projection) => projection == name,
            None => file.is_some_and(|file| file.replace('-', "_") == name),
        }
    })
}
