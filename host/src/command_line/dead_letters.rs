//! `gnomon dead-letters`: what waits because it could not be applied, and the
//! decisions to leave events out.

use std::io::Write as _;
use std::process::ExitCode;

use gnomon_event_store::write_dead_letter;
use gnomon_model::readable;

use super::{Context, host, output, style};
use crate::operations::{self, Operations};

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
        let operations = host::operations(context).await?;
        match self.action {
            Action::List { name, candidate } => list(context, &operations, &name, candidate).await,
            Action::Retry(retry) => retry.run(context, &operations).await,
            Action::Skip(skip) => skip.run(context, &operations).await,
            Action::Discard(discard) => discard.run(context, &operations).await,
            Action::Skips(skips) => skips.run(context, &operations).await,
            Action::Unskip(unskip) => unskip.run(context, &operations).await,
        }
    }
}

async fn list(
    context: &Context,
    operations: &Operations,
    name: &str,
    of_candidate: bool,
) -> anyhow::Result<ExitCode> {
    let mut letters = operations::DeadLetters::of(operations, name, of_candidate).await?;
    let mut stdout = output::stdout();
    let mut table = style::table(&["position", "stream", "event", "why it waits"]);
    loop {
        let page = letters.next(operations).await?;
        if page.is_empty() || stdout.is_closed() {
            break;
        }
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

/// How many rows are out of the global order, and how to mend that.
fn order_advice(name: &str, late: u64) -> String {
    format!(
        "{late} events were applied late, out of the global order; `gnomon rebuild {name}` gives the \
         order back"
    )
}
