//! What users and hosts want and say is there for all others to read.

use super::*;
use crate::generation::{GenerationState, RunReport, RunState};
use crate::registry::{Control, HostNotes, RefusedFile, SeenLease};

on_both!(
    what_is_tried_again_is_no_longer_halted,
    a_new_candidate_takes_the_place_of_the_old_one,
    a_comparison_takes_the_place_of_comparisons_only,
    a_goal_can_be_set_where_there_is_a_choice,
    controls_say_what_is_wanted,
    an_end_is_remembered,
    a_generation_stands_still_while_somebody_attends_to_it,
    a_hot_reload_changes_the_module_and_tries_again,
    only_its_host_makes_a_generation_ready,
    a_removed_projection_stands_still_and_can_come_back,
    a_new_generation_brings_a_removed_projection_back,
    a_projection_that_is_not_there_cannot_be_controlled,
    hosts_are_there_until_they_leave_or_fall_silent,
    noted_files_are_remembered,
    the_rate_is_told_while_it_is_fresh,
);

async fn control(storage: &Storage, id: GenerationId) -> Option<Control> {
    let controls = storage.registry.controls().await.unwrap();
    controls
        .into_iter()
        .find(|control| control.generation == id)
}

async fn ids(storage: &Storage) -> Vec<GenerationId> {
    let generations = storage.registry.generations().await.unwrap();
    generations.iter().map(|generation| generation.id).collect()
}

async fn a_new_candidate_takes_the_place_of_the_old_one(database: &Database) {
    let storage = database.open().await;
    let live = created(&storage, &orders()).await.unwrap().id;
    promoted(&storage, live).await;
    let hold = created_for(&storage, &orders(), Goal::Hold)
        .await
        .unwrap()
        .id;
    let comparison = created_for(&storage, &orders(), Goal::Compare)
        .await
        .unwrap()
        .id;
    assert_eq!(ids(&storage).await, [live, hold, comparison]);
    let new = created(&storage, &orders()).await.unwrap().id;
    assert_eq!(ids(&storage).await, [live, comparison, new]);
    assert_eq!(control(&storage, hold).await, None);
    assert_eq!(
        storage.registry.promote(hold).await.unwrap(),
        Promotion::NotWanted
    );
}

async fn a_comparison_takes_the_place_of_comparisons_only(database: &Database) {
    let storage = database.open().await;
    let candidate = created(&storage, &orders()).await.unwrap().id;
    created_for(&storage, &orders(), Goal::Compare)
        .await
        .unwrap();
    let new = created_for(&storage, &orders(), Goal::Compare)
        .await
        .unwrap();
    assert_eq!(ids(&storage).await, [candidate, new.id]);
    assert_eq!(stored(&storage, new.id).await, Some(new));
}

async fn a_goal_can_be_set_where_there_is_a_choice(database: &Database) {
    let storage = database.open().await;
    let retired = created(&storage, &orders()).await.unwrap().id;
    promoted(&storage, retired).await;
    let live = created(&storage, &orders()).await.unwrap().id;
    promoted(&storage, live).await;
    let comparison = created_for(&storage, &orders(), Goal::Compare)
        .await
        .unwrap()
        .id;
    let candidate = created_for(&storage, &orders(), Goal::Hold)
        .await
        .unwrap()
        .id;
    for (generation, goal) in [
        (candidate, Goal::Promote),
        (candidate, Goal::PromoteCascade),
        (candidate, Goal::Hold),
        (retired, Goal::Promote),
        (retired, Goal::PromoteCascade),
        (retired, Goal::Rest),
    ] {
        storage.registry.set_goal(generation, goal).await.unwrap();
        assert_eq!(stored(&storage, generation).await.unwrap().goal, goal);
    }
    for (generation, goal, words) in [
        (retired, Goal::Hold, "retired"),
        (retired, Goal::Compare, "retired"),
        (live, Goal::Promote, "live"),
        (comparison, Goal::Promote, "compared"),
        (GenerationId::from_sql(99), Goal::Promote, "generation 99"),
    ] {
        let result = storage.registry.set_goal(generation, goal).await;
        refused(result, StorageErrorKind::Refused, words);
    }
    storage.registry.drop_generation(candidate).await.unwrap();
    let result = storage.registry.set_goal(candidate, Goal::Promote).await;
    refused(result, StorageErrorKind::Refused, "dropped");
}

