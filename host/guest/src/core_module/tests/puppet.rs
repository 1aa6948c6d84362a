//! The puppet, called in all ways.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use gnomon_contract::from_core_module;
use gnomon_model::{Event, EventList, Floats, Payload, Position, TableWrites, Value, WriteLimits};

use super::super::super::{Guest, GuestEngine, GuestLimits, Written};
use super::super::core_of;
use super::image::{COLUMNS, description};
use crate::SharedTables;

/// The puppet as a component, with or without a function of its own that
/// allocates the texts of events.
pub(super) fn puppet(allocates_texts: bool) -> Vec<u8> {
    let data: String = (description().iter())
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    let mut text = include_str!("puppet.wat").replace("DESCRIPTION", &data);
    if !allocates_texts {
        let (start, rest) = text.split_once(";; BEGIN TEXTS").unwrap();
        text = format!("{start}{}", rest.split_once(";; END TEXTS").unwrap().1);
    }
    component(&text)
}

/// The component of a core module that implements the contract.
pub(super) fn component(text: &str) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    gnomon_contract::embed(&mut module).unwrap();
    from_core_module(&module).unwrap()
}

/// The same with a list of types that is empty, which means nothing, but is not
/// what `wit-component` writes.
pub(super) fn foreign(mut component: Vec<u8>) -> Vec<u8> {
    const TYPES: u8 = 7;
    component.extend([TYPES, 1, 0]);
    component
}

/// What becomes of a batch.
pub(super) type Applied = Result<Vec<TableWrites>, String>;

/// The puppet, called in all ways.
pub(super) struct Puppet {
    guests: [Guest; 3],
}

pub(super) static PUPPET: LazyLock<Puppet> = LazyLock::new(|| {
    let engine = GuestEngine::new(None).unwrap();
    let [plain, allocating] = [false, true].map(puppet);
    let component = foreign(plain.clone());
    let core = [&plain, &allocating, &component].map(|bytes| core_of(bytes).is_some());
    assert_eq!(core, [true, true, false]);
    Puppet {
        guests: [plain, allocating, component].map(|bytes| engine.load(&bytes, limits()).unwrap()),
    }
});

impl Puppet {
    /// What becomes of batches that one instance applies, up to the first one
    /// that fails: the same in all ways.
    pub(super) fn apply(&self, batches: &[Vec<Event>]) -> Vec<Applied> {
        let [plain, allocating, component] = (self.guests.each_ref()).map(|guest| {
            let mut kept = guest.keep(limits()).unwrap();
            let rows = SharedTables::new(guest.description());
            rows.commit(committed());
            let never = Arc::new(AtomicBool::new(false));
            let mut all = Vec::new();
            for batch in batches {
                let events = EventList::from(batch.as_slice());
                let rows = Box::new(rows.clone());
                let applied = kept
                    .apply(&events, rows, Floats::All, limits(), &never)
                    .and_then(Written::finish)
                    .map_err(|error| error.to_string());
                let has_failed = applied.is_err();
                all.push(applied);
                if has_failed {
                    break;
                }
            }
            all
        });
        // A value that is bad is seen before what is wrong behind it in the same
        // call, which wasmtime has read by then.
        let is_bad = |applied: &Vec<Applied>| {
            let last = applied.last().and_then(|last| last.as_ref().err());
            last.is_some_and(|error| error.starts_with("it passed a bad value"))
        };
        if is_bad(&plain) && component.last().is_some_and(Result::is_err) {
            assert_eq!(
                plain.split_last().unwrap().1,
                component.split_last().unwrap().1
            );
        } else {
            assert_eq!(plain, component);
        }
        assert_eq!(allocating, plain);
        component
    }
}

/// The rows before a batch.
pub(super) fn committed() -> Vec<TableWrites> {
    let row = |key: &str| {
        let mut row = vec![Value::Null; COLUMNS.len()];
        row[0] = Value::Text(key.to_owned());
        row[2] = Value::Integer(1);
        row[4] = Value::decimal("-12.50").unwrap();
        row[6] = Value::Bytes(vec![0, 255]);
        row[9] = Value::Uuid(uuid::Uuid::from_u128(7));
        row[10] = Value::Json("[1]".to_owned());
        row
    };
    vec![TableWrites {
        table: 0,
        upserts: vec![row("a"), row("b")],
        deletes: Vec::new(),
    }]
}

pub(super) fn limits() -> GuestLimits {
    GuestLimits {
        memory: 8 << 20,
        time: Duration::from_secs(60),
        writes: WriteLimits::NONE,
        reads: 10_000,
        log_bytes: 1 << 20,
    }
}

pub(super) fn script(image: &[u8], calls: &[[u32; 9]]) -> Event {
    let mut bytes = u32::try_from(image.len()).unwrap().to_le_bytes().to_vec();
    bytes.extend(image);
    bytes.extend(
        calls
            .as_flattened()
            .iter()
            .flat_map(|word| word.to_le_bytes()),
    );
    event(1, Payload::Binary(bytes))
}

pub(super) fn event(number: u64, data: Payload) -> Event {
    Event {
        position: Position::new(number).unwrap(),
        id: format!("event {number}"),
        stream_id: format!("Puppet-{}", "ä€🦀".repeat(number as usize)),
        event_type: "Pulled".to_owned(),
        version: number << 40,
        schema_version: 0xfeed_f00d,
        data,
        metadata: if number == 2 {
            String::new()
        } else {
            "{}".to_owned()
        },
        recorded_at: -5,
    }
}
