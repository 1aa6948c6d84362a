//! Hosts that come, go and die, on what each of them has seen.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::generation::{Goal, ModuleHash, is_active};
use crate::registry::SeenLease;

/// The registry as hosts find it, without its clock: what time does is done by
/// hand.
#[derive(Clone, Default)]
struct World {
    controls: Vec<Control>,
    hosts: BTreeSet<String>,
    /// Generations that only some hosts can run.
    only: BTreeMap<GenerationId, BTreeSet<String>>,
    /// Generations that nobody had at the last look of everybody.
    left_over: BTreeSet<GenerationId>,
    moves: usize,
}

impl World {
    fn new(live: usize, builds: usize) -> Self {
        let states = std::iter::repeat_n(GenerationState::Live, live)
            .chain(std::iter::repeat_n(GenerationState::Building, builds));
        Self {
            controls: states
                .enumerate()
                .map(|(n, state)| control(n, state))
                .collect(),
            ..Self::default()
        }
    }

    fn join(&mut self, host: &str) {
        self.hosts.insert(host.to_owned());
    }

    /// The host gives everything back.
    fn leave(&mut self, host: &str) {
        self.hosts.remove(host);
        for control in &mut self.controls {
            if control.lease.holder.as_deref() == Some(host) {
                control.lease = nobody();
            }
        }
    }

    /// The host is gone without a word, and its leases have run out.
    fn die(&mut self, host: &str) {
        for control in &mut self.controls {
            if control.lease.holder.as_deref() == Some(host) {
                control.lease.has_lapsed = true;
            }
        }
    }

    fn overview(&self) -> Overview {
        Overview {
            controls: self.controls.clone(),
            hosts: self.hosts.iter().cloned().collect(),
        }
    }

    /// One host decides on what it saw then, and does it now.
    fn act(&mut self, host: &str, seen: &Overview) {
        let can_run = |id: &GenerationId| self.only.get(id).is_none_or(|by| by.contains(host));
        let candidates: Vec<Candidate<'_>> = seen
            .controls
            .iter()
            .filter(|control| is_active(control.state, control.goal))
            .map(|control| Candidate {
                control,
                runs_here: self.control(control.generation).lease.held_by() == Some(host),
                can_run: can_run(&control.generation),
                is_left_over: self.left_over.contains(&control.generation),
            })
            .collect();
        let share = share(host, seen, &candidates);
        for id in share.take {
            let lease = &mut self.control_mut(id).lease;
            let is_free = lease.held_by().is_none_or(|by| by == host)
                && lease.requested_by.as_deref().is_none_or(|by| by == host);
            if is_free {
                *lease = held_by(host);
                self.moves += 1;
            }
        }
        for id in share.ask {
            let lease = &mut self.control_mut(id).lease;
            if lease.requested_by.is_none() && lease.held_by().is_some() {
                lease.requested_by = Some(host.to_owned());
            }
        }
        // Its runners notice what others have asked for.
        for control in &mut self.controls {
            if control.lease.is_asked_of(host) {
                control.lease.holder = None;
                control.lease.has_lapsed = true;
            }
        }
    }

    /// Everybody looks and acts once. With `stale`, they all look first.
    fn round(&mut self, stale: bool) {
        let hosts: Vec<String> = self.hosts.iter().cloned().collect();
        let before = self.overview();
        for host in hosts {
            let let_run_out =
                |c: &Control| c.lease.has_lapsed && c.lease.holder.as_ref() == Some(&host);
            if self.active().any(let_run_out) {
                continue;
            }
            let seen = if stale {
                before.clone()
            } else {
                self.overview()
            };
            self.act(&host, &seen);
        }
        let is_free = |control: &&Control| control.lease.held_by().is_none();
        self.left_over = (self.controls.iter().filter(is_free))
            .map(|control| control.generation)
            .filter(|id| {
                before
                    .controls
                    .iter()
                    .any(|c| c.generation == *id && c.lease.held_by().is_none())
            })
            .collect();
    }

    fn settle(&mut self, stale: bool) {
        for _ in 0..40 {
            self.round(stale);
        }
    }

    fn active(&self) -> impl Iterator<Item = &Control> {
        let is_active = |control: &&Control| is_active(control.state, control.goal);
        self.controls.iter().filter(is_active)
    }

    fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<String, usize> =
            (self.hosts.iter().cloned()).map(|h| (h, 0)).collect();
        for control in self.active() {
            let holder = control.lease.held_by().expect("somebody has it");
            *counts.entry(holder.to_owned()).or_default() += 1;
        }
        counts
    }

    fn control(&self, id: GenerationId) -> &Control {
        self.controls
            .iter()
            .find(|control| control.generation == id)
            .unwrap()
    }

    fn control_mut(&mut self, id: GenerationId) -> &mut Control {
        self.controls
            .iter_mut()
            .find(|control| control.generation == id)
            .unwrap()
    }

    fn is_level(&self) -> bool {
        let counts = self.counts();
        let most = counts.values().max().copied().unwrap_or(0);
        let least = counts.values().min().copied().unwrap_or(0);
        most - least <= 1
    }
}

fn control(number: usize, state: GenerationState) -> Control {
    Control {
        projection: format!("projection_{number}"),
        generation: GenerationId::from_sql(i64::try_from(number).unwrap() + 1),
        module: ModuleHash::from_stored("module".to_owned()),
        state,
        goal: Goal::Rest,
        until: None,
        stop_at: None,
        paused: false,
        resumes: 0,
        requests: 0,
        skips: 0,
        lease: nobody(),
    }
}

