//! Importing a file into PostgreSQL.

use std::collections::{HashMap, HashSet};

use gnomon_databases::postgres::error::{DEADLOCK_DETECTED, UNIQUE_VIOLATION, has_state};
use gnomon_model::{Event, Payload, Position};
use sqlx::Row as _;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::append::{Rows, found_events};
use super::{PostgresEventStore, store_error};
use crate::store::import::{Chunk, Counter, Line};
use crate::store::new_event::{Found, difference};
use crate::store::{
    CheckedFile, EventStoreError, EventStoreErrorKind, Imported, OnProgress, StreamId,
};

pub(super) async fn import(
    store: &PostgresEventStore,
    file: CheckedFile,
    on_progress: OnProgress,
) -> Result<Imported, EventStoreError> {
    let importing = |error| error_of(store, error);
    store.refuse_unguarded_streams()?;
    let mut counter = Counter::new(&file, &on_progress);
    let mut chunks = file.read_ahead();
    let mut transaction = store.pool.begin().await.map_err(importing)?;
    // The planner knows nothing yet about rows that this transaction adds, and
    // would look ids up by reading the whole table.
    sqlx::query("SET LOCAL enable_seqscan = off")
        .execute(&mut *transaction)
        .await
        .map_err(importing)?;
    while let Some(chunk) = chunks.recv().await {
        let chunk = chunk?;
        let events = chunk.lines.iter().map(|line| &line.envelope.event);
        store.can_hold(events)?;
        let found = found(store, &mut transaction, &chunk)
            .await
            .map_err(importing)?;
        // A later line with the same id is the same event again.
        let mut in_chunk: HashMap<Uuid, Earlier<'_>> = HashMap::new();
        let mut versions = versions(&mut transaction, &chunk)
            .await
            .map_err(importing)?;
        let mut rows = Rows::default();
        for line in &chunk.lines {
            let envelope = &line.envelope;
            let id = envelope.event.id();
            if let Some(found) = found.get(&id) {
                counter.skip(&file, line, found)?;
                continue;
            }
            if let Some(earlier) = in_chunk.get(&id) {
                // It has no position yet; that of the earlier line counts.
                let earlier = Found {
                    id,
                    stream: earlier.line.envelope.stream.as_str().to_owned(),
                    version: earlier.version,
                    position: Position::START,
                    difference: difference_of_lines(earlier.line, line),
                };
                counter.skip(&file, line, &earlier)?;
                continue;
            }
            let version = versions.entry(&envelope.stream).or_default();
            *version = file.next_version(line, *version)?;
            rows.push(
                &envelope.stream,
                i64::try_from(*version).unwrap_or(i64::MAX),
                &envelope.event,
            );
            let version = *version;
            in_chunk.insert(id, Earlier { line, version });
            counter.imported();
        }
        if !rows.is_empty() {
            let appended = rows.insert(&mut transaction, &store.columns).await;
            if let Some(last) = appended.map_err(importing)?.last() {
                counter.stands_at(last.position);
            }
        }
        counter.chunk_done(&chunk);
    }
    let imported = counter.finish(&file)?;
    transaction.commit().await.map_err(importing)?;
    Ok(imported)
}

/// A line of the chunk that is about to be written.
struct Earlier<'a> {
    line: &'a Line,
    version: u64,
}

/// What two lines with one id differ in.
fn difference_of_lines(earlier: &Line, later: &Line) -> Option<String> {
    let (earlier, later) = (&earlier.envelope.event, &later.envelope.event);
    let as_stored = Event {
        position: Position::START,
        id: String::new(),
        stream_id: String::new(),
        event_type: earlier.event_type().to_owned(),
        version: 0,
        schema_version: earlier.schema_version().try_into().unwrap_or_default(),
        data: Payload::Json(earlier.data().to_owned()),
        metadata: earlier.metadata().to_owned(),
        recorded_at: earlier
            .recorded_at()
            .or(later.recorded_at())
            .unwrap_or_default(),
    };
    difference(later, &as_stored)
}

/// The events of the store that have an id of the chunk.
async fn found(
    store: &PostgresEventStore,
    connection: &mut PgConnection,
    chunk: &Chunk,
) -> Result<HashMap<Uuid, Found>, sqlx::Error> {
    let events = chunk.lines.iter().map(|line| &line.envelope.event);
    let found = found_events(connection, &store.columns, events).await?;
    Ok(found.into_iter().map(|found| (found.id, found)).collect())
}

/// The versions of the chunk's streams.
async fn versions<'a>(
    connection: &mut PgConnection,
    chunk: &'a Chunk,
) -> Result<HashMap<&'a StreamId, u64>, sqlx::Error> {
    let streams: HashSet<&StreamId> = chunk
        .lines
        .iter()
        .map(|line| &line.envelope.stream)
        .collect();
    let streams: Vec<&StreamId> = streams.into_iter().collect();
    let names: Vec<&str> = streams.iter().map(|stream| stream.as_str()).collect();
    let rows = sqlx::query(
        "SELECT s.place, v.version::bigint FROM unnest($1::text[]) WITH ORDINALITY AS s (id, place) \
         CROSS JOIN LATERAL (SELECT version FROM events WHERE stream_id = s.id \
           ORDER BY version DESC LIMIT 1) AS v",
    )
    .bind(names)
    .fetch_all(connection)
    .await?;
    let mut versions = HashMap::with_capacity(streams.len());
    for row in &rows {
        let place = usize::try_from(row.try_get::<i64, _>(0)? - 1).unwrap_or(usize::MAX);
        if let Some(stream) = streams.get(place) {
            versions.insert(*stream, row.try_get::<i64, _>(1)?.try_into().unwrap_or(0));
        }
    }
    Ok(versions)
}

fn error_of(store: &PostgresEventStore, error: sqlx::Error) -> EventStoreError {
    // Somebody appended to one of the streams, or imported the same file.
    if has_state(&error, UNIQUE_VIOLATION) || has_state(&error, DEADLOCK_DETECTED) {
        return EventStoreError::caused(
            EventStoreErrorKind::Retry,
            format!(
                "cannot import into {}: somebody else appended to the same streams; nothing was \
                 imported, import the file again",
                store.url
            ),
            error,
        );
    }
    store_error(&format!("import into {}", store.url), error)
}
