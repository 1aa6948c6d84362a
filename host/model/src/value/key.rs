//! Primary keys.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::Value;

/// A map by primary key. Each write looks keys up several times, so the hash is
/// a quick one; its seed is another one in each process.
pub type KeyMap<T> = HashMap<Key, T, foldhash::quality::RandomState>;

/// The values of a primary key, canonical and in the key's order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key(Box<[Value]>);

impl Key {
    /// A key of values that were checked.
    #[must_use]
    pub fn new(values: Vec<Value>) -> Self {
        Self(values.into_boxed_slice())
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        &self.0
    }

    /// What the key holds, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.0.iter().map(Value::size).sum::<usize>()
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0
            .iter()
            .zip(&other.0)
            .map(|(a, b)| a.order(b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.0.len().cmp(&other.0.len()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
