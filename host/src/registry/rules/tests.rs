//! Every rule by examples, and all of them on random sequences of requests.

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{Column, ColumnType, DeclaredTable, Description, Position, Subscription};

use super::*;
use crate::generation::{GenerationId, GenerationState, Goal, ModuleHash, ObstacleKind};
use crate::registry::Promotion;
use crate::registry::request::Creation;
use crate::storage_error::StorageErrorKind;

mod sequences;

const NOW: i64 = 1_000_000_000;

fn id(number: i64) -> GenerationId {
    GenerationId::from_sql(number)
}

fn generation(number: i64, state: GenerationState, goal: Goal) -> Registered {
    Registered {
        id: id(number),
        module: ModuleHash::of(&number.to_le_bytes()),
        standing: Standing {
            state,
            goal,
            obstacle: None,
            is_insisted: false,
            retired_at: (state == GenerationState::Retired).then_some(number),
        },
        has_end: false,
        is_copy: false,
        attended_until: None,
    }
}

/// A projection that runs, with these generations.
fn snapshot(generations: Vec<Registered>) -> Snapshot {
    Snapshot {
        projection: "orders".to_owned(),
        wish: Some(Wish::Running),
        generations,
        now: NOW,
        ..Snapshot::default()
    }
}

/// One of each: 1 retired, 2 live, 3 ready to be promoted.
fn usual() -> Snapshot {
    snapshot(vec![
        generation(1, GenerationState::Retired, Goal::Rest),
        generation(2, GenerationState::Live, Goal::Rest),
        generation(3, GenerationState::Ready, Goal::Promote),
    ])
}

fn creation(goal: Goal, newest: Option<i64>) -> Request {
    let name = "orders".to_owned();
    let column = Column {
        name: "id".to_owned(),
        column_type: ColumnType::Integer,
        nullable: false,
    };
    let table = DeclaredTable {
        name: name.clone(),
        columns: vec![column],
        primary_key: vec!["id".to_owned()],
        indexes: vec![],
    };
    let subscription = Subscription::default();
    Request::Create(Box::new(Creation {
        projection: name.clone(),
        module: ModuleHash::of(b"module"),
        description: Description::check(name, 1, subscription, vec![table]).unwrap(),
        goal,
        until: None,
        newest: newest.map(id),
        start: Checkpoint::behind(Position::START),
    }))
}

fn decided(request: &Request, snapshot: &Snapshot) -> Plan {
    decide(request, std::slice::from_ref(snapshot)).unwrap()
}

