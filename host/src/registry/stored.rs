//! The reading of the registry's rows, whatever database they are in.

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Description, Position};

use super::rules::{Registered, Snapshot, Standing, Wish};
use super::{Control, SeenLease};
use crate::generation::{
    Generation, GenerationId, GenerationState, Goal, ModuleHash, Obstacle, ObstacleKind, Rate,
    RunReport, RunState,
};
use crate::storage_error::{StorageError, StorageErrorKind};

/// A generation as the columns of the registry give it.
pub(crate) struct StoredGeneration {
    pub(crate) id: i64,
    pub(crate) projection: String,
    pub(crate) module: String,
    pub(crate) description: String,
    pub(crate) state: String,
    pub(crate) goal: String,
    pub(crate) until: Option<i64>,
    pub(crate) obstacle: Option<String>,
    pub(crate) obstacle_kind: Option<String>,
    pub(crate) is_removed: bool,
    /// Positions per second.
    pub(crate) rate: Option<f64>,
    pub(crate) event_rate: Option<f64>,
    /// Microseconds since the Unix epoch.
    pub(crate) retired_at: Option<i64>,
    pub(crate) run_state: Option<String>,
    pub(crate) cause: Option<String>,
    pub(crate) checkpoint: String,
    pub(crate) position: i64,
    pub(crate) host: Option<String>,
    pub(crate) dead_letters: i64,
    pub(crate) applied_late: i64,
    pub(crate) changed_skips: i64,
}

impl StoredGeneration {
    /// The generation, or what in its record cannot be read.
    pub(crate) fn read(self) -> Result<Generation, StorageError> {
        let id = GenerationId::from_sql(self.id);
        let unreadable = |what: &str| unreadable(id, what);
        let report = match &self.run_state {
            None => None,
            Some(name) => Some(RunReport {
                state: RunState::from_name(name).ok_or_else(|| unreadable("run state"))?,
                cause: self.cause,
            }),
        };
        let obstacle = read_obstacle(id, self.obstacle, self.obstacle_kind.as_deref())?;
        let mut description = read_description(&self.description)?;
        let named = std::mem::replace(&mut description.name, self.projection.clone());
        Ok(Generation {
            id,
            copy_of: (named != self.projection).then_some(named),
            projection: self.projection,
            module: ModuleHash::from_stored(self.module),
            description,
            state: read_state(id, &self.state)?,
            goal: read_goal(id, &self.goal)?,
            until: read_position(id, "end", self.until)?,
            obstacle,
            is_removed: self.is_removed,
            rate: (self.event_rate.zip(self.rate))
                .map(|(events, positions)| Rate { events, positions }),
            retired_at: self.retired_at,
            checkpoint: Checkpoint::from_stored(self.checkpoint),
            position: Position::from_sql(self.position).ok_or_else(|| unreadable("position"))?,
            report,
            dead_letters: u64::try_from(self.dead_letters).unwrap_or(0),
            applied_late: u64::try_from(self.applied_late).unwrap_or(0),
            changed_skips: u64::try_from(self.changed_skips).unwrap_or(0),
            host: self.host,
        })
    }
}

/// What users want of a generation, as the columns of the registry give it.
pub(crate) struct StoredControl {
    pub(crate) projection: String,
    pub(crate) generation: i64,
    pub(crate) module: String,
    pub(crate) state: String,
    pub(crate) goal: String,
    pub(crate) until: Option<i64>,
    pub(crate) stop_at: Option<i64>,
    pub(crate) paused: bool,
    pub(crate) resumes: i64,
    pub(crate) requests: i64,
    pub(crate) skips: i64,
    pub(crate) lease: SeenLease,
}

impl StoredControl {
    /// The control, or what in its record cannot be read.
    pub(crate) fn read(self) -> Result<Control, StorageError> {
        let generation = GenerationId::from_sql(self.generation);
        Ok(Control {
            projection: self.projection,
            generation,
            module: ModuleHash::from_stored(self.module),
            state: read_state(generation, &self.state)?,
            goal: read_goal(generation, &self.goal)?,
            until: read_position(generation, "end", self.until)?,
            stop_at: read_position(generation, "end", self.stop_at)?,
            paused: self.paused,
            resumes: self.resumes,
            requests: self.requests,
            skips: self.skips,
            lease: self.lease,
        })
    }
}

