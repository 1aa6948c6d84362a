//! Whether a position is filled after it was passed as final.
//!
//! Where every writer takes its positions inside the transaction that inserts
//! the events, as a column's default does, a hole that was passed stays one: its
//! number was rolled back. One that is filled shows that some writer takes its
//! numbers elsewhere, and that events are lost to whoever has passed them. No
//! database shows that beforehand, so holes are looked at again for a while.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::statements::Watching;
use crate::source::LateEvent;

/// How long a hole is looked at after it was passed.
const WATCH_TIME: Duration = Duration::from_secs(60);
/// How often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Runs of holes that are watched. Where there are more, the oldest are given
/// up: one for each second of a minute is far less.
const HOLES_MAX: usize = 4_096;
/// Rows that one query looks through for holes.
const ROWS_MAX: i64 = 10_000;
/// Positions before the head that are looked through when a store is opened.
const FIRST_POSITIONS: u64 = 2_000;
/// Stretches that wait to be looked through.
const STRETCHES_MAX: usize = 256;

/// Positions from the first to the last, none of which had an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Hole {
    first: i64,
    last: i64,
    passed: Instant,
}

/// A stretch of positions that were passed, and not yet looked through: behind
/// the first and up to the last.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    after: Position,
    until: Position,
    passed: Instant,
}

#[derive(Default)]
pub(super) struct Tripwire {
    stretches: VecDeque<Stretch>,
    holes: VecDeque<Hole>,
    looked: Option<Instant>,
}

impl Tripwire {
    /// The frontier has passed the positions behind `after` up to `until`, and
    /// some of them may hold no event.
    pub(super) fn passed(&mut self, after: Position, until: Position) {
        if self.stretches.len() == STRETCHES_MAX {
            self.stretches.pop_front();
        }
        self.stretches.push_back(Stretch {
            after,
            until,
            passed: Instant::now(),
        });
    }

    /// The first look at a store has found everything up to here final: of its
    /// holes the last ones are watched, as a writer may be about to fill them.
    pub(super) fn begins_behind(&mut self, safe: Position) {
        let after = safe.get().saturating_sub(FIRST_POSITIONS);
        self.passed(Position::new(after).unwrap_or_default(), safe);
    }

    /// Whether there is nothing to look at.
    pub(super) fn is_idle(&self) -> bool {
        self.stretches.is_empty() && self.holes.is_empty()
    }

    /// Looks at the next opportunity: there is a reason for it.
    pub(super) const fn hasten(&mut self) {
        self.looked = None;
    }

    /// Forgets all holes: they were those of another store.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Looks for the holes of a stretch that was passed.
    pub(super) async fn find_holes(
        &mut self,
        connection: &mut PgConnection,
        statements: &Watching,
    ) -> sqlx::Result<()> {
        let Some(Stretch {
            after,
            until,
            passed,
        }) = self.stretches.pop_front()
        else {
            return Ok(());
        };
        // The last row says how far the query has come.
        let rows = sqlx::query(AssertSqlSafe(Arc::clone(&statements.holes)))
            .bind(after.to_sql())
            .bind(until.to_sql())
            .bind(ROWS_MAX)
            .fetch_all(connection)
            .await?;
        let mut end = None;
        for row in rows {
            let (before, position): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            self.watch(before.saturating_add(1), position.saturating_sub(1), passed);
            end = Position::from_sql(position);
        }
        match end {
            // There may be more rows than one query looks through.
            Some(end) if end < until => self.stretches.push_front(Stretch {
                after: end,
                until,
                passed,
            }),
            Some(_) => {}
            None => self.watch(after.to_sql().saturating_add(1), until.to_sql(), passed),
        }
        Ok(())
    }

    fn watch(&mut self, first: i64, last: i64, passed: Instant) {
        if first > last {
            return;
        }
        if self.holes.len() == HOLES_MAX {
            self.holes.pop_front();
        }
        self.holes.push_back(Hole {
            first,
            last,
            passed,
        });
    }

