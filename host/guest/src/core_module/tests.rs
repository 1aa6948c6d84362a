//! A guest does the same as a core module and as a component, whatever it does.

use gnomon_contract::from_core_module;
use gnomon_model::{Event, Payload, Value};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use super::super::GuestEngine;
use super::{core_of, recognition};

mod image;
mod plays;
mod puppet;

use image::{COLUMNS, HANDLES, IMAGE, Image, REPLIES, pair, unpacked};
use plays::{play, staged, turn};
use puppet::{PUPPET, component, event, limits, puppet, script};

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Calls that keep the contract, and calls of which a few bytes do not.
    #[test]
    fn a_guest_does_the_same_in_both_ways(
        plays in prop::collection::vec(prop_oneof![9 => play(), 1 => turn()], 0..12),
        image_faults in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        call_faults in prop::collection::vec(
            (any::<prop::sample::Index>(), 0..9_usize, prop_oneof![
                any::<u32>(), 0..20_u32, IMAGE..IMAGE + 500, REPLIES..REPLIES + 3_000,
            ]),
            0..2,
        ),
        is_hostile in any::<bool>(),
    ) {
        let (mut image, mut calls) = staged(&plays);
        if is_hostile {
            for (place, byte) in image_faults {
                let place = place.index(image.bytes.len());
                image.bytes[place] = byte;
            }
            for (call, word, value) in call_faults {
                let call = call.index(calls.len());
                calls[call][word] = value;
            }
        }
        PUPPET.apply(&[vec![script(&image.bytes, &calls)], batch()]);
    }
}

/// Events that do nothing but arrive.
fn batch() -> Vec<Event> {
    let texts = [Payload::Json("{}".to_owned()), Payload::Binary(vec![7])];
    let texts = texts.into_iter().cycle();
    let first = script(&[], &[]);
    let others = (2..20).zip(texts).map(|(number, data)| event(number, data));
    [first].into_iter().chain(others).collect()
}

/// Where the puppet copies the record of an event to.
const RECORD: u32 = IMAGE + 16_384;

/// Puts a row of cells that have these cases, and payloads from that many bytes
/// at that offset of an event's record.
fn put_of_record(
    image: &mut Image,
    calls: &mut Vec<[u32; 9]>,
    event: u32,
    id: Option<&str>,
    payloads: &[(usize, u8, u32, u32)],
) {
    let mut cells = [[0; 16]; COLUMNS.len()];
    if let Some(id) = id {
        cells[0] = pair([5, 0, 0, 0, 0, 0, 0, 0], image.text(id));
    }
    for (column, case, ..) in payloads {
        cells[*column][0] = *case;
    }
    let [row, len] = unpacked(image.list(&cells));
    calls.push([15, 0, RECORD, event, 0, 0, 0, 0, 0]);
    for (column, _, offset, bytes) in payloads {
        let payload = row + 16 * u32::try_from(*column).unwrap() + 8;
        calls.push([14, 0, payload, RECORD + offset, *bytes, 0, 0, 0, 0]);
    }
    calls.push([5, 1, HANDLES, row, len, 0, 0, 0, 0]);
}

#[test]
fn all_of_an_event_arrives() {
    let (mut image, mut calls) = staged(&[]);
    for event in 0..3 {
        let (data, case) = if event == 0 { (6, 6) } else { (10, 10) };
        let fields = [
            (0, 5, 8, 8),
            (1, 1, 44, 1),
            (2, 2, 0, 8),
            (5, 5, 16, 8),
            (data, case, 48, 8),
            (7, 7, 64, 8),
            (11, 5, 24, 8),
            (12, 2, 40, 4),
        ];
        put_of_record(&mut image, &mut calls, event, None, &fields);
        let others = [(2, 2, 32, 8), (5, 5, 56, 8)];
        let id = format!("rest of {event}");
        put_of_record(&mut image, &mut calls, event, Some(&id), &others);
    }
    let document = "[\"ä\"]".to_owned();
    let events = [
        script(&image.bytes, &calls),
        event(2, Payload::Json(document.clone())),
        event(3, Payload::Json(document)),
    ];
    let mut expected = Vec::new();
    for (number, event) in events.iter().enumerate() {
        let text = |text: &str| Value::Text(text.to_owned());
        let mut row = vec![Value::Null; COLUMNS.len()];
        row[0] = text(&event.id);
        row[1] = Value::Boolean(number == 0);
        row[2] = Value::Integer(event.position.get().cast_signed());
        row[5] = text(&event.stream_id);
        match &event.data {
            Payload::Json(document) => row[10] = Value::Json(document.clone()),
            Payload::Binary(bytes) => row[6] = Value::Bytes(bytes.clone()),
            Payload::Unreadable(reason) => panic!("{reason}"),
        }
        row[7] = Value::Timestamp(event.recorded_at);
        row[11] = text(&event.event_type);
        row[12] = Value::Integer(event.schema_version.into());
        expected.push(row);
        let mut rest = vec![Value::Null; COLUMNS.len()];
        rest[0] = text(&format!("rest of {number}"));
        rest[2] = Value::Integer(event.version.cast_signed());
        rest[5] = text(&event.metadata);
        expected.push(rest);
    }
    expected.sort_by_key(|row| format!("{:?}", row[0]));
    let applied = PUPPET.apply(&[events.to_vec()]);
    let [Ok(written)] = applied.as_slice() else {
        panic!("{applied:?}");
    };
    assert_eq!(written[0].upserts, expected);
}

