//! Appending to a stream in PostgreSQL.

use std::collections::HashMap;
use std::time::Duration;

use gnomon_databases::postgres::error::{UNIQUE_VIOLATION, has_state};
use gnomon_model::{Event, Position};
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::PostgresEventStore;
use crate::store::new_event::{Found, already_there, difference};
use crate::store::{
    Appended, EventStoreError, EventStoreErrorKind, ExpectedVersion, NewEvent, StreamId,
};
use crate::table::postgres::{Care, Cells as _, Columns, Scratch, event_columns, read_event};
use crate::timestamp::format_timestamp;

/// How often an append that any version suits looks again, after others were
/// faster.
const MAX_RACES: u32 = 100;
/// How often an append is repeated after its connection was lost. Its ids make
/// that harmless, whether it was committed or not.
const MAX_RECONNECTS: u32 = 3;

pub(super) async fn append(
    store: &PostgresEventStore,
    stream: &StreamId,
    expected: ExpectedVersion,
    events: &[NewEvent],
) -> Result<Vec<Appended>, EventStoreError> {
    store.refuse_unguarded_streams()?;
    store.can_hold(events.iter())?;
    let mut races = 0;
    let mut reconnects = 0;
    loop {
        let error = match attempt(store, stream, expected, events).await {
            Ok(result) => return result,
            Err(error) => error,
        };
        // Unique violation: somebody else took the version, or this very
        // append was committed on a connection that was then lost.
        if has_state(&error, UNIQUE_VIOLATION) && races < MAX_RACES {
            races += 1;
            tokio::time::sleep(Duration::from_micros(rand::random_range(0..2_000))).await;
            continue;
        }
        let error = store.error("append to", error);
        if error.kind() != EventStoreErrorKind::Retry || reconnects == MAX_RECONNECTS {
            return Err(error);
        }
        tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(reconnects)).await;
        reconnects += 1;
    }
}

/// The outer error may be gone at the next attempt, the inner one is final.
async fn attempt(
    store: &PostgresEventStore,
    stream: &StreamId,
    expected: ExpectedVersion,
    events: &[NewEvent],
) -> Result<Result<Vec<Appended>, EventStoreError>, sqlx::Error> {
    let mut lent = store.pool.lend().await?;
    let appended = attempt_on(&mut lent, &store.columns, stream, expected, events).await;
    lent.end_with(appended)
}

async fn attempt_on(
    connection: &mut PgConnection,
    columns: &Columns,
    stream: &StreamId,
    expected: ExpectedVersion,
    events: &[NewEvent],
) -> Result<Result<Vec<Appended>, EventStoreError>, sqlx::Error> {
    let (actual, found) = look(connection, columns, stream, events).await?;
    match already_there(stream, events, &found) {
        Ok(None) => {}
        Ok(Some(appended)) => return Ok(Ok(appended)),
        Err(error) => return Ok(Err(error)),
    }
    if let ExpectedVersion::Exactly(expected) = expected
        && i64::try_from(expected).ok() != Some(actual.events)
    {
        return Ok(Err(EventStoreError::Conflict {
            stream: stream.clone(),
            expected,
            actual: actual.events.try_into().unwrap_or(0),
            last: actual.last.try_into().unwrap_or(0),
        }));
    }
    let mut rows = Rows::default();
    for (event, version) in events.iter().zip(actual.last + 1..) {
        rows.push(stream, version, event);
    }
    rows.insert(connection, columns).await.map(Ok)
}

/// How far a stream has got.
struct StreamVersion {
    /// The version of its last event; zero without one.
    last: i64,
    /// How many events it has. Other writers may count from zero.
    events: i64,
}

/// The version of a stream, and the events that have one of the new ids.
async fn look(
    connection: &mut PgConnection,
    columns: &Columns,
    stream: &StreamId,
    events: &[NewEvent],
) -> Result<(StreamVersion, Vec<Found>), sqlx::Error> {
    let query = format!(
        "SELECT {}, s.last::bigint, s.first::bigint \
         FROM (SELECT coalesce(max(version), 0) AS last, coalesce(min(version), 1) AS first \
           FROM events WHERE stream_id = $1) AS s \
         LEFT JOIN events AS e ON e.id = ANY ($2::text[]::{}[])",
        event_columns(columns, true, Care::None),
        columns.id_type
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(stream.as_str())
        .bind(ids(events.iter()))
        .fetch_all(connection)
        .await?;
    let (last, first): (i64, i64) = match rows.first() {
        Some(row) => (row.try_get(FOUND_COLUMNS)?, row.try_get(FOUND_COLUMNS + 1)?),
        None => (0, 1),
    };
    let version = StreamVersion {
        last,
        events: if first == 0 { last + 1 } else { last },
    };
    let is_found = |row: &&PgRow| row.cell(0).is_ok_and(|position| position.is_some());
    let found = read_found(rows.iter().filter(is_found), columns, events.iter())?;
    Ok((version, found))
}

/// How many columns [`event_columns`] has.
const FOUND_COLUMNS: usize = 9;

fn ids<'a>(events: impl Iterator<Item = &'a NewEvent>) -> Vec<String> {
    events.map(|event| event.id().to_string()).collect()
}

