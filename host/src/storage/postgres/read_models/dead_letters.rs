//! The dead-letter table.

use gnomon_model::{Event, Payload, Position};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};

use crate::dead_letter::{DeadLetter, DeadLetterChanges, PageLimits, RetryRequest};
use crate::generation::GenerationId;
use crate::storage::postgres::any_text;

/// Dead letters of one stream, or of all, in order.
pub(crate) async fn page(
    executor: impl PgExecutor<'_>,
    generation: GenerationId,
    stream: Option<&str>,
    after: Position,
    limits: PageLimits,
) -> sqlx::Result<Vec<DeadLetter>> {
    // The sizes are known without reading the values.
    let rows = sqlx::query(
        "SELECT position, event_id, stream_id, event_type, version, schema_version, data_json,
                data_bytes, metadata, recorded_at, error
         FROM (
             SELECT *, sum(octet_length(coalesce(data_json, '')) + octet_length(metadata)
                     + coalesce(octet_length(data_bytes), 0) + octet_length(error))
                 OVER (ORDER BY position) AS bytes, row_number() OVER (ORDER BY position) AS number
             FROM gnomon.dead_letters
             WHERE generation = $1 AND position > $2 AND ($3::text IS NULL OR stream_id = $3)
             ORDER BY position LIMIT $4
         ) AS page
         WHERE bytes <= $5 OR number = 1
         ORDER BY position",
    )
    .bind(generation.to_sql())
    .bind(after.to_sql())
    .bind(stream.map(any_text::stored))
    .bind(i64::try_from(limits.events).unwrap_or(i64::MAX))
    .bind(i64::try_from(limits.bytes).unwrap_or(i64::MAX))
    .fetch_all(executor)
    .await?;
    rows.iter().map(read).collect()
}

pub(crate) async fn count(
    executor: impl PgExecutor<'_>,
    generation: GenerationId,
) -> sqlx::Result<u64> {
    let count: i64 =
        sqlx::query_scalar("SELECT count(*) FROM gnomon.dead_letters WHERE generation = $1")
            .bind(generation.to_sql())
            .fetch_one(executor)
            .await?;
    Ok(count.unsigned_abs())
}

/// Those of these streams that have dead letters.
pub(crate) async fn parked_streams(
    executor: impl PgExecutor<'_>,
    generation: GenerationId,
    streams: &[&str],
) -> sqlx::Result<Vec<String>> {
    let parked: Vec<String> = sqlx::query_scalar(
        "SELECT s.stream_id FROM UNNEST($2::text[]) AS s (stream_id)
         WHERE EXISTS (
             SELECT 1 FROM gnomon.dead_letters d
             WHERE d.generation = $1 AND d.stream_id = s.stream_id)",
    )
    .bind(generation.to_sql())
    .bind(any_text::all_stored(streams.iter().copied()))
    .fetch_all(executor)
    .await?;
    Ok(parked.into_iter().map(any_text::read).collect())
}

pub(super) async fn next_request(
    executor: impl PgExecutor<'_>,
    generation: GenerationId,
) -> sqlx::Result<Option<RetryRequest>> {
    let row: Option<(i64, Option<String>)> = sqlx::query_as(
        "SELECT id, stream_id FROM gnomon.dead_letter_requests
         WHERE generation = $1 ORDER BY id LIMIT 1",
    )
    .bind(generation.to_sql())
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|(id, stream)| RetryRequest {
        id,
        stream: stream.map(any_text::read),
    }))
}

pub(crate) async fn request_retry(
    executor: impl PgExecutor<'_>,
    generation: GenerationId,
    stream: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO gnomon.dead_letter_requests (generation, action, stream_id)
         VALUES ($1, 'retry', $2)",
    )
    .bind(generation.to_sql())
    .bind(stream.map(any_text::stored))
    .execute(executor)
    .await?;
    Ok(())
}

/// What was asked of a generation is asked of the one that takes its place.
pub(crate) async fn move_requests(
    executor: impl PgExecutor<'_>,
    from: GenerationId,
    to: GenerationId,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE gnomon.dead_letter_requests SET generation = $2 WHERE generation = $1")
        .bind(from.to_sql())
        .bind(to.to_sql())
        .execute(executor)
        .await?;
    Ok(())
}

