//! A rebuild beside the live generation: readers notice nothing but its
//! result, the live one keeps advancing, a kill costs nothing, and it can be
//! called off.

use std::time::Duration;

use gnomon_tests::harness::{Feed, Installation, PATIENCE, Readers, Spending, System};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];
const EVENTS: usize = 10_000;
/// So small that a build commits hundreds of times.
const BATCH_EVENTS: usize = 20;
const FEED_PAUSE: Duration = Duration::from_millis(20);

const FIRST: Spending = Spending::version(1);

/// Where version 1 is live, and builds commit every batch.
fn installation(system: System, events: usize) -> Installation {
    let installation = Installation::new(system, system)
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", BATCH_EVENTS)
        .with_variable("GNOMON_LIMITS_BUILD_WINDOW", "1KiB")
        .with_variable("GNOMON_LIMITS_LEASE_TIME", "1s");
    installation.append_orders(events, 1);
    FIRST.deploy(&installation, &[]);
    installation.succeed(&["run", "--until-caught-up"]);
    FIRST.assert_right(&installation, "before");
    installation
}

#[test]
fn readers_under_load_see_nothing_of_rebuilds_but_their_result() {
    for system in SYSTEMS {
        let installation = installation(system, EVENTS / 2);
        let _host = installation.start_host();
        let feed = Feed::start(&installation.events, 2, FEED_PAUSE);
        let readers = Readers::start(&installation.read_models);
        let first = installation.live();
        for _ in 0..3 {
            installation.succeed(&["rebuild", "spending", "--wait", "--timeout", "120s"]);
            readers.check();
        }
        installation.succeed(&["rollback", "spending", "--timeout", "120s"]);
        let _ = feed.end();
        installation.wait_for("spending", installation.head());
        let answers = readers.end();
        println!("{system:?}: {answers} answers");
        assert!(installation.live().id > first.id);
        FIRST.assert_right(&installation, "after three rebuilds and a rollback");
    }
}

#[test]
fn the_live_generation_keeps_advancing_while_another_one_is_built() {
    for system in SYSTEMS {
        let installation = installation(system, EVENTS);
        let _host = installation.start_host();
        let feed = Feed::start(&installation.events, 3, FEED_PAUSE);
        // On a busy machine a build may be over before anything is appended.
        let advances = (0..10).any(|_| {
            let before = installation.head();
            installation.succeed(&["rebuild", "spending", "--hold"]);
            installation.wait_for_generations("advancing or built", |all| {
                let live = all.iter().find(|found| found.state == "live").unwrap();
                let is_building = all.iter().any(|found| found.state == "building");
                let advances = is_building && live.position > before;
                (advances || !is_building).then_some(advances)
            })
        });
        assert!(advances, "the live one stood still during each build");
        let _ = feed.end();
        installation.wait_for("spending", installation.head());
        FIRST.assert_right(&installation, "while another one is built");
    }
}

#[test]
fn a_rebuild_goes_on_where_a_kill_left_it() {
    for system in SYSTEMS {
        let installation = installation(system, EVENTS);
        let live = installation.live();
        installation.succeed(&["rebuild", "spending", "--hold"]);
        let candidate = installation.candidate().unwrap();
        let head = installation.head();
        let mut reached = 0;
        // On a busy machine it may be built before the third kill.
        for _ in 0..3 {
            if reached == head {
                break;
            }
            let host = installation.start_host();
            reached = installation.wait_for_generations("further than before", |all| {
                let found = all.iter().find(|found| found.id == candidate.id).unwrap();
                assert!(
                    found.position >= reached,
                    "it went back to {} after {reached}",
                    found.position
                );
                (found.position > reached).then_some(found.position)
            });
            let _ = host.kill();
            let left = installation.candidate().unwrap();
            assert_eq!(left.id, candidate.id);
            assert!(left.position >= reached, "{left:?} after {reached}");
            reached = left.position;
            println!("{system:?}: killed at position {reached}");
            assert_eq!(installation.live(), live);
            FIRST.assert_right(&installation, "with a build that was killed");
        }
        let _host = installation.start_host();
        installation.succeed(&["promote", "spending", "--timeout", "120s"]);
        installation.wait_for_generations("promoted", |all| {
            let found = all.iter().find(|found| found.id == candidate.id).unwrap();
            assert!(found.position >= reached, "it began anew: {found:?}");
            (found.state == "live").then_some(())
        });
        FIRST.assert_right(&installation, "built with three kills");
    }
}

