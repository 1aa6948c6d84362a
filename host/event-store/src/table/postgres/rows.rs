//! Rows of `events` as events.

use gnomon_model::{EventRef, PayloadRef, Position, json};
use sqlx::postgres::PgRow;
use sqlx::{Row as _, ValueRef as _};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

use super::care::Care;
use super::columns::Columns;
use crate::table::{EVENT_BYTES_MAX, Fact};

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
pub(crate) fn event_columns(columns: &Columns, metadata: bool, care: Care) -> String {
    if care == Care::Keys {
        return key_columns(columns);
    }
    let layout = &columns.layout;
    let sent = |fact: &Fact, is_jsonb, bytes: &str| match is_jsonb && care != Care::None {
        true => checked(fact.sql(), bytes),
        false => bounded(bytes),
    };
    let data = layout.data.sql();
    let data = match () {
        () if columns.has_jsonb() => format!("jsonb_send({data})"),
        () if columns.has_bytes() => data.to_owned(),
        () => format!("textsend({data}::text)"),
    };
    let has_jsonb_metadata = columns.metadata_type == "jsonb";
    let metadata = match metadata {
        true => sent(
            &layout.metadata,
            has_jsonb_metadata,
            &format!(
                "textsend(coalesce({}::text, '{{}}'))",
                layout.metadata.sql()
            ),
        ),
        false => "NULL::text".to_owned(),
    };
    let id = layout.id.sql();
    format!(
        "{position}::bigint, {id}, {stream}::text, {event_type}::text, {version}::bigint, \
         {schema_version}::int, {data}, {metadata}, {time}",
        position = layout.position.sql(),
        id = match columns.has_uuids() {
            true => id.to_owned(),
            false => format!("{id}::text"),
        },
        stream = layout.stream.sql(),
        event_type = layout.event_type.sql(),
        version = layout.version.sql(),
        schema_version = match columns.schema_version {
            true => layout.schema_version.sql(),
            false => "1",
        },
        data = sent(&layout.data, columns.has_jsonb(), &data),
        time = match columns.has_timestamps() {
            true => layout.recorded_at.sql().to_owned(),
            false => time(columns),
        },
    )
}

/// When an event was recorded, in microseconds; null where it is infinite.
pub(crate) fn time(columns: &Columns) -> String {
    let recorded_at = columns.layout.recorded_at.sql();
    format!(
        "CASE WHEN isfinite({recorded_at}) \
         THEN (extract(epoch FROM {recorded_at}) * 1000000)::bigint END"
    )
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
fn key_columns(columns: &Columns) -> String {
    let layout = &columns.layout;
    let text = |fact: &Fact| format!("convert_to(left({}::text, 255), 'SQL_ASCII')", fact.sql());
    let id = match columns.has_uuids() {
        true => layout.id.sql().to_owned(),
        false => text(&layout.id),
    };
    let time = match columns.has_timestamps() {
        true => layout.recorded_at.sql(),
        false => "NULL::bigint",
    };
    format!(
        "{}::bigint, {id}, {}, {}, {}::bigint, NULL::int, NULL::bytea, NULL::text, {time}",
        layout.position.sql(),
        text(&layout.stream),
        text(&layout.event_type),
        layout.version.sql(),
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
    columns: &Columns,
    scratch: &'a mut Scratch,
) -> Result<EventRef<'a>, sqlx::Error> {
    let position = fixed(row, 0).map(i64::from_be_bytes);
    let position = match position.map(Position::from_sql) {
        Ok(Some(position)) => position,
        Ok(None) => return Err(malformed(0, "it is negative")),
        Err(Fault::Value(column, reason)) => return Err(malformed(column, reason)),
        Err(Fault::Row(error)) => return Err(error),
    };
    match Fields::read(row, columns) {
        Ok(fields) => Ok(fields.event(position, &mut scratch.id)),
        Err(Fault::Row(error)) => Err(error),
        Err(Fault::Value(column, reason)) => {
            let column = columns.layout.name(column);
            let reason = format!("it cannot be read: its `{column}` {reason}");
            unreadable(row, columns, position, scratch, reason)
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
    fn read(row: &'a impl Cells, columns: &Columns) -> Result<Self, Fault> {
        let data = match whole(row, columns, 6)? {
            Some(bytes) if columns.has_jsonb() => PayloadRef::Json(utf8(6, jsonb_text(bytes)?)?),
            Some(bytes) if columns.has_bytes() => PayloadRef::Binary(bytes),
            Some(bytes) => PayloadRef::Json(utf8(6, bytes)?),
            None => PayloadRef::Json("null"),
        };
        if let PayloadRef::Json(text) = data
            && !columns.has_json()
        {
            json::check(text).map_err(|error| Fault::Value(6, format!("is {error}")))?;
        }
        let metadata = whole(row, columns, 7)?.map_or(Ok(""), |bytes| utf8(7, bytes))?;
        if !metadata.is_empty() && !columns.has_json_metadata() {
            json::check(metadata).map_err(|error| Fault::Value(7, format!("is {error}")))?;
        }
        Ok(Self {
            id: if columns.has_uuids() {
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
            recorded_at: if columns.has_timestamps() {
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
    columns: &Columns,
    position: Position,
    scratch: &'a mut Scratch,
    reason: String,
) -> Result<EventRef<'a>, sqlx::Error> {
    let lossy = |column| {
        let bytes = row.cell(column)?.unwrap_or_default();
        Ok::<_, sqlx::Error>(String::from_utf8_lossy(bytes).into_owned())
    };
    let id = match fixed(row, 1) {
        Ok(bytes) if columns.has_uuids() => Uuid::from_bytes(bytes).to_string(),
        _ if columns.has_uuids() => String::new(),
        _ => lossy(1)?,
    };
    let metadata = match row.cell(7)? {
        Some(bytes) if is_cut(bytes, columns, 7) => String::new(),
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
        recorded_at: if columns.has_timestamps() {
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
    columns: &Columns,
    column: usize,
) -> Result<Option<&'a [u8]>, Fault> {
    match row.cell(column)? {
        Some(bytes) if is_cut(bytes, columns, column) => Err(Fault::Value(
            column,
            format!("has more than the {EVENT_BYTES_MAX} bytes that it may have, as text"),
        )),
        cell => Ok(cell),
    }
}

/// Whether less was sent of a cell than there is.
fn is_cut(bytes: &[u8], columns: &Columns, column: usize) -> bool {
    let may_be_withheld = column != 6 || !columns.has_bytes();
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
    pub(crate) fn of(row: &impl Cells, columns: &Columns) -> Result<Self, sqlx::Error> {
        let mut length = Self::Fits;
        for column in [6, 7] {
            match row.cell(column)? {
                Some(bytes) if bytes.len() > SENT_BYTES_MAX => return Ok(Self::Sent),
                Some(bytes) if is_cut(bytes, columns, column) => length = Self::Withheld,
                _ => {}
            }
        }
        Ok(length)
    }
}

/// Reads a row of [`Care::Keys`] as the event that cannot be read.
pub(crate) fn read_keys<'a>(
    row: &impl Cells,
    columns: &Columns,
    scratch: &'a mut Scratch,
    reason: String,
) -> Result<EventRef<'a>, sqlx::Error> {
    let position = fixed(row, 0).map(i64::from_be_bytes);
    match position.map(Position::from_sql) {
        Ok(Some(position)) => unreadable(row, columns, position, scratch, reason),
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
