//! Readers that are near each other read together.
//!
//! ```text
//!                                  ┌──> portion of A ──> runner of A
//! source ──> page ──> page ──> page┼──> portion of B ──> runner of B
//!            (kept until all in the └──> portion of C ──> runner of C
//!             scan have used it)
//! ```
//!
//! Whoever is first at the end of the pages has the next one read, with what
//! all who are near want of it; from then on pages are read ahead as long as
//! there is room. Whoever is too far away, or wants what a page lacks, reads
//! by itself, as if nobody else read, until it finds itself within the
//! pages again.
//!
//! Live projections wait for nobody: when there is no room, the oldest page
//! goes, and whoever still wanted it reads that part by itself. Builds wait for
//! each other, but only where there are more of them than processors: what
//! one does not use there, another does, and reading once is less work.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use gnomon_event_store::source::{Batch, BatchLimits, Checkpoint, Source, SourceError};
use gnomon_model::{Position, Subscription};
use tokio::sync::{Notify, watch};

use super::Reading;
use super::asking::Asking;
use super::pages::{Answer, Pages, Slot};

/// Readers that are at most so many positions ahead have a say in what is read.
const NEAR_POSITIONS: u64 = 20_000;
/// Events that are read at a time, if not more are wanted: with fewer of them a
/// database spends a good part of its time on planning.
const PAGE_EVENTS: usize = 4_000;
/// How long a build waits for another one that does not move at all.
const PATIENCE: Duration = Duration::from_secs(2);

/// With whom a reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanGroup {
    /// With nobody.
    Alone,
    /// With other live projections.
    Live,
    /// With other builds.
    Builds,
}

/// The readers of one source.
pub struct SharedScan {
    source: Arc<dyn Source>,
    live: Arc<Group>,
    builds: Arc<Group>,
}

/// Those who read together.
struct Group {
    source: Arc<dyn Source>,
    /// How much is read at a time.
    limits: BatchLimits,
    asking: Asking,
    /// They wait for each other if they are more than these.
    wait_beyond: usize,
    state: Mutex<State>,
    /// Told when a reader has moved on.
    moved: Notify,
}

#[derive(Default)]
struct State {
    members: Vec<MemberState>,
    joined: u64,
    pages: Pages,
}

/// Where a reader is.
struct MemberState {
    id: u64,
    wants: Subscription,
    at: Position,
    since: Instant,
}

/// What a reader is to do.
enum Step {
    /// Take this page, once it is there.
    Take(watch::Receiver<Option<Answer>>),
    /// Read by itself.
    ReadAlone,
    /// Wait for slower ones, at most so long.
    Wait(Duration),
}

impl SharedScan {
    /// The readers of a source, which read pages of about this size.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, limits: BatchLimits) -> Arc<Self> {
        let processors = available_parallelism().map_or(1, usize::from);
        let limits = BatchLimits {
            events: limits.events.max(PAGE_EVENTS),
            ..limits
        };
        Self::on_processors(source, limits, processors)
    }

    pub(super) fn on_processors(
        source: Arc<dyn Source>,
        limits: BatchLimits,
        processors: usize,
    ) -> Arc<Self> {
        let group = |wait_beyond| {
            Arc::new(Group {
                source: Arc::clone(&source),
                limits,
                asking: Asking::default(),
                wait_beyond,
                state: Mutex::default(),
                moved: Notify::new(),
            })
        };
        Arc::new(Self {
            live: group(usize::MAX),
            builds: group(processors),
            source,
        })
    }

    /// What is read.
    #[must_use]
    pub fn source(&self) -> &Arc<dyn Source> {
        &self.source
    }

    /// Forgets what was read: the store is not what it was.
    pub fn forget(&self) {
        for group in [&self.live, &self.builds] {
            group.lock().pages.drop_while(|_| true);
        }
    }

    fn group(&self, group: ScanGroup) -> Option<&Arc<Group>> {
        match group {
            ScanGroup::Alone => None,
            ScanGroup::Live => Some(&self.live),
            ScanGroup::Builds => Some(&self.builds),
        }
    }
}

impl Group {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the reader with this id does to get behind a position.
    fn step(self: &Arc<Self>, id: u64, after: &Checkpoint, position: Position) -> Step {
        let mut state = self.lock();
        if state.move_to(id, position) {
            self.moved.notify_waiters();
        }
        let Some(wants) = state.wants_of(id) else {
            return Step::ReadAlone;
        };
        if let Some(page) = state.pages.at(position, wants) {
            return Step::Take(page);
        }
        let has_others = state.near(position).nth(1).is_some();
        if !has_others || !state.pages.end_at(position) {
            return Step::ReadAlone;
        }
        while !state.pages.have_room() {
            if let Some(patience) = state.patience(id, self.wait_beyond) {
                return Step::Wait(patience);
            }
            state.pages.drop_oldest();
        }
        let (slot, answer) = state.open(position);
        tokio::spawn(Arc::clone(self).read_ahead(slot, after.clone()));
        Step::Take(answer)
    }

    /// Reads pages one after the other, as long as there is room for them and
    /// somebody to use them.
    async fn read_ahead(self: Arc<Self>, mut slot: Slot, mut after: Checkpoint) {
        loop {
            let source = self.source.as_ref();
            let read = (self.asking).read(source, &after, slot.wants(), self.limits);
            let answer = read.await.map(Arc::new);
            let next = self.lock().file(&slot, &answer);
            if let Ok(batch) = &answer {
                after.clone_from(&batch.next);
            }
            slot.fill(answer);
            match next {
                Some(next) => slot = next,
                None => return,
            }
        }
    }
}

