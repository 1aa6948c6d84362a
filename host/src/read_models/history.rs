//! What is kept beside a checkpoint of the history of its source.

use gnomon_event_store::source::KnownEvent;
use gnomon_model::Position;

/// What tells whether the event store is still the one that a generation has
/// read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptHistory {
    /// The last event that the source showed up to the checkpoint. `None`
    /// before the first one, and where the next session is to take the store
    /// as it finds it.
    pub event: Option<KnownEvent>,
    /// Whether the store was found without that event.
    pub is_set_back: bool,
    /// A position up to the checkpoint whose event came after it was passed.
    pub late: Option<Position>,
}

/// What is kept, as the columns of the registry give it.
pub(crate) struct StoredHistory {
    pub(crate) position: Option<i64>,
    pub(crate) id: Option<String>,
    pub(crate) is_set_back: bool,
    pub(crate) late: Option<i64>,
}

impl From<StoredHistory> for KeptHistory {
    fn from(stored: StoredHistory) -> Self {
        let position = stored.position.and_then(Position::from_sql);
        Self {
            event: (position.zip(stored.id)).map(|(position, id)| KnownEvent { position, id }),
            is_set_back: stored.is_set_back,
            late: stored.late.and_then(Position::from_sql),
        }
    }
}
