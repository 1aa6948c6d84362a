//! `gnomon append`: events into the store, one from the arguments or many
//! from a file.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use gnomon_event_store::{
    self, Appended, CheckedFile, EventStore, ExpectedVersion, Imported, LineLimit, NewEvent,
    OnProgress, Progress, StreamId,
};
use gnomon_model::readable::name;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use uuid::Uuid;

use super::{Context, output};

/// An import that takes longer shows how far it has got.
const QUIET_FOR: Duration = Duration::from_secs(2);

/// Appends one event, or imports a file of events
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  gnomon append --stream Order-7 --type OrderPlaced --data '{\"total_cents\": 1200}'
  gnomon append --stream Order-7 --type PaymentReceived --data '{}' --expected-version 1
  gnomon append --file events.ndjson.gz
  gnomon events --json | GNOMON_EVENTS_URL=postgres://localhost/events gnomon append --file -

A file has one event per line, as `gnomon events --json` prints them; version, schema version,
metadata, time and position may be left out. It may be a pipe, and may be compressed (gzip). Either
all of it is appended or nothing. Events whose ids are already in the store are skipped, so running
the same command again is harmless; an event that is there with other content is an error.")]
pub(super) struct Append {
    /// The stream to append to, normally {Category}-{id}
    #[arg(long, value_name = "NAME", required_unless_present = "file")]
    stream: Option<String>,
    /// The type of the event
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    event_type: Option<String>,
    /// What happened, as JSON
    #[arg(long, value_name = "JSON", required_unless_present = "file")]
    data: Option<String>,
    /// Its id; with the same id again, nothing is appended [default: a new one]
    #[arg(long, value_name = "UUID")]
    id: Option<Uuid>,
    /// A JSON object with correlation and causation ids, user and so on
    #[arg(long, value_name = "JSON")]
    metadata: Option<String>,
    /// How many events the stream must have, which is its version where versions begin at 1; 0 for
    /// a new stream [default: any number]
    #[arg(long, value_name = "N")]
    expected_version: Option<u64>,
    /// Imports a file of events, one per line; - is the standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["stream", "event_type", "data", "id", "metadata", "expected_version"]
    )]
    file: Option<PathBuf>,
}

impl Append {
    /// Runs the command.
    ///
    /// # Errors
    /// When the events are not what they must be, or cannot be appended;
    /// nothing was appended then.
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        self.run_into(context, &mut output::stdout()).await
    }

    async fn run_into(self, context: &Context, out: &mut (dyn Write + Send)) -> anyhow::Result<()> {
        // Look at the arguments first: a mistake there should not wait for a
        // database.
        let printed = match &self.file {
            Some(file) => {
                let file = file.clone();
                let started = Instant::now();
                let imported = import(context, &file).await?;
                print_imported(out, context.json, imported, started.elapsed())
            }
            None => {
                let (stream, event) = self.event()?;
                let expected = self
                    .expected_version
                    .map_or(ExpectedVersion::Any, ExpectedVersion::Exactly);
                let store = open(context).await?;
                let appended = store.append(&stream, expected, &[event]).await?;
                print_appended(out, context.json, &stream, &appended)
            }
        };
        Ok(printed?)
    }

    fn event(&self) -> anyhow::Result<(StreamId, NewEvent)> {
        let given = |value: &Option<String>| value.clone().unwrap_or_default();
        let stream =
            StreamId::new(given(&self.stream)).context("cannot append with this --stream")?;
        let mut event = NewEvent::new(given(&self.event_type), &given(&self.data))
            .with_context(|| format!("cannot append this event to stream {stream}"))?;
        if let Some(id) = self.id {
            event = event.with_id(id);
        }
        if let Some(metadata) = &self.metadata {
            event = event
                .with_metadata(metadata)
                .with_context(|| format!("cannot append this event to stream {stream}"))?;
        }
        Ok((stream, event))
    }
}

async fn open(context: &Context) -> anyhow::Result<Arc<dyn EventStore>> {
    Ok(gnomon_event_store::open(&context.configuration()?.events).await?)
}

