//! A module that lists its tables, indexes and event types in another order is
//! the same projection: it takes over, and every write goes where it belongs.

use std::collections::BTreeMap;

use gnomon_tests::harness::{
    Chance, Host, Installation, PATIENCE, Rows, System, another_build, guest, not_only_core,
};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "listed";
const STREAMS: [&str; 3] = ["Thing-a", "Thing-b", "Thing-c"];
const COLOURS: [&str; 2] = ["red", "green"];

/// Both builds, as core modules are called and as components are.
fn builds() -> [[Vec<u8>; 2]; 2] {
    let core = ["listed", "listed-otherwise"].map(guest);
    let component = core.each_ref().map(|bytes| not_only_core(bytes));
    [core, component]
}

/// What the tables should hold.
#[derive(Default)]
struct Model {
    events: BTreeMap<&'static str, i64>,
    lasts: BTreeMap<&'static str, (&'static str, i64, String)>,
}

impl Model {
    /// Appends random events.
    fn append(&mut self, installation: &Installation, count: u64, chance: &mut Chance) {
        for _ in 0..count {
            let mut chosen =
                |limit: usize| usize::try_from(chance.number(0..limit as u64)).unwrap();
            let stream = STREAMS[chosen(STREAMS.len())];
            let (colour, size, _) = self.lasts.get(stream).cloned().unwrap_or_default();
            let (colour, size) = if chosen(2) == 0 {
                let colour = COLOURS[chosen(COLOURS.len())];
                installation.append(stream, "Painted", &json!({"colour": colour}));
                (colour, size)
            } else {
                let size = i64::from(chosen(2) == 0);
                installation.append(stream, "Grown", &json!({"size": size}));
                (colour, size)
            };
            let coloured = self.lasts.values().filter(|last| last.0 == colour).count();
            let sized = self.lasts.values().filter(|last| last.1 == size).count();
            let alike = format!("{coloured} {sized}");
            self.lasts.insert(stream, (colour, size, alike));
            *self.events.entry(stream).or_default() += 1;
        }
    }

    /// An event that `listed` halts at, and `listed-otherwise` only counts.
    fn append_faulty(&mut self, installation: &Installation) {
        installation.append(STREAMS[0], "Faulty", &json!({}));
        *self.events.entry(STREAMS[0]).or_default() += 1;
    }

    fn rows(&self, table: &str) -> Rows {
        let text = |text: &dyn ToString| Some(text.to_string());
        let counted = |times: i64| -> Rows {
            let events = self.events.iter();
            events
                .map(|(stream, count)| vec![text(stream), text(&(count * times))])
                .collect()
        };
        match table {
            "ones" => counted(1),
            "hundreds" => counted(100),
            _ => self
                .lasts
                .iter()
                .map(|(stream, (colour, size, alike))| {
                    vec![text(stream), text(colour), text(size), text(alike)]
                })
                .collect(),
        }
    }

    fn assert_right(&self, installation: &Installation, when: &str) {
        for table in ["ones", "hundreds", "lasts"] {
            let found = installation.rows_of(NAME, table);
            assert_eq!(found, self.rows(table), "`{table}` {when}");
        }
    }
}

fn stop(host: Host) {
    let (ended, _) = host.terminate(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// The names of all indexes that the generations' tables have.
fn indexes(installation: &Installation) -> Rows {
    installation
        .read_models
        .rows(match installation.read_models.system() {
            System::Sqlite => {
                "SELECT tbl_name, name, sql FROM sqlite_schema
                 WHERE type = 'index' AND tbl_name GLOB 'gnomon_[0-9]*' ORDER BY 1, 2"
            }
            System::Postgres => {
                "SELECT tablename, indexname, indexdef FROM pg_indexes
                 WHERE schemaname LIKE 'gnomon_listed_%' ORDER BY 1, 2"
            }
        })
}

/// Deploys a build that must take over where it is, and waits until it has.
fn reload(installation: &Installation, host: &Host, bytes: &[u8], generation: &Value) {
    let before = host.reloads();
    let deployed = installation.deploy(bytes, &[]);
    assert_eq!(deployed["action"], "reloaded", "{deployed}");
    assert_eq!(deployed["generations"], json!([generation]), "{deployed}");
    host.wait_for_reloads(before + 1);
}

#[test]
fn a_live_projection_writes_every_row_where_it_belongs_before_and_after_a_restart() {
    let mut chance = Chance::new();
    for system in SYSTEMS {
        for [first, second] in builds() {
            let installation = Installation::in_one_database(system);
            let mut model = Model::default();
            let mut after = |what: &str| {
                let when = format!("after {what} on {system:?}");
                model.append(&installation, 6, &mut chance);
                installation.wait_for(NAME, installation.head());
                model.assert_right(&installation, &when);
            };
            let host = installation.start_host();
            let deployed = installation.deploy(&first, &[]);
            let generation = &deployed["generations"][0];
            installation.wait_until_live(NAME, 1);
            after("the first build");
            let made = indexes(&installation);

            reload(&installation, &host, &second, generation);
            after("the second build");
            stop(host);
            let host = installation.start_host();
            after("a restart with the second build");
            installation.succeed(&["verify", NAME]);

            reload(&installation, &host, &another_build(&first, 1), generation);
            after("the first build again");
            stop(host);
            installation.succeed(&["verify", NAME]);
            // Each is found under the name that it has.
            assert_eq!(indexes(&installation), made);
        }
    }
}

#[test]
fn a_build_that_is_continued_by_the_other_module_gives_the_same_rows() {
    let mut chance = Chance::new();
    for system in SYSTEMS {
        for [first, second] in builds() {
            for window in ["0", "96MiB"] {
                let installation = Installation::in_one_database(system)
                    .with_variable("GNOMON_LIMITS_BUILD_WINDOW", window)
                    .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 4);
                let mut model = Model::default();
                model.append(&installation, 10, &mut chance);
                model.append_faulty(&installation);
                model.append(&installation, 10, &mut chance);

                let host = installation.start_host();
                let deployed = installation.deploy(&first, &[]);
                installation.wait_for_status(NAME, PATIENCE, |status| {
                    status["state"] == "halted" && status["position"] == 10
                });
                let generation = &deployed["generations"][0];
                reload(&installation, &host, &second, generation);
                let status = installation.wait_until_live(NAME, 1);
                assert_eq!(status["generation"], *generation);
                let when = format!("after the build on {system:?}");
                model.assert_right(&installation, &when);
                model.append(&installation, 6, &mut chance);
                installation.wait_for(NAME, installation.head());
                model.assert_right(&installation, &format!("{when}, live"));
                installation.succeed(&["verify", NAME]);
                stop(host);
            }
        }
    }
}

#[test]
fn a_file_that_lists_everything_in_another_order_is_taken_by_the_next_host() {
    for system in SYSTEMS {
        let [[first, second], _] = builds();
        let installation = Installation::in_one_database(system);
        let mut model = Model::default();
        let mut chance = Chance::new();
        installation.put_module("listed.wasm", &first);
        model.append(&installation, 6, &mut chance);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.put_module("listed.wasm", &second);
        model.append(&installation, 6, &mut chance);
        installation.succeed(&["run", "--until-caught-up"]);
        model.assert_right(&installation, &format!("on {system:?}"));
        assert_eq!(
            installation.status(NAME)["module"],
            installation.hash_of(&second)
        );
    }
}
