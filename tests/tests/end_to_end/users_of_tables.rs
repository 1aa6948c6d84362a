//! What users have made on the public names: their views and grants survive a
//! promotion, or are named before anything happens to them.

use gnomon_tests::harness::{Declaration, Host, Installation, PATIENCE, System, component};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "notebook";
/// A user's view.
const VIEW: &str = "colours";

/// Versions 1 and 3 have a column that version 2 lacks.
fn module(version: u32) -> Vec<u8> {
    let mut declaration = Declaration::sane(NAME, "notes");
    declaration.version = version;
    if version != 2 {
        declaration.tables[0].columns.push("colour".to_owned());
    }
    component(&declaration)
}

/// An installation with version 1, and what users made of it.
struct Site {
    installation: Installation,
    host: Option<Host>,
}

impl Site {
    fn all(test: impl Fn(&Self)) {
        for system in SYSTEMS {
            for has_host in [true, false] {
                let installation = Installation::in_one_database(system);
                installation.append_orders(20, 61);
                let host = has_host.then(|| installation.start_host());
                let site = Self { installation, host };
                site.installation.deploy(&module(1), &[]);
                site.catch_up();
                site.installation.wait_until_live(NAME, 1);
                site.make_users_view();
                test(&site);
            }
        }
    }

    fn catch_up(&self) {
        if self.host.is_none() {
            self.installation.succeed(&["run", "--until-caught-up"]);
        }
    }

    fn make_users_view(&self) {
        let statements = match self.installation.read_models.system() {
            System::Sqlite => "CREATE VIEW colours AS SELECT colour FROM notes",
            System::Postgres => {
                "CREATE SCHEMA reports;
                 CREATE VIEW reports.colours AS SELECT colour FROM notebook.notes;
                 GRANT SELECT ON notebook.notes TO PUBLIC;
                 COMMENT ON VIEW notebook.notes IS 'all of them'"
            }
        };
        self.installation.read_models.execute(statements);
    }

    /// Whether the user's view is there, and works.
    fn has_users_view(&self) -> bool {
        let database = &self.installation.read_models;
        let is_there = database.has_table(VIEW);
        if is_there {
            let name = match database.system() {
                System::Sqlite => "SELECT * FROM colours",
                System::Postgres => "SELECT * FROM reports.colours",
            };
            assert!(database.rows(name).is_empty());
        }
        is_there
    }

    fn assert_grants_are_there(&self) {
        let database = &self.installation.read_models;
        if database.system() == System::Postgres {
            let found = database.rows(
                "SELECT has_table_privilege('public', 'notebook.notes', 'SELECT'),
                        obj_description('notebook.notes'::regclass)",
            );
            assert_eq!(
                found,
                [[Some("1".to_owned()), Some("all of them".to_owned())]]
            );
        }
    }

    fn status(&self) -> Value {
        self.installation.status(NAME)
    }

    /// Version 2 wants to be live, and the user's view is in its way.
    fn bring_what_cannot_stay(&self) {
        self.installation.deploy(&module(2), &[]);
        if self.host.is_none() {
            self.installation.run(&["run", "--until-caught-up"]);
        }
        let status = self.installation.wait_for_status(NAME, PATIENCE, |status| {
            !status["candidate"]["cause"].is_null() && status["candidate"]["state"] == "ready"
        });
        let cause = status["candidate"]["cause"].as_str().unwrap();
        assert!(
            cause.contains(VIEW) && cause.contains(&format!("`gnomon promote {NAME} --cascade`")),
            "{cause}"
        );
        assert_eq!(status["version"], 1, "{status}");
        assert!(self.has_users_view());
    }
}

#[test]
fn views_and_grants_of_users_survive_a_promotion_and_a_rollback() {
    Site::all(|site| {
        for command in ["rebuild", "rollback"] {
            let before = site.status()["generation"].clone();
            site.installation.succeed(&[command, NAME]);
            site.catch_up();
            site.installation
                .wait_for_status(NAME, PATIENCE, |status| status["generation"] != before);
            assert!(site.has_users_view());
            site.assert_grants_are_there();
        }
    });
}

#[test]
fn a_promotion_that_a_users_view_forbids_names_it_and_cascade_drops_it() {
    Site::all(|site| {
        site.bring_what_cannot_stay();
        site.installation.fail(
            &["promote", NAME, "--timeout", "120s"],
            &[VIEW, &format!("`gnomon promote {NAME} --cascade`")],
        );
        assert!(site.has_users_view());
        site.assert_grants_are_there();
        let promote = ["promote", NAME, "--cascade", "--timeout", "120s"];
        let promoted = site.installation.json(&promote);
        assert_eq!(promoted["state"], "live", "{promoted}");
        assert!(!site.has_users_view());
        site.assert_grants_are_there();
        let status = site.status();
        assert_eq!(status["version"], 2, "{status}");
        assert_eq!(status["candidate"], Value::Null, "{status}");
    });
}

#[test]
fn a_candidate_that_a_users_view_forbids_is_live_once_the_user_has_dropped_it() {
    Site::all(|site| {
        site.bring_what_cannot_stay();
        let name = match site.installation.read_models.system() {
            System::Sqlite => "DROP VIEW colours",
            System::Postgres => "DROP VIEW reports.colours",
        };
        site.installation.read_models.execute(name);
        let promoted = site
            .installation
            .json(&["promote", NAME, "--timeout", "120s"]);
        assert_eq!(promoted["state"], "live", "{promoted}");
        site.assert_grants_are_there();
    });
}

#[test]
fn a_rollback_that_a_users_view_forbids_names_it_and_cascade_drops_it() {
    Site::all(|site| {
        let drop = match site.installation.read_models.system() {
            System::Sqlite => "DROP VIEW colours",
            System::Postgres => "DROP SCHEMA reports CASCADE",
        };
        site.installation.read_models.execute(drop);
        for version in [2, 3] {
            site.installation.deploy(&module(version), &[]);
            site.catch_up();
            site.installation.wait_until_live(NAME, version);
        }
        site.make_users_view();
        site.installation.fail(
            &["rollback", NAME, "--timeout", "120s"],
            &[VIEW, &format!("`gnomon rollback {NAME} --cascade`")],
        );
        let status = site.status();
        assert_eq!(status["version"], 3, "{status}");
        let cause = status["retired"]["cause"].as_str().unwrap();
        assert!(cause.contains(VIEW), "{cause}");
        assert!(site.has_users_view());
        let rollback = ["rollback", NAME, "--cascade", "--timeout", "120s"];
        assert_eq!(site.installation.json(&rollback)["state"], "live");
        assert_eq!(site.status()["version"], 2);
        assert!(!site.has_users_view());
    });
}

#[test]
fn a_drop_that_a_users_view_forbids_names_it_changes_nothing_and_cascade_drops_it() {
    Site::all(|site| {
        site.installation.fail(
            &["remove", NAME, "--drop"],
            &[VIEW, &format!("`gnomon remove {NAME} --drop --cascade`")],
        );
        site.installation
            .append("Order-1", "OrderPacked", &json!({}));
        site.catch_up();
        site.installation.wait_for(NAME, 21);
        assert!(site.has_users_view());
        site.installation
            .succeed(&["remove", NAME, "--drop", "--cascade"]);
        assert!(!site.has_users_view());
        site.installation
            .fail(&["status", NAME], &["no projection"]);
    });
}