fn nobody() -> SeenLease {
    SeenLease {
        holder: None,
        has_lapsed: true,
        requested_by: None,
    }
}

fn held_by(host: &str) -> SeenLease {
    SeenLease {
        holder: Some(host.to_owned()),
        has_lapsed: false,
        requested_by: None,
    }
}

#[test]
fn ten_projections_are_five_and_five_on_two_hosts_and_three_or_four_on_three() {
    let mut world = World::new(10, 0);
    world.join("a");
    world.settle(false);
    assert_eq!(world.counts(), BTreeMap::from([("a".to_owned(), 10)]));
    world.join("b");
    world.settle(false);
    assert_eq!(world.counts().into_values().collect::<Vec<_>>(), [5, 5]);
    world.moves = 0;
    world.join("c");
    world.settle(false);
    let mut counts: Vec<usize> = world.counts().into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [3, 3, 4]);
    assert_eq!(world.moves, 3, "only what the new host gets has moved");
}

#[test]
fn builds_are_shared_as_well_as_what_readers_see() {
    let mut world = World::new(6, 6);
    world.join("a");
    world.settle(false);
    world.join("b");
    world.settle(false);
    let builds = |host: &str| {
        let of = world
            .controls
            .iter()
            .filter(|c| c.lease.held_by() == Some(host));
        of.filter(|c| c.state == GenerationState::Building).count()
    };
    assert_eq!((builds("a"), builds("b")), (3, 3));
}

#[test]
fn what_only_one_host_can_run_stays_there_and_moves_nothing() {
    let mut world = World::new(4, 0);
    world.join("a");
    world.join("b");
    for control in world.controls.clone() {
        world
            .only
            .insert(control.generation, BTreeSet::from(["b".to_owned()]));
    }
    world.settle(false);
    assert_eq!(world.counts().get("b"), Some(&4));
    world.moves = 0;
    world.settle(false);
    assert_eq!(world.moves, 0);
}

#[test]
fn a_host_that_died_counts_for_nothing_when_its_leases_have_run_out() {
    let mut world = World::new(10, 0);
    world.join("a");
    world.join("b");
    world.settle(false);
    world.die("a");
    // It seems to be there for some seconds more.
    assert!(world.hosts.contains("a"));
    world.round(false);
    assert_eq!(world.counts().get("b"), Some(&10));
}

#[test]
fn a_lease_that_ran_out_on_what_is_at_rest_says_nothing_of_its_host() {
    let mut world = World::new(10, 0);
    world.join("a");
    world.settle(false);
    let mut retired = control(10, GenerationState::Retired);
    retired.lease = SeenLease {
        has_lapsed: true,
        ..held_by("a")
    };
    world.controls.push(retired);
    world.join("b");
    world.settle(false);
    assert_eq!(world.counts().into_values().collect::<Vec<_>>(), [5, 5]);
}

#[test]
fn a_command_takes_only_what_nobody_has() {
    let mut world = World::new(2, 0);
    world.controls[0].lease = held_by("a");
    let overview = world.overview();
    let candidates: Vec<Candidate<'_>> = overview
        .controls
        .iter()
        .map(|control| Candidate {
            control,
            runs_here: false,
            can_run: true,
            is_left_over: false,
        })
        .collect();
    assert_eq!(
        alone("me", &candidates).take,
        [world.controls[1].generation]
    );
    // And it counts for nothing in the shares of hosts.
    world.controls[1].lease = held_by("me");
    world.join("a");
    world.join("b");
    world.settle(false);
    assert_eq!(
        world.counts(),
        BTreeMap::from([("a".into(), 1), ("b".into(), 0), ("me".into(), 1)])
    );
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Joins(u8),
    Leaves(u8),
    Dies(u8),
    Round(bool),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0..5_u8).prop_map(Happening::Joins),
        (0..5_u8).prop_map(Happening::Leaves),
        (0..5_u8).prop_map(Happening::Dies),
        any::<bool>().prop_map(Happening::Round),
        any::<bool>().prop_map(Happening::Round),
    ]
}

proptest! {
    /// Whatever came before, and whatever each host had seen of it, the hosts that
    /// are there run equally many in the end, and then nothing moves any more.
    #[test]
    fn hosts_level_out_and_then_nothing_moves(
        live in 0..25_usize,
        builds in 0..6_usize,
        happenings in proptest::collection::vec(happening(), 0..25),
        stale in any::<bool>(),
    ) {
        let mut world = World::new(live, builds);
        world.join("stays");
        for happening in happenings {
            match happening {
                Happening::Joins(host) => world.join(&format!("host-{host}")),
                Happening::Leaves(host) => world.leave(&format!("host-{host}")),
                Happening::Dies(host) => {
                    world.die(&format!("host-{host}"));
                    world.hosts.remove(&format!("host-{host}"));
                }
                Happening::Round(stale) => world.round(stale),
            }
        }
        // A request ends by itself where nobody is there to take what it was for.
        let hosts = world.hosts.clone();
        for control in &mut world.controls {
            if control.lease.requested_by.as_ref().is_some_and(|by| !hosts.contains(by)) {
                control.lease.requested_by = None;
            }
        }
        world.settle(stale);
        prop_assert!(world.is_level(), "{:?}", world.counts());
        world.moves = 0;
        world.settle(stale);
        prop_assert_eq!(world.moves, 0);
    }
}
