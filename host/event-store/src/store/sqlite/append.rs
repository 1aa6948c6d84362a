//! Appending to a stream in SQLite.

use gnomon_model::{Event, Position};
use rusqlite::{Connection, OptionalExtension as _, Statement, ToSql, TransactionBehavior};
use uuid::Uuid;

use super::schema::can_hold;
use super::{Failure, now};
use crate::store::new_event::{Found, already_there, difference};
use crate::store::{Appended, EventStoreError, ExpectedVersion, NewEvent, StreamId};
use crate::table::sqlite::{Columns, Scratch, event_columns, read_event};
use crate::timestamp::format_timestamp;

pub(super) fn append(
    connection: &mut Connection,
    columns: &Columns,
    stream: &StreamId,
    expected: ExpectedVersion,
    events: &[NewEvent],
) -> Result<Vec<Appended>, Failure> {
    can_hold(columns, events)?;
    // Immediate: the version that is read here stays the newest until the end.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut found = Vec::new();
    {
        let mut statement = transaction.prepare_cached(&by_id(columns))?;
        for event in events {
            found.extend(find(&mut statement, columns, event)?);
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
        && expected != actual.events
    {
        return Err(Failure::Store(EventStoreError::Conflict {
            stream: stream.clone(),
            expected,
            actual: actual.events,
            last: actual.last,
        }));
    }
    let mut appended = Vec::with_capacity(events.len());
    {
        let mut statement = transaction.prepare_cached(&insert(columns))?;
        let mut version = actual.last;
        for event in events {
            version += 1;
            appended.push(write(&mut statement, stream, version, event, now())?);
        }
    }
    transaction.commit()?;
    Ok(appended)
}

/// The event with an id.
pub(super) fn by_id(columns: &Columns) -> String {
    format!(
        "SELECT {} FROM events AS e WHERE e.id = ?1",
        event_columns(columns, true)
    )
}

pub(super) const VERSION: &str =
    "SELECT coalesce(max(version), 0), coalesce(min(version), 1) FROM events WHERE stream_id = ?1";

/// The event that has a new one's id, if there is one.
pub(super) fn find(
    statement: &mut Statement<'_>,
    columns: &Columns,
    event: &NewEvent,
) -> rusqlite::Result<Option<Found>> {
    let id = event.id();
    statement
        .query_row([text(&id, &mut Uuid::encode_buffer())], |row| {
            let mut scratch = Scratch::default();
            let stored = read_event(row, columns, &mut scratch)?;
            Ok(Found {
                id,
                stream: stored.stream_id.to_owned(),
                version: stored.version,
                position: stored.position,
                difference: difference(event, &Event::from(stored)),
            })
        })
        .optional()
}

/// How far a stream has got.
#[derive(Clone, Copy, Debug)]
pub(super) struct StreamVersion {
    /// The version of its last event; zero without one.
    pub(super) last: u64,
    /// How many events it has. Other writers may count from zero.
    pub(super) events: u64,
}

/// The version of a stream.
pub(super) fn version(
    statement: &mut Statement<'_>,
    stream: &StreamId,
) -> rusqlite::Result<StreamVersion> {
    statement.query_row([stream.as_str()], |row| {
        let (last, first): (i64, i64) = (row.get(0)?, row.get(1)?);
        let last = last.try_into().unwrap_or(0);
        Ok(StreamVersion {
            last,
            events: if first == 0 { last + 1 } else { last },
        })
    })
}

/// The statement that [`write`] runs.
pub(super) fn insert(columns: &Columns) -> String {
    let mut names =
        "id, stream_id, event_type, event_data, metadata, version, created_at".to_owned();
    let mut values = "?1, ?2, ?3, ?4, ?5, ?6, ?7".to_owned();
    if columns.schema_version {
        names.push_str(", schema_version");
        values.push_str(", ?8");
    }
    if columns.category {
        names.push_str(", stream_type");
        values.push_str(", ?9");
    }
    format!("INSERT INTO events ({names}) VALUES ({values}) RETURNING global_position")
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