/// The events of the store that have one of the new ones' ids.
pub(super) async fn found_events<'a>(
    connection: &mut PgConnection,
    columns: &Columns,
    events: impl Iterator<Item = &'a NewEvent> + Clone,
) -> Result<Vec<Found>, sqlx::Error> {
    let query = format!(
        "SELECT {} FROM events AS e WHERE e.id = ANY ($1::text[]::{}[])",
        event_columns(columns, true, Care::None),
        columns.id_type
    );
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(ids(events.clone()))
        .fetch_all(connection)
        .await?;
    read_found(rows.iter(), columns, events)
}

/// Reads events, and compares each with the new one that has its id.
fn read_found<'r, 'e>(
    rows: impl Iterator<Item = &'r PgRow>,
    columns: &Columns,
    events: impl Iterator<Item = &'e NewEvent>,
) -> Result<Vec<Found>, sqlx::Error> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(Vec::new());
    }
    let new: HashMap<Uuid, &NewEvent> = events.map(|event| (event.id(), event)).collect();
    let mut scratch = Scratch::default();
    rows.map(|row| {
        let stored = Event::from(read_event(row, columns, &mut scratch)?);
        let id = Uuid::try_parse(&stored.id).unwrap_or_default();
        Ok(Found {
            id,
            difference: new.get(&id).and_then(|new| difference(new, &stored)),
            stream: stored.stream_id,
            version: stored.version,
            position: stored.position,
        })
    })
    .collect()
}

/// Rows of `events`, a list per column.
#[derive(Default)]
pub(super) struct Rows {
    ids: Vec<Uuid>,
    streams: Vec<String>,
    categories: Vec<String>,
    types: Vec<String>,
    data: Vec<String>,
    metadata: Vec<String>,
    versions: Vec<i64>,
    schema_versions: Vec<i32>,
    times: Vec<Option<String>>,
}

impl Rows {
    pub(super) fn push(&mut self, stream: &StreamId, version: i64, event: &NewEvent) {
        self.ids.push(event.id());
        self.streams.push(stream.as_str().to_owned());
        self.categories.push(stream.category().to_owned());
        self.types.push(event.event_type().to_owned());
        self.data.push(event.data().to_owned());
        self.metadata.push(event.metadata().to_owned());
        self.versions.push(version);
        self.schema_versions.push(event.schema_version());
        self.times.push(event.recorded_at().map(format_timestamp));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Inserts them with one statement; positions are in their order.
    pub(super) async fn insert(
        self,
        connection: &mut PgConnection,
        columns: &Columns,
    ) -> Result<Vec<Appended>, sqlx::Error> {
        let optional = |there: bool, text: &'static str| if there { text } else { "" };
        let query = format!(
            "INSERT INTO events (id, stream_id, event_type, event_data, metadata, version, \
               created_at{}{}) \
             SELECT r.id::{}, r.stream_id, r.event_type, r.data::{}, r.metadata::{}, r.version, \
               coalesce(r.time::{}, clock_timestamp()){}{} \
             FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], \
               $7::text[], $8::int[], $9::text[]) WITH ORDINALITY \
               AS r (id, stream_id, event_type, data, metadata, version, time, schema_version, \
                 stream_type, place) \
             ORDER BY r.place RETURNING global_position::bigint",
            optional(columns.schema_version, ", schema_version"),
            optional(columns.category, ", stream_type"),
            columns.id_type,
            columns.data_type,
            columns.metadata_type,
            columns.recorded_at_type,
            optional(columns.schema_version, ", r.schema_version"),
            optional(columns.category, ", r.stream_type"),
        );
        let ids: Vec<String> = self.ids.iter().map(Uuid::to_string).collect();
        let mut positions: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(query))
            .bind(ids)
            .bind(self.streams)
            .bind(self.types)
            .bind(self.data)
            .bind(self.metadata)
            .bind(&self.versions)
            .bind(self.times)
            .bind(self.schema_versions)
            .bind(self.categories)
            .fetch_all(connection)
            .await?;
        // They are drawn in the order of the rows.
        positions.sort_unstable();
        Ok(self
            .ids
            .iter()
            .zip(&self.versions)
            .zip(positions)
            .map(|((id, version), position)| Appended {
                id: *id,
                version: (*version).try_into().unwrap_or(0),
                position: Position::from_sql(position).unwrap_or_default(),
            })
            .collect())
    }
}