/// The part of a commit that is about dead letters.
pub(crate) async fn change(
    connection: &mut PgConnection,
    generation: GenerationId,
    changes: DeadLetterChanges<'_>,
) -> sqlx::Result<()> {
    let generation = generation.to_sql();
    if !changes.park.is_empty() {
        park(connection, generation, changes.park).await?;
    }
    if !changes.release.is_empty() {
        let positions: Vec<i64> = changes.release.iter().map(|place| place.to_sql()).collect();
        sqlx::query("DELETE FROM gnomon.dead_letters WHERE generation = $1 AND position = ANY($2)")
            .bind(generation)
            .bind(positions)
            .execute(&mut *connection)
            .await?;
    }
    if !changes.reasons.is_empty() {
        let positions: Vec<i64> = changes.reasons.iter().map(|(at, _)| at.to_sql()).collect();
        let reasons: Vec<&str> = changes
            .reasons
            .iter()
            .map(|(_, why)| why.as_str())
            .collect();
        sqlx::query(
            "UPDATE gnomon.dead_letters d SET error = r.error
             FROM UNNEST($2::bigint[], $3::text[]) AS r (position, error)
             WHERE d.generation = $1 AND d.position = r.position",
        )
        .bind(generation)
        .bind(positions)
        .bind(reasons)
        .execute(&mut *connection)
        .await?;
    }
    if !changes.met.is_empty() {
        let positions: Vec<i64> = changes
            .met
            .iter()
            .map(|met| met.position.to_sql())
            .collect();
        let outcomes: Vec<&str> = changes.met.iter().map(|met| met.outcome.name()).collect();
        sqlx::query(
            "INSERT INTO gnomon.met_skips (generation, position, outcome)
             SELECT $1, * FROM UNNEST($2::bigint[], $3::text[])
             ON CONFLICT (generation, position) DO UPDATE SET outcome = excluded.outcome",
        )
        .bind(generation)
        .bind(positions)
        .bind(outcomes)
        .execute(&mut *connection)
        .await?;
    }
    if changes.late > 0 {
        sqlx::query(
            "UPDATE gnomon.checkpoints SET applied_late = applied_late + $2 WHERE generation = $1",
        )
        .bind(generation)
        .bind(changes.late.cast_signed())
        .execute(&mut *connection)
        .await?;
    }
    if let Some(request) = changes.done {
        sqlx::query("DELETE FROM gnomon.dead_letter_requests WHERE id = $1")
            .bind(request)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn park(
    connection: &mut PgConnection,
    generation: i64,
    letters: &[DeadLetter],
) -> sqlx::Result<()> {
    let events = || letters.iter().map(|letter| &letter.event);
    let texts = |of: fn(&Event) -> &str| {
        any_text::all_stored(letters.iter().map(|letter| of(&letter.event)))
    };
    let json = |event: &'_ Event| match &event.data {
        Payload::Json(text) => Some(text.clone()),
        Payload::Binary(_) | Payload::Unreadable(_) => None,
    };
    let bytes = |event: &'_ Event| match &event.data {
        Payload::Binary(bytes) => Some(bytes.clone()),
        Payload::Json(_) | Payload::Unreadable(_) => None,
    };
    sqlx::query(
        "INSERT INTO gnomon.dead_letters (generation, position, event_id, stream_id, event_type,
             version, schema_version, data_json, data_bytes, metadata, recorded_at, error)
         SELECT $1, * FROM UNNEST($2::bigint[], $3::text[], $4::text[], $5::text[], $6::bigint[],
             $7::bigint[], $8::text[], $9::bytea[], $10::text[], $11::bigint[], $12::text[])",
    )
    .bind(generation)
    .bind(
        events()
            .map(|event| event.position.to_sql())
            .collect::<Vec<_>>(),
    )
    .bind(texts(|event| &event.id))
    .bind(texts(|event| &event.stream_id))
    .bind(texts(|event| &event.event_type))
    .bind(
        events()
            .map(|event| event.version.cast_signed())
            .collect::<Vec<_>>(),
    )
    .bind(
        events()
            .map(|event| i64::from(event.schema_version))
            .collect::<Vec<_>>(),
    )
    .bind(events().map(json).collect::<Vec<_>>())
    .bind(events().map(bytes).collect::<Vec<_>>())
    .bind(texts(|event| &event.metadata))
    .bind(events().map(|event| event.recorded_at).collect::<Vec<_>>())
    .bind(
        letters
            .iter()
            .map(|letter| letter.error.as_str())
            .collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

fn read(row: &PgRow) -> sqlx::Result<DeadLetter> {
    let position: i64 = row.try_get("position")?;
    let version: i64 = row.try_get("version")?;
    let schema_version: i64 = row.try_get("schema_version")?;
    let error: String = row.try_get("error")?;
    let data = match (row.try_get("data_json")?, row.try_get("data_bytes")?) {
        (Some(text), _) => Payload::Json(text),
        (None, Some(bytes)) => Payload::Binary(bytes),
        // An event that could not be read has neither.
        (None, None) => Payload::Unreadable(error.clone()),
    };
    Ok(DeadLetter {
        event: Event {
            position: Position::from_sql(position)
                .ok_or_else(|| unreadable("position", format!("{position} is not a position")))?,
            id: any_text::column(row, "event_id")?,
            stream_id: any_text::column(row, "stream_id")?,
            event_type: any_text::column(row, "event_type")?,
            version: version.cast_unsigned(),
            schema_version: u32::try_from(schema_version)
                .map_err(|error| unreadable("schema_version", error.to_string()))?,
            data,
            metadata: any_text::column(row, "metadata")?,
            recorded_at: row.try_get("recorded_at")?,
        },
        error,
    })
}

fn unreadable(column: &str, reason: String) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source: reason.into(),
    }
}
