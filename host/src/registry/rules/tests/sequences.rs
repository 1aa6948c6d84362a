//! What holds whatever is asked, in whatever order.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// A registry of one projection that carries out plans.
#[derive(Default)]
struct Registry {
    snapshot: Snapshot,
    /// What readers see.
    shown: Option<GenerationId>,
    next: i64,
    dropped: BTreeSet<GenerationId>,
}

/// What somebody does.
#[derive(Clone, Debug)]
enum Act {
    Create(Goal),
    SetGoal(usize, Goal),
    /// A host has built it.
    Ready(usize),
    /// A host promotes it, at these positions, with so many dead letters of its
    /// own.
    Promote(usize, u64, u64, i64),
    Drop(usize),
    /// The host drops tables, all or none.
    Tidy(usize, bool),
    Pause,
    Resume,
    Remove,
    DropProjection,
}

fn goals() -> impl Strategy<Value = Goal> {
    prop_oneof![
        Just(Goal::Rest),
        Just(Goal::Hold),
        Just(Goal::Promote),
        Just(Goal::PromoteCascade),
        Just(Goal::Compare)
    ]
}

fn acts() -> impl Strategy<Value = Act> {
    let new = prop_oneof![Just(Goal::Hold), Just(Goal::Promote), Just(Goal::Compare)];
    prop_oneof![
        8 => new.prop_map(Act::Create),
        12 => (0..6_usize, goals()).prop_map(|(which, goal)| Act::SetGoal(which, goal)),
        6 => (0..6_usize).prop_map(Act::Ready),
        24 => (0..6_usize, 1..3_u64, 1..3_u64, 0..2_i64)
            .prop_map(|(which, own, live, parked)| Act::Promote(which, own, live, parked)),
        1 => (0..6_usize).prop_map(Act::Drop),
        2 => (0..3_usize, any::<bool>()).prop_map(|(keep, clears)| Act::Tidy(keep, clears)),
        1 => Just(Act::Pause),
        1 => Just(Act::Resume),
        1 => Just(Act::Remove),
        1 => Just(Act::DropProjection),
    ]
}

impl Registry {
    fn new() -> Self {
        let mut registry = Self::default();
        registry.snapshot.projection = "orders".to_owned();
        registry
    }

    fn id(&self, which: usize) -> GenerationId {
        let all = &self.snapshot.generations;
        // Of none, one that is not there.
        let which = which.checked_rem(all.len());
        let found = which.and_then(|which| all.get(which));
        found.map_or(id(0), |found| found.id)
    }

    fn request(&mut self, act: &Act) -> Option<Request> {
        let projection = || "orders".to_owned();
        self.snapshot.contest = None;
        Some(match act {
            Act::Create(goal) => creation(*goal, self.snapshot.newest().map(GenerationId::to_sql)),
            Act::SetGoal(which, goal) => Request::SetGoal {
                generation: self.id(*which),
                goal: *goal,
            },
            Act::Ready(which) => {
                if let Some(found) = self.snapshot.generations.get_mut(*which)
                    && found.standing.state == GenerationState::Building
                {
                    found.standing.state = GenerationState::Ready;
                }
                return None;
            }
            Act::Promote(which, own, live, parked) => {
                let candidate = self.id(*which);
                if contender(&self.snapshot, candidate).is_some() {
                    self.snapshot.contest = Some(Contest {
                        parked_alone: *parked,
                        first_parked_alone: (*parked > 0).then_some(1),
                        ..contest(Some(*own), Some(*live)).unwrap()
                    });
                }
                Request::Promote(candidate)
            }
            Act::Drop(which) => Request::Drop(self.id(*which)),
            Act::Tidy(keep, _) => Request::Tidy { keep: *keep },
            Act::Pause => Request::Pause(projection()),
            Act::Resume => Request::Resume(projection()),
            Act::Remove => Request::Remove(projection()),
            Act::DropProjection => Request::DropProjection {
                projection: projection(),
                cascade: false,
            },
        })
    }

