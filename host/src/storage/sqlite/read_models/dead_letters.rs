//! The dead-letter table.

use gnomon_model::{Event, Payload, Position};
use rusqlite::types::{FromSqlError, ToSqlOutput, ValueRef};
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use crate::dead_letter::{DeadLetter, DeadLetterChanges, PageLimits, RetryRequest};
use crate::generation::GenerationId;

/// Dead letters of one stream, or of all, in order.
pub(crate) fn page(
    connection: &Connection,
    generation: GenerationId,
    stream: Option<&str>,
    after: Position,
    limits: PageLimits,
) -> rusqlite::Result<Vec<DeadLetter>> {
    let mut statement = connection.prepare_cached(
        "SELECT position, event_id, stream_id, event_type, version, schema_version, data,
                    metadata, recorded_at, error
             FROM gnomon_dead_letters
             WHERE generation = ?1 AND position > ?2 AND (?3 IS NULL OR stream_id = ?3)
             ORDER BY position LIMIT ?4",
    )?;
    let letters = statement.query_map(
        params![
            generation.to_sql(),
            after.to_sql(),
            stream,
            i64::try_from(limits.events).unwrap_or(i64::MAX)
        ],
        read,
    )?;
    let mut page = Vec::new();
    let mut bytes = 0_usize;
    for letter in letters {
        let letter = letter?;
        bytes = bytes.saturating_add(letter.size());
        if bytes > limits.bytes && !page.is_empty() {
            break;
        }
        page.push(letter);
    }
    Ok(page)
}

pub(crate) fn count(connection: &Connection, generation: GenerationId) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM gnomon_dead_letters WHERE generation = ?1")?
        .query_row([generation.to_sql()], |row| row.get(0))
        .map(i64::unsigned_abs)
}

/// Those of these streams that have dead letters.
pub(super) fn parked_streams(
    connection: &Connection,
    generation: GenerationId,
    streams: &[&str],
) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (
             SELECT 1 FROM gnomon_dead_letters WHERE generation = ?1 AND stream_id = ?2)",
    )?;
    let mut parked = Vec::new();
    for stream in streams {
        if statement.query_row(params![generation.to_sql(), stream], |row| row.get(0))? {
            parked.push((*stream).to_owned());
        }
    }
    Ok(parked)
}

pub(super) fn next_request(
    connection: &Connection,
    generation: GenerationId,
) -> rusqlite::Result<Option<RetryRequest>> {
    connection
        .prepare_cached(
            "SELECT id, stream_id FROM gnomon_dead_letter_requests
             WHERE generation = ?1 ORDER BY id LIMIT 1",
        )?
        .query_row([generation.to_sql()], |row| {
            Ok(RetryRequest {
                id: row.get(0)?,
                stream: row.get(1)?,
            })
        })
        .optional()
}

pub(crate) fn request_retry(
    transaction: &Transaction<'_>,
    generation: GenerationId,
    stream: Option<&str>,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO gnomon_dead_letter_requests (generation, action, stream_id)
         VALUES (?1, 'retry', ?2)",
        params![generation.to_sql(), stream],
    )?;
    Ok(())
}

/// What was asked of a generation is asked of the one that takes its place.
pub(crate) fn move_requests(
    transaction: &Transaction<'_>,
    from: GenerationId,
    to: GenerationId,
) -> rusqlite::Result<()> {
    transaction.execute(
        "UPDATE gnomon_dead_letter_requests SET generation = ?2 WHERE generation = ?1",
        [from.to_sql(), to.to_sql()],
    )?;
    Ok(())
}

/// The part of a commit that is about dead letters.
pub(crate) fn change(
    transaction: &Transaction<'_>,
    generation: GenerationId,
    changes: DeadLetterChanges<'_>,
) -> rusqlite::Result<()> {
    if changes.is_empty() {
        return Ok(());
    }
    let generation = generation.to_sql();
    let mut park = transaction.prepare_cached(
        "INSERT INTO gnomon_dead_letters (generation, position, event_id, stream_id, event_type,
             version, schema_version, data, metadata, recorded_at, error)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for DeadLetter { event, error } in changes.park {
        let data = match &event.data {
            Payload::Json(text) => ValueRef::Text(text.as_bytes()),
            Payload::Binary(bytes) => ValueRef::Blob(bytes),
            Payload::Unreadable(_) => UNREADABLE,
        };
        park.execute(params![
            generation,
            event.position.to_sql(),
            event.id,
            event.stream_id,
            event.event_type,
            event.version.cast_signed(),
            event.schema_version,
            ToSqlOutput::Borrowed(data),
            event.metadata,
            event.recorded_at,
            error,
        ])?;
    }
    let mut release = transaction.prepare_cached(
        "DELETE FROM gnomon_dead_letters WHERE generation = ?1 AND position = ?2",
    )?;
    for position in changes.release {
        release.execute(params![generation, position.to_sql()])?;
    }
    let mut explain = transaction.prepare_cached(
        "UPDATE gnomon_dead_letters SET error = ?3 WHERE generation = ?1 AND position = ?2",
    )?;
    for (position, reason) in changes.reasons {
        explain.execute(params![generation, position.to_sql(), reason])?;
    }
    let mut meet = transaction.prepare_cached(
        "INSERT INTO gnomon_met_skips (generation, position, outcome) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET outcome = excluded.outcome",
    )?;
    for met in changes.met {
        meet.execute(params![
            generation,
            met.position.to_sql(),
            met.outcome.name()
        ])?;
    }
    if changes.late > 0 {
        transaction.execute(
            "UPDATE gnomon_checkpoints SET applied_late = applied_late + ?2 WHERE generation = ?1",
            params![generation, changes.late.cast_signed()],
        )?;
    }
    if let Some(request) = changes.done {
        transaction.execute(
            "DELETE FROM gnomon_dead_letter_requests WHERE id = ?1",
            [request],
        )?;
    }
    Ok(())
}

/// What stands for the data of an event that could not be read.
const UNREADABLE: ValueRef<'static> = ValueRef::Integer(0);

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<DeadLetter> {
    let position: i64 = row.get(0)?;
    let data = match row.get_ref(6)? {
        ValueRef::Text(text) => Payload::Json(
            std::str::from_utf8(text)
                .map_err(FromSqlError::other)?
                .to_owned(),
        ),
        UNREADABLE => Payload::Unreadable(row.get(9)?),
        other => Payload::Binary(other.as_blob()?.to_owned()),
    };
    let version: i64 = row.get(4)?;
    Ok(DeadLetter {
        event: Event {
            position: Position::from_sql(position)
                .ok_or_else(|| unreadable(0, format!("{position} is not a position")))?,
            id: row.get(1)?,
            stream_id: row.get(2)?,
            event_type: row.get(3)?,
            version: version.cast_unsigned(),
            schema_version: row.get(5)?,
            data,
            metadata: row.get(7)?,
            recorded_at: row.get(8)?,
        },
        error: row.get(9)?,
    })
}

fn unreadable(column: usize, reason: String) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, reason.into())
}
