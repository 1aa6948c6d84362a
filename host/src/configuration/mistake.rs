//! What is wrong with a configuration, and where.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub(super) use gnomon_databases::spelling::{near, suggestion};

/// Everything that is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfiguration {
    /// There is no configuration file.
    #[error(
        "there is no configuration file {}; `gnomon init` creates one, and `--config FILE` names another",
        path.display()
    )]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The configuration file cannot be read.
    #[error("cannot read the configuration file {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        reason: String,
    },
    /// The configuration has mistakes.
    #[error("{}", listed(.0))]
    Mistakes(Vec<Mistake>),
}

impl InvalidConfiguration {
    pub(super) fn missing_file(path: &Path) -> Self {
        Self::Missing {
            path: path.to_owned(),
        }
    }

    pub(super) fn unreadable(path: &Path, error: &io::Error) -> Self {
        Self::Unreadable {
            path: path.to_owned(),
            reason: error.to_string(),
        }
    }
}

fn listed(mistakes: &[Mistake]) -> String {
    const LISTED: usize = 30;
    if let [mistake] = mistakes {
        return mistake.to_string();
    }
    let mut text = format!("{} mistakes in the configuration:", mistakes.len());
    for mistake in mistakes.iter().take(LISTED) {
        text.push_str("\n  ");
        text.push_str(&mistake.to_string());
    }
    if mistakes.len() > LISTED {
        text.push_str(&format!("\n  and {} more", mistakes.len() - LISTED));
    }
    text
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is.
    pub place: Place,
    /// What is wrong, and what would be right. It never repeats a value, which
    /// may hold a password.
    pub message: String,
}

/// Where a mistake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// At a key of the file.
    Key {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key with its section, as in `limits.memory`.
        key: String,
    },
    /// In the syntax of the file.
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The character in the line, from 1.
        column: usize,
    },
    /// Nowhere in the file: something is missing.
    File {
        /// The file.
        file: PathBuf,
    },
    /// In a variable of the environment.
    Variable {
        /// Its name.
        name: String,
    },
    /// In a setting of a program.
    Setting {
        /// The key with its section.
        key: String,
    },
}

impl Place {
    /// The line, with what has no line at the end.
    pub(super) const fn line(&self) -> usize {
        match self {
            Self::Key { line, .. } | Self::Syntax { line, .. } => *line,
            Self::File { .. } | Self::Variable { .. } | Self::Setting { .. } => usize::MAX,
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { file, line, key } => {
                write!(formatter, "{}:{line}: {}", file.display(), shown(key))
            }
            Self::Syntax { file, line, column } => {
                write!(formatter, "{}:{line}:{column}", file.display())
            }
            Self::File { file } => write!(formatter, "{}", file.display()),
            Self::Variable { name } => write!(formatter, "environment: {}", shown(name)),
            Self::Setting { key } => write!(formatter, "{}", shown(key)),
        }
    }
}

/// A name from outside, safe for a terminal and of bounded length.
pub(super) fn shown(name: &str) -> String {
    const SHOWN_CHARACTERS: usize = 80;
    name.chars()
        .take(SHOWN_CHARACTERS)
        .flat_map(char::escape_debug)
        .collect()
}
