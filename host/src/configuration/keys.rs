//! Every key that there is: the one place for names, defaults and ranges.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gnomon_databases::database_url::DatabaseUrl;

use super::given::Given;
use super::{
    Configuration, InvalidConfiguration, Limits, MAX_DEAD_LETTERS, Mistake, OnError, Place,
    ProjectionSettings,
};

/// Retired generations of a projection that are kept.
const KEEP_GENERATIONS: usize = 1;

/// Connections to a PostgreSQL server that a host keeps.
const EVENTS_CONNECTIONS: usize = 9;
const READ_MODELS_CONNECTIONS: usize = 20;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// The section whose subsections are projections.
pub(super) const PROJECTION: &str = "projection";

/// A key.
pub(super) struct Key {
    /// Its section; for a key of one projection, [`PROJECTION`].
    pub(super) section: &'static str,
    /// Its name.
    pub(super) name: &'static str,
    /// Its default as TOML; where it has none, what `gnomon init` writes.
    pub(super) usual: &'static str,
    /// Whether it has no default.
    pub(super) required: bool,
    /// What it is for.
    pub(super) purpose: &'static str,
    set: Set,
}

/// Where a value goes.
#[derive(Clone, Copy)]
enum Set {
    Common(fn(&mut Draft, Given<'_>) -> Result<(), String>),
    Limit(fn(&mut Limits, Given<'_>) -> Result<(), String>),
    Projection(fn(&mut ProjectionSettings, Given<'_>) -> Result<(), String>),
}

const COMMON: [Key; 6] = [
    Key {
        section: "events",
        name: "url",
        usual: "\"sqlite:events.db\"",
        required: true,
        purpose: "Where the events are: sqlite:FILE or postgres://USER:PASSWORD@HOST/DATABASE.",
        set: Set::Common(|draft, given| {
            draft.events = Some(draft.resolve_url(given.database()?));
            Ok(())
        }),
    },
    Key {
        section: "events",
        name: "max-connections",
        usual: "9",
        required: false,
        purpose: "How many connections a host keeps to a PostgreSQL server for reading events: one \
                  watches, the others read.",
        set: Set::Common(|draft, given| {
            store(&mut draft.events_connections, given.count(2..=1_000)?)
        }),
    },
    Key {
        section: "read-models",
        name: "url",
        usual: "\"sqlite:read-models.db\"",
        required: true,
        purpose: "Where the read models go. It has the same form, and may be the same database.",
        set: Set::Common(|draft, given| {
            draft.read_models = Some(draft.resolve_url(given.database()?));
            Ok(())
        }),
    },
    Key {
        section: "read-models",
        name: "max-connections",
        usual: "20",
        required: false,
        purpose: "How many connections a host keeps to a PostgreSQL server for read models, however many \
                  projections it runs.",
        set: Set::Common(|draft, given| {
            store(&mut draft.read_models_connections, given.count(2..=1_000)?)
        }),
    },
    Key {
        section: "projections",
        name: "directory",
        usual: "\"projections\"",
        required: false,
        purpose: "A host deploys every *.wasm file of this directory, and watches it.",
        set: Set::Common(|draft, given| {
            draft.directory = draft.resolve(given.path()?);
            Ok(())
        }),
    },
    Key {
        section: "projections",
        name: "keep-generations",
        usual: "1",
        required: false,
        purpose: "How many retired generations of each projection stay for a rollback.",
        set: Set::Common(|draft, given| {
            store(&mut draft.keep_generations, given.count(0..=1_000)?)
        }),
    },
];

const LIMITS: [Key; 11] = [
    limit(
        "memory",
        "\"64MiB\"",
        "Memory of a guest.",
        |limits, given| store(&mut limits.memory, given.size(MIB..=4 * GIB)?),
    ),
    limit(
        "batch-time",
        "\"10s\"",
        "How long a guest may work on a batch.",
        |limits, given| {
            let range = Duration::from_millis(1)..=Duration::from_secs(3600);
            limits.batch_time = given.duration(range)?;
            Ok(())
        },
    ),
    limit(
        "batch-events",
        "1000",
        "Events in a batch.",
        |limits, given| store(&mut limits.batch_events, given.count(1..=1_000_000)?),
    ),
    limit(
        "batch-bytes",
        "\"8MiB\"",
        "Bytes of events in a batch; a single event may be larger.",
        |limits, given| store(&mut limits.batch_bytes, given.size(KIB..=GIB)?),
    ),
    limit(
        "batch-writes",
        "1000000",
        "How many writes a guest may make in a batch.",
        |limits, given| store(&mut limits.batch_writes, given.count(1..=1_000_000_000)?),
    ),
    limit(
        "batch-reads",
        "1000000",
        "How many rows a guest may read from the database in a batch.",
        |limits, given| store(&mut limits.batch_reads, given.count(1..=1_000_000_000)?),
    ),
    limit(
        "batch-write-bytes",
        "\"64MiB\"",
        "Bytes of rows that a batch may hold before the host commits them.",
        |limits, given| store(&mut limits.batch_write_bytes, given.size(KIB..=16 * GIB)?),
    ),
    limit(
        "log-bytes",
        "\"64KiB\"",
        "Bytes that a guest may log in a batch; the host drops the rest.",
        |limits, given| store(&mut limits.log_bytes, given.size(0..=GIB)?),
    ),
    limit(
        "row-cache",
        "\"16MiB\"",
        "Committed rows that the host keeps in memory for each generation.",
        |limits, given| store(&mut limits.row_cache, given.size(0..=1024 * GIB)?),
    ),
    limit(
        "build-window",
        "\"96MiB\"",
        "Rows that a build keeps in memory before it writes them.",
        |limits, given| store(&mut limits.build_window, given.size(0..=1024 * GIB)?),
    ),
    limit(
        "lease-time",
        "\"5s\"",
        "How long a silent host keeps its projections; then another host takes them over.",
        |limits, given| {
            let range = Duration::from_millis(500)..=Duration::from_secs(3600);
            limits.lease_time = given.duration(range)?;
            Ok(())
        },
    ),
];

const OF_PROJECTION: [Key; 2] = [
    Key {
        section: PROJECTION,
        name: "on-error",
        usual: "\"halt\"",
        required: false,
        purpose: "What happens at an event that cannot be applied: \"halt\" stops the projection there, \
              \"park\" puts the event and the rest of its stream among the dead letters.",
        set: Set::Projection(|settings, given| {
            settings.on_error = given.on_error()?;
            Ok(())
        }),
    },
    Key {
        section: PROJECTION,
        name: "max-dead-letters",
        usual: "10000",
        required: false,
        purpose: "How many events may wait among the dead letters; one more halts the projection.",
        set: Set::Projection(|settings, given| {
            store(
                &mut settings.max_dead_letters,
                given.count(0..=1_000_000_000)?,
            )
        }),
    },
];

const fn limit(
    name: &'static str,
    usual: &'static str,
    purpose: &'static str,
    set: fn(&mut Limits, Given<'_>) -> Result<(), String>,
) -> Key {
    Key {
        section: "limits",
        name,
        usual,
        required: false,
        purpose,
        set: Set::Limit(set),
    }
}

/// Stores a number that is in its range, in whatever type its place has.
fn store<T: TryFrom<u64>>(place: &mut T, number: u64) -> Result<(), String> {
    *place = T::try_from(number).map_err(|_| "too large for this machine".to_owned())?;
    Ok(())
}

/// The keys outside `[projection.NAME]`.
pub(super) fn common() -> impl Iterator<Item = &'static Key> {
    COMMON.iter().chain(&LIMITS)
}

/// The keys inside `[projection.NAME]`.
pub(super) fn of_projection() -> impl Iterator<Item = &'static Key> {
    OF_PROJECTION.iter().chain(&LIMITS)
}

/// The names of the sections, each once.
pub(super) fn sections() -> impl Iterator<Item = &'static str> {
    ["events", "read-models", "projections", "limits", PROJECTION].into_iter()
}

impl Key {
    /// Its name with its section.
    pub(super) fn path(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The variable for it.
    pub(super) fn variable(&self) -> String {
        format!(
            "GNOMON_{}_{}",
            screaming(self.section),
            screaming(self.name)
        )
    }

    /// What follows the projection's name in the variable for it.
    pub(super) fn variable_suffix(&self) -> String {
        format!("_{}", screaming(self.name))
    }
}

/// A name as it stands in the environment.
fn screaming(name: &str) -> String {
    name.replace('-', "_").to_ascii_uppercase()
}

/// A configuration that is being put together.
pub(super) struct Draft {
    base: PathBuf,
    events: Option<DatabaseUrl>,
    read_models: Option<DatabaseUrl>,
    events_connections: usize,
    read_models_connections: usize,
    directory: PathBuf,
    keep_generations: usize,
    limits: Limits,
    projections: BTreeMap<String, ProjectionSettings>,
}

impl Draft {
    /// A draft with the defaults; relative paths are relative to `base`.
    pub(super) fn new(base: &Path) -> Self {
        Self {
            base: base.to_owned(),
            events: None,
            read_models: None,
            events_connections: EVENTS_CONNECTIONS,
            read_models_connections: READ_MODELS_CONNECTIONS,
            directory: base.join("projections"),
            keep_generations: KEEP_GENERATIONS,
            limits: Limits::default(),
            projections: BTreeMap::new(),
        }
    }

    /// Sets a key of [`common`].
    pub(super) fn set(&mut self, key: &Key, given: Given<'_>) -> Result<(), String> {
        match key.set {
            Set::Common(set) => set(self, given),
            Set::Limit(set) => set(&mut self.limits, given),
            // Not among the common keys.
            Set::Projection(_) => Ok(()),
        }
    }

    /// Sets a key of [`of_projection`].
    pub(super) fn set_of_projection(
        &mut self,
        projection: &str,
        key: &Key,
        given: Given<'_>,
    ) -> Result<(), String> {
        let limits = self.limits;
        let settings =
            self.projections
                .entry(projection.to_owned())
                .or_insert(ProjectionSettings {
                    on_error: OnError::default(),
                    max_dead_letters: MAX_DEAD_LETTERS,
                    limits,
                });
        match key.set {
            Set::Projection(set) => set(settings, given),
            Set::Limit(set) => set(&mut settings.limits, given),
            // Not among the keys of a projection.
            Set::Common(_) => Ok(()),
        }
    }

    /// The configuration, if there is no mistake in it.
    pub(super) fn finish(
        self,
        path: &Path,
        file_is_well_formed: bool,
        mut mistakes: Vec<Mistake>,
    ) -> Result<Configuration, InvalidConfiguration> {
        // What a broken file says is unknown, and a key that has a mistake of
        // its own is not missing.
        if file_is_well_formed {
            let missing = [
                (&self.events, "events.url"),
                (&self.read_models, "read-models.url"),
            ];
            for (_, key) in missing.iter().filter(|(url, _)| url.is_none()) {
                let Some(key) = common().find(|known| known.path() == **key) else {
                    continue;
                };
                let reported = mistakes.iter().any(|mistake| match &mistake.place {
                    Place::Key { key: place, .. } | Place::Setting { key: place } => {
                        *place == key.path()
                    }
                    Place::Variable { name } => *name == key.variable(),
                    Place::Syntax { .. } | Place::File { .. } => false,
                });
                if !reported {
                    mistakes.push(Mistake {
                        place: Place::File {
                            file: path.to_owned(),
                        },
                        message: format!(
                            "`{}` is missing in section [{}], as in `{} = {}`; the variable {} may give it too",
                            key.name,
                            key.section,
                            key.name,
                            key.usual,
                            key.variable()
                        ),
                    });
                }
            }
        }
        mistakes.sort_by_key(|mistake| mistake.place.line());
        match (self.events, self.read_models) {
            (Some(events), Some(read_models)) if mistakes.is_empty() => Ok(Configuration {
                events: events.with_connections_max(self.events_connections),
                read_models: read_models.with_connections_max(self.read_models_connections),
                projections_directory: self.directory,
                keep_generations: self.keep_generations,
                limits: self.limits,
                projections: self.projections,
            }),
            _ => Err(InvalidConfiguration::Mistakes(mistakes)),
        }
    }

    fn resolve(&self, path: PathBuf) -> PathBuf {
        self.base.join(path)
    }

    fn resolve_url(&self, url: DatabaseUrl) -> DatabaseUrl {
        match url {
            DatabaseUrl::Sqlite(file) => DatabaseUrl::Sqlite(self.resolve(file)),
            DatabaseUrl::SqliteReadOnly(file) => DatabaseUrl::SqliteReadOnly(self.resolve(file)),
            postgres @ DatabaseUrl::Postgres(_) => postgres,
        }
    }
}
