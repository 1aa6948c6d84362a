//! The pages of a shared scan: a row without gaps, of bounded size.

use std::collections::VecDeque;
use std::sync::Arc;

use gnomon_event_store::source::{Batch, SourceError};
use gnomon_model::{Position, Subscription};
use tokio::sync::watch;

/// What is kept of pages, in bytes and in number, so that the slower readers
/// find them. Pages are small where events come one by one.
const BYTES_MAX: usize = 8 << 20;
const PAGES_MAX: usize = 64;

/// What became of the reading of a page.
pub(super) type Answer = Result<Arc<Batch>, SourceError>;

/// A page that is being read or was read.
#[derive(Debug)]
pub(super) struct Page {
    number: u64,
    from: Position,
    /// `None` while it is being read.
    end: Option<Position>,
    wants: Subscription,
    bytes: usize,
    answer: watch::Receiver<Option<Answer>>,
}

impl Page {
    /// Whether a reader behind this position can use it.
    pub(super) fn is_for(&self, position: Position) -> bool {
        self.from <= position && self.end.is_none_or(|end| position < end)
    }
}

/// The place of a page, for the task that reads it. Without an answer, all who
/// wait for the page are told that there will be none.
#[derive(Debug)]
pub(super) struct Slot {
    number: u64,
    wants: Subscription,
    answer: watch::Sender<Option<Answer>>,
}

impl Slot {
    /// What the page is to hold.
    pub(super) const fn wants(&self) -> &Subscription {
        &self.wants
    }

    pub(super) fn fill(self, answer: Answer) {
        self.answer.send_replace(Some(answer));
    }
}

#[derive(Debug, Default)]
pub(super) struct Pages {
    opened: u64,
    row: VecDeque<Page>,
}

impl Pages {
    /// The page for a reader behind a position.
    pub(super) fn at(
        &self,
        position: Position,
        wants: &Subscription,
    ) -> Option<watch::Receiver<Option<Answer>>> {
        let page = self.row.iter().find(|page| page.is_for(position))?;
        page.wants.covers(wants).then(|| page.answer.clone())
    }

    /// Where the first page begins.
    pub(super) fn start(&self) -> Option<Position> {
        self.row.front().map(|page| page.from)
    }

    /// Whether the next page would begin behind this position.
    pub(super) fn end_at(&self, position: Position) -> bool {
        self.row
            .back()
            .is_none_or(|last| last.end == Some(position))
    }

    pub(super) fn have_room(&self) -> bool {
        let bytes: usize = self.row.iter().map(|page| page.bytes).sum();
        bytes < BYTES_MAX && self.row.len() < PAGES_MAX
    }

    pub(super) fn oldest_is_for(&self, position: Position) -> bool {
        self.row.front().is_some_and(|page| page.is_for(position))
    }

    pub(super) fn drop_oldest(&mut self) {
        self.row.pop_front();
    }

    /// Drops the oldest pages as long as they pass.
    pub(super) fn drop_while(&mut self, passes: impl Fn(&Page) -> bool) {
        while self.row.front().is_some_and(&passes) {
            self.row.pop_front();
        }
    }

    /// A place at the end of the row.
    pub(super) fn open(
        &mut self,
        from: Position,
        wants: Subscription,
    ) -> (Slot, watch::Receiver<Option<Answer>>) {
        self.opened += 1;
        let (sender, answer) = watch::channel(None);
        self.row.push_back(Page {
            number: self.opened,
            from,
            end: None,
            wants: wants.clone(),
            bytes: 0,
            answer: answer.clone(),
        });
        let slot = Slot {
            number: self.opened,
            wants,
            answer: sender,
        };
        (slot, answer)
    }

    /// Notes what a page holds, and gives its end. A page that holds nothing,
    /// or could not be read, leaves the row.
    pub(super) fn file(&mut self, slot: &Slot, answer: &Answer) -> Option<Position> {
        let place = self
            .row
            .iter()
            .position(|page| page.number == slot.number)?;
        let page = self.row.get_mut(place)?;
        match answer {
            Ok(batch) if batch.position > page.from => {
                page.end = Some(batch.position);
                page.bytes = batch.events.bytes();
                page.end
            }
            _ => {
                self.row.remove(place);
                None
            }
        }
    }
}
