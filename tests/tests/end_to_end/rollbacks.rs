//! Going back: a rollback that cannot catch up is shown, can be called off, and
//! is over when somebody wants something newer.

use gnomon_tests::harness::{Host, Installation, PATIENCE, System, guest};
use serde_json::{Value, json};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const NAME: &str = "picky";
/// How many retired generations are kept; so all of them.
const KEEP: &str = "[projections]\nkeep-generations = 9";

/// An installation whose first generation rejects an event that the live one
/// has applied.
struct Site {
    installation: Installation,
    host: Host,
    first: Value,
    live: Value,
}

impl Site {
    fn new(system: System) -> Self {
        let installation = Installation::in_one_database(system).with_configuration(KEEP);
        let host = installation.start_host();
        let deployed = installation.deploy(&guest(NAME), &[]);
        installation.wait_until_live(NAME, 1);
        note(&installation, None);
        installation.wait_for(NAME, 1);
        let rebuilt = installation.json_lines(&["rebuild", NAME, "--wait"]);
        let live = rebuilt[0]["generation"].clone();
        // Only what is live gets the mended code.
        let mended = guest("picky-mended");
        let reloaded = installation.deploy(&mended, &[]);
        assert_eq!(reloaded["generations"], json!([live]), "{reloaded}");
        host.wait_for_reloads(1);
        note(&installation, Some("reject"));
        installation.wait_for(NAME, 2);
        Self {
            installation,
            host,
            first: deployed["generations"][0].clone(),
            live,
        }
    }

    /// Wants the first generation back, in vain.
    fn roll_back_in_vain(&self) {
        let said = [
            "cannot catch up: halted on event 2",
            "the note asks to be rejected",
            "`gnomon rollback picky --cancel` ends it",
        ];
        self.installation.fail(&["rollback", NAME], &said);
    }

    fn wishes(&self) -> Value {
        self.installation.status(NAME)["wishes"].clone()
    }

    fn live(&self) -> Value {
        self.installation.status(NAME)["generation"].clone()
    }

    /// Whether the first generation stays away, whatever gives it another try.
    fn assert_it_stays_away(self, expected: &Value) {
        let Self {
            installation,
            host,
            first,
            ..
        } = self;
        assert_eq!(installation.status(NAME)["wishes"], json!([]));
        installation.succeed(&["resume", NAME]);
        let (ended, _) = host.terminate(PATIENCE);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        // This one would let it catch up.
        let module = installation.hash_of(&guest("picky-mended"));
        let generations = match installation.read_models.system() {
            System::Sqlite => "gnomon_generations",
            System::Postgres => "gnomon.generations",
        };
        installation.read_models.execute(&format!(
            "UPDATE {generations} SET module = '{}' WHERE id = {first}",
            module.as_str().unwrap()
        ));
        note(&installation, None);
        installation.succeed(&["run", "--until-caught-up"]);
        let status = installation.status(NAME);
        assert_eq!(status["generation"], *expected, "{status}");
        assert_eq!(status["position"], 3, "{status}");
    }
}

fn note(installation: &Installation, fault: Option<&str>) {
    let data = json!({"note": "a", "fault": fault});
    installation.append("Note-a", "Noted", &data);
}

#[test]
fn a_rollback_that_cannot_catch_up_is_shown_until_it_is_called_off() {
    for system in SYSTEMS {
        let site = Site::new(system);
        let installation = &site.installation;
        assert_eq!(site.wishes(), json!([]));
        installation.fail(
            &["rollback", NAME, "--cancel"],
            &["there is no rollback to cancel"],
        );
        site.roll_back_in_vain();
        let wishes = site.wishes();
        let wish = &wishes[0];
        assert_eq!(
            (&wish["generation"], &wish["wish"], &wish["state"]),
            (&site.first, &json!("rollback"), &json!("retired")),
            "{wishes}"
        );
        assert_eq!(wish["position"], 1, "{wishes}");
        let cause = wish["cause"].as_str().unwrap();
        assert!(cause.contains("halted on event 2"), "{cause}");
        let said = installation.succeed(&["status"]);
        for fragment in [
            "a rollback to generation 1, version 1, is requested",
            "halted on event 2",
            "`gnomon rollback picky --cancel` ends it",
        ] {
            assert!(said.contains(fragment), "`{fragment}` is not in {said}");
        }
        // What goes on with the live one's code says so, too.
        let said = installation.deploy(&guest("picky-mended"), &[]);
        assert_eq!(said["action"], "nothing");

        let said = installation.json(&["rollback", NAME, "--cancel"]);
        assert_eq!(said, json!({"name": NAME, "cancelled": [site.first]}));
        assert_eq!(site.live(), site.live);
        let live = site.live.clone();
        site.assert_it_stays_away(&live);
    }
}

