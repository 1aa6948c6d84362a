//! Rows of `events` as events.

use gnomon_model::{EventRef, PayloadRef, Position, json};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::Layout;
use super::care::Care;
use crate::store::EVENT_BYTES_MAX;

/// From 1970, where our times begin, to 2000, where PostgreSQL's do.
const MICROSECONDS_TO_2000: i64 = 946_684_800_000_000;
/// Of the only binary format of `jsonb` that there is.
const JSONB_VERSION: u8 = 1;
/// What may be sent of an event's data, with the version of its format.
const SENT_BYTES_MAX: usize = EVENT_BYTES_MAX + size_of::<u8>();
/// A `jsonb` that takes more than so many times the memory of a text is longer
/// than that text: a number of one digit takes twelve bytes.
const MEMORY_PER_TEXT: usize = 4;
/// A `jsonb` that lies uncompressed in so many bytes has at most 62 numbers, each
/// of which takes at most 131,072 digits: it can be written out.
const HARMLESS_BYTES_MAX: usize = 1_000;
/// What a server sends for a `jsonb` that is longer than it may be: no text, and
/// no version of the format of a `jsonb`.
const WITHHELD: &[u8] = &[0];

/// The columns that [`read_event`] reads. The server converts only what it
/// must: to `extract` an epoch is arithmetic with decimals, for each row, and
/// even an empty text is converted where a null is not.
pub(crate) fn event_columns(layout: &Layout, metadata: bool, care: Care) -> String {
    if care == Care::Keys {
        return key_columns(layout);
    }
    columns(layout, metadata, |column, bytes| {
        let is_jsonb = match column {
            "metadata" => layout.metadata_type == "jsonb",
            _ => layout.has_jsonb(),
        };
        match is_jsonb && care != Care::None {
            true => checked(column, bytes),
            false => bounded(bytes),
        }
    })
}

/// The same for a `jsonb` that is written out only if it is not too long. What it
/// costs to find that out depends on the memory that the value takes.
fn checked(column: &str, bytes: &str) -> String {
    let length = SENT_BYTES_MAX;
    let memory = SENT_BYTES_MAX * MEMORY_PER_TEXT;
    format!(
        "CASE WHEN pg_column_compression({column}) IS NULL \
             AND pg_column_size({column}) <= {HARMLESS_BYTES_MAX} THEN {bounded} \
           WHEN pg_column_size(jsonb_path_query_first({column}, '$')) > {memory} \
             OR {digits} > {length} THEN decode('00', 'hex') ELSE {bounded} END",
        bounded = bounded(bytes),
        digits = digits(column),
    )
}

/// What tells people which event it is. Texts are sent as bytes in the server's
/// own encoding: to convert them may be what fails.
fn key_columns(layout: &Layout) -> String {
    let text = |column| format!("convert_to(left({column}::text, 255), 'SQL_ASCII')");
    let id = if layout.has_uuids() {
        "id".to_owned()
    } else {
        text("id")
    };
    let time = if layout.has_timestamps() {
        "created_at"
    } else {
        "NULL::bigint"
    };
    format!(
        "global_position::bigint, {id}, {}, {}, version::bigint, NULL::int, NULL::bytea, \
         NULL::text, {time}",
        text("stream_id"),
        text("event_type")
    )
}

/// About how many digits the numbers of a `jsonb` have when they are sent. In
/// its binary form a number says so without being written out: by the weight of
/// its first digit, to the base 10,000, and by its decimal places.
fn digits(column: &str) -> String {
    format!(
        "(SELECT coalesce(sum(\
           greatest(((get_byte(n, 2) * 256 + get_byte(n, 3) + 32768) % 65536 - 32767) * 4, 1) \
           + get_byte(n, 6) * 256 + get_byte(n, 7)), 0) \
         FROM (SELECT numeric_send(v::numeric) AS n FROM jsonb_path_query({column}, \
           'strict $.** ? (@.type() == \"number\")') AS v) AS numbers)"
    )
}