impl State {
    /// Notes where a reader is, and forgets pages that nobody wants any more.
    /// Says whether it has moved.
    fn move_to(&mut self, id: u64, position: Position) -> bool {
        let Some(member) = self.members.iter_mut().find(|member| member.id == id) else {
            return false;
        };
        if member.at == position {
            return false;
        }
        member.at = position;
        member.since = Instant::now();
        self.trim();
        true
    }

    fn trim(&mut self) {
        let members = &self.members;
        self.pages
            .drop_while(|page| !members.iter().any(|member| page.is_for(member.at)));
    }

    fn wants_of(&self, id: u64) -> Option<&Subscription> {
        let member = self.members.iter().find(|member| member.id == id)?;
        Some(&member.wants)
    }

    /// The readers that may use a page that begins behind this position.
    fn near(&self, position: Position) -> impl Iterator<Item = &MemberState> {
        let start = self.pages.start().unwrap_or(position);
        let end = position.get().saturating_add(NEAR_POSITIONS);
        self.members
            .iter()
            .filter(move |member| member.at >= start && member.at.get() <= end)
    }

    /// How long a reader that needs room waits for the slowest ones, if at all.
    fn patience(&self, id: u64, wait_beyond: usize) -> Option<Duration> {
        if self.members.len() <= wait_beyond {
            return None;
        }
        self.members
            .iter()
            .filter(|member| member.id != id && self.pages.oldest_is_for(member.at))
            .filter_map(|member| PATIENCE.checked_sub(member.since.elapsed()))
            .max()
    }

    /// A place for the page behind a position.
    fn open(&mut self, position: Position) -> (Slot, watch::Receiver<Option<Answer>>) {
        let wants = (self.near(position))
            .map(|member| member.wants.clone())
            .reduce(|all, wants| all.union(&wants))
            .unwrap_or_default();
        self.pages.open(position, wants)
    }

    /// Puts what was read into its place, and opens the next one if it is to
    /// be read right away.
    fn file(&mut self, slot: &Slot, answer: &Answer) -> Option<Slot> {
        let end = self.pages.file(slot, answer)?;
        let is_last = answer.as_ref().is_ok_and(|batch| batch.caught_up);
        let is_wanted = self.near(end).next().is_some();
        let goes_on = !is_last && is_wanted && self.pages.have_room();
        goes_on.then(|| self.open(end).0)
    }
}

/// A reader in a shared scan.
pub(super) struct Member {
    source: Arc<dyn Source>,
    subscription: Subscription,
    /// How much it reads by itself.
    limits: BatchLimits,
    asking: Asking,
    /// `None` for one that reads alone.
    place: Option<Place>,
}

/// A reader's place in its group.
struct Place {
    group: Arc<Group>,
    id: u64,
}

impl Member {
    pub(super) fn join(scan: &SharedScan, reading: &Reading, at: Position) -> Self {
        let mut limits = reading.limits;
        let mut group = scan.group(reading.group);
        if let Some(group) = group {
            limits.events = limits.events.max(group.limits.events);
        }
        group = group.filter(|group| limits.until.is_none() && limits.bytes >= group.limits.bytes);
        Self {
            source: Arc::clone(&scan.source),
            subscription: reading.subscription.clone(),
            limits,
            asking: Asking::default(),
            place: group.map(|group| Place::take(group, &reading.subscription, at)),
        }
    }

    /// A batch that holds all that the reader wants between the checkpoint,
    /// which is at `position`, and the batch's end. It may hold more.
    pub(super) async fn read(
        &self,
        after: &Checkpoint,
        position: Position,
    ) -> Result<Arc<Batch>, SourceError> {
        if let Some(place) = &self.place
            && let Some(answer) = place.read(after, position).await
        {
            return answer;
        }
        let source = self.source.as_ref();
        let read = (self.asking).read(source, after, &self.subscription, self.limits);
        read.await.map(Arc::new)
    }
}

impl Place {
    fn take(group: &Arc<Group>, wants: &Subscription, at: Position) -> Self {
        let mut state = group.lock();
        state.joined += 1;
        let id = state.joined;
        state.members.push(MemberState {
            id,
            wants: wants.clone(),
            at,
            since: Instant::now(),
        });
        Self {
            group: Arc::clone(group),
            id,
        }
    }

    /// What the group reads next; `None` for a reader that is on its own.
    async fn read(&self, after: &Checkpoint, position: Position) -> Option<Answer> {
        loop {
            // From here on it hears of moves.
            let moved = self.group.moved.notified();
            match self.group.step(self.id, after, position) {
                Step::ReadAlone => return None,
                Step::Take(mut page) => {
                    // An error: nobody reads it any more.
                    let answer = page.wait_for(Option::is_some).await.ok()?.clone()?;
                    match &answer {
                        // In flight it looked as if it were for this reader.
                        Ok(batch) if batch.position < position => {}
                        _ => return Some(answer),
                    }
                }
                Step::Wait(patience) => {
                    let _ = tokio::time::timeout(patience, moved).await;
                }
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.group.lock();
        state.members.retain(|member| member.id != self.id);
        state.trim();
        drop(state);
        self.group.moved.notify_waiters();
    }
}
