//! What becomes of a module that arrives, from the directory and by `deploy`,
//! whether a host runs or not.

use gnomon_tests::harness::{
    Declaration, Host, Installation, PATIENCE, System, another_build, component,
};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "notebook";
const FILE: &str = "notebook.wasm";

/// Version `version`, which has a column of its own from version 3 on.
fn module(version: u32) -> Vec<u8> {
    changed(|declaration| {
        declaration.version = version;
        if version > 2 {
            add_column(declaration);
        }
    })
}

/// Version 2, changed in another way.
fn changed(change: impl Fn(&mut Declaration)) -> Vec<u8> {
    let mut declaration = Declaration::sane(NAME, "notes");
    declaration.version = 2;
    change(&mut declaration);
    component(&declaration)
}

fn add_column(declaration: &mut Declaration) {
    declaration.tables[0].columns.push("colour".to_owned());
}

fn with_another_column() -> Vec<u8> {
    changed(add_column)
}

fn with_another_table() -> Vec<u8> {
    changed(|declaration| {
        let mut table = declaration.tables[0].clone();
        table.name = "labels".to_owned();
        declaration.tables.push(table);
    })
}

fn with_another_subscription() -> Vec<u8> {
    changed(|declaration| declaration.event_types = vec!["OrderPlaced".to_owned()])
}

/// How a module arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Directory,
    Command,
}

/// An installation that modules arrive at.
struct Site {
    installation: Installation,
    way: Way,
    host: Option<Host>,
}

impl Site {
    /// One in which version 2 is live.
    fn new(system: System, way: Way, has_host: bool) -> Self {
        let installation = Installation::in_one_database(system);
        installation.append_orders(50, 21);
        let mut site = Self {
            installation,
            way,
            host: None,
        };
        site.host = has_host.then(|| site.installation.start_host());
        site.bring(&module(2));
        let status = site.installation.wait_until_live(NAME, 2);
        assert_eq!(status["position"], 50, "{status}");
        site
    }

    /// Brings a module that is to be taken; gives what `deploy` says.
    fn bring(&self, bytes: &[u8]) -> Value {
        let said = match self.way {
            Way::Directory => {
                self.installation.swap_module(FILE, bytes);
                Value::Null
            }
            Way::Command => self.installation.deploy(bytes, &[]),
        };
        if self.host.is_none() {
            self.installation.succeed(&["run", "--until-caught-up"]);
        }
        said
    }

    /// Brings a module that is refused with these words.
    fn bring_in_vain(&self, bytes: &[u8], said: &[&str]) {
        match (self.way, &self.host) {
            (Way::Command, _) => {
                let file = self.installation.module_apart(bytes);
                let said = [&[file], said].concat();
                self.installation.fail(&["deploy", file], &said);
            }
            (Way::Directory, host) => {
                let said = [&[FILE], said].concat();
                self.installation.swap_module(FILE, bytes);
                if host.is_some() {
                    self.installation.wait_for_refusal(&said);
                } else {
                    self.installation.fail(&["run", "--until-caught-up"], &said);
                }
            }
        }
    }

    /// Waits until everything that has arrived is dealt with: what came last
    /// is.
    fn settle(&self, round: u32) {
        if self.host.is_some() && self.way == Way::Directory {
            let name = format!("marker_{round}");
            let marker = component(&Declaration::sane(&name, &format!("marks_{round}")));
            self.installation
                .swap_module(&format!("{name}.wasm"), &marker);
            self.installation.wait_until_live(&name, 1);
        }
    }

    /// Version 2 is still there, and it moves.
    fn assert_untouched(&self, generation: &Value, hash: &Value) {
        self.installation
            .append("Order-1", "OrderPacked", &json!({}));
        if self.host.is_none() {
            // The file that is refused may still be there.
            let _ = self.installation.run(&["run", "--until-caught-up"]);
        }
        self.installation.wait_for(NAME, self.installation.head());
        let status = self.installation.status(NAME);
        assert_eq!(status["version"], 2, "{status}");
        assert_eq!(status["generation"], *generation, "{status}");
        assert_eq!(status["module"], *hash, "{status}");
        assert_eq!(status["candidate"], Value::Null, "{status}");
        assert_eq!(status["retired"], Value::Null, "{status}");
    }
}

