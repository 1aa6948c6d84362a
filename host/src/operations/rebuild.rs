//! Rebuild: a read model again, from the first event.

use std::str::FromStr;

use gnomon_event_store::source;
use gnomon_event_store::{format_timestamp, parse_timestamp};
use gnomon_model::Position;
use serde::Serialize;

use super::overtaken::Overtaken;
use super::switch::until_live;
use super::{OperationError, Operations, Switched, ensure_wanted};
use crate::generation::{Generation, GenerationId, Generations, Goal, ModuleHash};
use crate::registry::{NewGeneration, Registry as _};

/// Builds a new generation of a projection's module beside the live one.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// The projection.
    pub name: String,
    /// Whether it waits for `gnomon promote` when it has caught up.
    pub hold: bool,
    /// Makes a separate read model, as it was at an earlier time.
    pub copy: Option<PastCopy>,
}

/// A read model as it was at an earlier time.
#[derive(Clone, Debug)]
pub struct PastCopy {
    /// The name of the copy, which is a projection too.
    pub name: String,
    /// Its last event.
    pub until: Until,
}

/// Where a copy ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At this position.
    Position(Position),
    /// Before this time, in microseconds since the Unix epoch.
    Time(i64),
}

/// A string that says of no position and no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "it is neither a position, nor a date such as 2026-02-01, nor a time such as \
     2026-01-31T23:59:59Z"
)]
pub struct UntilError;

impl FromStr for Until {
    type Err = UntilError;

    /// A position, a time in RFC 3339, or a date, which is the start of that day
    /// in UTC.
    fn from_str(text: &str) -> Result<Self, UntilError> {
        if let Some(position) = text.parse().ok().and_then(Position::new) {
            return Ok(Self::Position(position));
        }
        let time = match text.parse::<jiff::civil::Date>() {
            Ok(date) if date.to_string() == text => parse_timestamp(&format!("{text}T00:00:00Z")),
            _ => parse_timestamp(text),
        };
        time.map(Self::Time).map_err(|_| UntilError)
    }
}

/// A generation that is being built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Rebuilding {
    /// The projection; that of the copy, if it is one.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// SHA-256 of its module.
    pub module: ModuleHash,
    /// The generation.
    pub generation: GenerationId,
    /// Where it ends; null if it follows the event store.
    pub until: Option<Position>,
    /// What the request ended.
    pub overtaken: Overtaken,
    /// Whether a host is there to build it.
    pub has_host: bool,
}

impl Rebuild {
    /// Creates the generation, which a host then builds.
    ///
    /// # Errors
    /// If there is nothing to rebuild, or if the rebuild would drop a candidate of
    /// another module.
    pub async fn run(self, operations: &Operations) -> Result<Rebuilding, OperationError> {
        let registry = operations.registry();
        let own = operations.generations(&self.name).await?;
        let original = own.shown().ok_or_else(|| {
            OperationError::NotFound(format!(
                "{} has no generation that could be rebuilt",
                self.name
            ))
        })?;
        let until = match &self.copy {
            Some(copy) => Some(last_position(operations, copy.until).await?),
            None => original.until,
        };
        let overtaken = match &self.copy {
            Some(copy) => {
                check_copy_name(operations, &copy.name).await?;
                Overtaken::default()
            }
            None => {
                ensure_wanted(&own)?;
                check_candidate(&own, original)?;
                Overtaken::by_new(&own, !self.hold)
            }
        };
        let (name, newest) = match self.copy {
            Some(copy) => (copy.name, None),
            None => (self.name, own.newest()),
        };
        let module = operations.module(original).await?;
        let generation = registry
            .create_generation(NewGeneration {
                projection: &name,
                module: &module.hash,
                description: &module.description,
                goal: if self.hold { Goal::Hold } else { Goal::Promote },
                until,
                newest,
                start: &source::start(&operations.configuration.events),
            })
            .await?;
        Ok(Rebuilding {
            name,
            version: generation.description.version,
            module: generation.module,
            generation: generation.id,
            until,
            overtaken,
            has_host: operations.has_host().await?,
        })
    }
}

impl Rebuilding {
    /// Waits until readers see it.
    ///
    /// # Errors
    /// When that is not to happen any more, or not in time.
    pub async fn until_live(&self, operations: &Operations) -> Result<Switched, OperationError> {
        until_live(operations, &self.name, self.generation).await
    }
}

/// Another module that is on its way is not dropped without a word.
fn check_candidate(own: &Generations, original: &Generation) -> Result<(), OperationError> {
    let candidate = own.candidate();
    let Some(candidate) = candidate.filter(|candidate| candidate.module != original.module) else {
        return Ok(());
    };
    let name = &original.projection;
    Err(OperationError::NotPossible(format!(
        "{name} has a candidate of another module, generation {} (version {}), which a rebuild of \
         version {} would drop; promote it with `gnomon promote {name}`, or end it with \
         `gnomon remove {name} --candidate`",
        candidate.id, candidate.description.version, original.description.version
    )))
}

/// The position up to which a copy goes.
async fn last_position(operations: &Operations, until: Until) -> Result<Position, OperationError> {
    let patience = operations.patience();
    let source = operations.source().await?;
    let head = patience.ask(async || source.look().await).await?.head;
    let position = match until {
        Until::Position(position) => position,
        Until::Time(time) => {
            let now = jiff::Timestamp::now();
            if time > now.as_microsecond() {
                return Err(OperationError::NotPossible(format!(
                    "{} is in the future, whose events nobody knows yet; it is {now:.0} now",
                    format_timestamp(time)
                )));
            }
            patience
                .ask(async || source.position_at(time).await)
                .await?
        }
    };
    if position > head {
        return Err(OperationError::NotPossible(format!(
            "the event store ends at position {head}, so nothing is known of position {position} yet"
        )));
    }
    Ok(position)
}

/// A copy's name follows the rules of a projection's, and is free.
async fn check_copy_name(operations: &Operations, name: &str) -> Result<(), OperationError> {
    const NAME_BYTES_MAX: usize = 40;
    let begins_well = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_lowercase());
    let is_well_formed = name
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !begins_well || !is_well_formed || name.len() > NAME_BYTES_MAX {
        return Err(OperationError::NotPossible(format!(
            "`{name}` cannot name a copy: a name has lower-case letters, digits and `_`, begins with \
             a letter, and has at most {NAME_BYTES_MAX} characters"
        )));
    }
    let known = operations.registry().generations().await?;
    if known.iter().any(|known| known.projection == name) {
        return Err(OperationError::NotPossible(format!(
            "there is a projection `{name}` already; choose another name, or remove it with \
             `gnomon remove {name} --drop`"
        )));
    }
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
            "120000".parse(),
            Ok(Until::Position(Position::new(120_000).unwrap()))
        );
        assert_eq!("2025-01-15".parse(), time("2025-01-15T00:00:00Z"));
        assert_eq!(
            "2025-01-15T10:30:00+01:00".parse(),
            time("2025-01-15T09:30:00Z")
        );
        for wrong in ["yesterday", "2025-02-30", "-1", "2025-01"] {
            assert_eq!(wrong.parse::<Until>(), Err(UntilError), "{wrong}");
        }
    }
}
