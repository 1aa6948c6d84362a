//! An envelope: what is read and written again is the same.
#![no_main]

use gnomon_event_store::{Envelope, write_envelope};
use gnomon_model::{Event, Payload, Position, json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(envelope) = Envelope::parse(text) else {
        return;
    };
    let given = &envelope.event;
    let event = Event {
        position: Position::new(1).expect("1 is a position"),
        id: given.id().to_string(),
        stream_id: envelope.stream.as_str().to_owned(),
        event_type: given.event_type().to_owned(),
        version: envelope.version.unwrap_or(1),
        schema_version: given.schema_version().unsigned_abs(),
        data: Payload::Json(given.data().to_owned()),
        metadata: given.metadata().to_owned(),
        recorded_at: given.recorded_at().unwrap_or(0),
    };
    let mut line = Vec::new();
    write_envelope(&mut line, &event).expect("what was read can be written");
    let line = String::from_utf8(line).expect("an envelope is text");
    assert!(!line.contains(['\n', '\r']), "an envelope is one line");
    let again = Envelope::parse(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
    assert_eq!(again.stream, envelope.stream);
    assert_eq!(again.event.id(), given.id());
    assert_eq!(again.event.event_type(), given.event_type());
    assert_eq!(again.event.data(), given.data());
    assert_eq!(again.event.metadata(), given.metadata());
    assert_eq!(again.event.schema_version(), given.schema_version());
    assert_eq!(again.event.recorded_at(), Some(event.recorded_at));
    let normal = json::normalise(given.data(), usize::MAX).expect("data is JSON");
    assert_eq!(normal, given.data(), "the normal form has a normal form");
});
