//! Which generation readers see, and how users change that: with a host, and
//! without one.

use gnomon_tests::harness::{
    Declaration, Host, Installation, PATIENCE, Rows, System, component, guest,
};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "picky";

/// `picky`, live with the three notes that there are.
struct Site {
    installation: Installation,
    host: Option<Host>,
}

impl Site {
    fn new(system: System, has_host: bool) -> Self {
        let installation = Installation::in_one_database(system);
        let host = has_host.then(|| installation.start_host());
        let site = Self { installation, host };
        site.note(3);
        site.installation.deploy(&guest(NAME), &[]);
        site.catch_up();
        site.installation.wait_until_live(NAME, 1);
        site
    }

    fn all(mut test: impl FnMut(&Self)) {
        for system in SYSTEMS {
            for has_host in [true, false] {
                test(&Self::new(system, has_host));
            }
        }
    }

    /// Appends that many notes.
    fn note(&self, count: usize) {
        for _ in 0..count {
            let data = json!({"note": "noted"});
            self.installation.append("Note-a", "Noted", &data);
        }
    }

    /// Where no host runs, one runs until it has nothing left to do.
    fn catch_up(&self) {
        if self.host.is_none() {
            self.installation.succeed(&["run", "--until-caught-up"]);
        }
    }

    /// Lets the live generation take in all events.
    fn follow(&self) {
        self.catch_up();
        self.installation.wait_for(NAME, self.installation.head());
    }

    fn status(&self) -> Value {
        self.installation.status(NAME)
    }

    fn live(&self) -> Value {
        self.status()["generation"].clone()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.installation.json(arguments)
    }

    fn wait_for(&self, is_right: impl Fn(&Value) -> bool) -> Value {
        self.installation.wait_for_status(NAME, PATIENCE, is_right)
    }

    /// Builds a candidate that waits, and gives its number.
    fn hold(&self) -> Value {
        let candidate = self.json(&["rebuild", NAME, "--hold"])["generation"].clone();
        self.catch_up();
        self.wait_for(|status| {
            status["candidate"]["generation"] == candidate
                && status["candidate"]["state"] == "ready"
        });
        candidate
    }

    /// Builds a generation that takes over.
    fn rebuild(&self) -> Value {
        let rebuilt = self.json(&["rebuild", NAME])["generation"].clone();
        self.catch_up();
        self.wait_for(|status| status["generation"] == rebuilt && status["candidate"].is_null());
        rebuilt
    }

    /// Panics where readers do not see every note once.
    fn assert_rows(&self) {
        let rows: Rows = self.installation.rows_of(NAME, "seen");
        let mut positions: Vec<i64> = rows
            .iter()
            .map(|row| row[0].as_ref().unwrap().parse().unwrap())
            .collect();
        positions.sort_unstable();
        let expected: Vec<i64> = (1..=self.installation.head()).collect();
        assert_eq!(positions, expected);
        let streams = self.installation.rows_of(NAME, "streams");
        assert_eq!(
            streams[0][1],
            Some(expected.len().to_string()),
            "{streams:?}"
        );
    }
}

#[test]
fn a_held_candidate_is_live_from_its_promotion_on() {
    Site::all(|site| {
        let first = site.live();
        let candidate = site.hold();
        // It follows the events while it waits.
        site.note(1);
        site.follow();
        site.wait_for(|status| status["candidate"]["position"] == 4);
        assert_eq!(site.live(), first);
        let promoted = site.json(&["promote", NAME, "--timeout", "120s"]);
        assert_eq!(
            promoted,
            json!({"name": NAME, "generation": candidate, "version": 1, "state": "live"})
        );
        let status = site.status();
        assert_eq!(status["generation"], candidate, "{status}");
        assert_eq!(status["candidate"], Value::Null, "{status}");
        assert_eq!(status["retired"]["generation"], first, "{status}");
        site.assert_rows();
        site.note(1);
        site.follow();
        site.assert_rows();
    });
}

