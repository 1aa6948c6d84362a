//! `gnomon dead-letters`: events that wait because they cannot be applied.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use serde_json::json;

use super::{Context, host, style};
use crate::dead_letter::DeadLetterAction;
use crate::event_store::write_dead_letter;
use crate::generation::Generation;
use crate::target::Target;
use crate::{readable, status};

/// Dead letters that are read in one go.
const PAGE_EVENTS: usize = 500;
/// How often a command looks whether its request was carried out.
const POLL: Duration = Duration::from_millis(50);
/// How long it does so.
const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Shows, retries or discards events that wait
///
/// With `on-error = "park"`, an event that a projection cannot apply waits in
/// the dead-letter table, and behind it all later events of its stream.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon dead-letters list order_summary
  gnomon dead-letters retry order_summary
  gnomon dead-letters discard order_summary --stream Order-17")]
pub(super) struct DeadLetters {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Shows the events that wait, in order, and why they do
    List {
        /// The projection
        name: String,
    },
    /// Applies them again, in order, with the code of today
    ///
    /// A stream whose event fails again goes on waiting from there.
    Retry(Request),
    /// Forgets them; their streams go on with the next event
    Discard(Request),
}

#[derive(Debug, clap::Args)]
struct Request {
    /// The projection
    name: String,
    /// Only the events of this stream
    #[arg(long, value_name = "S")]
    stream: Option<String>,
}

impl DeadLetters {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let target = host::registry(context).await?;
        match self.action {
            Action::List { name } => list(context, &target, &name).await,
            Action::Retry(request) => {
                request
                    .send(context, &target, DeadLetterAction::Retry)
                    .await
            }
            Action::Discard(request) => {
                request
                    .send(context, &target, DeadLetterAction::Discard)
                    .await
            }
        }
    }
}

async fn list(context: &Context, target: &Arc<dyn Target>, name: &str) -> anyhow::Result<ExitCode> {
    let generation = generation(target, name).await?;
    let mut stdout = anstream::stdout();
    let mut table = style::table(&["position", "stream", "event", "why it waits"]);
    let mut after = Position::START;
    loop {
        let page = target
            .dead_letters(generation.id, after, PAGE_EVENTS)
            .await?;
        let Some(last) = page.last() else { break };
        after = last.event.position;
        for letter in &page {
            if context.json {
                write_dead_letter(&mut stdout, &letter.event, &letter.error)?;
                writeln!(stdout)?;
            } else {
                table.add_row([
                    style::grouped(letter.event.position.get()),
                    readable::name(&letter.event.stream_id),
                    readable::name(&letter.event.event_type),
                    letter.error.clone(),
                ]);
            }
        }
    }
    if !context.json {
        match table.is_empty() {
            true => writeln!(stdout, "{name} has no dead letters")?,
            false => writeln!(stdout, "{table}")?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl Request {
    async fn send(
        self,
        context: &Context,
        target: &Arc<dyn Target>,
        action: DeadLetterAction,
    ) -> anyhow::Result<ExitCode> {
        let before = generation(target, &self.name).await?;
        target
            .request(before.id, action, self.stream.as_deref())
            .await?;
        let is_done = match before.host {
            Some(_) => self.wait(target).await?,
            None => false,
        };
        let after = generation(target, &self.name).await?;
        let mut stdout = anstream::stdout();
        if context.json {
            let shown = json!({
                "name": self.name,
                "action": action,
                "stream": self.stream,
                "done": is_done,
                "dead_letters": after.dead_letters,
            });
            writeln!(stdout, "{shown}")?;
        } else if is_done {
            writeln!(
                stdout,
                "{}: {} of {} dead letters still wait",
                self.name, after.dead_letters, before.dead_letters
            )?;
        } else {
            writeln!(
                stdout,
                "{}: recorded; the host that runs the projection will do it",
                self.name
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Waits until the host has carried out all requests.
    async fn wait(&self, target: &Arc<dyn Target>) -> anyhow::Result<bool> {
        let started = Instant::now();
        while started.elapsed() < REQUEST_TIME_LIMIT {
            let controls = target.controls().await?;
            let waits = controls
                .iter()
                .any(|control| control.projection == self.name && control.requests > 0);
            if !waits {
                return Ok(true);
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(false)
    }
}

/// The generation that stands for a projection.
async fn generation(target: &Arc<dyn Target>, name: &str) -> anyhow::Result<Generation> {
    let generations = target.generations().await?;
    let own: Vec<&Generation> = generations
        .iter()
        .filter(|generation| generation.projection == name)
        .collect();
    status::shown(&own).cloned().ok_or_else(|| {
        anyhow::anyhow!("there is no projection `{name}`; `gnomon status` lists all")
    })
}
