//! What Gnomon's rebuild is compared with: the same read models, built by hand
//! in Rust with sqlx.

use anyhow::Result;
use sqlx::postgres::PgConnection;

mod expert;
mod models;
mod reading;
mod statements;
mod tables;
mod whole;

pub(crate) use models::Models;
pub(crate) use tables::{SCHEMA, differences};

/// One way to build read models by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    /// A statement for each event, a transaction for a thousand.
    Statements,
    /// Each key of a batch once, one statement for each table.
    Expert {
        /// Events in a batch.
        batch: i64,
    },
    /// Everything in memory, then `COPY`.
    FoldAndCopy,
    /// One `INSERT … SELECT … GROUP BY` for each read model.
    Sql,
    /// Only reading the events.
    Reading,
}

impl Contender {
    pub(crate) const ALL: [Self; 6] = [
        Self::Statements,
        Self::Expert { batch: 5_000 },
        Self::Expert { batch: 20_000 },
        Self::FoldAndCopy,
        Self::Sql,
        Self::Reading,
    ];

    pub(crate) fn name(self) -> String {
        match self {
            Self::Statements => "a statement per event".to_owned(),
            Self::Expert { batch } => format!("expert, {batch} events a batch"),
            Self::FoldAndCopy => "fold in memory, COPY".to_owned(),
            Self::Sql => "one SQL statement each".to_owned(),
            Self::Reading => "only reading".to_owned(),
        }
    }

    /// The last position that it is given, of a log that ends at `head`. The
    /// slow one gets a part: its rate does not depend on the length.
    pub(crate) fn end(self, head: i64) -> i64 {
        match self {
            Self::Statements => head / 20,
            _ => head,
        }
    }

    /// Whether the rows are those of the whole log.
    pub(crate) fn is_whole(self) -> bool {
        !matches!(self, Self::Statements | Self::Reading)
    }

    /// Builds the read models.
    pub(crate) async fn build(
        self,
        connection: &mut PgConnection,
        models: Models,
        head: i64,
    ) -> Result<()> {
        match self {
            Self::Statements => statements::build(connection, models, self.end(head)).await,
            Self::Expert { batch } => expert::build(connection, models, batch).await,
            Self::FoldAndCopy => whole::fold_and_copy(connection, models).await,
            Self::Sql => whole::sql(connection, models).await,
            Self::Reading => whole::read(connection, models).await,
        }
    }
}
