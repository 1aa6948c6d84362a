//! The modules `faults-<language>`: each does what an event's type tells it to,
//! in ways in which an author errs.

use std::fs;

use gnomon_tests::harness::{Installation, System, guest};
use serde_json::{Value, json};

use super::languages::can_be_tested;

/// An event's type, and what the reason of its rejection says.
pub(super) type Fault = (&'static str, &'static [&'static str]);

/// A fault that only the host can see, and of which no language knows a place.
const SEEN_BY_THE_HOST: &str = "BreaksItsSchema";

/// What became of events.
pub(super) struct Applied {
    /// Where they are.
    pub(super) installation: Installation,
    /// What the host logged.
    pub(super) log: String,
    /// Why events were rejected, by their positions.
    pub(super) reasons: Vec<(u64, String)>,
}

/// Has a language's module apply events; nothing where its toolchain is
/// missing.
pub(super) fn apply(language: &str, what: &str, events: &[(&str, Value)]) -> Option<Applied> {
    let name = format!("faults-{language}");
    if !can_be_tested(language, &name, what) {
        return None;
    }
    let installation = Installation::in_one_database(System::Sqlite)
        .with_module("faults.wasm", &guest(&name))
        .with_configuration("[projection.faults]\non-error = 'park'");
    let lines: Vec<String> = events
        .iter()
        .zip(1..)
        .map(|((event_type, data), number)| {
            let id = format!("00000000-0000-4000-8000-{number:012}");
            let stream = format!("Fault-{number}");
            json!({"event_id": id, "stream_id": stream, "event_type": event_type, "data": data})
                .to_string()
        })
        .collect();
    fs::write(installation.path("events.ndjson"), lines.join("\n")).unwrap();
    installation.succeed(&["append", "--file", "events.ndjson"]);
    let ended = installation.run(&["run", "--until-caught-up"]);
    assert_eq!(ended.code, Some(0), "{language}: {ended:?}");
    let reasons = installation
        .json_lines(&["dead-letters", "list", "faults"])
        .iter()
        .map(|letter| {
            let position = letter["global_position"].as_u64().unwrap();
            (position, letter["error"].as_str().unwrap().to_owned())
        })
        .collect();
    Some(Applied {
        installation,
        log: ended.stderr,
        reasons,
    })
}

/// Every fault is a rejection of its own event, with its message and place.
pub(super) fn assert_all_rejected(language: &str, faults: &[Fault]) {
    let events: Vec<_> = faults.iter().map(|(name, _)| (*name, json!({}))).collect();
    let Some(applied) = apply(language, "faults", &events) else {
        return;
    };
    let mut reasons = applied.reasons.iter();
    for ((name, said), position) in faults.iter().zip(1..) {
        let (found, reason) = reasons.next().unwrap_or_else(|| panic!("{name} succeeded"));
        assert_eq!(*found, position, "{name} succeeded; the next is {reason}");
        for fragment in *said {
            assert!(
                reason.contains(fragment),
                "{name}: `{fragment}` in\n{reason}"
            );
        }
        let is_told = *name == SEEN_BY_THE_HOST || reason.starts_with(&format!("{name}: "));
        assert!(is_told, "{name}: {reason}");
    }
    assert_eq!(reasons.next(), None);
}

/// The report that the module makes of an event `Works` with the largest
/// integer, and the rows; the log has all of these lines.
pub(super) fn report(language: &str, logged: &[&str]) -> Option<(Value, Vec<Vec<Option<String>>>)> {
    let works = json!({"whole": i64::MAX});
    let applied = apply(
        language,
        "operations",
        &[("Works", works), ("Prints", json!({}))],
    )?;
    assert_eq!(applied.reasons, Vec::new());
    for line in logged {
        assert!(applied.log.contains(line), "`{line}` in\n{}", applied.log);
    }
    let rows = applied.installation.rows_of("faults", "notes");
    let ids: Vec<&str> = rows.iter().map(|row| row[0].as_deref().unwrap()).collect();
    assert_eq!(ids, ["a", "b", "c", "report"]);
    let report = rows[3].last().unwrap().as_deref().unwrap();
    Some((serde_json::from_str(report).unwrap(), rows))
}
