//! The events of a batch, picked from what was read for several projections.

use std::sync::Arc;

use gnomon_model::{Event, Position, Subscription};

/// Some of the events that were read, in order; shared, not copied.
#[derive(Clone, Debug)]
pub struct EventList {
    read: Arc<[Event]>,
    places: Vec<u32>,
    /// Whether whoever wants the list wants the events' metadata.
    metadata: bool,
}

impl EventList {
    /// What a subscription wants of the events after a position.
    #[must_use]
    pub fn pick(read: &Arc<[Event]>, after: Position, subscription: &Subscription) -> Self {
        let places = (0..)
            .zip(&**read)
            .filter(|(_, event)| event.position > after && subscription.wants(event))
            .map(|(place, _)| place)
            .collect();
        Self {
            read: Arc::clone(read),
            places,
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

    /// The event at a place.
    #[must_use]
    pub fn get(&self, place: usize) -> Option<&Event> {
        self.read.get(*self.places.get(place)? as usize)
    }

    /// The events. Their metadata is to be taken from [`Self::metadata`].
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        let event = |place: &u32| self.read.get(*place as usize);
        self.places.iter().filter_map(event)
    }

    /// The metadata of one of the events: empty unless it is wanted.
    #[must_use]
    pub fn metadata<'a>(&self, event: &'a Event) -> &'a str {
        if self.metadata { &event.metadata } else { "" }
    }

    /// A copy of one of the events.
    #[must_use]
    pub fn copy(&self, event: &Event) -> Event {
        Event {
            metadata: self.metadata(event).to_owned(),
            ..event.clone()
        }
    }

    /// The place of the event with this position in the list.
    #[must_use]
    pub fn place(&self, position: Position) -> Option<usize> {
        let place = self.places.binary_search_by_key(&Some(position), |place| {
            self.read.get(*place as usize).map(|event| event.position)
        });
        place.ok()
    }

    /// The position of the event at this place.
    #[must_use]
    pub fn position(&self, place: usize) -> Option<Position> {
        self.get(place).map(|event| event.position)
    }

    /// The position of the last event.
    #[must_use]
    pub fn last(&self) -> Option<Position> {
        self.position(self.len().checked_sub(1)?)
    }

    /// Leaves out what does not pass.
    pub fn retain(&mut self, mut passes: impl FnMut(&Event) -> bool) {
        let read = &self.read;
        self.places
            .retain(|place| read.get(*place as usize).is_some_and(&mut passes));
    }
}

/// All of them, with their metadata.
impl From<Vec<Event>> for EventList {
    fn from(events: Vec<Event>) -> Self {
        Self {
            places: (0..).zip(&events).map(|(place, _)| place).collect(),
            read: events.into(),
            metadata: true,
        }
    }
}
