//! `gnomon history`: what users and hosts have done to projections.

use std::io::Write as _;
use std::process::ExitCode;

use gnomon_model::readable;

use super::{Context, host, output, style};
use crate::operations::{self, RecordedAction};

/// Shows what users and hosts have done to projections
///
/// The newest action is last: deployments, rebuilds, promotions, rollbacks, pauses,
/// removals, skipped events, and what hosts do about them. Removed and dropped
/// projections have a history too. The registry keeps the newest 10,000 actions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon history
  gnomon history order_summary --limit 20
  gnomon history order_summary --json    one object per line")]
pub(super) struct History {
    /// Only this projection
    name: Option<String>,
    /// How many actions at most, the newest
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

impl History {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let operations = host::operations(context).await?;
        let history = operations::History {
            name: self.name,
            limit: self.limit,
        };
        let actions = history.run(&operations).await?;
        let mut stdout = output::stdout();
        if context.json {
            for action in &actions {
                output::write_json(&mut stdout, action)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        if actions.is_empty() {
            writeln!(stdout, "no action is recorded")?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = style::table(&[
            "time",
            "actor",
            "action",
            "projection",
            "generation",
            "position",
            "module",
            "detail",
        ]);
        for action in &actions {
            table.add_row(row(action));
        }
        writeln!(stdout, "{table}")?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row(action: &RecordedAction) -> [String; 8] {
    let generation = action.generation.map(|generation| generation.to_string());
    let position = action
        .position
        .map(|position| style::grouped(position.get()));
    let module = action
        .module
        .as_ref()
        .map(|module| module.short().to_owned());
    [
        action.at.clone(),
        readable::name(&action.actor),
        action.action.clone(),
        action.projection.clone(),
        generation.unwrap_or_default(),
        position.unwrap_or_default(),
        module.unwrap_or_default(),
        action
            .detail
            .as_deref()
            .map(readable::name)
            .unwrap_or_default(),
    ]
}
