//! `gnomon test`: given events, expected rows.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use gnomon_databases::error_chain::chain;
use gnomon_guest::GuestEngine;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use self::subject::Subject;
use self::watch::Watch;
use super::{Context, host, output, style};
use crate::configuration::Limits;
use crate::fixture::{self, ExpectedRejection, Fixture, Purpose, tells_of_a_fault, without_places};
use crate::module_file;
use crate::supervisor::{self, limits_of_guest, load_module};
use crate::trial::{Bench, End, Finding, Trial};

mod shown;
mod subject;
mod watch;

/// Runs a projection on its fixtures: given events, expected rows
///
/// Applies the events of each fixture one by one, all at once, in random batches,
/// twice, and in one instance that is kept. The rows must be the same each time.
/// docs/how-to/testing.md says how to write fixtures.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon test                            the projection in this directory, built first if need be
  gnomon test --record                   writes the rows that it finds into the fixtures
  gnomon test spending.wasm --fixtures more/late-payment.json")]
pub(super) struct Test {
    /// The directory of a projection's source, or a component
    #[arg(value_name = "DIR|FILE", default_value = ".")]
    path: PathBuf,
    /// A fixture, or a folder of them [default: tests, in DIR or beside FILE]
    #[arg(long, value_name = "PATH")]
    fixtures: Option<PathBuf>,
    /// Writes the rows that were found into the fixtures, as what they expect
    #[arg(long)]
    record: bool,
    /// Keeps running, and tests again whenever something changes
    #[arg(long, conflicts_with = "record")]
    watch: bool,
    /// Uses the same random batches as a run that printed this number
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
}

/// A fixture that was tried.
struct Tried {
    fixture: Fixture,
    findings: Vec<Finding>,
    /// Whether what was found was written into it.
    recorded: bool,
}

impl Test {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let subject = Subject::new(self.path.clone(), self.fixtures.clone());
        let engine = Arc::new(supervisor::engine()?);
        let mut watch = if self.watch {
            Some(Watch::start(&subject)?)
        } else {
            None
        };
        loop {
            let tested = self.test(&subject, &engine, context).await;
            let Some(watch) = &mut watch else {
                return tested;
            };
            if let Err(error) = tested {
                output::say(&format!(
                    "{}: {}",
                    style::error("error"),
                    chain(error.as_ref())
                ));
            }
            output::say("waiting for changes");
            watch.changed().await?;
        }
    }

    /// Tests once.
    async fn test(
        &self,
        subject: &Subject,
        engine: &Arc<GuestEngine>,
        context: &Context,
    ) -> anyhow::Result<ExitCode> {
        let limits = host::loading_limits(context)?;
        let bench = Arc::new(bench(subject.component().await?, engine, limits).await?);
        let description = Arc::clone(bench.guest().description());
        let purpose = if self.record {
            Purpose::Recording
        } else {
            Purpose::Comparing
        };
        let fixtures = fixture::read(&subject.fixtures(), &description, purpose)?;
        let seed = self.seed.unwrap_or_else(|| rand::random::<u32>().into());
        let mut tried = Vec::new();
        for fixture in fixtures {
            let bench = Arc::clone(&bench);
            let (fixture, trial) = spawn_blocking(move || {
                let trial = bench.try_fixture(&fixture, seed);
                (fixture, trial)
            })
            .await?;
            let trial = trial.with_context(|| fixture.path.display().to_string())?;
            let recorded = match self.record {
                true => record(&fixture, &trial, &description)?,
                false => Recorded::Nothing,
            };
            let mut findings = trial.findings;
            if self.record {
                findings.retain(|finding| !matches!(finding, Finding::Rows(_)));
            }
            let recorded = match recorded {
                Recorded::Something => true,
                Recorded::Nothing => false,
                Recorded::Refused(finding) => {
                    findings.push(finding);
                    false
                }
            };
            let one = Tried {
                fixture,
                findings,
                recorded,
            };
            shown::show(&one, context)?;
            tried.push(one);
        }
        let failed = tried.iter().filter(|one| !one.findings.is_empty()).count();
        shown::sum_up(tried.len(), failed);
        Ok(if failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }
}

/// Loads a component as a host would.
async fn bench(
    component: PathBuf,
    engine: &Arc<GuestEngine>,
    limits: Limits,
) -> anyhow::Result<Bench> {
    let bytes = module_file::read(&component)?;
    let of_guest = limits_of_guest(&limits);
    let engine = Arc::clone(engine);
    let guest = spawn_blocking(move || load_module(&engine, &bytes, &limits))
        .await?
        .with_context(|| format!("{} is refused", component.display()))?;
    let runtime = Handle::current();
    Ok(Bench::new(guest, of_guest, limits.batch_events, runtime))
}

/// What `record` did.
enum Recorded {
    Something,
    Nothing,
    /// The fixture stays as it is.
    Refused(Finding),
}

/// Writes what was found into a fixture, unless it would hide that something
/// is wrong.
fn record(
    fixture: &Fixture,
    trial: &Trial,
    description: &gnomon_model::Description,
) -> anyhow::Result<Recorded> {
    if trial
        .findings
        .iter()
        .any(|finding| !matches!(finding, Finding::Rows(_)))
    {
        return Ok(Recorded::Nothing);
    }
    let is_new = match &trial.outcome.end {
        End::Rejected { position, message } if !fixture.expects_something() => {
            if tells_of_a_fault(message) {
                return Ok(Recorded::Refused(Finding::Fault {
                    position: *position,
                    message: message.clone(),
                }));
            }
            fixture.record_rejection(&ExpectedRejection {
                position: *position,
                message: without_places(message).to_owned(),
            })?
        }
        // Whoever expects only a rejection does not ask for rows.
        End::Rejected { .. } if !fixture.expects_rows() => false,
        _ => fixture.record_rows(&trial.outcome.rows, description)?,
    };
    Ok(match is_new {
        true => Recorded::Something,
        false => Recorded::Nothing,
    })
}

/// A path as it is shown, which may be that of the working directory.
fn shown_path(path: &Path) -> String {
    let path = path.strip_prefix(".").unwrap_or(path);
    path.display().to_string()
}
