//! Decisions to leave events out: `gnomon dead-letters skip`, `discard`,
//! `skips` and `unskip`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use gnomon_event_store::source::{self, BatchLimits};
use gnomon_model::{Event, Position, Subscription};
use serde_json::json;

use super::super::waiting::Own;
use super::super::{Context, output, style};
use super::retrying::{late_since, wait_until};
use super::{order_advice, shown};
use crate::dead_letter::{self, Decided, PageLimits};
use crate::generation::{Generation, RunState, is_active};
use crate::readable;
use crate::storage::Storage;

/// Skips that are read in one go.
const PAGE: usize = 500;

/// Leaves an event out permanently
///
/// Every generation of the projection does so: the one that is halted on the
/// event, or has parked it, goes on at once, and rebuilds, new versions, copies
/// and comparisons leave it out too. An event that is still to come can be
/// skipped beforehand; one that every generation has applied cannot.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Skip {
    /// The projection
    name: String,
    /// The position of the event
    #[arg(long, value_name = "N", value_parser = position)]
    position: Position,
    /// Why, for those who read the list of skips later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Skips events that wait; their streams go on with the next event
///
/// Each of them becomes a skip of the projection, as by `dead-letters skip`.
#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["position", "stream", "all"])))]
pub(in super::super) struct Discard {
    /// The projection
    name: String,
    /// The event at this position
    #[arg(long, value_name = "N", value_parser = position)]
    position: Option<Position>,
    /// All events of this stream that wait
    #[arg(long, value_name = "S")]
    stream: Option<String>,
    /// All events that wait, of every stream
    #[arg(long)]
    all: bool,
    /// Does not ask
    #[arg(long)]
    yes: bool,
    /// Why, for those who read the list of skips later
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// Shows which events a projection skips, and who decided it
#[derive(Debug, clap::Args)]
pub(in super::super) struct Skips {
    /// The projection
    name: String,
}

/// Takes the decision to skip an event back
///
/// A generation that has left the event out stays as it is; a rebuild applies
/// the event in its place.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Unskip {
    /// The projection
    name: String,
    /// The position of the event
    #[arg(long, value_name = "N", value_parser = position)]
    position: Position,
}

fn position(text: &str) -> Result<Position, String> {
    text.parse()
        .ok()
        .and_then(Position::new)
        .ok_or_else(|| "it is not a position".to_owned())
}

impl Skip {
    pub(super) async fn run(
        self,
        context: &Context,
        storage: &Storage,
    ) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        let own = Own::read(&*storage.registry, name).await?;
        let known = known(storage, shown(&own, name)?, self.position).await?;
        let skip = match known {
            Some(known) => known,
            None => {
                let event = find(context, storage, &own, self.position).await?;
                decision(&event, self.reason)
            }
        };
        decide(context, storage, &own, name, &skip).await
    }
}

/// The decision to skip the event at a position, if there is one already.
async fn known(
    storage: &Storage,
    generation: &Generation,
    position: Position,
) -> anyhow::Result<Option<dead_letter::Skip>> {
    let before = before(position);
    let page = storage
        .registry
        .skips(decided_by(generation), before, 1)
        .await?;
    Ok(page.into_iter().find(|skip| skip.position == position))
}

fn before(position: Position) -> Position {
    Position::new(position.get().saturating_sub(1)).unwrap_or(Position::START)
}

fn decision(event: &Event, reason: Option<String>) -> dead_letter::Skip {
    dead_letter::Skip {
        position: event.position,
        event_id: event.id.clone(),
        stream_id: event.stream_id.clone(),
        event_type: event.event_type.clone(),
        reason,
        actor: actor(),
        decided_at: jiff::Timestamp::now().as_microsecond(),
    }
}

/// Whether a generation applies events now or, if its projection was removed,
/// when that comes back.
fn applies(generation: &Generation) -> bool {
    is_active(generation.state, generation.goal)
}

/// The event at a position that a projection may skip.
async fn find(
    context: &Context,
    storage: &Storage,
    own: &Own,
    position: Position,
) -> anyhow::Result<Event> {
    let mut passed = own.all.iter().filter(|generation| applies(generation));
    let name = own.all.first().map_or("", |first| &first.projection);
    for generation in &own.all {
        if let Some(event) = waiting(storage, generation, position).await? {
            return Ok(event);
        }
    }
    anyhow::ensure!(
        passed.any(|generation| generation.position < position),
        "event {position} cannot be skipped: {name} has applied it, and its effect is in the rows. \
         Append an event that corrects it, or change the module and deploy it with a higher version"
    );
    let source = source::open(&context.configuration()?.events).await?;
    let limits = BatchLimits {
        events: 1,
        bytes: 1,
        until: Some(position),
    };
    let after = source.behind(before(position));
    let batch = source
        .read(&after, &Subscription::default(), limits)
        .await?;
    let event = batch
        .events
        .get(0)
        .filter(|event| event.position == position);
    let event = event.with_context(|| {
        format!(
            "there is no event {position}; `gnomon events --after {}` shows what is there",
            before(position)
        )
    })?;
    let is_wanted = own
        .all
        .iter()
        .any(|generation| generation.description.subscription.wants(event));
    anyhow::ensure!(
        is_wanted,
        "{name} does not subscribe to event {position} ({} in stream {}), so there is nothing to skip",
        readable::name(event.event_type),
        readable::name(event.stream_id)
    );
    Ok(event.into())
}