#[test]
fn a_rebuild_a_promotion_and_a_removal_end_a_rollback_that_is_wanted() {
    for system in SYSTEMS {
        for way in ["rebuild", "promote", "remove"] {
            let site = Site::new(system);
            let installation = &site.installation;
            let expected = match way {
                "rebuild" => {
                    site.roll_back_in_vain();
                    let said = installation.json_lines(&["rebuild", NAME, "--wait"]);
                    assert_eq!(said[0]["overtaken"]["rollbacks"], json!([site.first]));
                    said[0]["generation"].clone()
                }
                "promote" => {
                    let held = installation.json(&["rebuild", NAME, "--hold"]);
                    site.roll_back_in_vain();
                    let wishes = site.wishes();
                    let wanted: Vec<&Value> = wishes
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|wish| &wish["wish"])
                        .collect();
                    assert_eq!(wanted, ["rollback", "hold"]);
                    installation.wait_for_status(NAME, PATIENCE, |status| {
                        status["candidate"]["state"] == "ready"
                    });
                    let said = installation.succeed(&["promote", NAME, "--timeout", "120s"]);
                    assert!(
                        said.contains("the rollback to generation 1 is cancelled"),
                        "{said}"
                    );
                    held["generation"].clone()
                }
                _ => {
                    site.roll_back_in_vain();
                    installation.succeed(&["remove", NAME]);
                    installation.succeed(&["resume", NAME]);
                    site.live.clone()
                }
            };
            assert_eq!(site.live(), expected, "{way} on {system:?}");
            site.assert_it_stays_away(&expected);
        }
    }
}

#[test]
fn a_rollback_holds_the_candidate_that_would_undo_it_and_says_so() {
    for system in SYSTEMS {
        let installation = Installation::in_one_database(system).with_configuration(KEEP);
        note(&installation, None);
        let first = installation.deploy(&guest(NAME), &[])["generations"][0].clone();
        installation.succeed(&["run", "--until-caught-up"]);
        installation.succeed(&["rebuild", NAME]);
        installation.succeed(&["run", "--until-caught-up"]);
        // Begun, and not yet built.
        let third = installation.json(&["rebuild", NAME])["generation"].clone();
        let said = installation.succeed(&["rollback", NAME]);
        assert!(
            said.contains("generation 3 (version 1) is held now; `gnomon promote picky`")
                && said.contains("readers see it now"),
            "{said}"
        );
        installation.succeed(&["run", "--until-caught-up"]);
        let status = installation.status(NAME);
        assert_eq!(status["generation"], first, "{status}");
        let candidate = &status["candidate"];
        assert_eq!(
            (
                &candidate["generation"],
                &candidate["state"],
                &candidate["hold"]
            ),
            (&third, &json!("ready"), &json!(true)),
            "{status}"
        );
        let cause = candidate["cause"].as_str().unwrap();
        assert!(cause.contains("a rollback to generation 1"), "{cause}");
        let promoted = installation.json(&["promote", NAME]);
        assert_eq!(promoted["state"], "live", "{promoted}");
        assert_eq!(installation.status(NAME)["generation"], third);
    }
}

#[test]
fn a_rebuild_names_the_candidate_that_it_replaces_and_keeps_another_modules() {
    for system in SYSTEMS {
        let installation = Installation::in_one_database(system);
        installation.deploy(&guest(NAME), &[]);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.succeed(&["rebuild", NAME, "--hold"]);
        let said = installation.succeed(&["rebuild", NAME, "--hold"]);
        assert!(
            said.contains("generation 2 (version 1), which was held, is dropped for it"),
            "{said}"
        );
        installation.succeed(&["remove", NAME, "--candidate"]);

        let spending = Installation::in_one_database(system);
        spending.deploy(&guest("spending"), &[]);
        spending.succeed(&["run", "--until-caught-up"]);
        spending.deploy(&guest("spending-2"), &["--hold"]);
        let said = spending.fail(
            &["rebuild", "spending"],
            &[
                "a candidate of another module, generation 2 (version 2)",
                "gnomon promote spending",
                "gnomon remove spending --candidate",
            ],
        );
        assert_eq!(
            spending.status("spending")["candidate"]["generation"],
            2,
            "{said}"
        );
        let file = spending.module_apart(&guest("spending-3"));
        let said = spending.succeed(&["deploy", file]);
        assert!(
            said.contains("generation 2 (version 2), which was held, is dropped for it"),
            "{said}"
        );
    }
}
