//! Appending to a stream in SQLite.

use gnomon_model::Position;
use rusqlite::{Connection, OptionalExtension as _, Statement, ToSql, TransactionBehavior};
use uuid::Uuid;

use super::{Failure, Layout, now};
use crate::event_store::new_event::{Found, already_there};
use crate::event_store::{
    Appended, EventStoreError, ExpectedVersion, NewEvent, StreamId, format_timestamp,
};

pub(super) fn append(
    connection: &mut Connection,
    layout: Layout,
    stream: &StreamId,
    expected: ExpectedVersion,
    events: &[NewEvent],
) -> Result<Vec<Appended>, Failure> {
    layout.can_hold(events)?;
    // Immediate: the version that is read here stays the newest until the end.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut found = Vec::new();
    {
        let mut statement = transaction.prepare_cached(BY_ID)?;
        for event in events {
            found.extend(find(&mut statement, event.id())?);
        }
    }
    if let Some(appended) = already_there(stream, events, &found)? {
        return Ok(appended);
    }
    let actual = {
        let mut statement = transaction.prepare_cached(VERSION)?;
        version(&mut statement, stream)?
    };
    if let ExpectedVersion::Exactly(expected) = expected
        && expected != actual
    {
        return Err(Failure::Store(EventStoreError::Conflict {
            stream: stream.clone(),
            expected,
            actual,
        }));
    }
    let mut appended = Vec::with_capacity(events.len());
    {
        let mut statement = transaction.prepare_cached(&insert(layout))?;
        let mut version = actual;
        for event in events {
            version += 1;
            appended.push(write(&mut statement, stream, version, event, now())?);
        }
    }
    transaction.commit()?;
    Ok(appended)
}

pub(super) const BY_ID: &str =
    "SELECT stream_id, version, global_position FROM events WHERE id = ?1";

pub(super) const VERSION: &str =
    "SELECT coalesce(max(version), 0) FROM events WHERE stream_id = ?1";

/// The event with an id, if there is one.
pub(super) fn find(statement: &mut Statement<'_>, id: Uuid) -> rusqlite::Result<Option<Found>> {
    statement
        .query_row([text(&id, &mut Uuid::encode_buffer())], |row| {
            Ok(Found {
                id,
                stream: row.get(0)?,
                version: row.get::<_, i64>(1)?.try_into().unwrap_or(0),
                position: Position::from_sql(row.get(2)?).unwrap_or_default(),
            })
        })
        .optional()
}

/// The version of a stream; zero without events.
pub(super) fn version(statement: &mut Statement<'_>, stream: &StreamId) -> rusqlite::Result<u64> {
    let version: i64 = statement.query_row([stream.as_str()], |row| row.get(0))?;
    Ok(version.try_into().unwrap_or(0))
}

/// The statement that [`write`] runs.
pub(super) fn insert(layout: Layout) -> String {
    let mut columns =
        "id, stream_id, event_type, event_data, metadata, version, created_at".to_owned();
    let mut values = "?1, ?2, ?3, ?4, ?5, ?6, ?7".to_owned();
    if layout.schema_version {
        columns.push_str(", schema_version");
        values.push_str(", ?8");
    }
    if layout.stream_type {
        columns.push_str(", stream_type");
        values.push_str(", ?9");
    }
    format!("INSERT INTO events ({columns}) VALUES ({values}) RETURNING global_position")
}

/// Inserts one event.
pub(super) fn write(
    statement: &mut Statement<'_>,
    stream: &StreamId,
    version: u64,
    event: &NewEvent,
    now: i64,
) -> rusqlite::Result<Appended> {
    let sql_version = i64::try_from(version).unwrap_or(i64::MAX);
    let created_at = format_timestamp(event.recorded_at().unwrap_or(now));
    let mut buffer = Uuid::encode_buffer();
    let id = event.id();
    let id_text = text(&id, &mut buffer);
    let parameters: [&dyn ToSql; 9] = [
        &id_text,
        &stream.as_str(),
        &event.event_type(),
        &event.data(),
        &event.metadata(),
        &sql_version,
        &created_at,
        &event.schema_version(),
        &stream.category(),
    ];
    // The last ones have no place where the table lacks their columns.
    let wanted = statement.parameter_count();
    let parameters = parameters.get(..wanted).unwrap_or(&parameters);
    let position: i64 = statement.query_row(parameters, |row| row.get(0))?;
    Ok(Appended {
        id,
        version,
        position: Position::from_sql(position).unwrap_or_default(),
    })
}

fn text<'a>(id: &Uuid, buffer: &'a mut [u8]) -> &'a str {
    id.hyphenated().encode_lower(buffer)
}