fn columns(
    layout: &Layout,
    metadata: bool,
    sent: impl Fn(&'static str, &'static str) -> String,
) -> String {
    format!(
        "global_position::bigint, {}, stream_id::text, event_type::text, version::bigint, \
         {}::int, {}, {}, {}",
        if layout.has_uuids() { "id" } else { "id::text" },
        if layout.schema_version {
            "schema_version"
        } else {
            "1"
        },
        sent(
            "event_data",
            match () {
                () if layout.has_jsonb() => "jsonb_send(event_data)",
                () if layout.has_bytes() => "event_data",
                () => "textsend(event_data::text)",
            }
        ),
        if metadata {
            sent("metadata", "textsend(coalesce(metadata::text, '{}'))")
        } else {
            "NULL::text".to_owned()
        },
        if layout.has_timestamps() {
            "created_at"
        } else {
            "CASE WHEN isfinite(created_at) \
             THEN (extract(epoch FROM created_at) * 1000000)::bigint END"
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

/// The columns, as people know them.
const COLUMNS: [&str; 9] = [
    "global_position",
    "id",
    "stream_id",
    "event_type",
    "version",
    "schema_version",
    "event_data",
    "metadata",
    "created_at",
];

/// Where texts are written that a row has in another form.
#[derive(Debug)]
pub(crate) struct Scratch {
    id: [u8; Hyphenated::LENGTH],
    /// Of an event that cannot be read: its id, stream, type, metadata and the
    /// reason.
    texts: [String; 5],
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            id: [0; Hyphenated::LENGTH],
            texts: <[String; 5]>::default(),
        }
    }
}

/// Why a row is no event.
enum Fault {
    /// The row is not what was asked for: the table has changed.
    Row(sqlx::Error),
    /// A column holds what no event has there.
    Value(usize, String),
}

impl From<sqlx::Error> for Fault {
    fn from(error: sqlx::Error) -> Self {
        Self::Row(error)
    }
}

/// Reads a row with these columns. One that holds what no event has is an event
/// that cannot be read, and says why.
pub(crate) fn read_event<'a>(
    row: &'a impl Cells,
    layout: &Layout,
    scratch: &'a mut Scratch,
) -> Result<EventRef<'a>, sqlx::Error> {
    let position = fixed(row, 0).map(i64::from_be_bytes);
    let position = match position.map(Position::from_sql) {
        Ok(Some(position)) => position,
        Ok(None) => return Err(malformed(0, "it is negative")),
        Err(Fault::Value(column, reason)) => return Err(malformed(column, reason)),
        Err(Fault::Row(error)) => return Err(error),
    };
    match Fields::read(row, layout) {
        Ok(fields) => Ok(fields.event(position, &mut scratch.id)),
        Err(Fault::Row(error)) => Err(error),
        Err(Fault::Value(column, reason)) => {
            let column = COLUMNS.get(column).copied().unwrap_or_default();
            let reason = format!("it cannot be read: its `{column}` {reason}");
            unreadable(row, layout, position, scratch, reason)
        }
    }
}

/// The fields of an event behind its position.
struct Fields<'a> {
    id: Id<'a>,
    stream_id: &'a str,
    event_type: &'a str,
    version: u64,
    schema_version: u32,
    data: PayloadRef<'a>,
    metadata: &'a str,
    recorded_at: i64,
}

enum Id<'a> {
    Uuid(Uuid),
    Text(&'a str),
}

impl<'a> Fields<'a> {
    fn read(row: &'a impl Cells, layout: &Layout) -> Result<Self, Fault> {
        let data = match whole(row, layout, 6)? {
            Some(bytes) if layout.has_jsonb() => PayloadRef::Json(utf8(6, jsonb_text(bytes)?)?),
            Some(bytes) if layout.has_bytes() => PayloadRef::Binary(bytes),
            Some(bytes) => PayloadRef::Json(utf8(6, bytes)?),
            None => PayloadRef::Json("null"),
        };
        if let PayloadRef::Json(text) = data
            && !layout.has_json()
        {
            json::check(text).map_err(|error| Fault::Value(6, format!("is {error}")))?;
        }
        let metadata = whole(row, layout, 7)?.map_or(Ok(""), |bytes| utf8(7, bytes))?;
        if !metadata.is_empty() && !layout.has_json_metadata() {
            json::check(metadata).map_err(|error| Fault::Value(7, format!("is {error}")))?;
        }
        Ok(Self {
            id: if layout.has_uuids() {
                Id::Uuid(Uuid::from_bytes(fixed(row, 1)?))
            } else {
                Id::Text(text(row, 1)?)
            },
            stream_id: text(row, 2)?,
            event_type: text(row, 3)?,
            version: (long(row, 4)?.try_into()).map_err(|_| negative(4))?,
            schema_version: i32::from_be_bytes(fixed(row, 5)?)
                .try_into()
                .map_err(|_| negative(5))?,
            data,
            metadata,
            recorded_at: if layout.has_timestamps() {
                timestamp(long(row, 8)?)?
            } else {
                long(row, 8)?
            },
        })
    }

