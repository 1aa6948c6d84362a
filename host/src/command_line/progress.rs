//! Progress bars on stderr, and log lines that do not tear them.

use std::fmt;
use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::Duration;

use gnomon_model::readable::{Readable, indented};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use tracing_subscriber::fmt::MakeWriter;

/// All bars of the process. Without a terminal they are not drawn.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// How often a bar is drawn anew.
const REDRAW: Duration = Duration::from_millis(100);

/// A bar with a rate and the time that is left.
pub(super) fn bar(name: &str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template(
        "{prefix:>20} {bar:30} {percent:>3} %  {human_pos}/{human_len}  {rate:>12}  {eta} left",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .with_key(
        "rate",
        |state: &ProgressState, output: &mut dyn fmt::Write| {
            // What cannot be shown is left out.
            let _ = write!(output, "{:.0}/s", state.per_sec());
        },
    );
    let bar = BARS.add(ProgressBar::new(total));
    bar.set_style(style);
    bar.set_prefix(name.to_owned());
    bar.enable_steady_tick(REDRAW);
    bar
}

/// Writes to stderr, with the bars lifted out of the way. It never fails.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A host whose stderr has no reader any more works on.
        let _ = BARS.suspend(|| Readable::new(io::stderr()).write_all(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let _ = io::stderr().flush();
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine
    }
}

/// Takes one line of the log at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogLine;

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        LogWriter.write_all(indented(&line).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        LogWriter.flush()
    }
}
