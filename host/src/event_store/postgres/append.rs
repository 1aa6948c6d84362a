//! Appending to a stream in PostgreSQL.

use std::time::Duration;

use gnomon_model::Position;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::connection::sql_state;
use super::{Layout, PostgresEventStore};
use crate::event_store::new_event::{Found, already_there};
use crate::event_store::{
    Appended, EventStoreError, EventStoreErrorKind, ExpectedVersion, NewEvent, StreamId,
    format_timestamp,
};

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
    store.layout.refuse_unguarded_streams(&store.url)?;
    store.layout.can_hold(events.iter())?;
    let mut races = 0;
    let mut reconnects = 0;
    loop {
        let error = match attempt(store, stream, expected, events).await {
            Ok(result) => return result,
            Err(error) => error,
        };
        // Unique violation: somebody else took the version, or this very
        // append was committed on a connection that was then lost.
        if sql_state(&error).as_deref() == Some("23505") && races < MAX_RACES {
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
    let appended = attempt_on(&mut lent, &store.layout, stream, expected, events).await;
    lent.end_with(appended)
}

async fn attempt_on(
    connection: &mut PgConnection,
    layout: &Layout,
    stream: &StreamId,
    expected: ExpectedVersion,
    events: &[NewEvent],
) -> Result<Result<Vec<Appended>, EventStoreError>, sqlx::Error> {
    let (actual, found) = look(connection, layout, stream, events).await?;
    match already_there(stream, events, &found) {
        Ok(None) => {}
        Ok(Some(appended)) => return Ok(Ok(appended)),
        Err(error) => return Ok(Err(error)),
    }
    if let ExpectedVersion::Exactly(expected) = expected
        && i64::try_from(expected).ok() != Some(actual)
    {
        return Ok(Err(EventStoreError::Conflict {
            stream: stream.clone(),
            expected,
            actual: actual.try_into().unwrap_or(0),
        }));
    }
    let mut rows = Rows::default();
    for (event, version) in events.iter().zip(actual + 1..) {
        rows.push(stream, version, event);
    }
    rows.insert(connection, layout).await.map(Ok)
}

/// The version of a stream, and the events that have one of the new ids.
async fn look(
    connection: &mut PgConnection,
    layout: &Layout,
    stream: &StreamId,
    events: &[NewEvent],
) -> Result<(i64, Vec<Found>), sqlx::Error> {
    let query = format!(
        "SELECT s.version::bigint, e.id::text, e.stream_id::text, e.version::bigint, \
           e.global_position::bigint \
         FROM (SELECT coalesce(max(version), 0) AS version FROM events WHERE stream_id = $1) AS s \
         LEFT JOIN events AS e ON e.id = ANY ($2::text[]::{}[])",
        layout.id_type
    );
    let ids: Vec<String> = events.iter().map(|event| event.id().to_string()).collect();
    let rows = sqlx::query(AssertSqlSafe(query))
        .bind(stream.as_str())
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let version = match rows.first() {
        Some(row) => row.try_get(0)?,
        None => 0,
    };
    let mut found = Vec::new();
    for row in &rows {
        if row.try_get::<Option<&str>, _>(1)?.is_some() {
            found.push(read_found(row, 1)?);
        }
    }
    Ok((version, found))
}

/// Reads id, stream, version and position, from this column on.
pub(super) fn read_found(row: &PgRow, column: usize) -> Result<Found, sqlx::Error> {
    Ok(Found {
        id: Uuid::try_parse(row.try_get(column)?).unwrap_or_default(),
        stream: row.try_get(column + 1)?,
        version: row.try_get::<i64, _>(column + 2)?.try_into().unwrap_or(0),
        position: Position::from_sql(row.try_get(column + 3)?).unwrap_or_default(),
    })
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
        layout: &Layout,
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
            optional(layout.schema_version, ", schema_version"),
            optional(layout.stream_type, ", stream_type"),
            layout.id_type,
            layout.data_type,
            layout.metadata_type,
            layout.created_at_type,
            optional(layout.schema_version, ", r.schema_version"),
            optional(layout.stream_type, ", r.stream_type"),
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