/// Every row of the table, one after the other.
fn every_row(way: Way, has_host: bool) {
    for system in SYSTEMS {
        let site = Site::new(system, way, has_host);
        let installation = &site.installation;
        let first = installation.status(NAME);
        let said = |said: &Value, action: &str, generations: Value| {
            if way == Way::Command {
                assert_eq!(said["name"], NAME, "{said}");
                assert_eq!(said["action"], action, "{said}");
                assert_eq!(said["generations"], generations, "{said}");
                assert_eq!(said["has_host"], has_host, "{said}");
            }
        };

        let nothing = site.bring(&module(2));
        said(&nothing, "nothing", json!([]));
        site.settle(1);
        site.assert_untouched(&first["generation"], &first["module"]);

        let rebuilt = another_build(&module(2), 1);
        let hash = installation.hash_of(&rebuilt);
        assert_ne!(hash, first["module"]);
        let reloaded = site.bring(&rebuilt);
        said(&reloaded, "reloaded", json!([first["generation"]]));
        if has_host {
            installation.wait_for_module(NAME, &hash);
        }
        site.assert_untouched(&first["generation"], &hash);

        for (bytes, reason) in [
            (
                with_another_column(),
                "its table `notes` has a new column `colour`",
            ),
            (with_another_table(), "a new table `labels`"),
            (
                with_another_subscription(),
                "it no longer subscribes to all event types",
            ),
        ] {
            site.bring_in_vain(&bytes, &[reason, "raise the version"]);
            site.assert_untouched(&first["generation"], &hash);
        }
        site.bring_in_vain(
            &module(1),
            &["version 2 is deployed", "gnomon rollback notebook"],
        );
        site.assert_untouched(&first["generation"], &hash);

        let building = site.bring(&module(3));
        let status = installation.wait_until_live(NAME, 3);
        said(&building, "building", json!([status["generation"]]));
        assert_ne!(status["generation"], first["generation"], "{status}");
        assert_eq!(
            status["retired"]["generation"], first["generation"],
            "{status}"
        );
        assert_eq!(status["retired"]["version"], 2, "{status}");
        installation.wait_for(NAME, installation.head());
        assert!(installation.rows_of(NAME, "notes").is_empty());
        let column = format!(
            "SELECT count(colour) FROM {}",
            installation.public_name(NAME, "notes")
        );
        assert_eq!(installation.read_models.number(&column), 0);
        if has_host {
            installation.wait_until_nothing_is_refused();
        }
    }
}

#[test]
fn every_row_of_the_table_holds_for_a_file_that_a_host_watches() {
    every_row(Way::Directory, true);
}

#[test]
fn every_row_of_the_table_holds_for_a_file_that_the_next_host_finds() {
    every_row(Way::Directory, false);
}

#[test]
fn every_row_of_the_table_holds_for_deploy_beside_a_host() {
    every_row(Way::Command, true);
}

#[test]
fn every_row_of_the_table_holds_for_deploy_without_a_host() {
    every_row(Way::Command, false);
}

#[test]
fn beside_a_candidate_only_its_version_the_live_one_or_a_higher_one_is_taken() {
    for system in SYSTEMS {
        let site = Site::new(system, Way::Command, false);
        let installation = &site.installation;
        let live = installation.status(NAME)["generation"].clone();
        let held = installation.deploy(&module(5), &["--hold"]);
        installation.succeed(&["run", "--until-caught-up"]);
        let candidate = installation.status(NAME)["candidate"].clone();
        assert_eq!(json!([candidate["generation"]]), held["generations"]);
        assert_eq!(candidate["state"], "ready", "{candidate}");
        assert_eq!(candidate["hold"], true, "{candidate}");

        let file = installation.module_apart(&module(4));
        installation.fail(
            &["deploy", file],
            &[
                "version 5 is being built",
                "gnomon remove notebook --candidate",
            ],
        );
        let of_live = installation.deploy(&another_build(&module(2), 1), &[]);
        assert_eq!(of_live["generations"], json!([live]), "{of_live}");
        let of_candidate = installation.deploy(&another_build(&module(5), 1), &[]);
        assert_eq!(of_candidate["action"], "reloaded", "{of_candidate}");
        assert_eq!(of_candidate["generations"], held["generations"]);

        let higher = installation.deploy(&module(6), &["--hold"]);
        assert_eq!(higher["action"], "building", "{higher}");
        let candidate = installation.status(NAME)["candidate"].clone();
        assert_eq!(json!([candidate["generation"]]), higher["generations"]);
        assert_eq!(candidate["version"], 6, "{candidate}");
        assert_eq!(installation.status(NAME)["generation"], live);
    }
}

