//! `gnomon dead-letters`: what waits because it could not be applied, and the
//! decisions to leave events out.

use std::io::Write as _;
use std::process::ExitCode;

use gnomon_event_store::write_dead_letter;
use gnomon_model::Position;

use super::waiting::Own;
use super::{Context, host, output, style};
use crate::dead_letter::PageLimits;
use crate::generation::Generation;
use crate::readable;
use crate::storage::Storage;

mod deciding;
mod retrying;

/// Shows events that wait, applies them again, or leaves them out permanently
///
/// With `on-error = "park"`, an event that a projection cannot apply waits in
/// the dead-letter table, and behind it all later events of its stream. The
/// decision to skip an event belongs to the projection: every rebuild, new
/// version, copy and comparison leaves it out too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon dead-letters list order_summary
  gnomon dead-letters retry order_summary
  gnomon dead-letters skip order_summary --position 42 --reason 'sent twice by mistake'
  gnomon dead-letters discard order_summary --stream Order-17
  gnomon dead-letters skips order_summary")]
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
        /// Those of the candidate, not of the live generation
        #[arg(long)]
        candidate: bool,
    },
    Retry(retrying::Retry),
    Skip(deciding::Skip),
    Discard(deciding::Discard),
    Skips(deciding::Skips),
    Unskip(deciding::Unskip),
}

impl DeadLetters {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let storage = host::storage(context).await?;
        match self.action {
            Action::List { name, candidate } => list(context, &storage, &name, candidate).await,
            Action::Retry(retry) => retry.run(context, &storage).await,
            Action::Skip(skip) => skip.run(context, &storage).await,
            Action::Discard(discard) => discard.run(context, &storage).await,
            Action::Skips(skips) => skips.run(context, &storage).await,
            Action::Unskip(unskip) => unskip.run(context, &storage).await,
        }
    }
}

async fn list(
    context: &Context,
    storage: &Storage,
    name: &str,
    candidate: bool,
) -> anyhow::Result<ExitCode> {
    let own = Own::read(&*storage.registry, name).await?;
    let generation = match candidate {
        true => own
            .candidate()
            .ok_or_else(|| anyhow::anyhow!("{name} has no candidate"))?,
        false => shown(&own, name)?,
    };
    let mut stdout = output::stdout();
    let mut table = style::table(&["position", "stream", "event", "why it waits"]);
    let mut after = Position::START;
    loop {
        let page = storage
            .read_models
            .dead_letters(generation.id, after, PageLimits::USUAL)
            .await?;
        let Some(last) = page.last() else { break };
        if stdout.is_closed() {
            break;
        }
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

/// The generation that stands for a projection.
fn shown<'a>(own: &'a Own, name: &str) -> anyhow::Result<&'a Generation> {
    own.shown()
        .ok_or_else(|| anyhow::anyhow!("{name} has no generation; deploy a module for it first"))
}

/// How many rows are out of the global order, and how to mend that.
fn order_advice(name: &str, late: u64) -> String {
    format!(
        "{late} events were applied late, out of the global order; `gnomon rebuild {name}` gives the \
         order back"
    )
}
