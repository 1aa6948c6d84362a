//! The JSON envelope in which events leave and enter the store.

use std::borrow::Cow;
use std::fmt;

use gnomon_model::{Event, Payload};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{InvalidEvent, NewEvent, StreamId};
use crate::timestamp::{format_timestamp, parse_timestamp};

/// The fields of an envelope, in the order in which they are written.
const FIELDS: [&str; 10] = [
    "event_id",
    "stream_id",
    "event_type",
    "version",
    "schema_version",
    "data",
    "data_base64",
    "metadata",
    "global_position",
    "recorded_at",
];

/// An event on its way into a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The stream that it belongs to.
    pub stream: StreamId,
    /// The version that it must get, if that was given.
    pub version: Option<u64>,
    /// The event.
    pub event: NewEvent,
}

/// An event of which only type and data must be given, for tests of
/// projections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialEnvelope {
    /// The event; without a given id it has a random one.
    pub event: NewEvent,
    /// Its id, if that was given.
    pub id: Option<Uuid>,
    /// Its stream, if that was given.
    pub stream: Option<StreamId>,
    /// Its version, if that was given.
    pub version: Option<u64>,
    /// Its position, if that was given.
    pub position: Option<u64>,
}

/// A text is not an envelope. Tells what is wrong, but not in which line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidEnvelope {
    /// Not JSON, or not an object.
    #[error("{0}")]
    Syntax(String),
    /// A field that an event must have.
    #[error("the event has no `{0}`")]
    Missing(&'static str),
    /// A field of the wrong type or value.
    #[error("`{field}` must be {wanted}, not {found}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// Data that is no JSON.
    #[error(
        "the event has binary data (`data_base64`), which the event store of Gnomon cannot hold"
    )]
    Binary,
    /// The event itself.
    #[error(transparent)]
    Event(#[from] InvalidEvent),
}

impl Envelope {
    /// Reads one envelope. Its `global_position` is not looked at, since a
    /// store hands out its own.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] if it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidEnvelope> {
        let fields = Fields::parse(text)?;
        let stream = fields.stream()?;
        fields.id()?;
        Ok(Self {
            stream,
            version: fields.number("version")?,
            event: fields.event()?,
        })
    }
}

impl PartialEnvelope {
    /// Reads an event.
    ///
    /// # Errors
    /// [`InvalidEnvelope`] if it is none.
    pub fn parse(text: &str) -> Result<Self, InvalidEnvelope> {
        let fields = Fields::parse(text)?;
        let given = |field| fields.present(field);
        Ok(Self {
            id: given("event_id").then(|| fields.id()).transpose()?,
            stream: given("stream_id").then(|| fields.stream()).transpose()?,
            version: fields.number("version")?,
            position: fields.number("global_position")?,
            event: fields.event()?,
        })
    }
}