/// The event at a position, if it waits among the dead letters.
async fn waiting(
    storage: &Storage,
    generation: &Generation,
    position: Position,
) -> anyhow::Result<Option<Event>> {
    if generation.dead_letters == 0 {
        return Ok(None);
    }
    let limits = PageLimits {
        events: 1,
        bytes: 1,
    };
    let page = storage
        .read_models
        .dead_letters(generation.id, before(position), limits)
        .await?;
    let found = page.into_iter().map(|letter| letter.event);
    Ok(found.into_iter().find(|event| event.position == position))
}

/// Records a decision, and waits until it is carried out.
async fn decide(
    context: &Context,
    storage: &Storage,
    own: &Own,
    name: &str,
    skip: &dead_letter::Skip,
) -> anyhow::Result<ExitCode> {
    let before = shown(own, name)?;
    let position = skip.position;
    let is_new = storage.registry.skip(decided_by(before), skip).await?;
    let has_passed = |generation: &Generation| generation.position >= position;
    let is_ahead = own
        .all
        .iter()
        .filter(|generation| applies(generation))
        .all(|generation| !has_passed(generation) && !is_halted(generation));
    let is_done = !is_ahead
        && wait_until(storage, name, async |now| {
            for generation in now.all.iter().filter(|generation| generation.is_active()) {
                if waiting(storage, generation, position).await?.is_some()
                    || (!has_passed(generation) && is_halted(generation))
                {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?;
    let own = Own::read(&*storage.registry, name).await?;
    let after = shown(&own, name)?;
    let late = late_since(before, after);
    let mut stdout = output::stdout();
    if context.json {
        let mut shown = envelope(skip);
        let of_command = json!({
            "name": name,
            "new": is_new,
            "done": is_done,
            "dead_letters": after.dead_letters,
            "applied_late": late,
        });
        if let (Some(shown), serde_json::Value::Object(of_command)) =
            (shown.as_object_mut(), of_command)
        {
            shown.extend(of_command);
        }
        writeln!(stdout, "{shown}")?;
        return Ok(ExitCode::SUCCESS);
    }
    let described = format!(
        "event {position} ({} in stream {})",
        readable::name(&skip.event_type),
        readable::name(&skip.stream_id)
    );
    match (is_new, is_done) {
        (false, _) => writeln!(stdout, "{name}: {described} is skipped already")?,
        (true, true) => writeln!(stdout, "{name}: {described} is skipped")?,
        (true, false) if is_ahead => {
            writeln!(stdout, "{name}: {described} will be skipped when it comes")?;
        }
        (true, false) => writeln!(
            stdout,
            "{name}: recorded; the host that runs the projection will skip {described}"
        )?,
    }
    if late > 0 {
        writeln!(stdout, "{name}: {}", order_advice(name, late))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn is_halted(generation: &Generation) -> bool {
    let said = generation.report.as_ref();
    said.is_some_and(|report| report.state == RunState::Halted)
}

impl Discard {
    pub(super) async fn run(
        self,
        context: &Context,
        storage: &Storage,
    ) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        let own = Own::read(&*storage.registry, name).await?;
        let before = shown(&own, name)?;
        if let Some(position) = self.position {
            let event = waiting(storage, before, position).await?.with_context(|| {
                format!(
                    "event {position} does not wait among the dead letters of {name}; `gnomon \
                     dead-letters skip {name} --position {position}` skips one that does not"
                )
            })?;
            let skip = decision(&event, self.reason);
            return decide(context, storage, &own, name, &skip).await;
        }
        if self.all && !self.yes {
            ask(name, before.dead_letters)?;
        }
        let decided = Decided {
            actor: &actor(),
            reason: self.reason.as_deref(),
        };
        let count = storage
            .registry
            .skip_dead_letters(before.id, self.stream.as_deref(), decided)
            .await?;
        if let Some(stream) = &self.stream {
            anyhow::ensure!(
                count > 0,
                "{name}: no event of stream {} waits; `gnomon dead-letters list {name}` shows those \
                 that do",
                readable::name(stream)
            );
        }
        // Others may come to wait meanwhile, behind these.
        let is_done = wait_until(storage, name, async |now| {
            let now = shown(now, name)?;
            let last = before.position;
            Ok(!waits_up_to(storage, now, self.stream.as_deref(), last).await?)
        })
        .await?;
        let own = Own::read(&*storage.registry, name).await?;
        let after = shown(&own, name)?;
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "name": name,
                "action": "discard",
                "stream": self.stream,
                "skipped": count,
                "done": is_done,
                "dead_letters": after.dead_letters,
            });
            writeln!(stdout, "{shown}")?;
        } else if is_done {
            writeln!(
                stdout,
                "{name}: {count} events are skipped, also by rebuilds and new versions; {} dead \
                 letters still wait",
                after.dead_letters
            )?;
        } else {
            writeln!(
                stdout,
                "{name}: {count} skips are recorded; the host that runs the projection will do it"
            )?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Whether an event of a stream, or of any, waits up to a position.
async fn waits_up_to(
    storage: &Storage,
    generation: &Generation,
    stream: Option<&str>,
    last: Position,
) -> anyhow::Result<bool> {
    let mut after = Position::START;
    loop {
        let page = storage
            .read_models
            .dead_letters(generation.id, after, PageLimits::USUAL)
            .await?;
        let Some(end) = page.last() else {
            return Ok(false);
        };
        after = end.event.position;
        let waits = page.iter().any(|letter| {
            letter.event.position <= last
                && stream.is_none_or(|stream| letter.event.stream_id == stream)
        });
        if waits || after >= last {
            return Ok(waits);
        }
    }
}

/// Asks whether all of them are meant.
fn ask(name: &str, count: u64) -> anyhow::Result<()> {
    anyhow::ensure!(
        std::io::stdin().is_terminal(),
        "{name}: all {count} dead letters would be skipped permanently, the good events behind them \
         too; add --yes if that is meant, or name one with --position or --stream"
    );
    let mut stderr = anstream::stderr();
    write!(
        stderr,
        "{name}: skip all {count} dead letters permanently, the good events behind them too? [y/N] "
    )?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    anyhow::ensure!(
        matches!(answer.trim(), "y" | "Y" | "yes"),
        "{name}: nothing was done"
    );
    Ok(())
}

impl Skips {
    pub(super) async fn run(
        self,
        context: &Context,
        storage: &Storage,
    ) -> anyhow::Result<ExitCode> {
        let own = Own::read(&*storage.registry, &self.name).await?;
        let decided_by = decided_by(shown(&own, &self.name)?);
        let mut stdout = output::stdout();
        let mut table = style::table(&["position", "stream", "event", "when", "who", "why"]);
        let mut after = Position::START;
        loop {
            let page = storage.registry.skips(decided_by, after, PAGE).await?;
            let Some(last) = page.last() else { break };
            after = last.position;
            for skip in &page {
                if context.json {
                    writeln!(stdout, "{}", envelope(skip))?;
                    continue;
                }
                table.add_row([
                    style::grouped(skip.position.get()),
                    readable::name(&skip.stream_id),
                    readable::name(&skip.event_type),
                    time(skip.decided_at),
                    skip.actor.clone(),
                    skip.reason.clone().unwrap_or_default(),
                ]);
            }
        }
        if !context.json {
            match table.is_empty() {
                true => writeln!(stdout, "{} skips no event", self.name)?,
                false => writeln!(stdout, "{table}")?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Unskip {
    pub(super) async fn run(
        self,
        context: &Context,
        storage: &Storage,
    ) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        let own = Own::read(&*storage.registry, name).await?;
        let shown = shown(&own, name)?;
        let position = self.position;
        let was_there = storage.registry.unskip(decided_by(shown), position).await?;
        anyhow::ensure!(
            was_there,
            "{name} does not skip event {position}; `gnomon dead-letters skips {name}` shows what it \
             skips"
        );
        let is_passed = shown.position >= position;
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "name": name,
                "global_position": position,
                "rebuild_needed": is_passed,
            });
            writeln!(stdout, "{shown}")?;
        } else if is_passed {
            writeln!(
                stdout,
                "{name}: event {position} is no longer skipped; its rows are as before until `gnomon \
                 rebuild {name}` applies it in its place"
            )?;
        } else {
            writeln!(stdout, "{name}: event {position} is no longer skipped")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The projection whose decisions hold for a generation.
fn decided_by(generation: &Generation) -> &str {
    let own = &generation.projection;
    generation.copy_of.as_ref().unwrap_or(own)
}

fn envelope(skip: &dead_letter::Skip) -> serde_json::Value {
    json!({
        "global_position": skip.position,
        "event_id": skip.event_id,
        "stream_id": skip.stream_id,
        "event_type": skip.event_type,
        "reason": skip.reason,
        "actor": skip.actor,
        "decided_at": time(skip.decided_at),
    })
}

fn time(microseconds: i64) -> String {
    jiff::Timestamp::from_microsecond(microseconds)
        .map_or_else(|_| String::new(), |time| time.to_string())
}

/// Who runs the command: the user and the machine.
fn actor() -> String {
    let user = ["SUDO_USER", "USER", "LOGNAME"]
        .into_iter()
        .find_map(|variable| std::env::var(variable).ok().filter(|user| !user.is_empty()));
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!(
        "{}@{}",
        user.as_deref().unwrap_or("unknown"),
        machine.trim()
    )
}
