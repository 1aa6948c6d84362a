//! Fixtures: files with given events and expected rows, which projections are
//! tested with.
//!
//! ```text
//! tests/*.json, *.ndjson ──> events with their places in a log
//!                       └──> rows by key, or a rejection ──> compared by `trial`
//! ```
//!
//! What a column's type is decides how its value is read, so a fixture is read
//! for one projection.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};

use gnomon_model::{Description, Event, Key, Position, Row};

mod cell;
mod events;
mod object;
mod reading;
mod recording;
mod rejection_text;
mod rows;

pub use cell::json as cell_json;
pub use rejection_text::{tells_of_a_fault, without_places};

/// The rows of a projection's tables, in the order in which it declares them.
pub type Tables = Vec<TableRows>;

/// The rows of a table, by their keys.
pub type TableRows = BTreeMap<Key, Row>;

/// One file.
#[derive(Clone, Debug)]
pub struct Fixture {
    /// The file.
    pub path: PathBuf,
    /// The given events, each in its place.
    pub events: Vec<Event>,
    /// The expected rows, if any are given.
    pub rows: Option<Tables>,
    /// The expected rejection, if one is given.
    pub rejection: Option<ExpectedRejection>,
    text: String,
    form: Form,
    /// Where the value of `expect` is in the text.
    expect: Option<Range<usize>>,
}

/// The event that is to be rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedRejection {
    /// Its position.
    pub position: Position,
    /// A part of the message.
    pub message: String,
}

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// One document.
    Json,
    /// An event a line, and in the last one what is expected.
    Ndjson,
}

/// Something wrong with a fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixtureMistake {
    /// The file.
    pub path: PathBuf,
    /// The line, where there is one.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for FixtureMistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:", self.path.display())?;
        if let Some(line) = self.line {
            write!(formatter, "{line}:")?;
        }
        write!(formatter, " {}", self.message)
    }
}

/// Fixtures cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FixtureError {
    /// There are none.
    #[error(
        "{} has no fixture (*.json or *.ndjson); write one, as in\n  {{\"given\": [{{\"event_type\": \
         \"OrderPlaced\", \"data\": {{\"customer_id\": \"anna\"}}}}]}}\nand let `gnomon test --record` add \
         the rows",
        .0.display()
    )]
    None(PathBuf),
    /// Some of them are wrong.
    #[error("{}", listed(.0))]
    Mistakes(Vec<FixtureMistake>),
    /// A folder or file cannot be read.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// "read" or "written".
        what: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

fn listed(mistakes: &[FixtureMistake]) -> String {
    let mut text = match mistakes.len() {
        1 => "there is a mistake in the fixtures:".to_owned(),
        count => format!("there are {count} mistakes in the fixtures:"),
    };
    for mistake in mistakes {
        text.push_str("\n  ");
        text.push_str(&mistake.to_string());
    }
    text
}

/// What fixtures are read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To be compared with, so each must expect something.
    Comparing,
    /// To be written anew, whatever rows they have expected so far.
    Recording,
}

/// Reads a fixture, or all those that lie in a folder, by name.
///
/// # Errors
/// [`FixtureError`] with every mistake that is in them.
pub fn read(
    path: &Path,
    description: &Description,
    purpose: Purpose,
) -> Result<Vec<Fixture>, FixtureError> {
    let files = if path.is_dir() {
        files_in(path)?
    } else {
        vec![path.to_owned()]
    };
    let mut fixtures = Vec::new();
    let mut mistakes = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).map_err(not(&file, "read"))?;
        match reading::read(&file, text, description, purpose) {
            Ok(fixture) => fixtures.push(fixture),
            Err(found) => mistakes.extend(found),
        }
    }
    if mistakes.is_empty() {
        Ok(fixtures)
    } else {
        Err(FixtureError::Mistakes(mistakes))
    }
}

fn files_in(folder: &Path) -> Result<Vec<PathBuf>, FixtureError> {
    let mut files = Vec::new();
    let entries = match folder.read_dir() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(FixtureError::None(folder.to_owned()));
        }
        entries => entries.map_err(not(folder, "read"))?,
    };
    for entry in entries {
        let file = entry.map_err(not(folder, "read"))?.path();
        if Form::of(&file).is_some() && file.is_file() {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(FixtureError::None(folder.to_owned()));
    }
    files.sort();
    Ok(files)
}

fn not(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> FixtureError {
    move |cause| FixtureError::File {
        path: path.to_owned(),
        what,
        cause,
    }
}

impl Form {
    fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()? {
            "json" => Some(Self::Json),
            "ndjson" => Some(Self::Ndjson),
            _ => None,
        }
    }
}

impl Fixture {
    /// Whether it says what is expected.
    #[must_use]
    pub const fn expects_something(&self) -> bool {
        self.expect.is_some() || self.rejection.is_some()
    }

    /// Whether it says which rows are expected.
    #[must_use]
    pub const fn expects_rows(&self) -> bool {
        self.expect.is_some()
    }

    /// The events that a projection gets to see of those that are given.
    #[must_use]
    pub fn events_for(&self, description: &Description) -> Vec<Event> {
        let subscription = &description.subscription;
        let wanted = self
            .events
            .iter()
            .filter(|event| subscription.wants(*event));
        wanted
            .map(|event| Event {
                metadata: if subscription.metadata {
                    event.metadata.clone()
                } else {
                    String::new()
                },
                ..event.clone()
            })
            .collect()
    }

    /// Writes rows into the file as the expected ones, and leaves the rest of
    /// it as it is. Says whether they are others than before.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_rows(
        &self,
        rows: &Tables,
        description: &Description,
    ) -> Result<bool, FixtureError> {
        if self.rows.as_ref() == Some(rows) {
            return Ok(false);
        }
        self.replace(&recording::with_rows(self, rows, description))
    }

    /// Writes a rejection into the file as the expected one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record_rejection(&self, rejection: &ExpectedRejection) -> Result<bool, FixtureError> {
        if self.rejection.is_some() {
            return Ok(false);
        }
        self.replace(&recording::with_rejection(self, rejection))
    }

    fn replace(&self, text: &str) -> Result<bool, FixtureError> {
        let folder = match self.path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let written = || {
            let permissions = std::fs::metadata(&self.path)?.permissions();
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(text.as_bytes())?;
            file.as_file().set_permissions(permissions)?;
            file.persist(&self.path)?;
            Ok(true)
        };
        written().map_err(not(&self.path, "written"))
    }
}
