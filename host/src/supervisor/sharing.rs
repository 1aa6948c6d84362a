//! Which generations a host runs, beside the other hosts of the registry.
//!
//! Every host runs about equally many. Each decides for itself, from what all of
//! them read: it takes what nobody has, up to its share, and asks hosts that have
//! more than theirs for the rest. A host never pushes anything away, so what only
//! one of them can run stays there. Where two decide on what one of them has not
//! seen yet, the leases keep them apart, and the next look finds the difference.

use std::collections::{BTreeMap, BTreeSet};

use crate::generation::{GenerationId, GenerationState};
use crate::registry::{Control, Overview};

/// How many generations a host asks for at a time: those that change hosts
/// together start together, and each is to stand still for a moment only.
const ASKED_MAX: usize = 8;

/// A generation that some host has to run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// What is wanted of it, and who has its lease.
    pub(super) control: &'a Control,
    /// Whether a runner of this host works on it.
    pub(super) runs_here: bool,
    /// Whether this host could start a runner now.
    pub(super) can_run: bool,
    /// Whether nobody has had it for so long that a host whose share it would
    /// be can be taken not to run it.
    pub(super) is_left_over: bool,
}

/// What a host does next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    /// Generations that it starts to run.
    pub(super) take: Vec<GenerationId>,
    /// Generations that it asks their hosts for.
    pub(super) ask: Vec<GenerationId>,
}

/// What a command takes that runs some generations by itself: what no host has.
pub(super) fn alone(me: &str, all: &[Candidate<'_>]) -> Share {
    Share {
        take: all
            .iter()
            .filter(|one| one.can_start() && (one.is_free(me) || one.is_held_by(me)))
            .map(|one| one.control.generation)
            .collect(),
        ask: Vec::new(),
    }
}

/// The share of host `me`. `all` are the active generations.
pub(super) fn share(me: &str, overview: &Overview, all: &[Candidate<'_>]) -> Share {
    let mut load = Load::of(me, overview, all);
    let mut share = Share::default();
    let mut free = Vec::new();
    let mut asked = 0;
    for one in all {
        let is_asked = one.is_asked_for_by(me);
        if !one.is_free(me) && is_asked {
            asked += 1;
        }
        if !one.can_start() {
            continue;
        }
        if one.is_held_by(me) || one.is_free(me) && is_asked {
            share.take.push(one.control.generation);
        } else if one.is_free(me) {
            free.push(one);
        }
    }
    // Hosts that come at the same time begin at different ends.
    let first = free.len() * load.place(me) / load.order.len().max(1);
    free.rotate_left(first);
    for one in free {
        if load.room(me) > 0 || one.is_left_over {
            load.give(me, one);
            share.take.push(one.control.generation);
        }
    }
    let can_be_asked = |one: &&Candidate<'_>| {
        let lease = &one.control.lease;
        one.can_start() && lease.requested_by.is_none() && lease.held_by().is_some()
    };
    let mut others: Vec<&Candidate<'_>> = all.iter().filter(can_be_asked).collect();
    while load.room(me) > 0 && asked + share.ask.len() < ASKED_MAX {
        let Some(index) = load.best(me, &others) else {
            break;
        };
        let one = others.remove(index);
        load.give(me, one);
        share.ask.push(one.control.generation);
    }
    share
}

impl Candidate<'_> {
    const fn can_start(&self) -> bool {
        self.can_run && !self.runs_here
    }

    fn is_held_by(&self, host: &str) -> bool {
        let lease = &self.control.lease;
        lease.held_by() == Some(host) && !lease.is_asked_of(host)
    }

    fn is_asked_for_by(&self, host: &str) -> bool {
        self.control.lease.requested_by.as_deref() == Some(host)
    }

    /// Whether no host has it, and no other one is to have it next.
    fn is_free(&self, me: &str) -> bool {
        let lease = &self.control.lease;
        lease.held_by().is_none() && lease.requested_by.as_deref().is_none_or(|by| by == me)
    }

    const fn is_build(&self) -> bool {
        matches!(self.control.state, GenerationState::Building)
    }
}