#[test]
fn a_candidate_that_is_promoted_too_early_is_live_when_it_has_caught_up() {
    Site::all(|site| {
        // It cannot move.
        site.installation.succeed(&["pause", NAME]);
        if site.host.is_some() {
            site.wait_for(|status| status["state"] == "paused");
        }
        let candidate = site.json(&["rebuild", NAME, "--hold"])["generation"].clone();
        // Readers do not see it, so this has not happened; it stays wanted.
        let promoted = site
            .installation
            .run(&["promote", NAME, "--timeout", "200ms"]);
        assert_eq!(promoted.code, Some(1), "{promoted:?}");
        let said = format!("{}{}", promoted.stdout, promoted.stderr);
        assert!(said.contains(&format!("generation {candidate} ")), "{said}");
        assert!(
            said.contains("stays in the registry") || said.contains("`gnomon run`"),
            "{said}"
        );
        site.installation.succeed(&["resume", NAME]);
        site.catch_up();
        site.wait_for(|status| status["generation"] == candidate);
        site.assert_rows();
    });
}

#[test]
fn a_rollback_catches_up_before_readers_see_it() {
    Site::all(|site| {
        let first = site.live();
        let second = site.rebuild();
        site.note(2);
        site.follow();
        assert_eq!(site.status()["retired"]["position"], 3);
        let ended = site
            .installation
            .run(&["rollback", NAME, "--timeout", "120s", "--json"]);
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(said["generation"], first, "{said}");
        if site.host.is_some() {
            assert_eq!(said["state"], "live", "{said}");
            assert_eq!(ended.code, Some(0), "{ended:?}");
        } else {
            // Nobody is there to catch it up.
            assert_eq!(said["state"], "retired", "{said}");
            assert_eq!(ended.code, Some(1), "{ended:?}");
            assert_eq!(site.live(), second);
            site.assert_rows();
            site.catch_up();
        }
        let status = site.wait_for(|status| status["generation"] == first);
        assert_eq!(status["retired"]["generation"], second, "{status}");
        site.assert_rows();
        // There and back again; this time nothing is missing.
        let said = site.json(&["rollback", NAME, "--timeout", "120s"]);
        assert_eq!(
            (&said["generation"], &said["state"]),
            (&second, &json!("live"))
        );
        assert_eq!(site.live(), second);
        site.note(1);
        site.follow();
        site.assert_rows();
    });
}

#[test]
fn a_paused_projection_and_its_candidate_stand_still_until_resume() {
    Site::all(|site| {
        let first = site.live();
        let paused = site.json(&["pause", NAME]);
        assert_eq!(paused, json!({"name": NAME, "desired_state": "paused"}));
        if site.host.is_some() {
            site.wait_for(|status| status["state"] == "paused");
        }
        let candidate = site.json(&["rebuild", NAME])["generation"].clone();
        site.note(2);
        // Another projection gets all the way meanwhile.
        let other = component(&Declaration::sane("other", "others"));
        site.installation.deploy(&other, &[]);
        let until = (site.host.is_none()).then(|| site.installation.start_host());
        site.installation.wait_until_live("other", 1);
        site.installation.wait_for("other", 5);
        let status = site.wait_for(|status| status["state"] == "paused");
        assert_eq!(status["generation"], first, "{status}");
        assert_eq!(status["position"], 3, "{status}");
        assert_eq!(status["candidate"]["generation"], candidate, "{status}");
        assert_eq!(status["candidate"]["position"], 0, "{status}");
        let resumed = site.json(&["resume", NAME]);
        assert_eq!(resumed["desired_state"], "running", "{resumed}");
        site.wait_for(|status| status["generation"] == candidate && status["position"] == 5);
        site.assert_rows();
        drop(until);
    });
}