#[track_caller]
fn refused(request: &Request, snapshot: &Snapshot, kind: StorageErrorKind, words: &str) {
    let error = decide(request, std::slice::from_ref(snapshot)).unwrap_err();
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// Where a plan leaves a generation.
fn put(plan: &Plan, number: i64) -> Option<&Standing> {
    plan.changes.iter().find_map(|change| match change {
        Change::Put {
            generation,
            standing,
        } if *generation == id(number) => Some(standing),
        _ => None,
    })
}

fn drops(plan: &Plan) -> Vec<GenerationId> {
    let drops = plan.changes.iter().filter_map(|change| match change {
        Change::Drop(generation) => Some(*generation),
        _ => None,
    });
    drops.collect()
}

/// A contest at these positions, without dead letters.
fn contest(candidate: Option<u64>, live: Option<u64>) -> Option<Contest> {
    let position = |number: Option<u64>| number.and_then(Position::new);
    Some(Contest {
        candidate: position(candidate),
        live: position(live),
        parked_alone: 0,
        first_parked_alone: None,
    })
}

#[test]
fn a_first_generation_registers_the_projection() {
    let unknown = Snapshot {
        projection: "orders".to_owned(),
        was_dropped: true,
        ..Snapshot::default()
    };
    let plan = decided(&creation(Goal::Promote, None), &unknown);
    let created = Change::Create {
        was_registered: false,
        attended_until: None,
    };
    let expected = [
        Change::Want(Wish::Running),
        Change::NoteDropped(false),
        created,
    ];
    assert_eq!(plan.changes, expected);
}

#[test]
fn every_action_says_what_was_done() {
    let kinds = |plan: &Plan| -> Vec<&'static str> {
        plan.actions
            .iter()
            .map(|action| action.kind.name())
            .collect()
    };
    let created = decided(&creation(Goal::Promote, Some(3)), &usual());
    assert_eq!(kinds(&created), ["generation-dropped", "deployed"]);
    let mut same = usual();
    same.generations[1].module = ModuleHash::of(b"module");
    let rebuilt = decided(&creation(Goal::Hold, Some(3)), &same);
    assert_eq!(kinds(&rebuilt), ["generation-dropped", "rebuilt"]);
    assert_eq!(rebuilt.actions[1].detail.as_deref(), Some("held"));
    let compared = decided(&creation(Goal::Compare, Some(3)), &same);
    assert_eq!(kinds(&compared), ["compared"]);
    let set = |generation: i64, goal: Goal| {
        let request = Request::SetGoal {
            generation: id(generation),
            goal,
        };
        let plan = decided(&request, &usual());
        assert_eq!(plan.actions[0].generation, Some(id(generation)));
        kinds(&plan)
    };
    assert_eq!(set(1, Goal::Promote), ["rollback-requested"]);
    assert_eq!(set(1, Goal::Rest), ["rollback-cancelled"]);
    assert_eq!(set(3, Goal::Promote), ["promotion-requested"]);
    assert_eq!(set(3, Goal::Hold), ["promotion-held"]);
    let mut rolled_back = usual();
    rolled_back.generations[0].standing.goal = Goal::Promote;
    rolled_back.contest = contest(Some(9), Some(9));
    let plan = decided(&Request::Promote(id(1)), &rolled_back);
    assert_eq!(kinds(&plan), ["rolled-back"]);
    assert_eq!(plan.actions[0].position, Position::new(9));
    let refused = give_up(&rolled_back, id(1), "in the way".to_owned());
    assert_eq!(kinds(&refused), ["promotion-refused"]);
    assert_eq!(refused.actions[0].detail.as_deref(), Some("in the way"));
    let tidied = decided(&Request::Tidy { keep: 0 }, &usual());
    assert_eq!(kinds(&tidied), ["tidied"]);
}

#[test]
fn a_candidate_takes_the_place_of_candidates_and_ends_rollbacks() {
    let mut before = usual();
    before.generations[0].standing.goal = Goal::Promote;
    let comparison = generation(4, GenerationState::Building, Goal::Compare);
    before.generations.push(comparison);
    let plan = decided(&creation(Goal::Promote, Some(4)), &before);
    assert_eq!(drops(&plan), [id(3)]);
    assert_eq!(put(&plan, 1).unwrap().goal, Goal::Rest);
    let moved = Change::MoveRequests {
        from: id(3),
        to: None,
    };
    assert_eq!(plan.changes.last(), Some(&moved));

    let held = decided(&creation(Goal::Hold, Some(4)), &before);
    assert_eq!((drops(&held), put(&held, 1)), (vec![id(3)], None));
}

#[test]
fn a_comparison_takes_the_place_of_comparisons_and_has_a_minute() {
    let mut before = usual();
    let comparison = generation(4, GenerationState::Ready, Goal::Compare);
    before.generations.push(comparison);
    let plan = decided(&creation(Goal::Compare, Some(4)), &before);
    assert_eq!(drops(&plan), [id(4)]);
    let created = Change::Create {
        was_registered: true,
        attended_until: Some(NOW + 60_000_000),
    };
    assert!(plan.changes.contains(&created), "{plan:?}");
}

#[test]
fn a_generation_that_another_host_has_forestalled_is_not_created() {
    let retry = StorageErrorKind::Retry;
    for newest in [None, Some(2), Some(4)] {
        refused(
            &creation(Goal::Promote, newest),
            &usual(),
            retry,
            "at the same time",
        );
    }
    let mut dropped = usual();
    dropped.generations[2].standing.state = GenerationState::Dropped;
    decided(&creation(Goal::Promote, Some(2)), &dropped);
}