#[test]
fn a_held_candidate_is_not_promoted_however_it_is_reloaded() {
    for system in SYSTEMS {
        let site = Site::new(system, Way::Directory, true);
        let installation = &site.installation;
        installation.deploy(&module(3), &["--hold"]);
        installation.wait_for_status(NAME, PATIENCE, |status| {
            status["candidate"]["state"] == "ready"
        });
        // The file of that version says nothing about promotion.
        site.bring(&another_build(&module(3), 1));
        let hash = installation.hash_of(&another_build(&module(3), 1));
        let status = installation.wait_for_status(NAME, PATIENCE, |status| {
            status["candidate"]["module"] == hash
        });
        site.settle(1);
        assert_eq!(status["version"], 2, "{status}");
        let status = installation.status(NAME);
        assert_eq!(status["version"], 2, "{status}");
        assert_eq!(status["candidate"]["hold"], true, "{status}");
    }
}

#[test]
fn nothing_is_deployed_under_the_name_of_a_copy() {
    for system in SYSTEMS {
        let site = Site::new(system, Way::Command, false);
        let installation = &site.installation;
        let rebuild = ["rebuild", NAME, "--until", "20", "--as", "early_notes"];
        installation.succeed(&rebuild);
        installation.succeed(&["run", "--until-caught-up"]);
        let module = changed(|declaration| declaration.name = "early_notes".to_owned());
        let said = ["a copy of `notebook`", "gnomon remove early_notes --drop"];
        let file = installation.module_apart(&module);
        installation.fail(&["deploy", file], &said);
        installation.swap_module("early.wasm", &module);
        installation.fail(&["run", "--until-caught-up"], &said);
        assert_eq!(installation.status("early_notes")["copy_of"], NAME);
    }
}

#[test]
fn two_files_of_one_name_are_refused_naming_both_and_the_earlier_one_goes_on() {
    for system in SYSTEMS {
        let site = Site::new(system, Way::Directory, true);
        let installation = &site.installation;
        let first = installation.status(NAME);
        let said = [FILE, "other.wasm", "named `notebook`"];
        installation.swap_module("other.wasm", &module(3));
        installation.wait_for_refusal(&said);
        site.assert_untouched(&first["generation"], &first["module"]);
        // So it is for the next host.
        let Site {
            installation, host, ..
        } = site;
        let (ended, _) = host.unwrap().terminate(PATIENCE);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        installation.fail(&["run", "--until-caught-up"], &said);
        assert_eq!(installation.status(NAME)["version"], 2);
        let _host = installation.start_host();
        installation.wait_for_refusal(&said);
        // The other one takes over when the first has gone.
        installation.take_module_away(FILE);
        installation.wait_until_live(NAME, 3);
        installation.wait_until_nothing_is_refused();
    }
}

#[test]
fn of_two_files_of_one_name_that_come_together_none_is_deployed() {
    for system in SYSTEMS {
        let installation = Installation::in_one_database(system)
            .with_module("a.wasm", &module(2))
            .with_module("b.wasm", &module(3));
        installation.append_orders(10, 22);
        installation.fail(
            &["run", "--until-caught-up"],
            &["a.wasm", "b.wasm", "keep one of them"],
        );
        let statuses = installation.json_lines(&["status"]);
        assert!(
            statuses.iter().all(|status| status["version"].is_null()),
            "{statuses:?}"
        );
        installation.take_module_away("b.wasm");
        installation.succeed(&["run", "--until-caught-up"]);
        assert_eq!(installation.status(NAME)["version"], 2);
    }
}
