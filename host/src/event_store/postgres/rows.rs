//! Rows of `events` as events.

use gnomon_model::{EventRef, PayloadRef, Position};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::Layout;
use crate::event_store::EVENT_BYTES_MAX;

/// From 1970, where our times begin, to 2000, where PostgreSQL's do.
const MICROSECONDS_TO_2000: i64 = 946_684_800_000_000;
/// Of the only binary format of `jsonb` that there is.
const JSONB_VERSION: u8 = 1;
/// What may be sent of an event's data, with the version of its format.
const SENT_BYTES_MAX: usize = EVENT_BYTES_MAX + size_of::<u8>();

/// The columns that [`read_event`] reads. The server converts only what it
/// must: to `extract` an epoch is arithmetic with decimals, for each row, and
/// even an empty text is converted where a null is not.
pub(crate) fn event_columns(layout: &Layout, metadata: bool) -> String {
    format!(
        "global_position::bigint, {}, stream_id::text, event_type::text, version::bigint, \
         {}::int, {}, {}, {}",
        if layout.has_uuids() { "id" } else { "id::text" },
        if layout.schema_version {
            "schema_version"
        } else {
            "1"
        },
        bounded(match () {
            () if layout.has_jsonb() => "jsonb_send(event_data)",
            () if layout.has_bytes() => "event_data",
            () => "textsend(event_data::text)",
        }),
        if metadata {
            bounded("textsend(coalesce(metadata::text, '{}'))")
        } else {
            "NULL::text".to_owned()
        },
        if layout.has_timestamps() {
            "created_at"
        } else {
            "(extract(epoch FROM created_at) * 1000000)::bigint"
        },
    )
}

/// The bytes of a value as they are sent, or so many of them that it shows that
/// there are too many. A `jsonb` of some hundred bytes can be sent as gigabytes.
fn bounded(bytes: &str) -> String {
    format!("substring({bytes} FROM 1 FOR {})", SENT_BYTES_MAX + 1)
}

/// The cells of a row in PostgreSQL's binary format.
pub(crate) trait Cells {
    /// The bytes of a cell; `None` if it is null.
    fn cell(&self, column: usize) -> Result<Option<&[u8]>, sqlx::Error>;
}

/// A prepared statement's rows come in the binary format.
impl Cells for PgRow {
    fn cell(&self, column: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        let value = self.try_get_raw(column)?;
        if value.is_null() {
            return Ok(None);
        }
        let bytes = value.as_bytes();
        bytes.map(Some).map_err(|cause| malformed(column, cause))
    }
}

/// Where an id is written that the row has in binary form.
pub(crate) type IdText = [u8; Hyphenated::LENGTH];
pub(crate) const NO_ID: IdText = [0; Hyphenated::LENGTH];

/// Reads a row with these columns.
pub(crate) fn read_event<'a>(
    row: &'a impl Cells,
    layout: &Layout,
    id: &'a mut IdText,
) -> Result<EventRef<'a>, sqlx::Error> {
    Ok(EventRef {
        position: Position::from_sql(long(row, 0)?).ok_or_else(|| out_of_range(0))?,
        id: if layout.has_uuids() {
            Uuid::from_bytes(fixed(row, 1)?)
                .hyphenated()
                .encode_lower(id)
        } else {
            text(row, 1)?
        },
        stream_id: text(row, 2)?,
        event_type: text(row, 3)?,
        version: long(row, 4)?.try_into().map_err(|_| out_of_range(4))?,
        schema_version: i32::from_be_bytes(fixed(row, 5)?)
            .try_into()
            .map_err(|_| out_of_range(5))?,
        data: match whole(row, 6)? {
            Some(bytes) if layout.has_jsonb() => PayloadRef::Json(utf8(6, jsonb_text(bytes)?)?),
            Some(bytes) if layout.has_bytes() => PayloadRef::Binary(bytes),
            Some(bytes) => PayloadRef::Json(utf8(6, bytes)?),
            None => PayloadRef::Json("null"),
        },
        metadata: whole(row, 7)?.map_or(Ok(""), |bytes| utf8(7, bytes))?,
        recorded_at: if layout.has_timestamps() {
            timestamp(long(row, 8)?)?
        } else {
            long(row, 8)?
        },
    })
}

fn malformed(
    column: usize,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> sqlx::Error {
    sqlx::Error::ColumnDecode {
        index: column.to_string(),
        source: cause.into(),
    }
}

fn present(row: &impl Cells, column: usize) -> Result<&[u8], sqlx::Error> {
    row.cell(column)?
        .ok_or_else(|| malformed(column, "it is null"))
}

fn fixed<const LENGTH: usize>(
    row: &impl Cells,
    column: usize,
) -> Result<[u8; LENGTH], sqlx::Error> {
    let bytes = present(row, column)?;
    bytes
        .try_into()
        .map_err(|_| malformed(column, format!("{LENGTH} bytes were expected")))
}

fn long(row: &impl Cells, column: usize) -> Result<i64, sqlx::Error> {
    fixed(row, column).map(i64::from_be_bytes)
}

fn text(row: &impl Cells, column: usize) -> Result<&str, sqlx::Error> {
    utf8(column, present(row, column)?)
}

fn utf8(column: usize, bytes: &[u8]) -> Result<&str, sqlx::Error> {
    std::str::from_utf8(bytes).map_err(|cause| malformed(column, cause))
}

/// A cell of which all was sent.
fn whole(row: &impl Cells, column: usize) -> Result<Option<&[u8]>, sqlx::Error> {
    match row.cell(column)? {
        Some(bytes) if bytes.len() > SENT_BYTES_MAX => Err(malformed(
            column,
            format!(
                "event {} has more than the {EVENT_BYTES_MAX} bytes that its data or its \
                 metadata may have, as text",
                long(row, 0)?
            ),
        )),
        cell => Ok(cell),
    }
}

/// The text of a `jsonb` as it is sent: behind the version of the format.
fn jsonb_text(bytes: &[u8]) -> Result<&[u8], sqlx::Error> {
    bytes
        .strip_prefix(&[JSONB_VERSION])
        .ok_or_else(|| malformed(6, "its version of the format is unknown"))
}

/// Microseconds since 1970 from those since 2000; the ends of the range are
/// infinite.
fn timestamp(since_2000: i64) -> Result<i64, sqlx::Error> {
    let is_finite = since_2000 != i64::MAX && since_2000 != i64::MIN;
    is_finite
        .then(|| since_2000.checked_add(MICROSECONDS_TO_2000))
        .flatten()
        .ok_or_else(|| malformed(8, "an infinite time is the time of no event"))
}

fn out_of_range(column: usize) -> sqlx::Error {
    malformed(column, "the number must not be negative")
}