async fn import(context: &Context, file: &Path) -> anyhow::Result<Imported> {
    let bar = ProgressBar::hidden();
    let on_progress = show_progress(bar.clone());
    let from_stdin = file == Path::new("-");
    // The file is read twice, so what can be read only once, a pipe or the like,
    // is written down. What cannot be looked at cannot be opened either.
    let is_file = !from_stdin && std::fs::metadata(file).is_ok_and(|data| data.is_file());
    let is_missing = !from_stdin && !file.exists();
    let spooled = if is_file || is_missing {
        None
    } else {
        let file = (!from_stdin).then(|| file.to_owned());
        Some(tokio::task::spawn_blocking(move || spool(file.as_deref())).await??)
    };
    let path = spooled
        .as_ref()
        .map_or_else(|| file.to_owned(), |spooled| spooled.path().to_owned());
    let name = if from_stdin {
        "standard input".to_owned()
    } else {
        file.display().to_string()
    };
    let checked = tokio::task::spawn_blocking({
        let on_progress = Arc::clone(&on_progress);
        move || CheckedFile::check(&path, &name, &on_progress)
    })
    .await??;
    let store = open(context).await?;
    let imported = store.import(checked, on_progress).await;
    bar.finish_and_clear();
    Ok(imported?)
}

/// Copies a file, or the standard input, to a temporary file.
fn spool(from: Option<&Path>) -> anyhow::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new().context("cannot create a temporary file")?;
    let (mut input, name): (Box<dyn Read>, String) = match from {
        None => (
            Box::new(std::io::stdin().lock()),
            "standard input".to_owned(),
        ),
        Some(from) => {
            let name = from.display().to_string();
            let opened = File::open(from).with_context(|| format!("cannot read {name}"))?;
            (Box::new(opened), name)
        }
    };
    let mut input = LineLimit::new(&mut *input, &name);
    std::io::copy(&mut input, &mut file).with_context(|| {
        format!(
            "cannot copy {name} to the temporary file {}, from which it is imported",
            file.path().display()
        )
    })?;
    file.flush()?;
    Ok(file)
}