#[test]
fn a_bad_value_names_its_table_column_type_and_text() {
    const DECIMAL: u8 = 4;
    const UUID: u8 = 9;
    let bad = |image: &mut Image, case: u8, text: &str| {
        pair([case, 0, 0, 0, 0, 0, 0, 0], image.text(text))
    };
    let change = |image: &mut Image, column: &str, cell: [u8; 16]| -> [u8; 32] {
        let head = pair([0; 8], image.text(column));
        [head, cell].as_flattened().try_into().unwrap()
    };
    let refused = |stage: &dyn Fn(&mut Image) -> [u32; 9]| {
        let (mut image, mut calls) = staged(&[]);
        let call = stage(&mut image);
        calls.push(call);
        let applied = PUPPET.apply(&[vec![script(&image.bytes, &calls)]]);
        let [Err(reason)] = applied.as_slice() else {
            panic!("{applied:?}");
        };
        reason.clone()
    };
    let in_row = |place: usize, case: u8, text: &str| {
        refused(&|image| {
            let mut cells = [[0; 16]; COLUMNS.len()];
            cells[place] = bad(image, case, text);
            let [at, len] = unpacked(image.list(&cells));
            [5, 1, HANDLES, at, len, 0, 0, 0, 0]
        })
    };
    assert_eq!(
        in_row(4, DECIMAL, ""),
        "it passed a bad value: table `puppets`, column `price` of type decimal: `` is not a decimal"
    );
    assert_eq!(
        in_row(12, DECIMAL, "1e3"),
        "it passed a bad value: table `puppets`, column `number` of type integer: `1e3` is not a decimal"
    );
    let long = in_row(9, UUID, &"x\u{1b}".repeat(99));
    let shown = r"column `owner` of type uuid: `x\u{1b}x\u{1b}";
    assert!(long.contains(shown) && long.len() < 400, "{long}");
    let key = refused(&|image| {
        let cell = bad(image, UUID, "me");
        let [at, len] = unpacked(image.list(&[cell]));
        [2, 1, HANDLES, at, len, REPLIES, 0, 0, 0]
    });
    assert_eq!(
        key,
        "it passed a bad value: table `puppets`, column `id` of type text: `me` is not a uuid"
    );
    for (column, expected) in [
        (
            "price",
            "column `price` of type decimal: `1,5` is not a decimal",
        ),
        ("prize", "column `prize`: `1,5` is not a decimal"),
    ] {
        let changed = refused(&|image| {
            let cell = bad(image, DECIMAL, "1,5");
            let change = change(image, column, cell);
            let [changes, changes_len] = unpacked(image.list(&[change]));
            let key = image.cells(&[Value::Text("a".to_owned())]);
            let [at, len] = unpacked(key);
            [7, 1, HANDLES, at, len, changes, changes_len, 0, 0]
        });
        assert!(changed.ends_with(expected), "{changed}");
    }
    let found = refused(&|image| {
        let names = unpacked(image.texts(&["label", "number"]));
        let cells = [[0; 16], bad(image, DECIMAL, ".5")];
        let values = unpacked(image.list(&cells));
        [
            4, 1, HANDLES, names[0], names[1], values[0], values[1], 9, REPLIES,
        ]
    });
    assert!(
        found.ends_with("column `number` of type integer: `.5` is not a decimal"),
        "{found}"
    );
    let other_type = refused(&|image| {
        let mut row = vec![Value::Null; COLUMNS.len()];
        row[0] = Value::Text("a".to_owned());
        row[2] = Value::Text("many".to_owned());
        let [at, len] = unpacked(image.cells(&row));
        [5, 1, HANDLES, at, len, 0, 0, 0, 0]
    });
    assert_eq!(
        other_type,
        "it broke its schema: table `puppets`, column `count` of type integer: `many` is of type text"
    );
}