#[test]
fn a_removed_projection_comes_back_but_not_to_be_compared() {
    let mut removed = usual();
    removed.wish = Some(Wish::Removed);
    let plan = decided(&creation(Goal::Promote, Some(3)), &removed);
    assert_eq!(plan.changes.first(), Some(&Change::Want(Wish::Running)));
    let refusal = StorageErrorKind::Refused;
    refused(
        &creation(Goal::Compare, Some(3)),
        &removed,
        refusal,
        "was removed",
    );
    // One that stands still goes on to do so.
    let mut paused = usual();
    paused.wish = Some(Wish::Paused);
    let plan = decided(&creation(Goal::Promote, Some(3)), &paused);
    assert!(!plan.changes.contains(&Change::Want(Wish::Running)));
}

#[test]
fn a_newer_wish_ends_the_older_one() {
    let request = Request::SetGoal {
        generation: id(1),
        goal: Goal::Promote,
    };
    let plan = decided(&request, &usual());
    let wanted = put(&plan, 1).unwrap();
    assert!(wanted.is_insisted && wanted.goal == Goal::Promote);
    let held = put(&plan, 3).unwrap();
    let obstacle = held.obstacle.as_ref().unwrap();
    assert_eq!(
        (held.goal, obstacle.kind),
        (Goal::Hold, ObstacleKind::Overtaken)
    );
    assert!(obstacle.reason.contains("generation 1"), "{obstacle:?}");
    assert_eq!(put(&plan, 2), None);
}

#[test]
fn a_newer_rollback_ends_the_older_one() {
    let mut before = usual();
    let older = generation(4, GenerationState::Retired, Goal::Promote);
    before.generations.push(older);
    let request = Request::SetGoal {
        generation: id(1),
        goal: Goal::Promote,
    };
    let plan = decided(&request, &before);
    assert_eq!(put(&plan, 4).unwrap().goal, Goal::Rest);
}

#[test]
fn a_goal_forgets_the_obstacle() {
    let mut before = usual();
    before.generations[2].standing = put(&give_up(&before, id(3), "no".to_owned()), 3)
        .unwrap()
        .clone();
    assert!(before.generations[2].standing.obstacle.is_some());
    let request = Request::SetGoal {
        generation: id(3),
        goal: Goal::Hold,
    };
    let plan = decided(&request, &before);
    let held = put(&plan, 3).unwrap();
    assert_eq!((&held.obstacle, held.is_insisted), (&None, false));
}

#[test]
fn a_promotion_retires_the_live_generation() {
    let mut before = usual();
    before.contest = contest(Some(9), Some(9));
    let plan = decided(&Request::Promote(id(3)), &before);
    let retired = put(&plan, 2).unwrap();
    assert_eq!(
        (retired.state, retired.goal, retired.retired_at),
        (GenerationState::Retired, Goal::Rest, Some(NOW))
    );
    let live = put(&plan, 3).unwrap();
    assert_eq!((live.state, live.goal), (GenerationState::Live, Goal::Rest));
    let shown = Change::Show {
        generation: id(3),
        instead_of: Some(id(2)),
        cascade: false,
        command: "promote",
    };
    assert_eq!(plan.changes.last(), Some(&shown));
    assert_eq!(plan.promotion, Some(Promotion::Done));
}

#[test]
fn a_rollback_forgets_when_it_was_retired() {
    let mut before = usual();
    before.generations[0].standing.goal = Goal::PromoteCascade;
    before.contest = contest(Some(9), Some(9));
    let plan = decided(&Request::Promote(id(1)), &before);
    assert_eq!(put(&plan, 1).unwrap().retired_at, None);
    let shown = Change::Show {
        generation: id(1),
        instead_of: Some(id(2)),
        cascade: true,
        command: "rollback",
    };
    assert_eq!(plan.changes.last(), Some(&shown));
}

