//! What Gnomon's rebuild is compared with: the same read models, built by hand
//! in Rust. Each runs in a process of its own, as Gnomon does, so that what it
//! takes can be told apart.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum as _;
use gnomon_tests::harness::{Database, System};

use crate::databases::runtime;

mod by_hand;
mod models;
mod postgres;
mod sqlite;

pub(crate) use by_hand::{Against, ByHand, SCHEMA, remove};
pub(crate) use models::{Event, Fact, Folded, Models, day};

/// Which events the read models are built from.
#[derive(Clone, Copy, clap::Args)]
pub(crate) struct Task {
    #[arg(long)]
    models: Models,
    /// The last position
    #[arg(long)]
    until: i64,
}

/// One contender and its task, as its process is told.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    #[arg(value_enum)]
    contender: Contender,
    #[command(flatten)]
    task: Task,
    /// URL of the events, or their file
    #[arg(long)]
    events: String,
    /// The file of the read models; PostgreSQL has them beside the events
    #[arg(long)]
    read_models: Option<PathBuf>,
}

/// One way to build read models by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Contender {
    /// A statement for each event, a transaction for a thousand.
    Statements,
    /// Each key of 5,000 events once, one statement for each table.
    Expert5000,
    /// The same for 20,000 events.
    Expert20000,
    /// Everything in memory, then `COPY`.
    FoldAndCopy,
    /// One `INSERT … SELECT … GROUP BY` for each read model.
    Sql,
    /// Only reading the events.
    Reading,
    /// SQLite: a statement for each event, a transaction for a thousand.
    SqlxStatements,
    /// SQLite: each key of 20,000 events once, a statement for each.
    SqlxCoalesced,
    /// The same through the other driver.
    RusqliteCoalesced,
    /// SQLite: only reading the events.
    SqlxReading,
    /// The same through the other driver.
    RusqliteReading,
}

impl Contender {
    /// Those for a database system.
    pub(crate) const fn of(system: System) -> &'static [Self] {
        match system {
            System::Postgres => &[
                Self::Statements,
                Self::Expert5000,
                Self::Expert20000,
                Self::FoldAndCopy,
                Self::Sql,
                Self::Reading,
            ],
            System::Sqlite => &[
                Self::SqlxStatements,
                Self::SqlxCoalesced,
                Self::RusqliteCoalesced,
                Self::SqlxReading,
                Self::RusqliteReading,
            ],
        }
    }

    /// The one that all others are compared with.
    pub(crate) const fn expert(system: System) -> Self {
        match system {
            System::Postgres => Self::Expert20000,
            System::Sqlite => Self::SqlxCoalesced,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Statements => "a statement per event",
            Self::Expert5000 => "expert, 5,000 events a batch",
            Self::Expert20000 => "expert, 20,000 events a batch",
            Self::FoldAndCopy => "fold in memory, COPY",
            Self::Sql => "one SQL statement each",
            Self::Reading => "only reading",
            Self::SqlxStatements => "sqlx, a statement per event",
            Self::SqlxCoalesced => "sqlx, coalesced per 20,000 events",
            Self::RusqliteCoalesced => "rusqlite, coalesced per 20,000 events",
            Self::SqlxReading => "sqlx, only reading",
            Self::RusqliteReading => "rusqlite, only reading",
        }
    }

    /// The last position that it is given, of a log that ends at `head`. The
    /// slow ones get a part: their rate does not depend on the length.
    pub(crate) const fn end(self, head: i64) -> i64 {
        match self {
            Self::Statements | Self::SqlxStatements => head / 20,
            _ => head,
        }
    }

    /// Whether it writes rows.
    pub(crate) const fn writes(self) -> bool {
        !matches!(
            self,
            Self::Reading | Self::SqlxReading | Self::RusqliteReading
        )
    }

    /// The process that builds these read models.
    pub(crate) fn command(
        self,
        models: Models,
        until: i64,
        events: &Database,
        by_hand: &ByHand,
    ) -> Result<Command> {
        let value = self.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name());
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["contend", name, "--models", &models.to_string()])
            .args(["--until", &until.to_string()]);
        match events {
            Database::Postgres { url, .. } => command.args(["--events", url.as_str()]),
            Database::Sqlite { file, .. } => command
                .arg("--events")
                .arg(file)
                .arg("--read-models")
                .arg(by_hand.file()),
        };
        Ok(command)
    }
}

/// Builds the read models, in this process.
pub(crate) fn build(arguments: &Arguments) -> Result<()> {
    use sqlite::{Batch, Rusqlite, Sqlx};
    let Arguments {
        contender,
        task,
        events,
        read_models,
    } = arguments;
    let (task, file) = (*task, events.as_ref());
    let by_hand = || {
        let file = read_models.as_deref();
        file.context("SQLite needs a file for the read models")
    };
    runtime()?.block_on(async {
        match contender {
            Contender::Statements => postgres::statements(events, task).await,
            Contender::Expert5000 => postgres::expert(events, task, 5_000).await,
            Contender::Expert20000 => postgres::expert(events, task, 20_000).await,
            Contender::FoldAndCopy => postgres::fold_and_copy(events, task).await,
            Contender::Sql => postgres::sql(events, task).await,
            Contender::Reading => postgres::read(events, task).await,
            Contender::SqlxStatements => {
                sqlite::build::<Sqlx>(file, by_hand()?, task, Batch::STATEMENTS).await
            }
            Contender::SqlxCoalesced => {
                sqlite::build::<Sqlx>(file, by_hand()?, task, Batch::COALESCED).await
            }
            Contender::RusqliteCoalesced => {
                sqlite::build::<Rusqlite>(file, by_hand()?, task, Batch::COALESCED).await
            }
            Contender::SqlxReading => sqlite::read::<Sqlx>(file, task).await,
            Contender::RusqliteReading => sqlite::read::<Rusqlite>(file, task).await,
        }
    })
}
