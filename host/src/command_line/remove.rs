//! `gnomon remove`: a projection, or its candidate, away.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use serde_json::json;

use super::waiting::Own;
use super::{Context, host, output};

/// Stops a projection, or its candidate
///
/// The tables and views of a removed projection stay as they are until --drop,
/// and `gnomon resume` brings it back. The command leaves the file in the
/// projections directory as it is; a host ignores the file until it changes.
/// After --drop there is nothing to resume: write the file again, or deploy it
/// with `gnomon deploy`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon remove order_summary --candidate    ends a rebuild or a deployment
  gnomon remove order_summary
  gnomon remove order_summary --drop         its tables and views too")]
pub(super) struct Remove {
    /// The projection
    name: String,
    /// Drops the generation that is being built; the live one stays
    #[arg(long, conflicts_with_all = ["drop", "cascade"])]
    candidate: bool,
    /// Drops all tables and views of the projection
    #[arg(long)]
    drop: bool,
    /// With --drop: also drops views of yours that depend on its views
    #[arg(long, requires = "drop")]
    cascade: bool,
}

impl Remove {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let registry = host::storage(context).await?.registry;
        let name = &self.name;
        let own = Own::read(&*registry, name).await?;
        let mut generation = None;
        let done = if self.candidate {
            let candidate = own
                .candidate()
                .with_context(|| format!("{name} has no candidate"))?;
            registry.drop_generation(candidate.id).await?;
            generation = Some(candidate.id);
            "candidate dropped"
        } else if self.drop {
            registry.drop_projection(name, self.cascade).await?;
            "dropped"
        } else {
            registry.remove(name).await?;
            "removed"
        };
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({"name": name, "done": done, "generation": generation});
            writeln!(stdout, "{shown}")?;
            return Ok(ExitCode::SUCCESS);
        }
        match generation {
            Some(generation) => writeln!(stdout, "{name}: generation {generation} is dropped")?,
            None if self.drop => writeln!(
                stdout,
                "{name} is dropped, with its tables and views; `gnomon deploy FILE` builds it \
                 again, and so does writing its file again"
            )?,
            None => writeln!(
                stdout,
                "{name} is removed; its tables stay until `gnomon remove {name} --drop`"
            )?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
