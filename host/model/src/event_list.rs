//! The events of a batch, picked from what was read for several projections.

use std::sync::Arc;

use crate::{Event, EventRef, PayloadRef, Position, Subscription};

use crate::EventPage;

/// Some of the events that were read, in order; shared, not copied.
#[derive(Clone, Debug)]
pub struct EventList {
    read: Arc<EventPage>,
    places: Vec<u32>,
    /// Whether whoever wants the list wants the events' metadata.
    metadata: bool,
}

impl EventList {
    /// What a subscription wants of the events after a position.
    #[must_use]
    pub fn pick(read: &Arc<EventPage>, after: Position, subscription: &Subscription) -> Self {
        Self {
            read: Arc::clone(read),
            places: read.wanted(after, subscription),
            metadata: subscription.metadata,
        }
    }

    /// How many events it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The event at a place, with its metadata if it is wanted.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<EventRef<'_>> {
        self.event(*self.places.get(place)?)
    }

    /// The events, with their metadata if it is wanted.
    pub fn iter(&self) -> impl Iterator<Item = EventRef<'_>> {
        let event = |place: &u32| self.event(*place);
        self.places.iter().filter_map(event)
    }

    fn event(&self, place: u32) -> Option<EventRef<'_>> {
        let event = self.read.get(place as usize)?;
        let metadata = if self.metadata { event.metadata } else { "" };
        Some(EventRef { metadata, ..event })
    }

    /// The place in the list of the first event that cannot be read, and why.
    #[must_use]
    pub fn first_unreadable(&self) -> Option<(usize, &str)> {
        let find = |place| self.places.binary_search(place).ok();
        let place = self.read.unreadable().iter().find_map(find)?;
        match self.get(place)?.data {
            PayloadRef::Unreadable(reason) => Some((place, reason)),
            _ => None,
        }
    }

    /// The place of the event with this position in the list.
    #[must_use]
    pub fn place(&self, position: Position) -> Option<usize> {
        let place = self
            .places
            .binary_search_by_key(&Some(position), |place| self.read.position(*place as usize));
        place.ok()
    }

    /// The position of the event at this place.
    #[must_use]
    pub fn position(&self, place: usize) -> Option<Position> {
        self.read.position(*self.places.get(place)? as usize)
    }

    /// The position of the last event.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.position(self.len().checked_sub(1)?)
    }

    /// Keeps so many events, and gives those behind them.
    #[must_use]
    pub fn split_off(&mut self, len: usize) -> Self {
        Self {
            read: Arc::clone(&self.read),
            places: self.places.split_off(len.min(self.places.len())),
            metadata: self.metadata,
        }
    }

    /// Puts back what [`Self::split_off`] gave.
    pub fn append(&mut self, mut behind: Self) {
        self.places.append(&mut behind.places);
    }

    /// Leaves out the events with positions that do not pass.
    pub fn retain(&mut self, mut passes: impl FnMut(Position) -> bool) {
        let read = &self.read;
        self.places
            .retain(|place| read.position(*place as usize).is_some_and(&mut passes));
    }
}

/// Copies of all of them, with their metadata.
impl From<&[Event]> for EventList {
    fn from(events: &[Event]) -> Self {
        let mut read = EventPage::default();
        for event in events {
            read.push(event.into());
        }
        Self {
            places: (0..).zip(events).map(|(place, _)| place).collect(),
            read: Arc::new(read),
            metadata: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Payload;

    use super::*;

    fn position(number: u64) -> Position {
        Position::new(number).unwrap()
    }

    fn event(number: u64, stream_id: &str, event_type: &str) -> Event {
        Event {
            position: position(number),
            id: number.to_string(),
            stream_id: stream_id.to_owned(),
            event_type: event_type.to_owned(),
            version: 1,
            schema_version: 1,
            data: Payload::Json("1".to_owned()),
            metadata: "{}".to_owned(),
            recorded_at: 0,
        }
    }

    fn read() -> Vec<Event> {
        vec![
            event(2, "Order-1", "Placed"),
            event(3, "Order-2", "Paid"),
            event(5, "Customer", "Placed"),
            event(7, "Order-1", "Paid"),
            event(8, "Order-3", "Placed"),
        ]
    }

    /// The positions of what is picked.
    fn picked(after: u64, event_types: &[&str], categories: &[&str]) -> Vec<u64> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let subscription = Subscription {
            event_types: owned(event_types),
            categories: owned(categories),
            metadata: false,
        };
        let all = EventList::from(read().as_slice());
        let list = EventList::pick(&all.read, position(after), &subscription);
        assert!(list.iter().all(|event| event.metadata.is_empty()));
        list.iter().map(|event| event.position.get()).collect()
    }

    #[test]
    fn a_subscription_picks_what_it_wants() {
        assert_eq!(picked(0, &[], &[]), [2, 3, 5, 7, 8]);
        assert_eq!(picked(3, &[], &[]), [5, 7, 8]);
        assert_eq!(picked(8, &[], &[]), [0; 0]);
        assert_eq!(picked(0, &["Placed"], &[]), [2, 5, 8]);
        assert_eq!(picked(0, &["Shipped", "Paid"], &[]), [3, 7]);
        assert_eq!(picked(0, &[], &["Customer"]), [5]);
        assert_eq!(picked(2, &["Placed"], &["Order"]), [8]);
    }

    #[test]
    fn a_list_knows_its_places() {
        let mut list = EventList::from(read().as_slice());
        assert!(list.iter().map(Event::from).eq(read()));
        list.retain(|at| at != position(3) && at != position(8));
        assert_eq!(list.len(), 3);
        assert_eq!(list.last(), Some(position(7)));
        assert_eq!(list.place(position(5)), Some(1));
        assert_eq!(list.place(position(3)), None);
        assert_eq!(list.position(2), Some(position(7)));
        assert_eq!(list.get(2).map(Event::from), Some(read()[3].clone()));
        assert_eq!(list.get(3), None);
    }
}
