//! The configuration: `gnomon.toml`, and the same keys in the environment.
//!
//! ```text
//! gnomon.toml ──┐
//!               ├──> keys (name, default, range, parser) ──> Configuration
//! GNOMON_… ─────┘                                       └──> every mistake at once
//! ```
//!
//! A command that is not told which file to read takes `gnomon.toml` in the working
//! directory, or in the nearest directory above that has one.
//!
//! The environment wins over the file. Relative paths, those of SQLite files
//! too, are relative to the directory of the configuration file, so that a
//! command does the same from any working directory. The file may be missing
//! where the environment gives the keys that have no default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gnomon_databases::database_url::DatabaseUrl;

mod environment;
mod file;
mod given;
mod keys;
mod mistake;
mod settings;
mod template;

pub use mistake::{InvalidConfiguration, Mistake, Place};
pub use template::template;

/// What the host and the commands were told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Configuration {
    /// Where the events are.
    pub events: DatabaseUrl,
    /// Where the read models are.
    pub read_models: DatabaseUrl,
    /// The directory of modules.
    pub projections_directory: PathBuf,
    /// Retired generations of each projection that are kept for a rollback.
    pub keep_generations: usize,
    /// The limits of a projection that has none of its own.
    pub limits: Limits,
    /// Projections with settings of their own, by name.
    pub projections: BTreeMap<String, ProjectionSettings>,
}

/// The settings of one projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionSettings {
    /// What happens when it cannot apply an event.
    pub on_error: OnError,
    /// How many of its events may wait in the dead-letter table.
    pub max_dead_letters: u64,
    /// Its limits: the common ones, where it has none of its own.
    pub limits: Limits,
}

/// How many events of a projection may wait in the dead-letter table, unless
/// something else is configured: far more than anybody looks through, and few
/// enough for a mistake that lets every event fail to be noticed.
const MAX_DEAD_LETTERS: u64 = 10_000;

/// What happens to a projection that cannot apply an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnError {
    /// It stops at that event.
    #[default]
    Halt,
    /// The event, and all later ones of its stream, go to the dead letters.
    Park,
}

/// What one batch of one projection may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Memory of a guest, in bytes.
    pub memory: usize,
    /// Time of one call of a guest.
    pub batch_time: Duration,
    /// Events in a batch.
    pub batch_events: usize,
    /// Bytes of events in a batch; one event may be larger.
    pub batch_bytes: usize,
    /// Write calls of a guest in a batch.
    pub batch_writes: u64,
    /// Rows that a batch may read from the database, questions included.
    pub batch_reads: u64,
    /// Bytes that a batch may hold in pending rows.
    pub batch_write_bytes: u64,
    /// Bytes of log messages in a batch; what is beyond is left out.
    pub log_bytes: usize,
    /// Bytes of committed rows that the host keeps in memory.
    pub row_cache: usize,
    /// Bytes of rows that a build keeps in memory before it writes them.
    pub build_window: usize,
    /// How long a lease runs without being renewed.
    pub lease_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        const KIB: usize = 1 << 10;
        const MIB: usize = 1 << 20;
        Self {
            memory: 64 * MIB,
            batch_time: Duration::from_secs(10),
            batch_events: 1_000,
            batch_bytes: 8 * MIB,
            batch_writes: 1_000_000,
            batch_reads: 1_000_000,
            batch_write_bytes: 64 << 20,
            log_bytes: 64 * KIB,
            row_cache: 16 * MIB,
            build_window: 96 * MIB,
            lease_time: Duration::from_secs(5),
        }
    }
}

/// The name of a configuration file.
pub const FILE_NAME: &str = "gnomon.toml";

/// The configuration file of a directory, or of the nearest one above it that has
/// one.
#[must_use]
pub fn nearest(directory: &Path) -> Option<PathBuf> {
    directory
        .ancestors()
        .map(|directory| directory.join(FILE_NAME))
        .find(|file| file.is_file())
}

impl Configuration {
    /// Reads a configuration file, and the environment of this process.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] with every mistake that is in them.
    pub fn load(path: &Path) -> Result<Self, InvalidConfiguration> {
        let mut mistakes = Vec::new();
        let variables = environment::variables(std::env::vars_os(), &mut mistakes);
        let text = match std::fs::read(path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(InvalidConfiguration::unreadable(path, &error)),
        };
        Self::read(path, text.as_deref(), &variables, mistakes)
    }

    /// The limits of a projection.
    #[must_use]
    pub fn limits_of(&self, projection: &str) -> Limits {
        self.projections
            .get(projection)
            .map_or(self.limits, |settings| settings.limits)
    }

    /// The limits under which a module is loaded. Which projection's apply is
    /// known only when it has said its name, so none that was given more memory
    /// is refused for want of it.
    #[must_use]
    pub fn limits_of_loading(&self) -> Limits {
        let of_projections = self.projections.values().map(|settings| settings.limits);
        Limits {
            memory: of_projections
                .map(|limits| limits.memory)
                .fold(self.limits.memory, usize::max),
            ..self.limits
        }
    }

    /// Projections that have a section of their own and are none of these, each
    /// as a sentence that names the one that may be meant.
    #[must_use]
    pub fn sections_of_nobody(&self, known: &[&str]) -> Vec<String> {
        let names = self.projections.keys();
        names
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| {
                let without_section = known
                    .iter()
                    .copied()
                    .filter(|known| !self.projections.contains_key(*known));
                let near = mistake::suggestion(name, without_section);
                format!(
                    "[projection.{name}] is set, and no projection of that name is deployed{near}"
                )
            })
            .collect()
    }

    /// How many events of a projection may wait in the dead-letter table.
    #[must_use]
    pub fn max_dead_letters(&self, projection: &str) -> u64 {
        self.projections
            .get(projection)
            .map_or(MAX_DEAD_LETTERS, |settings| settings.max_dead_letters)
    }

    /// What happens when a projection cannot apply an event.
    #[must_use]
    pub fn on_error(&self, projection: &str) -> OnError {
        self.projections
            .get(projection)
            .map_or(OnError::default(), |settings| settings.on_error)
    }

    /// The configuration in a file's bytes (`None` where there is no file) and
    /// in variables.
    fn read(
        path: &Path,
        file: Option<&[u8]>,
        variables: &BTreeMap<String, String>,
        mut mistakes: Vec<Mistake>,
    ) -> Result<Self, InvalidConfiguration> {
        let mut draft = keys::Draft::new(path.parent().unwrap_or(Path::new("")));
        if file.is_none() && !environment::gives_all_required_keys(variables) {
            return Err(InvalidConfiguration::missing_file(path));
        }
        // A projection begins with the common limits, so these come first, from
        // the file and from the environment.
        let document = file::Document::parse(path, file.unwrap_or_default(), &mut mistakes);
        document.set_common(&mut draft, &mut mistakes);
        environment::set_common(variables, &mut draft, &mut mistakes);
        document.set_projections(&mut draft, &mut mistakes);
        environment::set_projections(variables, &mut draft, &mut mistakes);
        draft.finish(path, document.is_well_formed(), mistakes)
    }
}

#[cfg(test)]
mod reference;
#[cfg(test)]
mod tests;