/// The fields of one envelope, each as its JSON text.
struct Fields<'a>([Option<&'a RawValue>; FIELDS.len()]);

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Result<Self, InvalidEnvelope> {
        serde_json::from_str(text).map_err(|error| syntax(&error))
    }

    fn stream(&self) -> Result<StreamId, InvalidEnvelope> {
        Ok(StreamId::new(self.text("stream_id")?)?)
    }

    fn id(&self) -> Result<Uuid, InvalidEnvelope> {
        let id = self.text("event_id")?;
        Uuid::try_parse(&id).map_err(|_| InvalidEnvelope::Field {
            field: "event_id",
            wanted: "a UUID",
            found: excerpt(&id),
        })
    }

    fn event(&self) -> Result<NewEvent, InvalidEnvelope> {
        if self.present("data_base64") {
            return Err(InvalidEnvelope::Binary);
        }
        let data = self.get("data").ok_or(InvalidEnvelope::Missing("data"))?;
        let mut event = NewEvent::new(self.text("event_type")?, data)?;
        if self.present("event_id") {
            event = event.with_id(self.id()?);
        }
        if let Some(metadata) = self.get("metadata") {
            event = event.with_metadata(metadata)?;
        }
        if let Some(version) = self.number("schema_version")? {
            event = event.with_schema_version(version)?;
        }
        if self.present("recorded_at") {
            let time = self.text("recorded_at")?;
            let time = parse_timestamp(&time).map_err(|_| InvalidEnvelope::Field {
                field: "recorded_at",
                wanted: "a time in RFC 3339, such as \"2025-01-15T10:30:00Z\"",
                found: excerpt(&time),
            })?;
            event = event.with_recorded_at(time);
        }
        Ok(event)
    }

    fn get(&self, field: &str) -> Option<&'a str> {
        let place = FIELDS.iter().position(|known| *known == field)?;
        self.0.get(place).copied().flatten().map(RawValue::get)
    }

    fn present(&self, field: &str) -> bool {
        self.get(field).is_some_and(|text| text != "null")
    }

    fn text(&self, field: &'static str) -> Result<String, InvalidEnvelope> {
        let text = self.get(field).ok_or(InvalidEnvelope::Missing(field))?;
        serde_json::from_str(text).map_err(|_| InvalidEnvelope::Field {
            field,
            wanted: "a string",
            found: excerpt(text),
        })
    }

    fn number(&self, field: &'static str) -> Result<Option<u64>, InvalidEnvelope> {
        if !self.present(field) {
            return Ok(None);
        }
        let text = self.get(field).unwrap_or_default();
        match text.parse::<i64>() {
            Ok(number) if number >= 1 => Ok(Some(number.cast_unsigned())),
            _ => Err(InvalidEnvelope::Field {
                field,
                wanted: "a whole number from 1",
                found: excerpt(text),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;

        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object with the fields of an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = [None; FIELDS.len()];
                while let Some(key) = map.next_key::<Cow<'de, str>>()? {
                    let place = FIELDS.iter().position(|known| *known == key);
                    let Some(field) = place.and_then(|place| fields.get_mut(place)) else {
                        return Err(serde::de::Error::custom(unknown_field(&key)));
                    };
                    if field.is_some() {
                        return Err(serde::de::Error::custom(format_args!(
                            "`{key}` occurs twice"
                        )));
                    }
                    *field = Some(map.next_value()?);
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(FieldsVisitor)
    }
}

fn unknown_field(name: &str) -> String {
    let nearest = FIELDS
        .iter()
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .filter(|(similarity, _)| *similarity > 0.8);
    let name = excerpt(name);
    match nearest {
        Some((_, known)) => format!("unknown field {name}, did you mean `{known}`?"),
        None => format!("unknown field {name}, the fields are {}", FIELDS.join(", ")),
    }
}

/// The parser counts lines inside the text, which is one line of a file.
fn syntax(error: &serde_json::Error) -> InvalidEnvelope {
    let message = error.to_string();
    let what = message
        .rsplit_once(" at line ")
        .map_or(message.as_str(), |(what, _)| what);
    InvalidEnvelope::Syntax(match error.classify() {
        serde_json::error::Category::Data => what.to_owned(),
        _ => format!("not JSON: {what} (column {})", error.column()),
    })
}

fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// Writes an event as one envelope, in one line, without its line break. Data
/// that is no JSON is `data_base64`.
///
/// # Errors
/// When the writer fails.
pub fn write_envelope(out: &mut dyn std::io::Write, event: &Event) -> std::io::Result<()> {
    write_with(out, event, "")
}

/// The same, with the reason for which the event waits.
///
/// # Errors
/// When the writer fails.
pub fn write_dead_letter(
    out: &mut dyn std::io::Write,
    event: &Event,
    error: &str,
) -> std::io::Result<()> {
    let error = serde_json::to_string(error)?;
    write_with(out, event, &format!(", \"error\": {error}"))
}

fn write_with(out: &mut dyn std::io::Write, event: &Event, more: &str) -> std::io::Result<()> {
    let (field, data) = match &event.data {
        Payload::Json(text) => match one_line(text) {
            Some(json) => ("data", json),
            None => ("data_base64", Cow::Owned(base64(text.as_bytes()))),
        },
        Payload::Binary(bytes) => ("data_base64", Cow::Owned(base64(bytes))),
        Payload::Unreadable(_) => ("data", Cow::Borrowed("null")),
    };
    let metadata = match event.metadata.as_str() {
        "" => Cow::Borrowed("null"),
        // What is no JSON is shown as a text, and not lost.
        text => one_line(text).map_or_else(|| serde_json::to_string(text).map(Cow::Owned), Ok)?,
    };
    write!(
        out,
        "{{\"event_id\": {}, \"stream_id\": {}, \"event_type\": {}, \"version\": {}, \
         \"schema_version\": {}, \"{field}\": {data}, \"metadata\": {metadata}, \
         \"global_position\": {}, \"recorded_at\": \"{}\"{more}}}",
        serde_json::to_string(&event.id)?,
        serde_json::to_string(&event.stream_id)?,
        serde_json::to_string(&event.event_type)?,
        event.version,
        event.schema_version,
        event.position,
        format_timestamp(event.recorded_at),
    )
}

/// A JSON document as one line, without reading it into values, which would
/// round numbers; `None` for what is no JSON. Only normal form is one line in any
/// case: a column of somebody else may hold anything.
fn one_line(text: &str) -> Option<Cow<'_, str>> {
    if serde_json::from_str::<&RawValue>(text).is_err() {
        return None;
    }
    if !text.contains(['\n', '\r']) {
        return Some(Cow::Borrowed(text));
    }
    // Inside of strings line breaks are escaped.
    Some(Cow::Owned(text.replace(['\n', '\r'], " ")))
}

/// Bytes as a JSON string in base64.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |number: u32| {
        let place = usize::try_from(number & 63).unwrap_or_default();
        DIGITS.get(place).map_or('=', |digit| char::from(*digit))
    };
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4 + 2);
    text.push('"');
    for chunk in bytes.chunks(3) {
        let at = |place: usize| chunk.get(place).copied().map_or(0, u32::from);
        let word = at(0) << 16 | at(1) << 8 | at(2);
        text.push(digit(word >> 18));
        text.push(digit(word >> 12));
        text.push(if chunk.len() > 1 {
            digit(word >> 6)
        } else {
            '='
        });
        text.push(if chunk.len() > 2 { digit(word) } else { '=' });
    }
    text.push('"');
    text
}
#[cfg(test)]
mod tests {
    use super::*;
    use gnomon_model::Position;