    fn carry_out(&mut self, request: &Request, plan: &Plan) {
        for change in &plan.changes {
            match change {
                Change::Want(wish) => self.snapshot.wish = Some(*wish),
                Change::NoteDropped(is_dropped) => self.snapshot.was_dropped = *is_dropped,
                Change::Create { attended_until, .. } => {
                    let Request::Create(new) = request else {
                        panic!("{request:?}")
                    };
                    self.next += 1;
                    let mut new = generation(self.next, GenerationState::Building, new.goal);
                    new.attended_until = *attended_until;
                    self.snapshot.generations.push(new);
                }
                Change::Put {
                    generation,
                    standing,
                } => self.get(*generation).standing = standing.clone(),
                Change::Drop(generation) => {
                    self.get(*generation).standing.state = GenerationState::Dropped;
                    self.dropped.insert(*generation);
                }
                Change::Show {
                    generation,
                    instead_of,
                    ..
                } => {
                    assert_eq!(*instead_of, self.shown);
                    self.shown = Some(*generation);
                }
                Change::Hide { live, .. } => {
                    assert_eq!(self.shown, Some(*live));
                    self.shown = None;
                }
                Change::TryAgain
                | Change::Decide
                | Change::ForgetHistory
                | Change::SetModule { .. }
                | Change::MoveRequests { .. } => {}
            }
        }
    }

    fn get(&mut self, id: GenerationId) -> &mut Registered {
        let mut all = self.snapshot.generations.iter_mut();
        all.find(|found| found.id == id).unwrap()
    }

    fn clear(&mut self, plan: &Plan) {
        let gone = |found: &Registered| plan.dropped.iter().any(|gone| gone.id == found.id);
        self.snapshot.generations.retain(|found| !gone(found));
        if self.snapshot.generations.is_empty() && self.snapshot.wish == Some(Wish::Removed) {
            self.snapshot.wish = None;
        }
    }

    fn check(&self) {
        let all = || self.snapshot.generations.iter();
        let live: Vec<_> = all()
            .filter(|found| found.standing.state == GenerationState::Live)
            .map(|found| found.id)
            .collect();
        assert!(live.len() <= 1, "one is live: {live:?}");
        assert_eq!(
            live.first().copied(),
            self.shown,
            "readers see the live one"
        );
        let wanted = all().filter(|found| {
            found.standing.state != GenerationState::Dropped && found.standing.goal.is_promotion()
        });
        assert!(wanted.count() <= 1, "one is to be the next");
        for found in all() {
            let standing = &found.standing;
            let is_dropped = standing.state == GenerationState::Dropped;
            assert_eq!(is_dropped, self.dropped.contains(&found.id), "{found:?}");
            if standing.state == GenerationState::Live {
                assert_eq!((standing.goal, &standing.obstacle), (Goal::Rest, &None));
            }
            let is_retired = standing.state == GenerationState::Retired;
            assert!(!is_retired || standing.retired_at.is_some(), "{found:?}");
            assert!(!is_retired || standing.goal != Goal::Hold, "{found:?}");
        }
    }
}

/// What tidying may drop, and what it keeps.
fn check_tidied(before: &Snapshot, plan: &Plan, keep: usize) {
    let gone = drops(plan);
    let rests = |found: &&Registered| {
        found.standing.state == GenerationState::Retired && found.standing.goal == Goal::Rest
    };
    let resting: Vec<_> = before.generations.iter().filter(rests).collect();
    let age = |found: &Registered| (found.standing.retired_at, found.id);
    let (old, kept): (Vec<&Registered>, Vec<_>) =
        resting.iter().partition(|found| gone.contains(&found.id));
    assert_eq!(kept.len(), resting.len().min(keep));
    let newest_gone = old.iter().map(|found| age(found)).max();
    assert!(
        kept.iter()
            .all(|found| newest_gone.is_none_or(|gone| age(found) > gone))
    );
    for found in &before.generations {
        let may_go = rests(&found) || found.standing.goal == Goal::Compare;
        assert!(may_go || !gone.contains(&found.id), "{found:?}");
    }
}

proptest! {
    #[test]
    fn what_holds_always(acts in prop::collection::vec(acts(), 1..150)) {
        let mut registry = Registry::new();
        for act in acts {
            registry.snapshot.now += 1;
            let Some(request) = registry.request(&act) else {
                continue;
            };
            let Ok(plan) = decide(&request, std::slice::from_ref(&registry.snapshot)) else {
                continue;
            };
            if registry.snapshot.wish == Some(Wish::Removed) {
                let is_shown = |change: &Change| matches!(change, Change::Show { .. });
                prop_assert!(!plan.changes.iter().any(is_shown), "a removed one is not promoted");
            }
            if let Act::Tidy(keep, _) = act {
                check_tidied(&registry.snapshot, &plan, keep);
            }
            prop_assert!(plan.changes.is_empty() || !plan.actions.is_empty(), "it is recorded");
            registry.carry_out(&request, &plan);
            registry.check();
            let clears = match act {
                Act::Tidy(_, clears) => clears,
                Act::Drop(_) | Act::DropProjection => true,
                _ => false,
            };
            if clears {
                registry.clear(&plan);
                registry.check();
            }
        }
    }
}