async fn controls_say_what_is_wanted(database: &Database) {
    let storage = database.open().await;
    let live = created(&storage, &orders()).await.unwrap();
    promoted(&storage, live.id).await;
    let candidate = created_for(&storage, &orders(), Goal::Hold).await.unwrap();
    let wanted = |generation: &Generation| Control {
        projection: "orders_by_customer".to_owned(),
        generation: generation.id,
        module: generation.module.clone(),
        state: GenerationState::Live,
        goal: Goal::Rest,
        until: None,
        stop_at: None,
        paused: false,
        resumes: 0,
        requests: 0,
        skips: 0,
        // A new lease is nobody's, so it has run out.
        lease: SeenLease {
            has_lapsed: true,
            ..SeenLease::default()
        },
    };
    let candidate_wanted = Control {
        state: GenerationState::Building,
        goal: Goal::Hold,
        ..wanted(&candidate)
    };
    assert_eq!(
        storage.registry.controls().await.unwrap(),
        [wanted(&live), candidate_wanted]
    );

    storage.registry.pause("orders_by_customer").await.unwrap();
    for control in storage.registry.controls().await.unwrap() {
        assert!(control.paused);
    }
    storage.registry.resume("orders_by_customer").await.unwrap();
    for control in storage.registry.controls().await.unwrap() {
        assert_eq!((control.paused, control.resumes), (false, 1));
    }
    // A request is about one generation.
    storage
        .registry
        .request_retry(live.id, Some("Order-1"))
        .await
        .unwrap();
    assert!(control(&storage, live.id).await.unwrap().requests > 0);
    assert_eq!(control(&storage, candidate.id).await.unwrap().requests, 0);
}

async fn an_end_is_remembered(database: &Database) {
    let storage = database.open().await;
    let module = added(&storage, &orders()).await.unwrap();
    let description = orders();
    let mut new = new_generation(&module, &description);
    new.until = Position::new(7);
    let made = storage.registry.create_generation(new).await.unwrap();
    assert_eq!(stored(&storage, made.id).await.unwrap(), made);
    assert_eq!(
        control(&storage, made.id).await.unwrap().until,
        Position::new(7)
    );
}