    const ID: &str = "0190a5a0-7c00-7000-8000-000000000001";

    fn problem(text: &str) -> String {
        Envelope::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn what_was_written_can_be_read() {
        let event = Event {
            position: Position::new(42).unwrap(),
            id: ID.to_owned(),
            stream_id: "Order-\"1\"".to_owned(),
            event_type: "OrderPlaced".to_owned(),
            version: 3,
            schema_version: 2,
            data: Payload::Json("{\"a\":\n 1}".to_owned()),
            metadata: r#"{"user_id": "u"}"#.to_owned(),
            recorded_at: 1_736_937_000_000_000,
        };
        let mut line = Vec::new();
        write_envelope(&mut line, &event).unwrap();
        let line = String::from_utf8(line).unwrap();
        assert!(!line.contains('\n'));
        let envelope = Envelope::parse(&line).unwrap();
        assert_eq!(envelope.stream.as_str(), event.stream_id);
        assert_eq!(envelope.version, Some(3));
        assert_eq!(envelope.event.id().to_string(), ID);
        assert_eq!(envelope.event.schema_version(), 2);
        assert_eq!(envelope.event.data(), r#"{"a": 1}"#);
        assert_eq!(envelope.event.metadata(), event.metadata);
        assert_eq!(envelope.event.recorded_at(), Some(event.recorded_at));
    }

    #[test]
    fn data_is_written_as_it_is_and_what_is_no_json_in_base64() {
        let written = |data: Payload| {
            let event = Event {
                position: Position::new(1).unwrap(),
                id: ID.to_owned(),
                stream_id: "S".to_owned(),
                event_type: "T".to_owned(),
                version: 1,
                schema_version: 1,
                data,
                metadata: String::new(),
                recorded_at: 0,
            };
            let mut line = Vec::new();
            write_dead_letter(&mut line, &event, "no\nmore").unwrap();
            String::from_utf8(line).unwrap()
        };
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        for text in ["1e400", "0.10", "12345678901234567890.125", &deep] {
            let line = written(Payload::Json(text.to_owned()));
            assert!(line.contains(&format!("\"data\": {text}, ")), "{line}");
            assert!(line.ends_with("\"error\": \"no\\nmore\"}"), "{line}");
        }
        for (bytes, digits) in [
            (&b"{"[..], "ew=="),
            (b"{}}", "e319"),
            (b"\xff\xfe\xfd\xfc", "//79/A=="),
            (b"", ""),
            (b"any carnal pleas", "YW55IGNhcm5hbCBwbGVhcw=="),
        ] {
            let line = written(Payload::Binary(bytes.to_owned()));
            let expected = format!("\"data_base64\": \"{digits}\", ");
            assert!(line.contains(&expected), "{line}");
            serde_json::from_str::<serde_json::Value>(&line).unwrap();
            if let Ok(text) = String::from_utf8(bytes.to_owned()) {
                assert!(written(Payload::Json(text)).contains(&expected));
            }
            let line = line.replace(", \"error\": \"no\\nmore\"", "");
            assert_eq!(Envelope::parse(&line), Err(InvalidEnvelope::Binary));
        }
    }

    #[test]
    fn the_reference_has_every_field() {
        let page = include_str!("../../../../docs/reference/events.md");
        let table = page
            .split("| field | for `append --file` |")
            .nth(1)
            .unwrap();
        let documented: Vec<&str> = table
            .lines()
            .skip(2)
            .map_while(|line| line.strip_prefix("| `")?.split('`').next())
            .collect();
        assert_eq!(documented, FIELDS);
    }

    #[test]
    fn version_position_metadata_and_time_are_optional() {
        let envelope = Envelope::parse(&format!(
            r#"{{"event_id":"{ID}","stream_id":"S","event_type":"T","data":null,"metadata":null,"version":null}}"#
        ))
        .unwrap();
        assert_eq!(envelope.version, None);
        assert_eq!(envelope.event.data(), "null");
        assert_eq!(envelope.event.metadata(), "{}");
    }

    #[test]
    fn problems_are_named() {
        assert_eq!(
            problem(r#"{"evnt_id": "x"}"#),
            "unknown field `evnt_id`, did you mean `event_id`?"
        );
        assert!(problem(r#"{"colour": 1}"#).contains("the fields are event_id, "));
        assert!(problem("{\"stream_id\": \"S\",").contains("not JSON"));
        assert!(problem("[]").contains("expected an object"));
        assert_eq!(
            problem(r#"{"stream_id":"S"}"#),
            "the event has no `event_id`"
        );
        assert_eq!(
            problem(r#"{"stream_id":"S","event_id":"7"}"#),
            "`event_id` must be a UUID, not `7`"
        );
        let rest = |rest: &str| {
            problem(&format!(
                r#"{{"event_id":"{ID}","stream_id":"S","data":{{}}{rest}}}"#
            ))
        };
        assert_eq!(rest(""), "the event has no `event_type`");
        assert!(rest(r#","event_type":"T","version":"1""#).contains("`version` must be a whole"));
        assert!(rest(r#","event_type":"T","version":0"#).contains("`version` must be a whole"));
        assert!(rest(r#","event_type":"T","recorded_at":"now""#).contains("`recorded_at` must be"));
        assert!(rest(r#","event_type":"T","metadata":7"#).contains("must be a JSON object"));
        assert!(rest(r#","event_type":"T","data":1"#).contains("`data` occurs twice"));
    }
}
