//! `gnomon events`: what is in the store.

use std::io::Write;
use std::sync::Arc;

use clap::Args;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use gnomon_event_store::source::{self, Checkpoint, Follow};
use gnomon_event_store::{
    self, EventStore, EventStoreError, EventStoreErrorKind, StreamId, format_timestamp,
    write_envelope,
};
use gnomon_guest::describe_event;
use gnomon_model::readable::name;
use gnomon_model::{Event, Payload, Position, Subscription};

use super::Context;
use super::output::{self, Output};

/// Events that are read at a time.
const PAGE: usize = 500;
/// Events that people are shown unless they ask for more.
const SHOWN_TO_PEOPLE: u64 = 100;
/// Characters of the data that people are shown.
const DATA_MAX_CHARACTERS: usize = 60;

/// Shows events
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  gnomon events --limit 20
  gnomon events --stream Order-7
  gnomon events --json > events.ndjson
  gnomon events --after 5000 --follow

With --json each event is one line that `gnomon append --file` reads again. With --follow the command
shows every event once and in order, also on PostgreSQL, where a lower position can be committed
later than a higher one. Without it, the command shows what is visible now.")]
pub(super) struct Events {
    /// Only this stream
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Only events with a position above this one
    #[arg(long, value_name = "POSITION", default_value_t = 0,
          value_parser = clap::value_parser!(u64).range(0..=i64::MAX.cast_unsigned()))]
    after: u64,
    /// How many events at most [default: 100; with --json or --follow all]
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Continues with new events as they come, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

impl Events {
    /// Runs the command.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut out = output::stdout();
        let follow = self.follow;
        let shown = self.run_into(context, &mut out);
        if !follow {
            return shown.await;
        }
        tokio::select! {
            result = shown => result,
            stopped = tokio::signal::ctrl_c() => Ok(stopped?),
        }
    }

    async fn run_into<W: Write + Send>(
        self,
        context: &Context,
        out: &mut Output<W>,
    ) -> anyhow::Result<()> {
        let stream = self.stream.clone().map(StreamId::new).transpose()?;
        let limit = match self.limit {
            Some(limit) => limit,
            None if context.json || self.follow => u64::MAX,
            None => SHOWN_TO_PEOPLE,
        };
        let printer = Printer {
            json: context.json,
            left: limit,
            unreadable: 0,
            last: Position::START,
            header: true,
            widths: Vec::new(),
        };
        if self.follow {
            self.follow(context, stream, printer, out).await
        } else {
            self.show(context, stream, printer, out).await
        }
    }

    fn after(&self) -> Position {
        Position::new(self.after).unwrap_or(Position::MAX)
    }

    async fn show<W: Write + Send>(
        &self,
        context: &Context,
        stream: Option<StreamId>,
        mut printer: Printer,
        out: &mut Output<W>,
    ) -> anyhow::Result<()> {
        let store = gnomon_event_store::open_to_read(&context.configuration()?.events).await?;
        let mut pages = Pages {
            store,
            stream,
            after: self.after(),
            version: None,
        };
        // Positions 0 and below, or none: they are in no page.
        let left_out = match pages.store.check_positions().await {
            Err(error) if error.kind() != EventStoreErrorKind::Refused => return Err(error.into()),
            checked => checked.err(),
        };
        loop {
            let events = pages.next().await?;
            if printer.left == 0 {
                printer.finish(left_out)?;
                if !events.is_empty() && self.limit.is_none() {
                    output::say(&format!(
                        "there are more events; go on with --after {}, or give a --limit",
                        printer.last
                    ));
                }
                return Ok(());
            }
            if events.is_empty() {
                return printer.finish(left_out);
            }
            printer.print(out, &events)?;
            if out.is_closed() {
                return Ok(());
            }
        }
    }

    async fn follow<W: Write + Send>(
        &self,
        context: &Context,
        stream: Option<StreamId>,
        mut printer: Printer,
        out: &mut Output<W>,
    ) -> anyhow::Result<()> {
        let source = source::open(&context.configuration()?.events).await?;
        let subscription = Subscription {
            metadata: true,
            categories: stream
                .iter()
                .map(|stream| stream.category().to_owned())
                .collect(),
            ..Subscription::default()
        };
        let mut follow = Follow::new(source, Checkpoint::behind(self.after()), subscription);
        while printer.left > 0 && !out.is_closed() {
            let mut events = follow.next().await?;
            if let Some(stream) = &stream {
                events.retain(|event| event.stream_id == stream.as_str());
            }
            printer.print(out, &events)?;
        }
        printer.finish(None)
    }
}