/// The hosts, and what each of them runs or is about to.
struct Load<'a> {
    counts: BTreeMap<&'a str, Count>,
    /// The hosts in the order in which they get one generation more where the
    /// number is no multiple of theirs: a host that has more keeps it.
    order: Vec<&'a str>,
    /// How many generations they share.
    generations: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    builds: usize,
}

impl<'a> Load<'a> {
    fn of(me: &'a str, overview: &'a Overview, all: &[Candidate<'a>]) -> Self {
        // A host that let the lease of something active run out is gone, whatever
        // it said before. That of something at rest may run out unnoticed.
        let gone: BTreeSet<&str> = all
            .iter()
            .map(|one| &one.control.lease)
            .filter(|lease| lease.has_lapsed)
            .filter_map(|lease| lease.holder.as_deref())
            .collect();
        let mut counts: BTreeMap<&str, Count> = overview
            .hosts
            .iter()
            .map(String::as_str)
            .filter(|host| !gone.contains(host))
            .map(|host| (host, Count::default()))
            .collect();
        counts.insert(me, Count::default());
        let mut generations = 0;
        for one in all {
            let lease = &one.control.lease;
            let host = lease.requested_by.as_deref().or_else(|| lease.held_by());
            // A lease that was just taken may not be seen yet.
            let host = host.or(one.runs_here.then_some(me));
            match host.map(|host| counts.get_mut(host)) {
                // A command that does some work by itself shares nothing.
                Some(None) => continue,
                Some(Some(count)) => count.add(one),
                None => {}
            }
            generations += 1;
        }
        let mut order: Vec<&str> = counts.keys().copied().collect();
        let all_of = |host: &&str| counts.get(*host).map_or(0, |count| count.all);
        order.sort_by_key(|host| std::cmp::Reverse(all_of(host)));
        Self {
            counts,
            order,
            generations,
        }
    }

    fn place(&self, host: &str) -> usize {
        let place = self.order.iter().position(|known| *known == host);
        place.unwrap_or(self.order.len())
    }

    /// How many generations a host is to have.
    fn quota(&self, host: &str) -> usize {
        let hosts = self.order.len().max(1);
        let one_more = self.place(host) < self.generations % hosts;
        self.generations / hosts + usize::from(one_more)
    }

    fn count(&self, host: &str) -> Count {
        self.counts.get(host).copied().unwrap_or_default()
    }

    /// How many more a host is to have.
    fn room(&self, host: &str) -> usize {
        self.quota(host).saturating_sub(self.count(host).all)
    }

    /// How many a host has beyond its share.
    fn surplus(&self, host: &str) -> usize {
        self.count(host).all.saturating_sub(self.quota(host))
    }

    /// Counts a generation for this host that was another one's, or nobody's.
    fn give(&mut self, me: &'a str, one: &Candidate<'_>) {
        if let Some(count) = one
            .control
            .lease
            .held_by()
            .and_then(|host| self.counts.get_mut(host))
        {
            count.all = count.all.saturating_sub(1);
            count.builds = count.builds.saturating_sub(usize::from(one.is_build()));
        }
        self.counts.entry(me).or_default().add(one);
    }

    /// The one to ask for next: of the host that has most beyond its share, and
    /// a build where that host has more builds than this one.
    fn best(&self, me: &str, others: &[&Candidate<'_>]) -> Option<usize> {
        let worth = |one: &Candidate<'_>| {
            let host = one.control.lease.held_by()?;
            let surplus = self.surplus(host);
            let prefers_builds = self.count(host).builds > self.count(me).builds;
            (surplus > 0).then_some((surplus, one.is_build() == prefers_builds))
        };
        let worths = others.iter().enumerate();
        worths
            .filter_map(|(index, one)| Some((worth(one)?, std::cmp::Reverse(index))))
            .max()
            .map(|(_, std::cmp::Reverse(index))| index)
    }
}

impl Count {
    fn add(&mut self, one: &Candidate<'_>) {
        self.all += 1;
        self.builds += usize::from(one.is_build());
    }
}

#[cfg(test)]
mod tests;
