//! `gnomon dead-letters retry`.

use std::io::Write as _;
use std::process::ExitCode;

use super::super::{Context, output};
use super::order_advice;
use crate::operations::{self, Operations};

/// Applies them again, with the code of today
///
/// A stream whose event fails again goes on waiting from there. What waited is
/// applied behind later events of other streams, out of the global order; where
/// a projection brings streams together its rows may then differ from those of
/// a rebuild. `gnomon rebuild` gives the order back.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Retry {
    /// The projection
    name: String,
    /// Only the events of this stream
    #[arg(long, value_name = "S")]
    stream: Option<String>,
}

impl Retry {
    pub(super) async fn run(
        self,
        context: &Context,
        operations: &Operations,
    ) -> anyhow::Result<ExitCode> {
        let retry = operations::Retry {
            name: self.name,
            stream: self.stream,
        };
        let retried = retry.run(operations).await?;
        let mut stdout = output::stdout();
        if context.json {
            output::write_json(&mut stdout, &retried)?;
            return Ok(ExitCode::SUCCESS);
        }
        let name = &retried.name;
        if !retried.done {
            writeln!(
                stdout,
                "{name}: recorded; the host that runs the projection will do it"
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(
            stdout,
            "{name}: {} of {} dead letters still wait",
            retried.dead_letters, retried.dead_letters_before
        )?;
        if retried.applied_late > 0 {
            writeln!(
                stdout,
                "{name}: {}",
                order_advice(name, retried.applied_late)
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
