//! The command line: one module per command.
//!
//! Results go to stdout, everything else to stderr. A command exits with 0 when
//! what was asked for has happened, with 1 when it has not, and with 2 on wrong
//! usage.

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use gnomon_databases::error_chain::chain;
use gnomon_databases::process_limits;

use self::telemetry::LogFormat;
use crate::configuration::{self, Configuration};

mod append;
mod build;
mod comparison;
mod completions;
mod control;
mod dead_letters;
mod deploy;
mod events;
mod history;
mod host;
mod init;
mod inspect;
mod new;
mod output;
mod overtaken;
mod progress;
mod promote;
mod rebuild;
#[cfg(test)]
mod reference;
mod remove;
mod run;
mod shown_comparison;
mod status;
mod style;
mod telemetry;
mod test;
mod wait;
mod watching;

/// Hosts event-sourced projections: WebAssembly components in, SQL read models
/// out, exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "gnomon",
    version,
    propagate_version = true,
    max_term_width = 100
)]
#[command(after_help = "Examples:
  gnomon init shop && cd shop
  gnomon append --stream Order-1 --type OrderPlaced --data '{\"total_cents\": 1200}'
  gnomon run
  gnomon status

Environment: every key of gnomon.toml can be set as GNOMON_…, as in GNOMON_EVENTS_URL;
GNOMON_LOG sets the log level (error, warn, info, debug, trace).

Exit codes: 0 when what was asked for has happened, 1 when it has not, 2 when the arguments make no
sense. A reader of the results that leaves early, as in `gnomon events | head -1`, changes nothing.")]
pub struct CommandLine {
    /// The configuration [default: gnomon.toml here, or in the nearest directory above]
    #[arg(long, value_name = "FILE", env = "GNOMON_CONFIG", global = true)]
    config: Option<PathBuf>,
    /// Prints results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// The form of log lines on stderr
    #[arg(long, value_name = "FORMAT", default_value = "text", global = true)]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    New(new::New),
    Build(build::Build),
    Inspect(inspect::Inspect),
    Test(test::Test),
    Append(append::Append),
    Events(events::Events),
    Run(run::Run),
    Deploy(deploy::Deploy),
    Status(status::Status),
    Wait(wait::Wait),
    Pause(control::Pause),
    Resume(control::Resume),
    Rebuild(rebuild::Rebuild),
    Promote(promote::Promote),
    Rollback(promote::Rollback),
    Remove(remove::Remove),
    Diff(comparison::Diff),
    Verify(comparison::Verify),
    DeadLetters(dead_letters::DeadLetters),
    History(history::History),
    Completions(completions::Completions),
}

/// What all commands share.
#[derive(Debug)]
pub struct Context {
    /// Whether results are printed as JSON.
    pub json: bool,
    /// The form of log lines on stderr, which everything else there must not
    /// break.
    log_format: LogFormat,
    /// The file that was named, if one was.
    config: Option<PathBuf>,
    configuration: OnceCell<Configuration>,
}

impl Context {
    /// The context of a command that reads its configuration from `config`.
    #[must_use]
    pub const fn new(config: PathBuf, json: bool) -> Self {
        Self {
            json,
            log_format: LogFormat::Text,
            config: Some(config),
            configuration: OnceCell::new(),
        }
    }

    /// Tells people something that is no result and no log line either; where
    /// programs read the log, it is a line of that.
    fn say(&self, text: &str) {
        match self.log_format {
            LogFormat::Text => output::say(text),
            LogFormat::Json => tracing::info!("{text}"),
        }
    }

    /// The configuration, read on first use.
    ///
    /// # Errors
    /// With every mistake that is in it.
    pub fn configuration(&self) -> anyhow::Result<&Configuration> {
        if let Some(configuration) = self.configuration.get() {
            return Ok(configuration);
        }
        let file = match &self.config {
            Some(file) => file.clone(),
            None => self.nearest_file(),
        };
        let configuration = Configuration::load(&file)?;
        Ok(self.configuration.get_or_init(|| configuration))
    }
}

impl Context {
    /// The configuration of the working directory, or of the nearest directory
    /// above that has one.
    fn nearest_file(&self) -> PathBuf {
        let here = PathBuf::from(configuration::FILE_NAME);
        if here.exists() {
            return here;
        }
        let above = std::env::current_dir()
            .ok()
            .and_then(|directory| configuration::nearest(&directory));
        above.map_or(here, |file| {
            self.say(&format!("using {}", file.display()));
            file
        })
    }
}

impl CommandLine {
    /// Runs the command and says how it went.
    #[must_use]
    pub fn run(self) -> ExitCode {
        match self.try_run().and_then(|code| {
            output::finish()?;
            Ok(code)
        }) {
            Ok(code) => code,
            Err(error) => {
                output::say(&format!(
                    "{}: {}",
                    style::error("error"),
                    chain(error.as_ref())
                ));
                ExitCode::FAILURE
            }
        }
    }

    fn try_run(self) -> anyhow::Result<ExitCode> {
        telemetry::start(
            self.log_format,
            progress::LogWriter,
            style::colours_on_stderr(),
        )?;
        process_limits::raise_open_files();
        let context = Context {
            json: self.json,
            log_format: self.log_format,
            config: self.config,
            configuration: OnceCell::new(),
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        let code = runtime.block_on(async {
            match self.command {
                Command::Init(init) => init.run(&context).await.map(|()| ExitCode::SUCCESS),
                Command::New(new) => new.run(&context).map(|()| ExitCode::SUCCESS),
                Command::Build(build) => build.run(&context).map(|()| ExitCode::SUCCESS),
                Command::Inspect(inspect) => inspect.run(&context).map(|()| ExitCode::SUCCESS),
                Command::Test(test) => test.run(&context).await,
                Command::Append(append) => append.run(&context).await.map(|()| ExitCode::SUCCESS),
                Command::Events(events) => events.run(&context).await.map(|()| ExitCode::SUCCESS),
                Command::Run(run) => run.run(&context).await,
                Command::Deploy(deploy) => deploy.run(&context).await,
                Command::Status(status) => status.run(&context).await,
                Command::Wait(wait) => wait.run(&context).await,
                Command::Pause(pause) => pause.run(&context).await,
                Command::Resume(resume) => resume.run(&context).await,
                Command::Rebuild(rebuild) => rebuild.run(&context).await,
                Command::Promote(promote) => promote.run(&context).await,
                Command::Rollback(rollback) => rollback.run(&context).await,
                Command::Remove(remove) => remove.run(&context).await,
                Command::Diff(diff) => diff.run(&context).await,
                Command::Verify(verify) => verify.run(&context).await,
                Command::DeadLetters(dead_letters) => dead_letters.run(&context).await,
                Command::History(history) => history.run(&context).await,
                Command::Completions(completions) => completions.run().map(|()| ExitCode::SUCCESS),
            }
        });
        // A blocking read must not hold up the exit; nothing depends on it.
        runtime.shutdown_background();
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A context with a configuration of its own; its event store is empty.
    pub(crate) fn context(json: bool) -> (tempfile::TempDir, Context) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("gnomon.toml");
        std::fs::write(&file, crate::configuration::template()).unwrap();
        (directory, Context::new(file, json))
    }
}
