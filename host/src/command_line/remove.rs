//! `gnomon remove`: a projection, or its candidate, away.

use std::io::Write as _;
use std::process::ExitCode;

use super::{Context, host, output};
use crate::operations::{self, RemovedPart};

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
        let operations = host::operations(context).await?;
        let part = match (self.candidate, self.drop) {
            (true, _) => RemovedPart::Candidate,
            (false, true) => RemovedPart::Everything {
                cascade: self.cascade,
            },
            (false, false) => RemovedPart::Work,
        };
        let remove = operations::Remove {
            name: self.name,
            part,
        };
        let removed = remove.run(&operations).await?;
        let mut stdout = output::stdout();
        if context.json {
            output::write_json(&mut stdout, &removed)?;
            return Ok(ExitCode::SUCCESS);
        }
        let name = &removed.name;
        match removed.generation {
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
