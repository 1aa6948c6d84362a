//! What is pending for the rows of one table.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use crate::budget::Budget;
use crate::change::{Changes, Resized};
use crate::schema::{Row, Table, Violation};
use crate::value::{Floats, Key, KeyMap, Value};

/// What is pending for one row.
#[derive(Debug)]
pub(super) enum Pending {
    /// The row as it will stand, or none. It was written by this batch; rows
    /// that were only read are not kept.
    Known(Option<Row>),
    /// Changes to a row that was not read yet.
    Unread(Unread),
}

/// Changes in the order in which they were made: those of `patch` calls
/// before the first `merge`, which need a row, and those from the first
/// `merge` on, after which there is one.
#[derive(Debug, Default)]
pub(super) struct Unread {
    if_present: Changes,
    then: Option<Changes>,
}

#[derive(Debug, Default)]
pub(super) struct PendingTable {
    pub(super) rows: KeyMap<Pending>,
    /// Keys of `Unread` rows; some may have become `Known` since.
    pub(super) unread: Vec<Key>,
    /// For each index that a `find` used: the keys of `Known` rows by the
    /// index's values.
    pub(super) found_by: HashMap<usize, HashMap<Vec<Value>, BTreeSet<Key>>>,
}

impl PendingTable {
    /// The row as it will stand, if it is known.
    pub(super) fn known(&self, key: &Key) -> Option<Row> {
        match self.rows.get(key) {
            Some(Pending::Known(row)) => row.clone(),
            _ => None,
        }
    }

    /// Records how a row will stand, and keeps the indexes in step.
    pub(super) fn know(&mut self, declared: &Table, key: Key, row: Option<Row>) {
        for (index, keys_by_values) in &mut self.found_by {
            let Some(index) = declared.indexes.get(*index) else {
                continue;
            };
            if let Some(Pending::Known(Some(old))) = self.rows.get(&key)
                && let Some(keys) = keys_by_values.get_mut(&declared.pick(&index.columns, old))
            {
                keys.remove(&key);
            }
            if let Some(row) = &row {
                keys_by_values
                    .entry(declared.pick(&index.columns, row))
                    .or_default()
                    .insert(key.clone());
            }
        }
        self.rows.insert(key, Pending::Known(row));
    }

    /// Changes a row; creates it first, if it is missing and that is wanted.
    pub(super) fn change(
        &mut self,
        declared: &Table,
        key: Key,
        changes: Changes,
        create: bool,
        floats: Floats,
        budget: &mut Budget,
    ) -> Result<(), Violation> {
        let row = match self.rows.entry(key) {
            Entry::Vacant(entry) => {
                self.unread.push(entry.key().clone());
                entry.insert(Pending::Unread(Unread::new(changes, create)));
                return Ok(());
            }
            Entry::Occupied(mut entry) => {
                let row = match entry.get_mut() {
                    Pending::Unread(unread) => {
                        unread.push(changes, create);
                        return Ok(());
                    }
                    // No index has to follow, so the row is changed where it is.
                    Pending::Known(Some(row)) if self.found_by.is_empty() => {
                        return changes.apply(declared, row, floats, budget);
                    }
                    Pending::Known(Some(row)) => Some(row.clone()),
                    Pending::Known(None) => create.then(|| zero_row(declared, entry.key())),
                };
                row.map(|row| (entry.key().clone(), row))
            }
        };
        if let Some((key, mut row)) = row {
            changes.apply(declared, &mut row, floats, budget)?;
            self.know(declared, key, Some(row));
        }
        Ok(())
    }

    /// Makes the known rows findable by an index.
    pub(super) fn build_index(&mut self, declared: &Table, index: usize) {
        let Some(columns) = declared.indexes.get(index).map(|index| &index.columns) else {
            return;
        };
        let rows = &self.rows;
        self.found_by.entry(index).or_insert_with(|| {
            let mut keys_by_values: HashMap<Vec<Value>, BTreeSet<Key>> = HashMap::new();
            for (key, pending) in rows {
                if let Pending::Known(Some(row)) = pending {
                    keys_by_values
                        .entry(declared.pick(columns, row))
                        .or_default()
                        .insert(key.clone());
                }
            }
            keys_by_values
        });
    }
}

impl Unread {
    fn new(changes: Changes, create: bool) -> Self {
        match create {
            true => Self {
                if_present: Changes::default(),
                then: Some(changes),
            },
            false => Self {
                if_present: changes,
                then: None,
            },
        }
    }

    fn push(&mut self, changes: Changes, create: bool) {
        match &mut self.then {
            Some(then) => then.extend(changes),
            None if create => self.then = Some(changes),
            None => self.if_present.extend(changes),
        }
    }

    pub(super) fn can_fail(&self) -> bool {
        self.if_present.can_fail() || self.then.as_ref().is_some_and(Changes::can_fail)
    }

    pub(super) fn apply(
        self,
        declared: &Table,
        key: &Key,
        row: Option<Row>,
        floats: Floats,
        budget: &mut Budget,
    ) -> Result<Option<Row>, Violation> {
        let present = match row {
            Some(mut row) => {
                self.if_present.apply(declared, &mut row, floats, budget)?;
                Some(row)
            }
            None => None,
        };
        let Some(then) = self.then else {
            return Ok(present);
        };
        let mut row = present.unwrap_or_else(|| zero_row(declared, key));
        then.apply(declared, &mut row, floats, budget)?;
        Ok(Some(row))
    }

    /// What is done to a row that is there, if [`Changes::check`] foresees all
    /// that can go wrong.
    pub(super) fn plain(&self, declared: &Table) -> Option<&Changes> {
        let changes = match &self.then {
            None => &self.if_present,
            Some(then) if self.if_present.is_empty() => then,
            Some(_) => return None,
        };
        changes.are_plain(declared).then_some(changes)
    }

    /// Does to a row what was plain and checked on it.
    pub(super) fn make(self, row: &mut Row) -> Resized {
        let resized = self.if_present.make(row);
        let then = self.then.map(|then| then.make(row)).unwrap_or_default();
        Resized {
            before: resized.before + then.before,
            after: resized.after + then.after,
        }
    }
}

/// The row that `merge` starts from.
pub(super) fn zero_row(declared: &Table, key: &Key) -> Row {
    let mut row: Row = declared
        .columns
        .iter()
        .map(|column| match column.nullable {
            true => Value::Null,
            false => column.column_type.zero(),
        })
        .collect();
    for (column, value) in declared.primary_key.iter().zip(key.values()) {
        if let Some(cell) = row.get_mut(*column) {
            *cell = value.clone();
        }
    }
    row
}
