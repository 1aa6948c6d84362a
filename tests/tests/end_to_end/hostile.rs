//! Hostile projections: whatever a guest does, it harms nobody else.
//!
//! One module, `tests/guests/abuses`, does what an event's type says. Before
//! and after that event come harmless ones, and beside it run the examples. It
//! is called in both ways in which a host calls guests.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use gnomon_demo::Orders;
use gnomon_tests::harness::{Finished, Installation, Rows, System, guest};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const ORDER_EVENTS: usize = 300;
/// Harmless events before the abuse, and after it.
const HARMLESS: usize = 10;
/// The most memory of a host with three projections beside the abuse. It has
/// about 100 MB when nobody abuses it; the limits allow a guest 64 MiB in its
/// own memory, and twice as much on the way to the host.
const HOST_BYTES_MAX: u64 = 400 << 20;

const SETTINGS: &str = "
[projection.abuses]
batch-time = '500ms'
";

/// What an event's type makes the guest do, and what the host says of it.
type Case = (&'static str, &'static [&'static str]);

/// A log with an event of this type amid harmless ones; they come last.
fn log(installation: &Installation, types: &[&str]) {
    let path = installation.path("abuse.ndjson");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    for envelope in Orders::new(7).take(ORDER_EVENTS) {
        serde_json::to_writer(&mut file, &envelope).unwrap();
        writeln!(file).unwrap();
    }
    for (number, event_type) in types.iter().enumerate() {
        let envelope = json!({
            "event_id": format!("00000000-0000-4000-9000-{number:012}"),
            "stream_id": format!("Abuse-{number}"),
            "event_type": event_type,
            "data": {"number": number},
            "recorded_at": "2025-01-15T10:30:00Z",
        });
        writeln!(file, "{envelope}").unwrap();
    }
    file.into_inner().unwrap();
    installation.succeed(&["append", "--file", "abuse.ndjson"]);
}

fn amid_harmless(abuse: &'static str) -> Vec<&'static str> {
    let mut types = vec!["Harmless"; 2 * HARMLESS + 1];
    types[HARMLESS] = abuse;
    types
}

fn status(installation: &Installation, projection: &str) -> Value {
    installation.json(&["status", projection])
}

/// The examples are at the head, and right.
fn neighbours_are_well(installation: &Installation, when: &str) {
    let head = installation.head();
    for projection in ["order_summary", "customer_value", "daily_revenue"] {
        let status = status(installation, projection);
        assert_eq!(status["position"], head, "{when}: {status}");
        assert_ne!(status["state"], "halted", "{when}: {status}");
    }
    installation.assert_rows_are_right(when);
}

fn memory_is_bounded(host: &Finished, when: &str) {
    println!("{when}: {} MB", host.memory / 1_000_000);
    assert!(host.memory > 0, "{when}: the memory was not measured");
    assert!(
        host.memory < HOST_BYTES_MAX,
        "{when}: the host had {} bytes",
        host.memory
    );
}

fn installation(target: System, settings: &str) -> Installation {
    let mut module = guest("abuses");
    if target == System::Sqlite {
        as_a_component(&mut module);
    }
    Installation::new(System::Sqlite, target)
        .with_examples()
        .with_module("guest.wasm", &module)
        .with_configuration(settings)
}

/// A host calls the core module of a component that is made as usual, and lets
/// wasmtime call any other one. An empty list of types makes it another one.
fn as_a_component(module: &mut Vec<u8>) {
    const TYPES: u8 = 7;
    module.extend([TYPES, 1, 0]);
}

/// Each abuse halts its projection at its event, with the reason.
fn halts(cases: &[Case], settings: &str) {
    // All of them are tried, also after one that failed.
    let failed: Vec<String> = cases
        .iter()
        .flat_map(|case| SYSTEMS.map(|target| (case, target)))
        .filter(|((abuse, said), target)| {
            std::panic::catch_unwind(|| halts_at(abuse, said, *target, settings)).is_err()
        })
        .map(|((abuse, _), target)| format!("{abuse} on {target:?}"))
        .collect();
    assert!(
        failed.is_empty(),
        "these were not as they should be: {failed:#?}"
    );
}

fn halts_at(abuse: &'static str, said: &[&str], target: System, settings: &str) {
    let when = format!("{abuse} on {target:?}");
    let installation = installation(target, settings);
    log(&installation, &amid_harmless(abuse));
    let host = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(host.code, Some(1), "{when}: {host:?}");
    memory_is_bounded(&host, &when);

    let culprit = installation.head() - i64::try_from(HARMLESS).unwrap();
    let status = status(&installation, "abuses");
    assert_eq!(status["state"], "halted", "{when}: {status}");
    assert_eq!(status["position"], culprit - 1, "{when}: {status}");
    let cause = status["cause"].as_str().unwrap();
    let event = format!("halted on event {culprit} ({abuse} in stream Abuse-{HARMLESS})");
    for fragment in [&[event.as_str()], said].concat() {
        assert!(
            cause.contains(fragment),
            "{when}: no `{fragment}` in {cause:?}"
        );
    }
    assert!(
        cause.len() < 20_000,
        "{when}: {} bytes of cause",
        cause.len()
    );
    harmless(cause, &when);
    harmless(&host.stderr, &when);
    neighbours_are_well(&installation, &when);
}

/// No character steers a terminal, or reorders what is read.
pub(crate) fn harmless(text: &str, when: &str) {
    let steers = |character: char| {
        (character.is_control() && character != '\n' && character != '\t')
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert!(!text.contains(steers), "{when}: {text:?}");
}

#[test]
fn a_guest_that_takes_too_long_is_stopped() {
    let cases: [Case; 2] = [
        (
            "LoopsForever",
            &["ran longer than 500ms", "limits.batch-time"],
        ),
        ("LoopsInTheHost", &["ran longer than 500ms"]),
    ];
    halts(&cases, SETTINGS);
    // It waits for the database most of the time, which does not count.
    halts(
        &[(
            "ReadsTheDatabaseWithoutEnd",
            &["may read 2000 rows", "limits.batch-reads"],
        )],
        "[projection.abuses]\nbatch-reads = 2000\n",
    );
}

#[test]
fn a_guest_that_takes_too_much_memory_is_stopped() {
    let cases: [Case; 6] = [
        ("EatsMemory", &["more than 67108864 bytes", "limits.memory"]),
        ("RecursesForever", &["trapped"]),
        ("RepliesWithFourGigabytes", &["out of bounds"]),
        ("LogsFourGigabytesAtOnce", &["out of bounds"]),
        ("PassesOneMegabyteAThousandTimes", &["limits.memory"]),
        ("OpensTablesWithoutEnd", &["tables at a time"]),
    ];
    halts(&cases, "");
}

#[test]
fn a_guest_that_writes_too_much_is_stopped() {
    halts(
        &[(
            "MakesTenMillionWrites",
            &["50000 writes", "limits.batch-writes"],
        )],
        "[projection.abuses]\nbatch-writes = 50000\n",
    );
    let cases: [Case; 2] = [
        (
            "WritesAHundredMegabyteCell",
            &["67108864 bytes", "limits.batch-write-bytes"],
        ),
        (
            "WritesAHundredMegabytes",
            &["67108864 bytes", "limits.batch-write-bytes"],
        ),
    ];
    halts(
        &cases,
        "[projection.abuses]\nbatch-time = '30s'\nmemory = '128MiB'\n",
    );
}

/// A few bytes that stand for many, or for much work.
#[test]
fn a_value_that_is_a_bomb_is_stopped_before_the_host_pays_for_it() {
    let cases: [Case; 6] = [
        (
            "WritesABombOfNumbers",
            &["table `abuse_notes`", "column `document`", "1000 digits"],
        ),
        (
            "WritesManyLongNumbers",
            &[
                "table `abuse_notes`",
                "column `document`",
                "limits.batch-write-bytes",
            ],
        ),
        (
            "WritesTwoMillionKeys",
            &[
                "table `abuse_notes`",
                "column `document`",
                "limits.batch-write-bytes",
            ],
        ),
        (
            "AddsToALongDecimal",
            &["67108864 bytes", "limits.batch-write-bytes"],
        ),
        (
            "AddsToALongDecimalOneByOne",
            &["67108864 bytes", "limits.batch-write-bytes"],
        ),
        (
            "MergesAKeyOfTenMegabytes",
            &["table `abuse_notes`", "the primary key may hold 2500 bytes"],
        ),
    ];
    halts(&cases, "[projection.abuses]\nbatch-time = '60s'\n");
}

/// The changes wait for the row until the guest's time is over.
#[test]
fn work_that_waits_for_a_row_is_counted_as_well() {
    for target in SYSTEMS {
        let when = format!("a long decimal on {target:?}");
        let installation = installation(target, "[projection.abuses]\nbatch-events = 1\n");
        log(
            &installation,
            &["MakesALongDecimal", "AddsToALongDecimalThatIsNotRead"],
        );
        let host = installation.run(&["run", "--until-caught-up"]);
        memory_is_bounded(&host, &when);
        let status = status(&installation, "abuses");
        let cause = status["cause"].as_str().unwrap();
        assert!(
            cause.contains("limits.batch-write-bytes"),
            "{when}: {cause}"
        );
        neighbours_are_well(&installation, &when);
    }
}

#[test]
fn large_documents_and_long_keys_are_no_abuse() {
    for target in SYSTEMS {
        let installation = installation(target, "[projection.abuses]\nmemory = '128MiB'\n");
        log(
            &installation,
            &["NestsUnsortedKeys", "UsesKeysOfTenMegabytes"],
        );
        let host = installation.run(&["run", "--until-caught-up"]);
        assert_eq!(host.code, Some(0), "{target:?}: {host:?}");
        memory_is_bounded(&host, &format!("large documents on {target:?}"));
        let notes = abuse_notes(&installation);
        assert_eq!(
            notes.len(),
            3,
            "a document, a note and the total on {target:?}"
        );
    }
}

#[test]
fn a_guest_that_breaks_its_schema_is_stopped() {
    let cases: [Case; 20] = [
        (
            "WritesToAnUndeclaredTable",
            &["declares no table `customer_value`"],
        ),
        ("NamesATableInControlCharacters", &["declares no table"]),
        ("NamesAColumnOfTenMegabytes", &["has no column"]),
        ("FindsByAMillionColumns", &["no index on"]),
        ("WritesTooFewCells", &["a row has 9 values, 1 were given"]),
        ("WritesTooManyCells", &["a row has 9 values, 18 were given"]),
        ("WritesAnotherType", &["column `amount`", "integer", "text"]),
        ("WritesANullKey", &["column `id`", "null"]),
        ("WritesANullWhereNoneMayBe", &["column `label`", "null"]),
        ("WritesANul", &["column `label`", "U+0000"]),
        ("WritesAnImpossibleTime", &["column `at`"]),
        ("WritesAMalformedDecimal", &["decimal"]),
        ("WritesAMalformedUuid", &["uuid"]),
        ("WritesMalformedJson", &["column `document`"]),
        ("NestsJsonAMillionTimes", &["column `document`"]),
        ("AddsToAText", &["column `label`", "`add` does not work"]),
        (
            "OverflowsACounter",
            &["column `amount`", "`add` leaves the range"],
        ),
        ("ChangesItsKey", &["column `id`", "primary key"]),
        ("FindsWithoutAnIndex", &["no index on (label)"]),
        ("Traps", &["trapped (unreachable code"]),
    ];
    halts(&cases, "");
}

#[test]
fn what_a_guest_says_harms_nobody() {
    let cases: [Case; 4] = [
        ("RejectsInControlCharacters", &["no"]),
        ("RejectsInTenMegabytes", &["n\u{fffd}n\u{fffd}"]),
        (
            "RejectsAnEventOfAnotherBatch",
            &["not in the batch: not mine"],
        ),
        (
            "RejectsAnImpossiblePosition",
            &["not in the batch: nobody's"],
        ),
    ];
    halts(&cases, "");
}

#[test]
fn a_reply_that_no_guest_could_hold_is_not_made() {
    for target in SYSTEMS {
        let when = format!("a large reply on {target:?}");
        let installation = installation(target, "[projection.abuses]\nbatch-events = 1\n");
        log(
            &installation,
            &["MakesALargeRow", "ReadsOneRowAHundredThousandTimes"],
        );
        let host = installation.run(&["run", "--until-caught-up"]);
        memory_is_bounded(&host, &when);
        let status = status(&installation, "abuses");
        let cause = status["cause"].as_str().unwrap();
        assert!(cause.contains("134217728 bytes of rows at once"), "{cause}");
    }
}

#[test]
fn a_flood_of_log_lines_ends_at_the_limit() {
    let kib = 1 << 10;
    for (abuse, bytes_max) in [
        ("LogsAGigabyte", 70 * kib),
        // A line of the host is longer than an empty message.
        ("LogsAMillionEmptyLines", 300 * kib),
        ("ForgesTheLog", 10 * kib),
    ] {
        let installation = installation(System::Sqlite, "");
        log(&installation, &amid_harmless(abuse));
        let host = installation.run(&["run", "--until-caught-up"]);
        assert_eq!(host.code, Some(0), "{abuse}: {host:?}");
        memory_is_bounded(&host, abuse);
        let logged = host.stderr.len();
        println!("{abuse}: {logged} bytes of log");
        assert!(logged < bytes_max, "{abuse}: {logged} bytes of log");
        assert!(
            !host
                .stderr
                .lines()
                .any(|line| line.starts_with("2000-01-01")),
            "{abuse}: {}",
            host.stderr
        );
        harmless(&host.stderr, abuse);
        let dropped = host
            .stderr
            .contains("bytes of log were dropped (limits.log-bytes)");
        assert_eq!(dropped, abuse != "ForgesTheLog", "{abuse}: {}", host.stderr);
        neighbours_are_well(&installation, abuse);
    }
}

/// The rows of the module's table, all columns, in a form that both databases
/// share.
fn abuse_notes(installation: &Installation) -> Rows {
    let table = match installation.read_models.system() {
        System::Sqlite => "abuse_notes",
        System::Postgres => "abuses.abuse_notes",
    };
    installation
        .read_models
        .rows(&format!("SELECT * FROM {table}"))
}

#[test]
fn nothing_is_kept_from_one_batch_to_the_next() {
    for target in SYSTEMS {
        let installation = installation(target, "[projection.abuses]\nbatch-events = 1\n");
        log(
            &installation,
            &["Counts", "Counts", "Counts", "TrapsOnThirdCall"],
        );
        installation.succeed(&["run", "--until-caught-up"]);
        let rows = installation.read_models.rows(match target {
            System::Sqlite => "SELECT DISTINCT amount FROM abuse_notes WHERE id <> 'total'",
            System::Postgres => {
                "SELECT DISTINCT amount FROM abuses.abuse_notes WHERE id <> 'total'"
            }
        });
        assert_eq!(rows, [[Some("0".to_owned())]], "{target:?}");
    }
}

#[test]
fn the_same_log_gives_byte_equal_rows_in_batches_of_any_size() {
    let types: Vec<&str> = ["Harmless", "Counts", "Other'; DROP TABLE abuse_notes; --"]
        .into_iter()
        .cycle()
        .take(300)
        .filter(|event_type| *event_type != "Counts")
        .collect();
    let rows_of = |target, batch_events: u32| {
        let settings = format!("[projection.abuses]\nbatch-events = {batch_events}\n");
        let installation = installation(target, &settings);
        log(&installation, &types);
        installation.succeed(&["run", "--until-caught-up"]);
        abuse_notes(&installation)
    };
    let expected = rows_of(System::Sqlite, 1000);
    assert_eq!(expected.len(), types.len() + 1);
    for target in SYSTEMS {
        for batch_events in [1, 7] {
            assert_eq!(
                rows_of(target, batch_events),
                expected,
                "batches of {batch_events} on {target:?}"
            );
        }
    }
}

#[test]
fn a_guest_sees_one_nan_on_every_machine() {
    let installation = installation(System::Postgres, "");
    log(&installation, &["ComputesNotANumber"]);
    installation.succeed(&["run", "--until-caught-up"]);
    let rows = installation
        .read_models
        .rows("SELECT label, ratio FROM abuses.abuse_notes");
    // The quiet NaN without payload or sign, whatever went into it.
    assert_eq!(
        rows,
        [[Some("7ff8000000000000".to_owned()), Some("NaN".to_owned())]]
    );
    // SQLite has no NaN; that is said, and nothing else is stored.
    halts_at(
        "ComputesNotANumber",
        &["column `ratio`", "NaN"],
        System::Sqlite,
        "",
    );
}

#[test]
fn sql_in_every_name_and_value_is_inert() {
    const SQL: &str = "x'\"; DROP TABLE abuse_notes; SELECT $1 ? :a -- \\";
    for target in SYSTEMS {
        let installation = installation(target, "");
        let stream = format!("Abuse-{SQL}");
        installation.append(&stream, SQL, &json!({ SQL: SQL }));
        installation.succeed(&["run", "--until-caught-up"]);
        let rows = abuse_notes(&installation);
        let row = rows
            .iter()
            .find(|row| row[0].as_deref() == Some(stream.as_str()))
            .unwrap();
        assert_eq!(row[1].as_deref(), Some(SQL), "{target:?}");
        let document: Value = serde_json::from_str(row[7].as_deref().unwrap()).unwrap();
        assert_eq!(document, json!({ SQL: SQL }), "{target:?}");
    }
}

#[test]
fn parked_abuses_keep_their_streams_waiting_and_nobody_else() {
    let settings = "[projection.abuses]\non-error = 'park'\n";
    let abuses = [
        "WritesANul",
        "Traps",
        "RejectsInControlCharacters",
        "NamesATableInControlCharacters",
        "RejectsInTenMegabytes",
    ];
    for target in SYSTEMS {
        let when = format!("parked on {target:?}");
        let installation = installation(target, settings);
        let types: Vec<&str> = abuses
            .iter()
            .flat_map(|abuse| [*abuse, "Harmless"])
            .collect();
        log(&installation, &types);
        let host = installation.run(&["run", "--until-caught-up"]);
        assert_eq!(host.code, Some(0), "{when}: {host:?}");
        harmless(&host.stderr, &when);
        let status = status(&installation, "abuses");
        assert_eq!(status["dead_letters"], abuses.len(), "{when}: {status}");
        assert_eq!(status["position"], installation.head(), "{when}: {status}");
        let listed = installation.succeed(&["dead-letters", "list", "abuses"]);
        harmless(&listed, &when);
        assert!(listed.len() < 100_000, "{when}: {} bytes", listed.len());
        neighbours_are_well(&installation, &when);
    }
}
