//! What is looked at once a second, in one statement: whether the store still
//! has the last event that it showed, and whether rows lie beyond the sequence
//! of their positions.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gnomon_model::Position;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::checks::{Watched, drawn};
use crate::source::{Alarm, History, KnownEvent};

/// How often it is looked at. Where nothing happens, this takes the place of a
/// look at the frontier.
const GUARD_EVERY: Duration = Duration::from_secs(1);

/// When to look, and who remembers what was shown.
pub(super) struct Guard {
    history: Arc<History>,
    looked: Option<Instant>,
    /// The newest event that was seen and is not remembered yet.
    news: Option<KnownEvent>,
}

/// What was found.
pub(super) enum Found {
    /// All is well, and this is the last number that was handed out.
    Well(Position),
    /// The last event that was shown is gone.
    OtherStore(KnownEvent),
    /// A row at this position lies beyond the sequence, which stands behind it.
    BeyondSequence { row: Position, drawn: Position },
}

impl Guard {
    pub(super) const fn new(history: Arc<History>) -> Self {
        Self {
            history,
            looked: None,
            news: None,
        }
    }

    /// Whether an event was seen that is not remembered yet.
    pub(super) const fn has_news(&self) -> bool {
        self.news.is_some()
    }

    /// Remembers the newest event that was seen. Only after the holes were looked
    /// at: it may have come to one, and what is remembered is kept beside
    /// checkpoints, as if their generations had read it.
    pub(super) fn note_news(&mut self) {
        if let Some(event) = self.news.take() {
            self.history.note(event);
        }
    }

    /// Whether it is time to look again.
    pub(super) fn is_due(&self) -> bool {
        self.looked
            .is_none_or(|looked| looked.elapsed() >= GUARD_EVERY)
    }

    /// Looks at the next opportunity: there is a reason for it.
    pub(super) const fn hasten(&mut self) {
        self.looked = None;
    }

    pub(super) async fn look(
        &mut self,
        connection: &mut PgConnection,
        watched: &Watched,
    ) -> sqlx::Result<Found> {
        let known = self.history.newest();
        let seen = see(connection, watched, known.as_ref()).await?;
        self.looked = Some(Instant::now());
        self.news = None;
        if let Some(known) = known
            && seen.known.as_ref() != Some(&known.id)
        {
            self.history.raise(Alarm::Gone(known.clone()));
            return Ok(Found::OtherStore(known));
        }
        match seen.newest {
            Some(newest) if newest.position > seen.drawn => Ok(Found::BeyondSequence {
                row: newest.position,
                drawn: seen.drawn,
            }),
            newest => {
                self.news = newest;
                Ok(Found::Well(seen.drawn))
            }
        }
    }
}

struct Seen {
    drawn: Position,
    newest: Option<KnownEvent>,
    /// The id of the event at the position of the one that is known.
    known: Option<String>,
}

/// One statement: all rows that it sees were committed before, so their
/// positions were handed out before the sequence is read.
async fn see(
    connection: &mut PgConnection,
    watched: &Watched,
    known: Option<&KnownEvent>,
) -> sqlx::Result<Seen> {
    loop {
        let row = sqlx::query(AssertSqlSafe(Arc::clone(&watched.statements.guard)))
            .bind(watched.sequence_id)
            .bind(known.map(|known| known.position.to_sql()))
            .fetch_one(&mut *connection)
            .await?;
        let Some(drawn) = drawn(&row)? else { continue };
        let position = row.try_get::<Option<i64>, _>(3)?;
        let position = position.and_then(Position::from_sql);
        let id: Option<String> = row.try_get(4)?;
        return Ok(Seen {
            drawn,
            newest: (position.zip(id)).map(|(position, id)| KnownEvent { position, id }),
            known: row.try_get(5)?,
        });
    }
}

/// Why the source stands still where rows lie beyond the sequence, and what
/// helps.
pub(super) fn beyond_sequence(watched: &Watched, row: Position, drawn: Position) -> String {
    let (table, sequence) = (&watched.columns.layout.table, &watched.sequence);
    format!(
        "the table `{table}` holds position {row}, but its sequence {sequence} stands at {drawn}: rows \
         were written with positions of their own (an INSERT that names them, COPY, logical \
         replication), and what is written so cannot be read without loss; once no open \
         transaction writes so, bring the sequence up with `SELECT setval('{sequence}', {row})`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{self, Source};
    use crate::store;
    use crate::test_database::{connect, postgres, run};

    const TIME_LIMIT: Duration = Duration::from_secs(60);

    async fn insert(connection: &mut PgConnection, rows: &str) {
        let insert = format!(
            "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, \
             version, global_position) \
             SELECT gen_random_uuid(), 'S-' || n, 'S', 'T', '{{}}', '{{}}', 1, n FROM {rows}"
        );
        run(connection, &insert).await;
    }

    async fn wait_for(
        source: &dyn Source,
        is_right: impl FnMut(&source::Frontier) -> bool,
    ) -> source::Frontier {
        let mut frontier = source.frontier();
        let right = tokio::time::timeout(TIME_LIMIT, frontier.wait_for(is_right)).await;
        right.expect("the frontier is not right").unwrap().clone()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn rows_beyond_the_sequence_stop_the_source_until_it_is_brought_up() {
        let url = postgres().await;
        store::open(&url).await.unwrap();
        let source = source::open(&url).await.unwrap();
        let mut connection = connect(&url).await;
        let drawn = "(SELECT nextval('events_global_position_seq') AS n) AS r";
        insert(&mut connection, drawn).await;
        wait_for(&*source, |frontier| frontier.safe.get() == 1).await;
        insert(&mut connection, "generate_series(10, 12) AS n").await;
        let stopped = wait_for(&*source, |frontier| frontier.waiting_for.is_some()).await;
        assert_eq!((stopped.safe.get(), stopped.head.get()), (1, 12));
        let reason = stopped.waiting_for.unwrap();
        assert!(reason.contains("holds position 12"), "{reason}");
        // Its advice helps.
        let repair = reason
            .split('`')
            .find(|part| part.starts_with("SELECT setval"));
        run(&mut connection, repair.unwrap()).await;
        let repaired = wait_for(&*source, |frontier| frontier.safe.get() == 12).await;
        assert_eq!(repaired.waiting_for, None);
        assert_eq!(source.history().last_alarm(), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn positions_without_an_event_that_are_gone_lose_nothing() {
        let url = postgres().await;
        store::open(&url).await.unwrap();
        let source = source::open(&url).await.unwrap();
        let mut connection = connect(&url).await;
        let drawn = "(SELECT nextval('events_global_position_seq') AS n) AS r";
        insert(&mut connection, drawn).await;
        run(
            &mut connection,
            "SELECT nextval('events_global_position_seq') FROM generate_series(1, 9)",
        )
        .await;
        wait_for(&*source, |frontier| frontier.safe.get() == 10).await;
        run(
            &mut connection,
            "SELECT setval('events_global_position_seq', 1)",
        )
        .await;
        let history = source.history();
        let noticed = tokio::time::timeout(TIME_LIMIT, history.alarm_after(0)).await;
        noticed.expect("it is not noticed");
        assert_eq!(history.alarms_after(0), [Alarm::SetBack]);
        insert(&mut connection, drawn).await;
        wait_for(&*source, |frontier| frontier.safe.get() == 2).await;
    }
}