/// A generation for the rules, as the columns of the registry give it.
pub(crate) struct StoredStanding {
    pub(crate) id: i64,
    pub(crate) module: String,
    pub(crate) state: String,
    pub(crate) goal: String,
    pub(crate) has_end: bool,
    pub(crate) obstacle: Option<String>,
    pub(crate) obstacle_kind: Option<String>,
    pub(crate) is_insisted: bool,
    pub(crate) is_copy: bool,
    /// Microseconds since the Unix epoch.
    pub(crate) retired_at: Option<i64>,
    pub(crate) attended_until: Option<i64>,
}

impl StoredStanding {
    /// Adds the generation to the snapshot of its projection, which comes last
    /// if it is there.
    pub(crate) fn add_to(
        self,
        snapshots: &mut Vec<Snapshot>,
        projection: String,
        now: i64,
    ) -> Result<(), StorageError> {
        let generation = self.read()?;
        match snapshots.last_mut() {
            Some(last) if last.projection == projection => last.generations.push(generation),
            _ => snapshots.push(Snapshot {
                projection,
                generations: vec![generation],
                now,
                ..Snapshot::default()
            }),
        }
        Ok(())
    }

    fn read(self) -> Result<Registered, StorageError> {
        let id = GenerationId::from_sql(self.id);
        Ok(Registered {
            id,
            module: ModuleHash::from_stored(self.module),
            standing: Standing {
                state: read_state(id, &self.state)?,
                goal: read_goal(id, &self.goal)?,
                obstacle: read_obstacle(id, self.obstacle, self.obstacle_kind.as_deref())?,
                is_insisted: self.is_insisted,
                retired_at: self.retired_at,
            },
            has_end: self.has_end,
            is_copy: self.is_copy,
            attended_until: self.attended_until,
        })
    }
}

impl Snapshot {
    /// A projection as its record gives it, without its generations.
    pub(crate) fn of(
        projection: &str,
        wish: Option<&str>,
        was_dropped: bool,
        now: i64,
    ) -> Result<Self, StorageError> {
        let unreadable = || {
            StorageError::new(
                StorageErrorKind::Refused,
                format!("projection `{projection}` has an unreadable state in the registry"),
            )
        };
        Ok(Self {
            projection: projection.to_owned(),
            wish: wish
                .map(|name| Wish::from_name(name).ok_or_else(unreadable))
                .transpose()?,
            was_dropped,
            now,
            ..Self::default()
        })
    }
}

fn read_state(generation: GenerationId, name: &str) -> Result<GenerationState, StorageError> {
    GenerationState::from_name(name).ok_or_else(|| unreadable(generation, "state"))
}

fn read_goal(generation: GenerationId, name: &str) -> Result<Goal, StorageError> {
    Goal::from_name(name).ok_or_else(|| unreadable(generation, "goal"))
}

fn read_obstacle(
    generation: GenerationId,
    reason: Option<String>,
    kind: Option<&str>,
) -> Result<Option<Obstacle>, StorageError> {
    let Some(reason) = reason else {
        return Ok(None);
    };
    let kind = kind
        .and_then(ObstacleKind::from_name)
        .ok_or_else(|| unreadable(generation, "kind of obstacle"))?;
    Ok(Some(Obstacle { kind, reason }))
}

fn read_position(
    generation: GenerationId,
    what: &str,
    stored: Option<i64>,
) -> Result<Option<Position>, StorageError> {
    stored
        .map(|stored| Position::from_sql(stored).ok_or_else(|| unreadable(generation, what)))
        .transpose()
}

fn unreadable(generation: GenerationId, what: &str) -> StorageError {
    StorageError::new(
        StorageErrorKind::Refused,
        format!("generation {generation} has an unreadable {what} in the registry"),
    )
}

/// The description that was stored with a module.
pub(crate) fn read_description(text: &str) -> Result<Description, StorageError> {
    serde_json::from_str(text).map_err(|error| {
        StorageError::caused(
            StorageErrorKind::Refused,
            "the registry holds a module description that cannot be read",
            error,
        )
    })
}

/// The text under which a description is stored.
pub(crate) fn stored_description(description: &Description) -> Result<String, StorageError> {
    serde_json::to_string(description).map_err(|error| {
        StorageError::caused(
            StorageErrorKind::Refused,
            "the module's description cannot be stored",
            error,
        )
    })
}

/// A module's description under the name of the projection that it builds.
pub(crate) fn named(mut description: Description, projection: &str) -> Description {
    projection.clone_into(&mut description.name);
    description
}
