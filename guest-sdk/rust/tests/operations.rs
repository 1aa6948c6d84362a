//! Every operation on tables and every kind of column, through the test bench.

#![allow(
    clippy::duplicated_attributes,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    missing_docs,
    reason = "a test; two indexes share a column"
)]

use std::sync::atomic::{AtomicI64, Ordering};

use gnomon_sdk::prelude::*;
use gnomon_sdk::testing::{GivenEvent, event, given};
use serde_json::json;

/// Every type that a column can have.
#[derive(Row, Clone, Debug, PartialEq)]
#[row(table = "everything")]
struct Everything {
    #[key]
    id: Uuid,
    #[key]
    part: i32,
    flag: bool,
    count: u32,
    ratio: f64,
    price: Decimal,
    blob: Vec<u8>,
    at: Timestamp,
    day: Date,
    document: Json,
    r#type: Option<String>,
    least: Option<Decimal>,
}

#[derive(Row, Debug, PartialEq)]
#[row(table = "members", index(team), index(team, level))]
struct Member {
    #[key]
    name: String,
    team: Option<String>,
    level: i64,
}

#[derive(Events)]
enum Event {
    Put {
        id: Uuid,
        document: Json,
    },
    Merged {
        id: Uuid,
    },
    Joined {
        name: String,
        team: Option<String>,
    },
    Copied {
        names: Vec<String>,
    },
    Promoted {
        team: Option<String>,
    },
    Counted {
        team: String,
    },
    #[event(name = "team.dissolved")]
    Dissolved {
        team: String,
        level: i64,
    },
    Left {
        name: String,
    },
    #[event(other)]
    Other,
}

struct Operations;

impl Projection for Operations {
    const NAME: &'static str = "operations";
    const VERSION: u32 = 1;
    const METADATA: bool = true;
    type Event = Event;
    type Tables = (Everything, Member);

    fn apply(event: Event, context: &EventContext, tables: &mut Tables) -> Result<()> {
        let at = context.recorded_at;
        match event {
            Event::Put { id, document } => tables.put(Everything {
                id,
                part: -1,
                flag: true,
                count: u32::MAX,
                ratio: 0.5,
                price: "12.50".parse()?,
                blob: vec![0, 255],
                at,
                day: Date::from(at),
                document,
                r#type: None,
                least: None,
            }),
            Event::Merged { id } => tables.merge(
                (id, 7),
                [
                    Everything::price.add(Decimal::from(2)),
                    Everything::ratio.add(0.25),
                    Everything::at.min(at),
                    Everything::r#type.set("merged"),
                    Everything::least.min(Decimal::from(3)),
                ],
            ),
            Event::Joined { name, team } => tables.put(Member {
                name,
                team,
                level: 1,
            }),
            Event::Copied { names } => {
                for (name, member) in names.iter().zip(tables.get_many::<Member, _>(&names)?) {
                    let Some(member) = member else {
                        reject!("nobody is called {name}");
                    };
                    tables.put(Member {
                        name: format!("{name}'"),
                        ..member
                    });
                }
            }
            Event::Promoted { team } => {
                tables.patch_where(Member::by_team(team), [Member::level.add(1)]);
            }
            Event::Counted { team } => {
                let found = tables.find(Member::by_team(&*team), 10)?.len();
                let [last] = tables
                    .get_many::<Member, _>([&team])?
                    .try_into()
                    .unwrap_or([None]);
                let level = i64::try_from(found)? + last.map_or(0, |member| member.level);
                tables.merge(team, [Member::level.set(level)]);
            }
            Event::Dissolved { team, level } => {
                tables.remove_where(Member::by_team_and_level(team, level));
            }
            Event::Left { name } => {
                if tables.get::<Member>(&name)?.is_none() {
                    reject!("{name} was never here");
                }
                tables.remove::<Member>(name);
            }
            Event::Other => {
                let metadata: serde_json::Value = context.read_metadata()?;
                let name = metadata["user"].as_str().unwrap_or("nobody");
                tables.merge(name, [Member::level.add(1_i64)]);
            }
        }
        Ok(())
    }
}

const ID: &str = "0191a2b3-c4d5-4e6f-8a9b-000000000001";

fn joined(name: &str, team: Option<&str>) -> GivenEvent {
    event("Joined", json!({"name": name, "team": team}))
}

fn member(name: &str, team: Option<&str>, level: i64) -> Member {
    Member {
        name: name.to_owned(),
        team: team.map(str::to_owned),
        level,
    }
}

