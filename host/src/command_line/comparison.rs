//! `gnomon diff` and `gnomon verify`: two generations, row by row.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::shown_comparison::{Sides, write_comparison};
use super::{Context, host, output, wait};
use crate::operations::{self, ComparedGenerations};

/// Compares the candidate with the live generation, row by row
///
/// Compares both at the same position, and waits for a candidate that is being
/// built. If events keep coming, both pause for a moment.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon deploy order-summary.wasm --hold
  gnomon diff order_summary
  gnomon diff order_summary --json | jq .tables")]
pub(super) struct Diff {
    /// The projection
    name: String,
    /// How long to wait at most [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = wait::duration)]
    timeout: Option<Duration>,
}

/// Rebuilds a read model separately and compares it with the live one
///
/// Finds rows that drifted, or that somebody edited by hand. Exits with 1 and
/// shows the differences if there are any. Readers notice nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon verify order_summary")]
pub(super) struct Verify {
    /// The projection
    name: String,
    /// How long to wait at most [default: as long as it takes]
    #[arg(long, value_name = "TIME", value_parser = wait::duration)]
    timeout: Option<Duration>,
}

impl Diff {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let patience = host::patience(self.timeout);
        let operations = host::patient_operations(context, patience).await?;
        let diff = operations::Diff { name: self.name };
        show(context, &diff.run(&operations).await?, Sides::CANDIDATE)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Verify {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let patience = host::patience(self.timeout);
        let operations = host::patient_operations(context, patience).await?;
        let verify = operations::Verify { name: self.name };
        let compared = verify.run(&operations).await?;
        show(context, &compared, Sides::REBUILT)?;
        Ok(ExitCode::from(u8::from(!compared.equal)))
    }
}

fn show(context: &Context, compared: &ComparedGenerations, sides: Sides) -> anyhow::Result<()> {
    let mut stdout = output::stdout();
    if context.json {
        // Not by way of a value: cells would be rounded there.
        writeln!(stdout, "{}", serde_json::to_string(compared)?)?;
        return Ok(());
    }
    write_comparison(&mut stdout, compared, sides)?;
    // Differences that come from these are no drift.
    for deviation in &compared.deviations {
        writeln!(stdout, "{}: {deviation}", compared.name)?;
    }
    Ok(())
}
