//! `gnomon rebuild`: a read model anew, from the first event.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use super::{Context, host, output, overtaken, promote, wait};
use crate::operations::{self, PastCopy, Until};

/// Rebuilds a read model from the first event
///
/// The host builds a new generation next to the live one, which readers keep
/// seeing, and promotes it when it has caught up. With --until and --as, the
/// result is a separate read model, as it was at an earlier time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon rebuild order_summary
  gnomon rebuild order_summary --hold                then gnomon diff, gnomon promote
  gnomon rebuild order_summary --until 2026-02-01 --as orders_in_january
  gnomon rebuild order_summary --until 120000 --as orders_before_the_incident")]
pub(super) struct Rebuild {
    /// The projection
    name: String,
    /// Leaves the promotion to `gnomon promote`
    #[arg(long, conflicts_with = "copy")]
    hold: bool,
    /// The last event of the copy: a position, a time in RFC 3339, or a date, which is the start
    /// of that day in UTC
    #[arg(long, value_name = "POSITION|TIME|DATE", requires = "copy", value_parser = str::parse::<Until>)]
    until: Option<Until>,
    /// The name of the copy
    #[arg(long = "as", id = "copy", value_name = "NAME", requires = "until")]
    copy: Option<String>,
    /// Waits until readers see it
    #[arg(long, conflicts_with = "hold")]
    wait: bool,
    /// How long to wait at most [default: as long as it takes; 30s if no host runs]
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = wait::duration)]
    timeout: Option<Duration>,
}

impl Rebuild {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let patience = host::patience_if(self.wait, self.timeout);
        let operations = host::patient_operations(context, patience).await?;
        let copy = self.copy.zip(self.until);
        let rebuild = operations::Rebuild {
            name: self.name,
            hold: self.hold,
            copy: copy.map(|(name, until)| PastCopy { name, until }),
        };
        let rebuilding = rebuild.run(&operations).await?;
        let mut stdout = output::stdout();
        if context.json {
            output::write_json(&mut stdout, &rebuilding)?;
        } else {
            let name = &rebuilding.name;
            let until = rebuilding.until;
            let end = until.map_or_else(String::new, |until| format!(" up to event {until}"));
            writeln!(
                stdout,
                "{name}: generation {} is being built{end}{}",
                rebuilding.generation,
                overtaken::later(rebuilding.has_host)
            )?;
            for sentence in overtaken::sentences(name, &rebuilding.overtaken) {
                writeln!(stdout, "{sentence}")?;
            }
        }
        if self.wait {
            promote::show(context, &rebuilding.until_live(&operations).await?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