#[test]
fn every_type_comes_back_as_it_was() {
    let at = "2025-01-15T10:30:00.000001Z";
    let rows = given::<Operations>([
        event(
            "Put",
            json!({"id": ID, "document": {"bb": [1, 2.5], "a": null}}),
        )
        .at(at),
        event("Merged", json!({"id": ID})).at(at),
        event("Merged", json!({"id": ID})).at("2025-01-14T00:00:00Z"),
    ])
    .rows::<Everything>();
    let id: Uuid = ID.parse().unwrap();
    let put = Everything {
        id,
        part: -1,
        flag: true,
        count: u32::MAX,
        ratio: 0.5,
        price: "12.50".parse().unwrap(),
        blob: vec![0, 255],
        at: at.parse().unwrap(),
        day: "2025-01-15".parse().unwrap(),
        // In the host's normal form.
        document: rows[0].document.clone(),
        r#type: None,
        least: None,
    };
    assert_eq!(rows[0].document.as_text(), r#"{"a": null, "bb": [1, 2.5]}"#);
    let merged = Everything {
        part: 7,
        flag: false,
        count: 0,
        ratio: 0.5,
        price: "4".parse().unwrap(),
        blob: Vec::new(),
        // The epoch, at which `merge` began, is before both.
        at: Timestamp::default(),
        day: Date::default(),
        document: rows[1].document.clone(),
        r#type: Some("merged".to_owned()),
        least: Some(Decimal::from(3)),
        ..put.clone()
    };
    assert_eq!(rows, [put, merged]);
}

#[test]
fn selections_see_what_the_batch_has_written() {
    let rows = given::<Operations>([
        joined("ada", Some("red")),
        joined("bob", Some("red")),
        joined("cyd", None),
        event("Promoted", json!({"team": "red"})),
        event("Promoted", json!({"team": null})),
        event("Copied", json!({"names": ["ada", "cyd"]})),
        event("Counted", json!({"team": "red"})),
        event("Left", json!({"name": "bob"})),
        joined("dan", Some("red")),
        event("team.dissolved", json!({"team": "red", "level": 2})),
    ])
    .rows::<Member>();
    assert_eq!(
        rows,
        [
            member("cyd", None, 2),
            member("cyd'", None, 2),
            member("dan", Some("red"), 1),
            member("red", None, 3),
        ]
    );
}

#[test]
fn other_events_come_with_their_metadata() {
    let rows = given::<Operations>([
        event("Anything", json!(null)).metadata(json!({"user": "eve"})),
        event("Else", json!([]))
            .binary([1, 2])
            .metadata(json!({"user": "eve"})),
    ])
    .rows::<Member>();
    assert_eq!(rows, [member("eve", None, 2)]);
}

#[test]
fn a_rejection_names_event_reason_and_place() {
    let rejection =
        given::<Operations>([joined("ada", None), event("Left", json!({"name": "zoe"}))])
            .rejection();
    assert_eq!(rejection.position, 2);
    let message = &rejection.message;
    assert!(
        message.starts_with("Left: zoe was never here (at "),
        "{message}"
    );
    assert!(message.contains("operations.rs:"), "{message}");
}

#[test]
fn binary_data_is_not_json() {
    let given = given::<Operations>([event("Left", json!({})).binary([0; 3])]);
    assert_eq!(
        given.rejection().message,
        "Left: its data cannot be read: it is 3 bytes of binary data, not JSON"
    );
}

#[test]
fn what_traps_in_the_sandbox_is_a_rejection_here() {
    let rejection = given::<Operations>([joined("a\0b", None)]).rejection();
    assert!(
        rejection.message.contains("U+0000"),
        "{}",
        rejection.message
    );
}

#[derive(Events)]
enum Tick {
    Ticked,
}

/// Counts in memory instead of in its table.
struct KeepsState;

impl Projection for KeepsState {
    const NAME: &'static str = "keeps_state";
    const VERSION: u32 = 1;
    type Event = Tick;
    type Tables = (Member,);

    fn apply(Tick::Ticked: Tick, _: &EventContext, tables: &mut Tables) -> Result<()> {
        static TICKS: AtomicI64 = AtomicI64::new(0);
        let ticks = TICKS.fetch_add(1, Ordering::Relaxed);
        tables.put(member("clock", None, ticks));
        Ok(())
    }
}

#[test]
#[should_panic(expected = "the result depends on how the events are cut into batches")]
fn a_projection_that_keeps_something_in_memory_is_caught() {
    let _ = given::<KeepsState>([event("Ticked", json!({}))]);
}

#[test]
#[should_panic(
    expected = "event 1 was rejected: Left: its data cannot be read: missing field `name`"
)]
fn rows_of_a_rejected_log_fail_the_test_with_the_reason() {
    let _ = given::<Operations>([event("Left", json!({}))]).rows::<Member>();
}