#[test]
fn catching_up_ends_at_a_paused_projection_and_says_so() {
    for system in SYSTEMS {
        let site = Site::new(system, false);
        site.installation.succeed(&["pause", NAME]);
        site.note(1);
        let ended = site.installation.run(&["run", "--until-caught-up"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(
            ended.stdout.contains("picky: paused at position 3"),
            "{ended:?}"
        );
        site.installation.succeed(&["resume", NAME]);
        site.follow();
        site.assert_rows();
    }
}

#[test]
fn a_newer_candidate_takes_the_place_of_one_that_is_held() {
    Site::all(|site| {
        let held = site.hold();
        let newer = site.hold();
        assert_ne!(held, newer);
        let promoted = site.json(&["promote", NAME, "--timeout", "120s"]);
        assert_eq!(promoted["generation"], newer);
        site.assert_rows();
    });
}

#[test]
fn people_read_what_json_says_in_a_sentence() {
    let site = Site::new(System::Sqlite, false);
    let said = |arguments: &[&str], fragments: &[&str]| {
        let said = site.installation.succeed(arguments);
        for fragment in fragments {
            assert!(said.contains(fragment), "{arguments:?}: {said}");
        }
    };
    let file = site.installation.module_apart(&guest(NAME));
    said(&["deploy", file], &["picky", "is deployed already"]);
    said(
        &["rebuild", NAME, "--hold"],
        &["generation 2", "start one with `gnomon run`"],
    );
    let promoted = site.installation.run(&["promote", NAME]);
    assert_eq!(promoted.code, Some(1), "{promoted:?}");
    for fragment in ["generation 2", "has to catch up first", "`gnomon run`"] {
        assert!(promoted.stdout.contains(fragment), "{promoted:?}");
    }
    site.catch_up();
    said(
        &["rollback", NAME],
        &["generation 1 (version 1): readers see it now"],
    );
    said(
        &["status", NAME],
        &["`gnomon rollback picky` goes back to generation 2"],
    );
    said(&["rebuild", NAME, "--hold"], &["generation 3"]);
    said(
        &["status", NAME],
        &["generation 3, version 1, is being built", "held"],
    );
    said(&["pause", NAME], &["picky will be paused"]);
    said(
        &["remove", NAME, "--candidate"],
        &["generation 3 is dropped"],
    );
    said(
        &["remove", NAME],
        &["picky is removed", "gnomon remove picky --drop"],
    );
    said(&["status", NAME], &["was removed", "gnomon resume picky"]);
    said(
        &["remove", NAME, "--drop"],
        &["picky is dropped, with its tables and views"],
    );
    said(&["status"], &["no projections yet"]);
}

#[test]
fn what_cannot_be_done_is_refused_with_what_to_do() {
    Site::all(|site| {
        let fail = |arguments: &[&str], said: &[&str]| {
            site.installation.fail(arguments, said);
        };
        fail(
            &["promote", NAME],
            &["picky has no candidate", "gnomon rebuild picky"],
        );
        fail(
            &["rollback", NAME],
            &["no retired generation", "keep-generations"],
        );
        fail(&["diff", NAME], &["picky has no candidate", "--hold"]);
        fail(
            &["remove", NAME, "--candidate"],
            &["picky has no candidate"],
        );
        for command in [
            &["promote", "pickle"][..],
            &["rollback", "pickle"],
            &["pause", "pickle"],
            &["resume", "pickle"],
            &["rebuild", "pickle"],
            &["remove", "pickle"],
            &["remove", "pickle", "--candidate"],
            &["remove", "pickle", "--drop"],
            &["diff", "pickle"],
            &["verify", "pickle"],
            &["status", "pickle"],
        ] {
            fail(command, &["no projection `pickle`", "`gnomon status`"]);
        }
        fail(
            &["deploy", "nowhere.wasm"],
            &["nowhere.wasm cannot be read"],
        );
        let file = site.installation.module_apart(&[0x5a; 100]);
        fail(
            &["deploy", file],
            &["apart.wasm is refused", "not WebAssembly"],
        );
        fail(
            &["rebuild", NAME, "--until", "99", "--as", "later"],
            &["ends at position 3"],
        );
        fail(
            &["rebuild", NAME, "--until", "2999-01-01", "--as", "later"],
            &["2999-01-01T00:00:00", "in the future"],
        );
        fail(
            &["rebuild", NAME, "--until", "1", "--as", NAME],
            &["a projection `picky` already"],
        );
        fail(
            &["rebuild", NAME, "--until", "1", "--as", "No-Name"],
            &["cannot name a copy"],
        );
        for wrong in [
            &["promote"][..],
            &["deploy", file, "--hold", "--wait"],
            &["deploy", file, "--timeout", "1s"],
            &["rebuild", NAME, "--until", "1"],
            &["rebuild", NAME, "--as", "copy"],
            &["rebuild", NAME, "--until", "yesterday", "--as", "copy"],
            &["remove", NAME, "--candidate", "--drop"],
            &["remove", NAME, "--cascade"],
            &["rollback", NAME, "--timeout", "soon"],
        ] {
            let finished = site.installation.run(wrong);
            assert_eq!(finished.code, Some(2), "{wrong:?}: {finished:?}");
            assert_eq!(finished.stdout, "", "{wrong:?}");
        }
        let status = site.status();
        assert_eq!(status["candidate"], Value::Null, "{status}");
        site.note(1);
        site.follow();
        site.assert_rows();
    });
}