async fn a_generation_stands_still_while_somebody_attends_to_it(database: &Database) {
    let storage = database.open().await;
    let id = created(&storage, &orders()).await.unwrap().id;
    let stop_at = Position::new(7);
    storage
        .registry
        .attend(id, stop_at, A_MINUTE)
        .await
        .unwrap();
    assert_eq!(control(&storage, id).await.unwrap().stop_at, stop_at);
    storage.registry.attend(id, None, A_MINUTE).await.unwrap();
    assert_eq!(control(&storage, id).await.unwrap().stop_at, None);
    storage
        .registry
        .attend(id, stop_at, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(control(&storage, id).await.unwrap().stop_at, None);
    storage.registry.drop_generation(id).await.unwrap();
    refused(
        storage.registry.attend(id, None, A_MINUTE).await,
        StorageErrorKind::Refused,
        "dropped",
    );
}

async fn a_hot_reload_changes_the_module_and_tries_again(database: &Database) {
    let storage = database.open().await;
    let retired = created(&storage, &orders()).await.unwrap();
    promoted(&storage, retired.id).await;
    let live = created(&storage, &orders()).await.unwrap();
    promoted(&storage, live.id).await;
    // Other bytes of the same declaration.
    let module = Module {
        hash: ModuleHash::of(b"mended"),
        bytes: b"mended".to_vec(),
        description: orders(),
    };
    refused(
        storage.registry.set_module(&[live.id], &module.hash).await,
        StorageErrorKind::Refused,
        "not in the registry",
    );
    storage.registry.add_module(&module).await.unwrap();
    storage
        .registry
        .set_module(&[live.id, retired.id], &module.hash)
        .await
        .unwrap();
    for control in storage.registry.controls().await.unwrap() {
        assert_eq!((&control.module, control.resumes), (&module.hash, 1));
    }
    assert_eq!(stored(&storage, live.id).await.unwrap().module, module.hash);
}

async fn only_its_host_makes_a_generation_ready(database: &Database) {
    let storage = database.open().await;
    let id = created_for(&storage, &orders(), Goal::Hold)
        .await
        .unwrap()
        .id;
    let stale = acquired(&storage, id, "host-a").await;
    let lease = acquired(&storage, id, "host-a").await;
    refused(
        storage.registry.set_ready(stale).await,
        StorageErrorKind::Fenced,
        "no longer ours",
    );
    let state = async || stored(&storage, id).await.unwrap().state;
    assert_eq!(state().await, GenerationState::Building);
    storage.registry.set_ready(lease).await.unwrap();
    assert_eq!(state().await, GenerationState::Ready);
    storage.registry.set_goal(id, Goal::Promote).await.unwrap();
    promoted(&storage, id).await;
    storage.registry.set_ready(lease).await.unwrap();
    assert_eq!(state().await, GenerationState::Live);
}

async fn a_removed_projection_stands_still_and_can_come_back(database: &Database) {
    let mut started = started(database, &orders()).await;
    let (storage, id) = (started.storage.clone(), started.generation.id);
    started.put(vec![order(1, "ada")]).await.unwrap();
    promoted(&storage, id).await;
    storage.registry.remove("orders_by_customer").await.unwrap();
    assert_eq!(storage.registry.controls().await.unwrap(), []);
    let removed = stored(&storage, id).await.unwrap();
    assert!(removed.is_removed && !removed.is_active());
    // Its readers are left what they had.
    let orders = database.public("orders_by_customer", "orders");
    let customers = format!("SELECT customer FROM {orders}");
    assert_eq!(database.texts(&customers).await, ["ada"]);
    assert_eq!(storage.registry.tidy(0).await.unwrap(), []);

    storage.registry.resume("orders_by_customer").await.unwrap();
    assert!(!stored(&storage, id).await.unwrap().is_removed);
    let control = control(&storage, id).await.unwrap();
    assert_eq!((control.paused, control.resumes), (false, 1));
}

async fn a_new_generation_brings_a_removed_projection_back(database: &Database) {
    let storage = database.open().await;
    let live = created(&storage, &orders()).await.unwrap().id;
    promoted(&storage, live).await;
    storage.registry.remove("orders_by_customer").await.unwrap();
    let new = created(&storage, &orders()).await.unwrap().id;
    let controls = storage.registry.controls().await.unwrap();
    let ids: Vec<_> = controls.iter().map(|control| control.generation).collect();
    assert_eq!(ids, [live, new]);
    assert!(!controls[0].paused);
}

async fn a_projection_that_is_not_there_cannot_be_controlled(database: &Database) {
    let storage = database.open().await;
    for result in [
        storage.registry.pause("nobody").await,
        storage.registry.resume("nobody").await,
        storage.registry.remove("nobody").await,
    ] {
        refused(result, StorageErrorKind::Refused, "`nobody`");
    }
}

async fn hosts_are_there_until_they_leave_or_fall_silent(database: &Database) {
    let storage = database.open().await;
    let notes = HostNotes {
        refused: vec![RefusedFile {
            place: "a 'b'.wasm".to_owned(),
            projection: None,
            reason: "it is no component".to_owned(),
        }],
        rolled_back: 7,
    };
    let names = async || -> Vec<String> {
        let hosts = storage.registry.hosts().await.unwrap();
        hosts.into_iter().map(|host| host.name).collect()
    };
    storage
        .registry
        .announce("b", &notes, A_MINUTE)
        .await
        .unwrap();
    storage
        .registry
        .announce("a", &HostNotes::default(), A_MINUTE)
        .await
        .unwrap();
    assert_eq!(names().await, ["a", "b"]);
    assert_eq!(storage.registry.hosts().await.unwrap()[1].notes, notes);
    storage
        .registry
        .announce("b", &HostNotes::default(), A_MINUTE)
        .await
        .unwrap();
    assert_eq!(
        storage.registry.hosts().await.unwrap()[1].notes,
        HostNotes::default()
    );
    storage
        .registry
        .leave("a", &HostNotes::default())
        .await
        .unwrap();
    assert_eq!(names().await, ["b"]);
    storage.registry.leave("b", &notes).await.unwrap();
    assert_eq!(names().await, [""; 0]);
    // What it told stays until another one comes.
    let last = async || storage.registry.last_notes().await.unwrap();
    assert_eq!(last().await, [notes]);
    storage
        .registry
        .announce("c", &HostNotes::default(), A_MINUTE)
        .await
        .unwrap();
    assert_eq!(last().await, [HostNotes::default()]);
}

async fn noted_files_are_remembered(database: &Database) {
    let storage = database.open().await;
    let (first, second) = (ModuleHash::of(b"1"), ModuleHash::of(b"2"));
    storage.registry.note_file("b.wasm", &first).await.unwrap();
    storage.registry.note_file("a.wasm", &first).await.unwrap();
    storage.registry.note_file("b.wasm", &second).await.unwrap();
    assert_eq!(
        database.open().await.registry.noted_files().await.unwrap(),
        [("a.wasm".to_owned(), first), ("b.wasm".to_owned(), second)]
    );
}

async fn the_rate_is_told_while_it_is_fresh(database: &Database) {
    let mut started = started(database, &orders()).await;
    let id = started.generation.id;
    let rate = async |storage: &Storage| stored(storage, id).await.unwrap().rate;
    assert_eq!(rate(&started.storage).await, None);
    let told = Rate {
        events: 12.5,
        positions: 1234.5,
    };
    let next = checkpoint(1);
    started
        .writer
        .commit(Commit {
            writes: [].as_slice().into(),
            expected: &checkpoint(0),
            next: &next,
            position: Position::new(1).unwrap(),
            event: None,
            dead_letters: DeadLetterChanges::default(),
            rate: told,
            into_empty: false,
        })
        .await
        .unwrap();
    let update = |at: &str| {
        let checkpoints = database.registry("checkpoints");
        format!("UPDATE {checkpoints} SET updated_at = '{at}'")
    };
    // Neither a slow nor a quick machine decides this.
    database.execute(&update("2999-01-01T00:00:00.000Z")).await;
    assert_eq!(rate(&started.storage).await, Some(told));
    database.execute(&update("2025-01-01T00:00:00.000Z")).await;
    assert_eq!(rate(&started.storage).await, None);
}

async fn what_is_tried_again_is_no_longer_halted(database: &Database) {
    let storage = database.open().await;
    let generation = created(&storage, &orders()).await.unwrap();
    let id = generation.id;
    let lease = acquired(&storage, id, "host-a").await;
    let halted = RunReport {
        state: RunState::Halted,
        cause: Some("halted on event 1".to_owned()),
    };
    let report = async || {
        storage
            .registry
            .generations()
            .await
            .unwrap()
            .remove(0)
            .report
    };
    let name = "orders_by_customer";
    for again in ["resume", "accept-history", "deploy"] {
        storage.registry.report(lease, &halted).await.unwrap();
        assert_eq!(report().await.as_ref(), Some(&halted));
        match again {
            "resume" => storage.registry.resume(name).await.unwrap(),
            "accept-history" => storage.registry.accept_history(name).await.unwrap(),
            _ => storage
                .registry
                .set_module(&[id], &generation.module)
                .await
                .unwrap(),
        }
        assert_eq!(report().await, None, "{again}");
    }
}