/// What is visible now, a page at a time.
struct Pages {
    store: Arc<dyn EventStore>,
    stream: Option<StreamId>,
    after: Position,
    version: Option<u64>,
}

impl Pages {
    /// The next events; none at the end.
    async fn next(&mut self) -> anyhow::Result<Vec<Event>> {
        let Some(stream) = &self.stream else {
            let events = self.store.read_all(self.after, PAGE).await?;
            self.after = events.last().map_or(self.after, |event| event.position);
            return Ok(events);
        };
        loop {
            let mut events = self.store.read_stream(stream, self.version, PAGE).await?;
            let Some(last) = events.last() else {
                return Ok(events);
            };
            self.version = Some(last.version);
            events.retain(|event| event.position > self.after);
            if !events.is_empty() {
                return Ok(events);
            }
        }
    }
}

struct Printer {
    json: bool,
    /// Events that may still be printed.
    left: u64,
    /// Events that could not be read.
    unreadable: u64,
    /// The last one that was printed.
    last: Position,
    header: bool,
    /// The columns keep their widths from one page to the next.
    widths: Vec<u16>,
}

impl Printer {
    fn print(&mut self, out: &mut dyn Write, events: &[Event]) -> std::io::Result<()> {
        let count = usize::try_from(self.left)
            .unwrap_or(usize::MAX)
            .min(events.len());
        let events = events.get(..count).unwrap_or(events);
        self.left -= u64::try_from(count).unwrap_or(self.left);
        let Some(last) = events.last() else {
            return Ok(());
        };
        self.last = last.position;
        for event in events {
            if let Payload::Unreadable(reason) = &event.data {
                self.unreadable += 1;
                let event = describe_event(event.into());
                writeln!(anstream::stderr(), "error: {event}: {reason}")?;
            }
        }
        if self.json {
            let mut page = Vec::new();
            let is_readable = |event: &&Event| !matches!(event.data, Payload::Unreadable(_));
            for event in events.iter().filter(is_readable) {
                write_envelope(&mut page, event)?;
                page.push(b'\n');
            }
            out.write_all(&page)?;
        } else {
            let table = self.table(events);
            for line in table.lines() {
                writeln!(out, "{}", line.trim_end())?;
            }
        }
        out.flush()
    }

    /// Fails if some events could not be read, or some rows were left out.
    fn finish(&self, left_out: Option<EventStoreError>) -> anyhow::Result<()> {
        if let Some(error) = left_out {
            if self.unreadable == 0 {
                return Err(error.into());
            }
            writeln!(anstream::stderr(), "error: {error}")?;
        }
        match self.unreadable {
            0 => Ok(()),
            1 => anyhow::bail!("one event cannot be read; correct its row in the event store"),
            count => anyhow::bail!(
                "{count} events cannot be read; correct their rows in the event store"
            ),
        }
    }

    fn table(&mut self, events: &[Event]) -> Table {
        let mut table = Table::new();
        table
            .load_preset(presets::NOTHING)
            .set_content_arrangement(ContentArrangement::Disabled);
        if std::mem::take(&mut self.header) {
            table.set_header([
                "position",
                "recorded at",
                "stream",
                "version",
                "type",
                "data",
            ]);
        }
        for event in events {
            table.add_row([
                event.position.to_string(),
                recorded_at(event),
                name(&event.stream_id),
                event.version.to_string(),
                name(&event.event_type),
                excerpt(&event.data),
            ]);
        }
        let widths = table.column_max_content_widths();
        self.widths.resize(widths.len(), 0);
        for ((column, width), known) in table.column_iter_mut().zip(widths).zip(&mut self.widths) {
            *known = width.max(*known);
            // The width that is set includes the padding of one on each side.
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*known + 2)));
        }
        table
    }
}

