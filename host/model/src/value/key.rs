//! Primary keys.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};

use super::Value;

/// A map by primary key. Each write looks keys up several times, so the hash is
/// a quick one; its seed is another one in each process.
pub type KeyMap<T> = HashMap<Key, T, foldhash::quality::RandomState>;

/// The values of a primary key, canonical and in the key's order.
#[derive(Clone, Debug)]
pub struct Key(Values);

/// Most keys are one value, which needs no memory of its own.
#[derive(Clone, Debug)]
enum Values {
    One(Value),
    Many(Box<[Value]>),
}

impl Key {
    /// A key of values that were checked.
    #[must_use]
    pub fn new(values: Vec<Value>) -> Self {
        Self(match <[Value; 1]>::try_from(values) {
            Ok([value]) => Values::One(value),
            Err(values) => Values::Many(values.into_boxed_slice()),
        })
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[Value] {
        match &self.0 {
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(values) => values,
        }
    }

    /// The bytes of what has no fixed size.
    pub(crate) fn content_bytes(&self) -> usize {
        self.values().iter().map(Value::content_bytes).sum()
    }

    /// What the key holds, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        size_of::<Self>()
            + match &self.0 {
                Values::One(value) => value.content_bytes(),
                Values::Many(values) => values.iter().map(Value::size).sum(),
            }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.values() == other.values()
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // All keys of a table have as many values.
        for value in self.values() {
            value.hash(state);
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.values()
            .iter()
            .zip(other.values())
            .map(|(a, b)| a.order(b))
            .find(|order| order.is_ne())
            .unwrap_or_else(|| self.values().len().cmp(&other.values().len()))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
