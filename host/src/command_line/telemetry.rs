//! What the process says of itself: log lines on stderr.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The variable that says what is logged: a level (`debug`), or levels by
/// module (`warn,gnomon::runner=trace`).
const VARIABLE: &str = "GNOMON_LOG";

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people, with colours on a terminal
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(super) enum TelemetryError {
    /// [`VARIABLE`] is not a filter.
    #[error(
        "{VARIABLE} is not a level (error, warn, info, debug, trace) or a list such as \
         `warn,gnomon=debug`: {0}"
    )]
    Filter(String),
    /// This process logs already.
    #[error("logging is set up already")]
    Twice,
}

/// Sends log lines to `writer` from now on, those that [`VARIABLE`] asks for, or
/// from level `info` on.
///
/// # Errors
/// [`TelemetryError`] when the variable is not a filter, or when the process
/// logs already.
pub(super) fn start<W>(format: LogFormat, writer: W, colours: bool) -> Result<(), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = filter(&std::env::var(VARIABLE).unwrap_or_default())?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(colours);
    match format {
        LogFormat::Text => lines.with_target(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TelemetryError::Twice)
}

fn filter(text: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(text)
        .map_err(|error| TelemetryError::Filter(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_means_info() {
        assert_eq!(filter("").unwrap().to_string(), "info");
    }

    #[test]
    fn levels_can_differ_by_module() {
        assert!(filter("warn,gnomon=debug").is_ok());
    }

    #[test]
    fn a_wrong_filter_is_refused() {
        let error = filter("gnomon=loud").unwrap_err().to_string();
        assert!(error.contains("GNOMON_LOG is not a level"), "{error}");
    }
}
