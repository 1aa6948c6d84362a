//! `gnomon rebuild`: a read model anew, from the first event.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use gnomon_event_store::source;
use gnomon_event_store::{format_timestamp, parse_timestamp};
use gnomon_model::Position;
use serde_json::json;

use super::overtaken::Overtaken;
use super::patience::Patience;
use super::promote::wait_until_live;
use super::waiting::{Own, has_host};
use super::{Context, host, output, wait};
use crate::configuration::Configuration;
use crate::generation::{Generation, Goal};
use crate::registry::{NewGeneration, Registry as _};

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
    #[arg(long, value_name = "POSITION|TIME|DATE", requires = "copy", value_parser = until)]
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

/// Where a copy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    Position(Position),
    /// Microseconds since the Unix epoch.
    Time(i64),
}

fn until(text: &str) -> Result<Until, String> {
    if let Some(position) = text.parse().ok().and_then(Position::new) {
        return Ok(Until::Position(position));
    }
    // A day begins in UTC.
    let time = match text.parse::<jiff::civil::Date>() {
        Ok(date) if date.to_string() == text => parse_timestamp(&format!("{text}T00:00:00Z")),
        _ => parse_timestamp(text),
    };
    time.map(Until::Time).map_err(|_| {
        "it is neither a position, nor a date such as 2026-02-01, nor a time such as \
         2026-01-31T23:59:59Z"
            .to_owned()
    })
}

impl Rebuild {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<ExitCode> {
        let configuration = context.configuration()?;
        let patience = if self.wait {
            Patience::new(self.timeout)
        } else {
            Patience::none()
        };
        let registry = host::patient_registry(context, patience).await?;
        let own = Own::read(&*registry, &self.name).await?;
        let original = own
            .shown()
            .with_context(|| format!("{} has no generation that could be rebuilt", self.name))?;
        let until = match self.until {
            Some(until) => Some(last_position(configuration, until, registry.patience()).await?),
            None => original.until,
        };
        let projection = self.copy.as_deref().unwrap_or(&self.name);
        if self.copy.is_some() {
            check_copy_name(projection)?;
        }
        let newest = match &self.copy {
            Some(copy) => {
                let taken = registry.generations().await?;
                let is_taken = taken.iter().any(|known| known.projection == *copy);
                anyhow::ensure!(
                    !is_taken,
                    "there is a projection `{copy}` already; choose another name, or remove it with \
                     `gnomon remove {copy} --drop`"
                );
                None
            }
            None => own.newest(),
        };
        let overtaken = match &self.copy {
            Some(_) => Overtaken::default(),
            None => {
                own.ensure_it_is_wanted()?;
                check_candidate(&own, original)?;
                Overtaken::by_new(&own.all, !self.hold)
            }
        };
        let module = registry
            .module(&original.module)
            .await?
            .context("the registry has lost the module of the projection; deploy it again")?;
        let generation = registry
            .create_generation(NewGeneration {
                projection,
                module: &module.hash,
                description: &module.description,
                goal: if self.hold { Goal::Hold } else { Goal::Promote },
                until,
                newest,
                start: &source::start(&configuration.events),
            })
            .await?;
        let has_host = has_host(&*registry).await?;
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "name": projection,
                "version": generation.description.version,
                "module": generation.module,
                "generation": generation.id,
                "until": until,
                "overtaken": overtaken.json(),
                "has_host": has_host,
            });
            writeln!(stdout, "{shown}")?;
        } else {
            let end = until.map_or_else(String::new, |until| format!(" up to event {until}"));
            let later = if has_host {
                ""
            } else {
                "; no host is running, so start one with `gnomon run`"
            };
            writeln!(
                stdout,
                "{projection}: generation {} is being built{end}{later}",
                generation.id
            )?;
            for sentence in overtaken.sentences(projection) {
                writeln!(stdout, "{sentence}")?;
            }
        }
        if self.wait {
            wait_until_live(context, &registry, projection, generation.id).await?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Another module that is on its way is not thrown away by the way.
fn check_candidate(own: &Own, original: &Generation) -> anyhow::Result<()> {
    let candidate = own.candidate();
    let Some(candidate) = candidate.filter(|candidate| candidate.module != original.module) else {
        return Ok(());
    };
    let name = &original.projection;
    anyhow::bail!(
        "{name} has a candidate of another module, generation {} (version {}), which a rebuild of \
         version {} would drop; promote it with `gnomon promote {name}`, or end it with \
         `gnomon remove {name} --candidate`",
        candidate.id,
        candidate.description.version,
        original.description.version
    )
}

/// The position up to which a copy goes.
async fn last_position(
    configuration: &Configuration,
    until: Until,
    patience: &Patience,
) -> anyhow::Result<Position> {
    let source = patience
        .ask(async || source::open(&configuration.events).await)
        .await?;
    let head = patience.ask(async || source.look().await).await?.head;
    let position = match until {
        Until::Position(position) => position,
        Until::Time(time) => {
            let now = jiff::Timestamp::now();
            anyhow::ensure!(
                time <= now.as_microsecond(),
                "{} is in the future, whose events nobody knows yet; it is {now:.0} now",
                format_timestamp(time)
            );
            patience
                .ask(async || source.position_at(time).await)
                .await?
        }
    };
    anyhow::ensure!(
        position <= head,
        "the event store ends at position {head}, so nothing is known of position {position} yet"
    );
    Ok(position)
}

/// A copy's name follows the rules of a projection's.
fn check_copy_name(name: &str) -> anyhow::Result<()> {
    const NAME_BYTES_MAX: usize = 40;
    let begins_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    let is_well_formed = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    anyhow::ensure!(
        begins_well && is_well_formed && name.len() <= NAME_BYTES_MAX,
        "`{name}` cannot name a copy: a name has lower-case letters, digits and `_`, begins with a \
         letter, and has at most {NAME_BYTES_MAX} characters"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_ends_at_a_position_a_time_or_the_start_of_a_day() {
        let time = |text: &str| {
            Ok(Until::Time(
                text.parse::<jiff::Timestamp>().unwrap().as_microsecond(),
            ))
        };
        assert_eq!(
            until("120000"),
            Ok(Until::Position(Position::new(120_000).unwrap()))
        );
        assert_eq!(until("2025-01-15"), time("2025-01-15T00:00:00Z"));
        assert_eq!(
            until("2025-01-15T10:30:00+01:00"),
            time("2025-01-15T09:30:00Z")
        );
        for wrong in ["yesterday", "2025-02-30", "-1", "2025-01"] {
            assert!(until(wrong).is_err(), "{wrong}");
        }
    }
}