#[test]
fn a_rebuild_that_is_stopped_keeps_what_it_has_done() {
    for system in SYSTEMS {
        // Far from full when the host is stopped.
        let installation = Installation::new(system, system)
            .with_variable("GNOMON_LIMITS_BATCH_EVENTS", 5)
            .with_variable("GNOMON_LIMITS_BUILD_WINDOW", "1GiB");
        installation.append_orders(3 * EVENTS, 1);
        FIRST.deploy(&installation, &[]);
        let head = installation.head();
        let mut pause = Duration::from_millis(100);
        // How long it takes to begin depends on the machine.
        let reached = loop {
            let host = installation.start_host();
            std::thread::sleep(pause);
            let (ended, _) = host.terminate(PATIENCE);
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
            let reached = installation.spending_generations()[0].position;
            println!("{system:?}: stopped after {pause:?} at position {reached} of {head}");
            if reached > 0 {
                break reached;
            }
            pause = pause * 3 / 2;
        };
        assert!(reached < head, "it was built as a whole: {reached}");
        installation.succeed(&["run", "--until-caught-up"]);
        FIRST.assert_right(&installation, "built in two parts");
    }
}

#[test]
fn a_candidate_can_be_called_off_and_leaves_nothing_behind() {
    for system in SYSTEMS {
        let installation = installation(system, EVENTS);
        let live = installation.live();
        for with_host in [false, true] {
            installation.fail(
                &["remove", "spending", "--candidate"],
                &["spending", "no candidate"],
            );
            let host = with_host.then(|| installation.start_host());
            Spending::version(2).deploy(&installation, &["--hold"]);
            let candidate = installation.candidate().unwrap();
            if with_host {
                installation.wait_for_generations("begun", |all| {
                    let found = all.iter().find(|found| found.id == candidate.id).unwrap();
                    (found.position > 0).then_some(())
                });
            }
            let removed = installation.json(&["remove", "spending", "--candidate"]);
            assert_eq!(removed["generation"], candidate.id, "{removed}");
            installation.wait_until_tidy();
            assert_eq!(installation.candidate(), None);
            assert_eq!(installation.live().id, live.id);
            if host.is_some() {
                let event = serde_json::json!({"customer_id": "C-new", "amount_cents": 123});
                installation.append("Order-new", "PaymentReceived", &event);
                installation.wait_for("spending", installation.head());
            }
            FIRST.assert_right(&installation, "after a candidate was called off");
        }
    }
}

#[test]
fn secondary_indexes_are_there_after_a_promotion_even_if_one_was_broken() {
    for system in SYSTEMS {
        let installation = installation(system, EVENTS / 10);
        let live = installation.live();
        assert_eq!(usable_indexes(&installation, live.id), 1);
        installation.succeed(&["rebuild", "spending"]);
        let candidate = installation.candidate().unwrap().id;
        assert_eq!(usable_indexes(&installation, candidate), 0);
        if system == System::Postgres {
            plant_unusable_index(&installation, live.id, candidate);
        }
        let _host = installation.start_host();
        installation.wait_for_generations("promoted", |all| {
            all.iter()
                .any(|found| found.id == candidate && found.state == "live")
                .then_some(())
        });
        assert_eq!(usable_indexes(&installation, candidate), 1, "{system:?}");
    }
}

/// How many secondary indexes of a generation queries can use.
fn usable_indexes(installation: &Installation, generation: i64) -> i64 {
    let read_models = &installation.read_models;
    read_models.number(&match read_models.system() {
        System::Sqlite => format!(
            "SELECT count(*) FROM sqlite_schema
             WHERE type = 'index' AND sql LIKE '%paid_cents%'
                 AND tbl_name = 'gnomon_{generation}_spending'"
        ),
        System::Postgres => format!(
            "SELECT count(*) FROM pg_index
             WHERE indrelid = to_regclass('gnomon_spending_{generation}.spending')
                 AND NOT indisprimary AND indisvalid AND indisready"
        ),
    })
}

/// Leaves what an interrupted `CREATE INDEX CONCURRENTLY` would leave, under
/// the name that the index of the live generation has.
fn plant_unusable_index(installation: &Installation, live: i64, candidate: i64) {
    let read_models = &installation.read_models;
    let found = read_models.rows(&format!(
        "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE indrelid = 'gnomon_spending_{live}.spending'::regclass AND NOT indisprimary"
    ));
    let name = found[0][0].as_ref().unwrap();
    read_models.execute(&format!(
        "CREATE INDEX {name} ON gnomon_spending_{candidate}.spending (payments);
         UPDATE pg_index SET indisvalid = false
         WHERE indexrelid = 'gnomon_spending_{candidate}.{name}'::regclass"
    ));
}