#[test]
fn only_what_is_wanted_is_promoted() {
    let answer = |number: i64, snapshot: &Snapshot| {
        let plan = decided(&Request::Promote(id(number)), snapshot);
        assert_eq!(plan.changes, []);
        plan.promotion.unwrap()
    };
    assert_eq!(answer(2, &usual()), Promotion::Done);
    assert_eq!(answer(1, &usual()), Promotion::NotWanted);
    assert_eq!(answer(9, &usual()), Promotion::NotWanted);
    let mut removed = usual();
    removed.wish = Some(Wish::Removed);
    assert_eq!(answer(3, &removed), Promotion::NotWanted);
    let mut dropped = usual();
    dropped.generations[2].standing.state = GenerationState::Dropped;
    assert_eq!(answer(3, &dropped), Promotion::NotWanted);
}

#[test]
fn readers_never_go_back() {
    let promotion = |snapshot: &Snapshot| {
        let plan = decided(&Request::Promote(id(3)), snapshot);
        plan.promotion.unwrap()
    };
    let mut before = usual();
    before.contest = contest(Some(8), Some(9));
    assert_eq!(promotion(&before), Promotion::Behind);
    let mut copy = before.clone();
    copy.generations[2].is_copy = true;
    assert_eq!(promotion(&copy), Promotion::Done);
    let mut ended = before.clone();
    ended.generations[2].has_end = true;
    assert_eq!(promotion(&ended), Promotion::Done);
    // The live one has read what the store has lost.
    before.contest = contest(Some(8), None);
    assert_eq!(promotion(&before), Promotion::Done);
    before.contest = contest(None, Some(9));
    assert_eq!(promotion(&before), Promotion::Behind);
}

#[test]
fn a_candidate_that_parked_more_is_held_unless_somebody_insists() {
    let mut before = usual();
    before.contest = Some(Contest {
        parked_alone: 2,
        first_parked_alone: Some(7),
        ..contest(Some(9), Some(9)).unwrap()
    });
    let plan = decided(&Request::Promote(id(3)), &before);
    let held = put(&plan, 3).unwrap();
    let obstacle = held.obstacle.as_ref().unwrap();
    assert_eq!(
        (held.goal, obstacle.kind),
        (Goal::Hold, ObstacleKind::Refused)
    );
    assert!(obstacle.reason.contains("2 events"), "{obstacle:?}");
    assert_eq!(
        plan.promotion,
        Some(Promotion::Refused(obstacle.reason.clone()))
    );

    let mut insisted = before.clone();
    insisted.generations[2].standing.is_insisted = true;
    let plan = decided(&Request::Promote(id(3)), &insisted);
    assert_eq!(plan.promotion, Some(Promotion::Done));
    // One to go back to was seen before.
    before.generations[0].standing.goal = Goal::Promote;
    let plan = decided(&Request::Promote(id(1)), &before);
    assert_eq!(plan.promotion, Some(Promotion::Done));
}

#[test]
fn a_refused_rollback_rests() {
    let mut before = usual();
    before.generations[0].standing.goal = Goal::Promote;
    let plan = give_up(&before, id(1), "in the way".to_owned());
    assert_eq!(put(&plan, 1).unwrap().goal, Goal::Rest);
}

#[test]
fn a_hot_reload_tries_again() {
    let request = Request::SetModule {
        generations: vec![id(2), id(9)],
        module: ModuleHash::of(b"other"),
    };
    let plan = decided(&request, &usual());
    let expected = [
        Change::SetModule {
            generation: id(2),
            module: ModuleHash::of(b"other"),
        },
        Change::TryAgain,
    ];
    assert_eq!(plan.changes, expected);
}