/// A bar on the terminal, once the import has taken a while. Where standard
/// error is no terminal, nothing is shown.
fn show_progress(bar: ProgressBar) -> OnProgress {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {percent}% {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let started = Instant::now();
    Arc::new(move |progress| {
        let (message, bytes, of) = match progress {
            Progress::Checking { bytes, of } => ("checking", bytes, of),
            Progress::Importing { bytes, of } => ("importing", bytes, of),
        };
        if bar.message() != message {
            bar.reset();
            bar.set_message(message);
        }
        bar.set_length(of);
        bar.set_position(bytes);
        if bar.is_hidden() && started.elapsed() > QUIET_FOR {
            bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    })
}

fn print_appended(
    out: &mut dyn Write,
    json: bool,
    stream: &StreamId,
    appended: &[Appended],
) -> std::io::Result<()> {
    for one in appended {
        if json {
            let shown = json!({
                "stream_id": stream.as_str(),
                "event_id": one.id.to_string(),
                "version": one.version,
                "global_position": one.position.get(),
            });
            writeln!(out, "{shown}")?;
        } else {
            writeln!(
                out,
                "event {} is version {} of stream {}, at position {}",
                one.id,
                one.version,
                name(stream.as_str()),
                one.position
            )?;
        }
    }
    out.flush()
}

fn print_imported(
    out: &mut dyn Write,
    json: bool,
    done: Imported,
    took: Duration,
) -> std::io::Result<()> {
    if json {
        let shown = json!({
            "imported": done.imported,
            "skipped": done.skipped,
            "last_position": done.last_position,
            "seconds": took.as_secs_f64(),
        });
        writeln!(out, "{shown}")?;
    } else {
        write!(
            out,
            "imported {} events in {:.1} s",
            done.imported,
            took.as_secs_f64()
        )?;
        if done.skipped > 0 {
            write!(out, "; {} were there already", done.skipped)?;
        }
        match done.last_position {
            Some(last) => writeln!(out, "; the last is at position {last}")?,
            None => writeln!(out)?,
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::command_line::tests::context;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        append: Append,
    }

    fn parse(arguments: &[&str]) -> Result<Append, clap::Error> {
        let line = Line::try_parse_from(["append"].iter().chain(arguments));
        line.map(|line| line.append)
    }

    async fn run(context: &Context, arguments: &[&str]) -> anyhow::Result<String> {
        let mut out = Vec::new();
        parse(arguments)
            .unwrap()
            .run_into(context, &mut out)
            .await?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[tokio::test]
    async fn an_event_is_appended_once_per_id() {
        let (_directory, context) = context(true);
        let id = "0190a5a0-7c00-7000-8000-000000000001";
        let arguments = [
            "--stream",
            "Order-1",
            "--type",
            "T",
            "--data",
            "{}",
            "--id",
            id,
            "--metadata",
            "{\"user_id\":1}",
            "--expected-version",
            "0",
        ];
        let first = run(&context, &arguments).await.unwrap();
        let shown: serde_json::Value = serde_json::from_str(&first).unwrap();
        let expected = json!({
            "stream_id": "Order-1", "event_id": id, "version": 1, "global_position": 1
        });
        assert_eq!(shown, expected);
        assert_eq!(run(&context, &arguments).await.unwrap(), first);
        let error = run(
            &context,
            &[&arguments[..6], &["--expected-version", "5"]].concat(),
        )
        .await
        .unwrap_err();
        assert!(error.to_string().contains("expected version 5"), "{error}");
    }

    #[tokio::test]
    async fn bad_input_is_named_and_changes_nothing() {
        let (_directory, context) = context(false);
        let long = "x".repeat(300);
        for (arguments, problem) in [
            (["--stream", "S", "--type", "T", "--data", "{"], "not JSON"),
            (
                ["--stream", "S", "--type", "", "--data", "{}"],
                "event type is empty",
            ),
            (
                ["--stream", &long, "--type", "T", "--data", "{}"],
                "300 characters",
            ),
            (
                ["--stream", "S", "--type", "T", "--data", "\"\\u0000\""],
                "U+0000",
            ),
        ] {
            let error = run(&context, &arguments).await.unwrap_err();
            let shown = format!("{error:#}");
            assert!(shown.contains(problem), "{shown}");
        }
        let store = open(&context).await.unwrap();
        assert!(
            store
                .read_all(Default::default(), 1)
                .await
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_file_and_an_event_exclude_each_other() {
        assert!(parse(&["--file", "x", "--stream", "S"]).is_err());
        assert!(parse(&["--stream", "S", "--data", "{}"]).is_err());
        assert!(parse(&["--stream", "S", "--type", "T", "--data", "{}", "--id", "7"]).is_err());
    }

    #[tokio::test]
    async fn a_file_is_imported_and_its_bad_line_named() {
        let (directory, context) = context(false);
        let file = directory.path().join("events.ndjson");
        let line = |id: u128| {
            let id = Uuid::from_u128(id);
            format!(r#"{{"event_id":"{id}","stream_id":"S","event_type":"T","data":{{}}}}"#)
        };
        let name = file.to_str().unwrap();
        std::fs::write(&file, format!("{}\n{}\n", line(1), line(2))).unwrap();
        let shown = run(&context, &["--file", name]).await.unwrap();
        assert!(shown.starts_with("imported 2 events in "), "{shown}");
        assert!(shown.contains("; the last is at position 2\n"), "{shown}");
        let shown = run(&context, &["--file", name]).await.unwrap();
        assert!(shown.contains("; 2 were there already"), "{shown}");
        assert!(shown.contains("; the last is at position 2\n"), "{shown}");
        std::fs::write(&file, format!("{}\n{{\n", line(3))).unwrap();
        let error = run(&context, &["--file", name])
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("events.ndjson, line 2: not JSON"), "{error}");
        let error = run(&context, &["--file", "/no/such/file"])
            .await
            .unwrap_err();
        assert!(
            format!("{error:#}").contains("cannot read /no/such/file"),
            "{error:#}"
        );
    }
}
