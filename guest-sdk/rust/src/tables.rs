//! The tables of a projection, as they will stand once the batch commits.

use crate::backend::Backend;
use crate::error::Result;
use crate::row::{Change, IntoKey, Row, Selection};
use crate::value::RawChange;

/// The tables of the projection, as they will stand once the batch commits:
/// every read sees the writes made so far.
///
/// Which table is meant follows from the type of the row. A write that breaks
/// the schema, or a sum that leaves its column's range, ends the batch at
/// once: the host reports it and nothing of the batch is kept.
///
/// `merge` with `add`, `min` and `max` is the cheapest way to count and sum:
/// nothing is read in the guest, and all changes to one row reach the
/// database as one.
pub struct Tables {
    backend: Implementation,
}

/// Known at compile time on wasm, so that a module carries only the operations
/// that its projection uses.
#[cfg(target_family = "wasm")]
type Implementation = crate::guest::HostTables;
#[cfg(not(target_family = "wasm"))]
type Implementation = Box<dyn Backend>;

impl Tables {
    #[cfg_attr(
        not(any(target_family = "wasm", feature = "testing")),
        expect(dead_code, reason = "neither a host nor a test bench to stand on")
    )]
    pub(crate) const fn new(backend: Implementation) -> Self {
        Self { backend }
    }

    /// The row under a primary key.
    ///
    /// # Errors
    /// If the row does not fit `R`: an `i32` or `u32` field and a larger
    /// number.
    pub fn get<R: Row>(&mut self, key: impl IntoKey<R::Key>) -> Result<Option<R>> {
        self.backend
            .get(R::SCHEMA.name, key.into_key())?
            .map(R::from_values)
            .transpose()
    }

    /// The rows under many keys, in their order, in one round trip.
    ///
    /// # Errors
    /// As [`Tables::get`].
    pub fn get_many<R: Row, K: IntoKey<R::Key>>(
        &mut self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<R>>> {
        let keys = keys.into_iter().map(IntoKey::into_key).collect();
        self.backend
            .get_many(R::SCHEMA.name, keys)?
            .into_iter()
            .map(|row| row.map(R::from_values).transpose())
            .collect()
    }

    /// The rows of a selection, in primary-key order, at most `limit`.
    ///
    /// # Errors
    /// As [`Tables::get`].
    pub fn find<R: Row>(&mut self, selection: Selection<R>, limit: u32) -> Result<Vec<R>> {
        self.backend
            .find(R::SCHEMA.name, selection.columns, selection.values, limit)?
            .into_iter()
            .map(R::from_values)
            .collect()
    }

    /// Inserts a row, or replaces the one under its key.
    pub fn put<R: Row>(&mut self, row: R) {
        self.backend.put(R::SCHEMA.name, row.into_values());
    }

    /// Changes the row under a key; without such a row, does nothing.
    pub fn patch<R: Row>(
        &mut self,
        key: impl IntoKey<R::Key>,
        changes: impl IntoIterator<Item = Change<R>>,
    ) {
        self.backend
            .patch(R::SCHEMA.name, key.into_key(), raw(changes));
    }

    /// Changes the row under a key; without such a row, creates it first, each
    /// column at its zero: null where it is nullable, else `false`, `0`, empty
    /// text or bytes, the epoch, the nil UUID, or JSON `null`.
    pub fn merge<R: Row>(
        &mut self,
        key: impl IntoKey<R::Key>,
        changes: impl IntoIterator<Item = Change<R>>,
    ) {
        self.backend
            .merge(R::SCHEMA.name, key.into_key(), raw(changes));
    }

    /// Removes the row under a key, if there is one.
    pub fn remove<R: Row>(&mut self, key: impl IntoKey<R::Key>) {
        self.backend.remove(R::SCHEMA.name, key.into_key());
    }

    /// [`Tables::patch`] on every row of a selection.
    pub fn patch_where<R: Row>(
        &mut self,
        selection: Selection<R>,
        changes: impl IntoIterator<Item = Change<R>>,
    ) {
        self.backend.patch_where(
            R::SCHEMA.name,
            selection.columns,
            selection.values,
            raw(changes),
        );
    }

    /// [`Tables::remove`] on every row of a selection.
    pub fn remove_where<R: Row>(&mut self, selection: Selection<R>) {
        self.backend
            .remove_where(R::SCHEMA.name, selection.columns, selection.values);
    }
}

fn raw<R>(changes: impl IntoIterator<Item = Change<R>>) -> Vec<RawChange> {
    changes.into_iter().map(Change::into_raw).collect()
}
