//! Counting the positions that were handed out and rolled back.
//!
//! No event will ever stand there. Many of them mean that writers fail, or
//! often lose a race for a stream's next version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::statements::Watching;
use super::tripwire::Tripwire;

/// Events that one query counts: the next look must not wait for long. The holes
/// between them may be of any size.
const COUNT_MAX_ROWS: i64 = 10_000;
/// How often the log may speak of it.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// The count, and what is still to be counted.
#[derive(Default)]
pub(super) struct RolledBack {
    count: u64,
    /// Positions behind the first and up to the second are final and not yet
    /// counted.
    uncounted: Option<(Position, Position)>,
    logged: Option<(Instant, u64)>,
    /// Watches the same positions.
    pub(super) tripwire: Tripwire,
}

impl RolledBack {
    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn is_counted(&self) -> bool {
        self.uncounted.is_none()
    }

    /// The frontier has passed the positions behind `after` up to `until`, and
    /// some of them may hold no event.
    pub(super) fn passed(&mut self, after: Position, until: Position) {
        self.tripwire.passed(after, until);
        // What lies between two such stretches has no holes, so counting it
        // too does no harm.
        let (after, _) = self.uncounted.unwrap_or((after, until));
        self.uncounted = Some((after, until));
    }

    /// Counts the next of what is still to be counted.
    pub(super) async fn count_some(
        &mut self,
        connection: &mut PgConnection,
        statements: &Watching,
    ) -> Result<(), sqlx::Error> {
        let Some((after, until)) = self.uncounted else {
            return Ok(());
        };
        let (rows, last): (i64, Option<i64>) =
            sqlx::query_as(AssertSqlSafe(Arc::clone(&statements.count)))
                .bind(after.to_sql())
                .bind(until.to_sql())
                .bind(COUNT_MAX_ROWS)
                .fetch_one(connection)
                .await?;
        // With fewer rows than that, it has seen everything.
        let last = last.filter(|_| rows == COUNT_MAX_ROWS);
        let end = last.and_then(Position::from_sql).unwrap_or(until);
        let positions = end.get().saturating_sub(after.get());
        self.count += positions.saturating_sub(rows.try_into().unwrap_or(0));
        self.uncounted = (end < until).then_some((end, until));
        self.log();
        Ok(())
    }

    fn log(&mut self) {
        let (last, known) = match self.logged {
            Some((when, known)) => (Some(when), known),
            None => (None, 0),
        };
        let is_due = last.is_none_or(|when| when.elapsed() >= LOG_EVERY);
        if is_due && self.count > known {
            tracing::info!(
                new = self.count - known,
                all = self.count,
                "positions were rolled back: no event stands there"
            );
            self.logged = Some((Instant::now(), self.count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Frontier, Source};
    use crate::store;
    use crate::test_database::{connect, postgres, run};

    const MANY: u64 = COUNT_MAX_ROWS as u64;
    const INSERT: &str = "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, \
         metadata, version) SELECT gen_random_uuid(), gen_random_uuid(), 'S', 'T', '{}', '{}', 1 \
         FROM ";

    /// Draws this many positions and rolls them back.
    async fn roll_back(connection: &mut PgConnection, positions: u64) {
        let insert = format!("BEGIN; {INSERT} generate_series(1, {positions}) AS n; ROLLBACK");
        run(connection, &insert).await;
    }

    async fn wait_for(source: &dyn Source, rolled_back: u64) -> Frontier {
        let mut frontier = source.frontier();
        let counted = frontier.wait_for(|frontier| frontier.rolled_back >= rolled_back);
        let counted = tokio::time::timeout(Duration::from_secs(60), counted).await;
        let counted = counted.expect("rolled back positions are not counted");
        counted.expect("the source is open").clone()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_rolled_back_since_the_source_was_opened_is_counted() {
        let url = postgres().await;
        store::open(&url).await.unwrap();
        let mut connection = connect(&url).await;
        roll_back(&mut connection, 7).await;
        let source = source::open(&url).await.unwrap();
        assert_eq!(source.look().await.unwrap().rolled_back, 0);
        roll_back(&mut connection, 3).await;
        assert_eq!(wait_for(&*source, 3).await.rolled_back, 3);
        // More than one query counts.
        roll_back(&mut connection, 2).await;
        let insert = format!("{INSERT} generate_series(1, {MANY} + 5) AS n");
        run(&mut connection, &insert).await;
        let counted = wait_for(&*source, 5).await;
        assert_eq!(counted.rolled_back, 5);
        let frontier = source.look().await.unwrap();
        assert_eq!(frontier.safe.get(), 7 + 3 + 2 + MANY + 5);
        // A hole of any size takes one of them.
        run(
            &mut connection,
            "SELECT setval('events_global_position_seq', 1000000000000000000)",
        )
        .await;
        let passed = 1_000_000_000_000_000_000 - frontier.safe.get();
        let counted = wait_for(&*source, 5 + passed).await;
        assert_eq!(counted.rolled_back, 5 + passed);
    }
}