#[test]
fn what_is_not_there_cannot_be_controlled() {
    let requests = || {
        let name = || "orders".to_owned();
        [
            Request::Pause(name()),
            Request::Resume(name()),
            Request::AcceptHistory(name()),
            Request::Remove(name()),
            Request::DropProjection {
                projection: name(),
                cascade: false,
            },
        ]
    };
    let mut unknown = Snapshot::default();
    for request in requests() {
        let kind = StorageErrorKind::Refused;
        refused(&request, &unknown, kind, "there is no projection `orders`");
    }
    unknown.was_dropped = true;
    for request in requests() {
        refused(&request, &unknown, StorageErrorKind::Refused, "was dropped");
    }
    let mut removed = usual();
    removed.wish = Some(Wish::Removed);
    let pause = Request::Pause("orders".to_owned());
    refused(&pause, &removed, StorageErrorKind::Refused, "no projection");
}

#[test]
fn a_removed_projection_wants_no_rollback() {
    let mut before = usual();
    before.generations[0].standing.goal = Goal::Promote;
    let plan = decided(&Request::Remove("orders".to_owned()), &before);
    assert_eq!(plan.changes.first(), Some(&Change::Want(Wish::Removed)));
    assert_eq!(put(&plan, 1).unwrap().goal, Goal::Rest);
}

#[test]
fn a_dropped_projection_loses_all_its_generations() {
    let request = Request::DropProjection {
        projection: "orders".to_owned(),
        cascade: true,
    };
    let mut before = usual();
    before.generations[2].standing.state = GenerationState::Dropped;
    let plan = decided(&request, &before);
    assert_eq!(drops(&plan), [id(1), id(2)]);
    // What an interrupted drop has left goes too.
    assert_eq!(plan.dropped.len(), 3);
    let hidden = Change::Hide {
        live: id(2),
        cascade: true,
    };
    assert_eq!(plan.changes.last(), Some(&hidden));
}

#[test]
fn readers_keep_what_they_see() {
    let live = Request::Drop(id(2));
    refused(&live, &usual(), StorageErrorKind::Refused, "is live");
    assert_eq!(drops(&decided(&Request::Drop(id(1)), &usual())), [id(1)]);
    assert_eq!(decided(&Request::Drop(id(9)), &usual()), Plan::default());
    // A drop that was interrupted is finished.
    let mut dropped = usual();
    dropped.generations[2].standing.state = GenerationState::Dropped;
    let plan = decided(&Request::Drop(id(3)), &dropped);
    assert_eq!((plan.changes.len(), plan.dropped.len()), (0, 1));
}

#[test]
fn those_that_were_retired_last_are_kept() {
    let mut before = usual();
    let mut old = generation(4, GenerationState::Retired, Goal::Rest);
    old.standing.retired_at = Some(0);
    let mut wanted = generation(5, GenerationState::Retired, Goal::Promote);
    wanted.standing.retired_at = Some(0);
    before.generations.extend([old, wanted]);
    let tidied = |keep: usize| {
        let plan = decide(&Request::Tidy { keep }, std::slice::from_ref(&before));
        drops(&plan.unwrap())
    };
    assert_eq!(tidied(2), []);
    assert_eq!(tidied(1), [id(4)]);
    assert_eq!(tidied(0), [id(1), id(4)]);
}

#[test]
fn each_projection_keeps_its_own() {
    let other = Snapshot {
        projection: "customers".to_owned(),
        generations: vec![generation(7, GenerationState::Retired, Goal::Rest)],
        ..Snapshot::default()
    };
    let plan = decide(&Request::Tidy { keep: 1 }, &[usual(), other]).unwrap();
    assert_eq!(plan, Plan::default());
}

#[test]
fn a_comparison_goes_when_nobody_attends_to_it() {
    let mut before = usual();
    let mut comparison = generation(4, GenerationState::Ready, Goal::Compare);
    comparison.attended_until = Some(NOW);
    before.generations.push(comparison);
    let tidied = |snapshot: &Snapshot| {
        let tidy = Request::Tidy { keep: 1 };
        drops(&decided(&tidy, snapshot))
    };
    assert_eq!(tidied(&before), []);
    before.now = NOW + 1;
    assert_eq!(tidied(&before), [id(4)]);
}