    /// The first event of a hole that was filled after it was passed, if there is
    /// one and the time to look has come. All that the hole has got is said once:
    /// whoever has passed a later one has passed the first one too.
    pub(super) async fn look(
        &mut self,
        connection: &mut PgConnection,
        statements: &Watching,
    ) -> sqlx::Result<Option<LateEvent>> {
        self.holes.retain(|hole| hole.passed.elapsed() < WATCH_TIME);
        if self.holes.is_empty() || self.looked.is_some_and(|at| at.elapsed() < LOOK_EVERY) {
            return Ok(None);
        }
        self.looked = Some(Instant::now());
        let firsts: Vec<i64> = self.holes.iter().map(|hole| hole.first).collect();
        let lasts: Vec<i64> = self.holes.iter().map(|hole| hole.last).collect();
        let found: Option<i64> =
            sqlx::query_scalar(AssertSqlSafe(Arc::clone(&statements.first_filled)))
                .bind(firsts)
                .bind(lasts)
                .fetch_one(&mut *connection)
                .await?;
        let Some(found) = found else {
            return Ok(None);
        };
        let is_in = |hole: &Hole| hole.first <= found && found <= hole.last;
        let Some(hole) = self.holes.iter().copied().find(is_in) else {
            return Ok(None);
        };
        let filled: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(Arc::clone(&statements.filled)))
            .bind(hole.first)
            .bind(hole.last)
            .bind(ROWS_MAX)
            .fetch_all(connection)
            .await?;
        self.fill(hole, &filled);
        let position = filled.first().copied().and_then(Position::from_sql);
        let late = position.zip(Position::from_sql(hole.last));
        Ok(late.map(|(position, hole_end)| LateEvent { position, hole_end }))
    }

    /// Watches what is left of a hole between the positions that it has got.
    fn fill(&mut self, hole: Hole, filled: &[i64]) {
        self.holes.retain(|other| *other != hole);
        let mut first = hole.first;
        for position in filled {
            self.watch(first, position - 1, hole.passed);
            first = position + 1;
        }
        self.watch(first, hole.last, hole.passed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Alarm, Source};
    use crate::store;
    use crate::table::Layout;
    use crate::test_database::{connect, postgres, run};

    const TIME_LIMIT: Duration = Duration::from_secs(60);
    const INSERT: &str = "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, \
         metadata, version, global_position) \
         SELECT gen_random_uuid(), 'S-' || n, 'S', 'T', '{}', '{}', 1, n FROM ";
    const DRAW: &str = "nextval('events_global_position_seq')";

    async fn wait_for(source: &dyn Source, safe: u64) {
        let mut frontier = source.frontier();
        let passed = frontier.wait_for(|frontier| frontier.safe.get() >= safe);
        let passed = tokio::time::timeout(TIME_LIMIT, passed).await;
        passed.expect("the positions are not passed").unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_writer_that_draws_its_numbers_outside_of_its_transaction_is_noticed() {
        let url = postgres().await;
        store::open(&url).await.unwrap();
        let source = source::open(&url).await.unwrap();
        let mut connection = connect(&url).await;
        // Numbers that honest writers roll back, and one that comes later.
        for _ in 0..3 {
            let rolled_back = format!("BEGIN; {INSERT} (SELECT {DRAW} AS n) AS r; ROLLBACK");
            run(&mut connection, &rolled_back).await;
            run(
                &mut connection,
                &format!("{INSERT} (SELECT {DRAW} AS n) AS r"),
            )
            .await;
        }
        run(&mut connection, &format!("SELECT {DRAW}")).await;
        run(
            &mut connection,
            &format!("{INSERT} (SELECT {DRAW} AS n) AS r"),
        )
        .await;
        wait_for(&*source, 8).await;
        run(
            &mut connection,
            &format!("{INSERT} (SELECT 7::bigint AS n) AS r"),
        )
        .await;
        let history = source.history();
        let noticed = tokio::time::timeout(TIME_LIMIT, history.alarm_after(0)).await;
        noticed.expect("the late event is not noticed");
        let position = Position::new(7).unwrap();
        let late = LateEvent {
            position,
            hole_end: position,
        };
        assert_eq!(history.alarms_after(0), [Alarm::Late(late)]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_holes_of_a_long_stretch_are_found() {
        const END: i64 = 35_000;
        let url = postgres().await;
        store::open(&url).await.unwrap();
        let mut connection = connect(&url).await;
        run(
            &mut connection,
            &format!(
                "{INSERT} generate_series(3, {END}) AS n WHERE n % 1000 > 2 AND n NOT BETWEEN 20000 AND 23000 AND n < 34990"
            ),
        )
        .await;
        let statements = Watching::new(&Layout::built_in(), "events_global_position_seq", "false");
        let mut tripwire = Tripwire::default();
        let at = |number: i64| Position::from_sql(number).unwrap();
        tripwire.passed(at(1), at(END));
        while !tripwire.stretches.is_empty() {
            tripwire
                .find_holes(&mut connection, &statements)
                .await
                .unwrap();
        }
        let mut found: Vec<i64> = Vec::new();
        for hole in &tripwire.holes {
            found.extend(hole.first..=hole.last);
        }
        let missing: Vec<i64> = sqlx::query_scalar(
            "SELECT n FROM generate_series(2, $1) AS n \
             EXCEPT SELECT global_position FROM events ORDER BY n",
        )
        .bind(END)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        assert_eq!(found, missing);
        // Each hole is noticed once, and then what is left of it.
        let late = |position, hole_end| {
            Some(LateEvent {
                position: at(position),
                hole_end: at(hole_end),
            })
        };
        for (fill, expected) in [
            (
                "ARRAY[21000, 21001, 21003, 34999]",
                [late(21_000, 23_002), late(34_999, END), None],
            ),
            (
                "ARRAY[21002, 20999, 22000]",
                [
                    late(20_999, 20_999),
                    late(21_002, 21_002),
                    late(22_000, 23_002),
                ],
            ),
        ] {
            run(&mut connection, &format!("{INSERT} unnest({fill}) AS n")).await;
            for expected in expected {
                tripwire.looked = None;
                assert_eq!(
                    tripwire.look(&mut connection, &statements).await.unwrap(),
                    expected
                );
            }
        }
    }

    #[test]
    fn holes_are_bounded() {
        let mut tripwire = Tripwire::default();
        for first in 0..10_000 {
            tripwire.watch(first * 2, first * 2, Instant::now());
        }
        assert_eq!(tripwire.holes.len(), HOLES_MAX);
        for number in 0..1_000 {
            let at = |number: u64| Position::new(number).unwrap();
            tripwire.passed(at(number), at(number + 1));
        }
        assert_eq!(tripwire.stretches.len(), STRETCHES_MAX);
    }
}