/// When an event was recorded. One that cannot be read has perhaps no time.
fn recorded_at(event: &Event) -> String {
    match event.data {
        Payload::Unreadable(_) if event.recorded_at == 0 => "unreadable".to_owned(),
        _ => format_timestamp(event.recorded_at),
    }
}

fn excerpt(data: &Payload) -> String {
    let text = match data {
        Payload::Json(text) | Payload::Unreadable(text) => text,
        Payload::Binary(bytes) => return format!("{} bytes", bytes.len()),
    };
    // Control characters of a foreign text must not reach a terminal.
    let mut shown: String = text
        .chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .take(DATA_MAX_CHARACTERS)
        .collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use gnomon_event_store::{Envelope, ExpectedVersion, NewEvent};

    use super::*;
    use crate::command_line::tests::context;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        events: Events,
    }

    async fn run(context: &Context, arguments: &[&str]) -> String {
        let line = Line::try_parse_from(["events"].iter().chain(arguments)).unwrap();
        let mut out = Output::new(Vec::new());
        line.events.run_into(context, &mut out).await.unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    async fn append(context: &Context, count: usize) {
        let store = gnomon_event_store::open(&context.configuration().unwrap().events)
            .await
            .unwrap();
        for number in 0..count {
            let stream = StreamId::new(format!("S-{}", number % 2)).unwrap();
            let event = NewEvent::new("T", "{\"a\":1}").unwrap();
            store
                .append(&stream, ExpectedVersion::Any, &[event])
                .await
                .unwrap();
        }
    }

    fn positions(text: &str) -> Vec<u64> {
        text.lines()
            .map(|line| {
                Envelope::parse(line).unwrap();
                let value: serde_json::Value = serde_json::from_str(line).unwrap();
                value["global_position"].as_u64().unwrap()
            })
            .collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn envelopes_come_one_a_line() {
        let (_directory, context) = context(true);
        append(&context, 6).await;
        for (arguments, expected) in [
            (&[][..], &[1, 2, 3, 4, 5, 6][..]),
            (&["--after", "2", "--limit", "3"], &[3, 4, 5]),
            (&["--stream", "S-1"], &[2, 4, 6]),
            (&["--stream", "S-1", "--after", "2", "--limit", "1"], &[4]),
            (&["--stream", "S-9"], &[]),
            (&["--limit", "0"], &[]),
            (&["--follow", "--limit", "4"], &[1, 2, 3, 4]),
            (
                &[
                    "--follow", "--stream", "S-0", "--after", "1", "--limit", "2",
                ],
                &[3, 5],
            ),
        ] {
            assert_eq!(
                positions(&run(&context, arguments).await),
                expected,
                "{arguments:?}"
            );
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn people_get_a_table_with_one_header() {
        let (_directory, context) = context(false);
        append(&context, 101).await;
        let shown = run(&context, &[]).await;
        assert_eq!(shown.lines().count(), 101, "{shown}");
        assert!(shown.contains("recorded at"), "{shown}");
        assert!(
            shown.lines().nth(1).unwrap().contains("{\"a\": 1}"),
            "{shown}"
        );
        assert_eq!(
            run(&context, &["--limit", "200"]).await.lines().count(),
            102
        );
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_closed_pipe_ends_it_quietly() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (_directory, context) = context(true);
        append(&context, 1).await;
        for arguments in [&["events"][..], &["events", "--follow"]] {
            let line = Line::try_parse_from(arguments).unwrap();
            let mut out = Output::new(Closed);
            line.events.run_into(&context, &mut out).await.unwrap();
            assert!(out.is_closed());
        }
    }
}