/// Lists in lists may all lie in the same place.
#[test]
fn a_call_passes_no_more_than_its_limit() {
    let (mut image, mut calls) = staged(&[]);
    let key = image.cells(&vec![Value::Null; 500]);
    let [keys, len] = unpacked(image.list(&[key; 2_000]));
    calls.push([3, 1, HANDLES, keys, len, REPLIES, 0, 0, 0]);
    let applied = PUPPET.apply(&[vec![script(&image.bytes, &calls)]]);
    let [Err(reason)] = applied.as_slice() else {
        panic!("{applied:?}");
    };
    assert!(reason.contains("limits.memory"), "{reason}");
}

#[test]
fn what_wit_component_would_not_write_is_left_to_wasmtime() {
    let text = include_str!("tests/puppet.wat").replace("DESCRIPTION", "");
    assert!(core_of(&component(&text)).is_some());
    for (what, given, other) in [
        (
            "a start function",
            "(func $argument",
            "(func $start) (start $start) (func $argument",
        ),
        (
            "an initializer",
            "(func $argument",
            "(func (export \"_initialize\")) (func $argument",
        ),
        (
            "another function to allocate with",
            "(func $realloc (export \"cabi_realloc\")",
            "(func $realloc (export \"cabi_realloc\") (export \"cabi_import_realloc\")",
        ),
    ] {
        let changed = text.replace(given, other);
        assert_ne!(changed, text);
        assert!(core_of(&component(&changed)).is_none(), "{what}");
    }
    // Texts in another encoding.
    let mut module = wat::parse_str(&text).unwrap();
    let contract = include_str!("../../../../wit/projection.wit");
    let mut resolve = wit_parser::Resolve::default();
    let package = resolve.push_str("projection.wit", contract).unwrap();
    let world = resolve.select_world(&[package], None).unwrap();
    let utf16 = wit_component::StringEncoding::UTF16;
    wit_component::embed_component_metadata(&mut module, &resolve, world, utf16).unwrap();
    let utf16 = from_core_module(&module).unwrap();
    assert!(core_of(&utf16).is_none());
}

/// The wiring stands beside the core module, in a few hundred bytes.
#[test]
fn no_byte_of_the_wiring_may_differ() {
    let given = puppet(false);
    let core = core_of(&given).unwrap();
    let start = core.as_ptr().addr() - given.as_ptr().addr();
    let sections = recognition::sections(&given).unwrap();
    let is_custom = |place: usize| {
        let at = given.as_ptr().addr() + place;
        let mut custom = sections.iter().filter(|(id, _)| *id == 0);
        custom.any(|(_, body)| {
            body.as_ptr_range()
                .contains(&(std::ptr::without_provenance(at)))
        })
    };
    let around = (8..start).chain(start + core.len()..given.len());
    let mut differing = 0;
    for place in around {
        let mut changed = given.clone();
        changed[place] ^= 1;
        if core_of(&changed).is_some() {
            // Only what has no meaning.
            assert!(is_custom(place), "{place}");
        } else {
            differing += 1;
        }
    }
    assert!(differing > 1_000, "{differing}");
}

/// `wit-component` is made for modules that a compiler has just written.
#[test]
fn a_module_that_is_spoilt_is_no_reason_to_panic() {
    let given = puppet(true);
    let engine = GuestEngine::new(None).unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let mut loaded = 0;
    for _ in 0..1_000 {
        let mut spoilt = given.clone();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(8..spoilt.len());
            spoilt[place] = random.random();
        }
        if core_of(&spoilt).is_some() && engine.load(&spoilt, limits()).is_ok() {
            loaded += 1;
        }
    }
    // Names that nobody reads, and data.
    assert!(loaded > 0);
}