    fn event(self, position: Position, id: &'a mut [u8; Hyphenated::LENGTH]) -> EventRef<'a> {
        EventRef {
            position,
            id: match self.id {
                Id::Uuid(uuid) => uuid.hyphenated().encode_lower(id),
                Id::Text(text) => text,
            },
            stream_id: self.stream_id,
            event_type: self.event_type,
            version: self.version,
            schema_version: self.schema_version,
            data: self.data,
            metadata: self.metadata,
            recorded_at: self.recorded_at,
        }
    }
}

/// What can be read of an event that cannot be read as a whole.
fn unreadable<'a>(
    row: &impl Cells,
    layout: &Layout,
    position: Position,
    scratch: &'a mut Scratch,
    reason: String,
) -> Result<EventRef<'a>, sqlx::Error> {
    let lossy = |column| {
        let bytes = row.cell(column)?.unwrap_or_default();
        Ok::<_, sqlx::Error>(String::from_utf8_lossy(bytes).into_owned())
    };
    let id = match fixed(row, 1) {
        Ok(bytes) if layout.has_uuids() => Uuid::from_bytes(bytes).to_string(),
        _ if layout.has_uuids() => String::new(),
        _ => lossy(1)?,
    };
    let metadata = match row.cell(7)? {
        Some(bytes) if is_cut(bytes, layout, 7) => String::new(),
        _ => lossy(7)?,
    };
    scratch.texts = [id, lossy(2)?, lossy(3)?, metadata, reason];
    let [id, stream_id, event_type, metadata, reason] = &scratch.texts;
    let time = long(row, 8).ok();
    Ok(EventRef {
        position,
        id,
        stream_id,
        event_type,
        version: long(row, 4).map_or(0, |version| version.try_into().unwrap_or(0)),
        schema_version: fixed(row, 5)
            .map(i32::from_be_bytes)
            .map_or(0, |version| version.try_into().unwrap_or(0)),
        data: PayloadRef::Unreadable(reason),
        metadata,
        recorded_at: if layout.has_timestamps() {
            time.and_then(|time| timestamp(time).ok())
        } else {
            time
        }
        .unwrap_or_default(),
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

fn present(row: &impl Cells, column: usize) -> Result<&[u8], Fault> {
    row.cell(column)?
        .ok_or_else(|| Fault::Value(column, "is null".to_owned()))
}

fn fixed<const LENGTH: usize>(row: &impl Cells, column: usize) -> Result<[u8; LENGTH], Fault> {
    let bytes = present(row, column)?;
    let fixed = bytes.try_into();
    fixed.map_err(|_| malformed(column, format!("{LENGTH} bytes were expected")).into())
}

fn long(row: &impl Cells, column: usize) -> Result<i64, Fault> {
    fixed(row, column).map(i64::from_be_bytes)
}

fn text(row: &impl Cells, column: usize) -> Result<&str, Fault> {
    utf8(column, present(row, column)?)
}

fn utf8(column: usize, bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes)
        .map_err(|error| Fault::Value(column, format!("holds bytes that are no text: {error}")))
}

/// A cell of which all was sent.
fn whole<'a>(
    row: &'a impl Cells,
    layout: &Layout,
    column: usize,
) -> Result<Option<&'a [u8]>, Fault> {
    match row.cell(column)? {
        Some(bytes) if is_cut(bytes, layout, column) => Err(Fault::Value(
            column,
            format!("has more than the {EVENT_BYTES_MAX} bytes that it may have, as text"),
        )),
        cell => Ok(cell),
    }
}

/// Whether less was sent of a cell than there is.
fn is_cut(bytes: &[u8], layout: &Layout, column: usize) -> bool {
    let may_be_withheld = column != 6 || !layout.has_bytes();
    bytes.len() > SENT_BYTES_MAX || (may_be_withheld && bytes == WITHHELD)
}

/// Whether an event is as long as it may be, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Length {
    Fits,
    /// It is not, and the server has sent next to nothing.
    Withheld,
    /// It is not, and the server has sent as much as an event may have.
    Sent,
}

impl Length {
    pub(crate) fn of(row: &impl Cells, layout: &Layout) -> Result<Self, sqlx::Error> {
        let mut length = Self::Fits;
        for column in [6, 7] {
            match row.cell(column)? {
                Some(bytes) if bytes.len() > SENT_BYTES_MAX => return Ok(Self::Sent),
                Some(bytes) if is_cut(bytes, layout, column) => length = Self::Withheld,
                _ => {}
            }
        }
        Ok(length)
    }
}

/// Reads a row of [`Care::Keys`] as the event that cannot be read.
pub(crate) fn read_keys<'a>(
    row: &impl Cells,
    layout: &Layout,
    scratch: &'a mut Scratch,
    reason: String,
) -> Result<EventRef<'a>, sqlx::Error> {
    let position = fixed(row, 0).map(i64::from_be_bytes);
    match position.map(Position::from_sql) {
        Ok(Some(position)) => unreadable(row, layout, position, scratch, reason),
        _ => Err(malformed(0, "it is no position")),
    }
}

/// The text of a `jsonb` as it is sent: behind the version of the format.
fn jsonb_text(bytes: &[u8]) -> Result<&[u8], Fault> {
    let text = bytes.strip_prefix(&[JSONB_VERSION]);
    text.ok_or_else(|| malformed(6, "its version of the format is unknown").into())
}

/// Microseconds since 1970 from those since 2000; the ends of the range are
/// infinite.
fn timestamp(since_2000: i64) -> Result<i64, Fault> {
    let is_finite = since_2000 != i64::MAX && since_2000 != i64::MIN;
    is_finite
        .then(|| since_2000.checked_add(MICROSECONDS_TO_2000))
        .flatten()
        .ok_or_else(|| Fault::Value(8, "is an infinite time".to_owned()))
}

fn negative(column: usize) -> Fault {
    Fault::Value(column, "is negative".to_owned())
}
