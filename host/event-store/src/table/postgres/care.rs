//! How carefully a page is asked for.
//!
//! Some hundred bytes of `jsonb` can be gigabytes as text, and a server neither
//! tells beforehand nor can be stopped while it writes them. To look at each
//! number first takes several times as long as to send an ordinary event. So a
//! page is read as it is, until that fails or shows an event that is too long;
//! then it is read again with more care, in the end event by event.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use gnomon_databases::postgres::error::may_be_about_values;
use sqlx::Error;

/// How long everything is read with care behind an event that needed it: where
/// one is, others are likely.
const CAREFUL_TIME: Duration = Duration::from_mins(1);

/// How a page is asked for, from the quickest way to the one that cannot fail
/// for what an event holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Care {
    /// As it is.
    None,
    /// What is longer than an event may be is not sent, and not written out.
    Checked,
    /// The same, for one event, and for a limited time.
    One,
    /// One event, without its data and metadata: the server cannot send them.
    Keys,
}

impl Care {
    /// How the same page is asked for again.
    pub(crate) const fn more(self) -> Option<Self> {
        match self {
            Self::None => Some(Self::Checked),
            Self::Checked => Some(Self::One),
            Self::One => Some(Self::Keys),
            Self::Keys => None,
        }
    }

    /// How many events are asked for where so many are wanted.
    pub(crate) const fn limit(self, wanted: usize) -> usize {
        match self {
            Self::None | Self::Checked => wanted,
            Self::One | Self::Keys => 1,
        }
    }

    /// Whether a single event is asked for, whatever is wanted.
    pub(crate) const fn is_single(self) -> bool {
        matches!(self, Self::One | Self::Keys)
    }
}

/// Until when everything is read with care. All who read a table share it.
#[derive(Debug, Default)]
pub(crate) struct Caution(Mutex<Option<Instant>>);

impl Caution {
    /// Something needed care, or took so long that it may have.
    pub(crate) fn advise(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(crate) fn care(&self) -> Care {
        let advised = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match advised {
            Some(advised) if advised.elapsed() < CAREFUL_TIME => Care::Checked,
            _ => Care::None,
        }
    }
}

/// The attempts to read one page.
#[derive(Debug)]
pub(crate) struct Attempts {
    caution: Arc<Caution>,
    /// How the next one asks.
    next: Mutex<Care>,
}

impl Attempts {
    pub(crate) fn new(caution: &Arc<Caution>) -> Self {
        Self {
            caution: Arc::clone(caution),
            next: Mutex::new(caution.care()),
        }
    }

    /// How to ask now. Where no answer comes, the next attempt asks for less; but
    /// silence alone, which may be the network's, does not make an event one that
    /// cannot be read.
    pub(crate) fn begin(&self) -> Care {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let care = *next;
        *next = care.more().map_or(care, |more| more.min(Care::One));
        care
    }

    /// How to ask again after this error, if there is a way to do without what
    /// it is about.
    pub(crate) fn after(&self, care: Care, error: &Error) -> Option<Care> {
        let more = care.more().filter(|_| may_be_about_values(error));
        if more.is_some() || matches!(error, Error::Io(_)) {
            self.caution.advise();
        }
        more
    }

    /// An event was too long. Where that came as a surprise, the page is asked
    /// for again: what is behind it may be as long.
    pub(crate) fn too_long(&self, care: Care) -> Option<Care> {
        self.caution.advise();
        care.more().filter(|_| care == Care::None)
    }
}

/// What is said of an event whose data the server cannot send.
pub(crate) fn withheld(error: &Error) -> String {
    let message = match error.as_database_error() {
        Some(error) => error.message().to_owned(),
        None => error.to_string(),
    };
    format!("it cannot be read: the server cannot send its data: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_attempt_asks_more_carefully_and_silence_blames_no_event() {
        let caution = Arc::default();
        let attempts = Attempts::new(&caution);
        let asked: Vec<Care> = (0..5).map(|_| attempts.begin()).collect();
        assert_eq!(
            asked,
            [Care::None, Care::Checked, Care::One, Care::One, Care::One]
        );
        let lost = Error::Io(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(attempts.after(Care::None, &lost), None);
        assert_eq!(Attempts::new(&caution).begin(), Care::Checked);
    }
}
