//! Changes to single columns: `set`, `add`, `min` and `max`.

use crate::budget::Budget;
use crate::schema::{Column, Row, Table, Violation};
use crate::value::{ColumnType, Decimal, Floats, InvalidValue, Value};

/// Up to so many steps are searched for the last one of a column.
const STEPS_SEARCHED: usize = 64;

/// One change to one column, as a guest gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// Replaces the value.
    Set(&'a str, Value),
    /// Adds to an integer, float or decimal; null counts as zero.
    Add(&'a str, Value),
    /// Keeps the smaller value; null is replaced.
    Min(&'a str, Value),
    /// Keeps the larger value; null is replaced.
    Max(&'a str, Value),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Set,
    Add,
    Min,
    Max,
}

impl Verb {
    const fn name(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Add => "add",
            Self::Min => "min",
            Self::Max => "max",
        }
    }
}

/// What is to be done to one column, folded.
#[derive(Clone, Debug)]
enum Step {
    /// A run of integer additions. The lowest and highest partial sums are
    /// kept, so that the fold overflows exactly where the single additions
    /// would have. A run ends where one of them would no longer fit.
    AddIntegers { sum: i64, lowest: i64, highest: i64 },
    /// Any other change.
    Apply(Verb, Value),
}

/// What the cells that were changed held before and hold now, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Resized {
    /// Before.
    pub before: usize,
    /// Now.
    pub after: usize,
}

/// Checked changes to one row, in order, folded where the fold is exact.
///
/// Applying the fold gives what applying the single changes would have given,
/// errors included; only that makes the rows independent of the batches' cut.
/// Float and decimal additions are therefore kept one by one: their results
/// depend on the order (floats) or on the digits (decimals) of each step.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    steps: Vec<(usize, Step)>,
    /// The place of the last step of each column, by the column's number, once
    /// there are many steps.
    last: Vec<Option<usize>>,
}

impl Changes {
    /// Checks changes against the table. Their JSON may take `room` bytes.
    ///
    /// # Errors
    /// [`Violation`] for an unknown column, a column of the primary key, a
    /// value that the column cannot hold, or a change that its type does not
    /// have.
    pub fn checked(
        table: &Table,
        changes: Vec<Change<'_>>,
        floats: Floats,
        mut room: usize,
    ) -> Result<Self, Violation> {
        let mut checked = Self {
            steps: Vec::with_capacity(changes.len()),
            ..Self::default()
        };
        for change in changes {
            let (verb, name, mut value) = match change {
                Change::Set(name, value) => (Verb::Set, name, value),
                Change::Add(name, value) => (Verb::Add, name, value),
                Change::Min(name, value) => (Verb::Min, name, value),
                Change::Max(name, value) => (Verb::Max, name, value),
            };
            let column = table.column(name)?;
            if table.primary_key.contains(&column) {
                return Err(Violation::ChangedKey {
                    table: table.name.clone(),
                    column: name.to_owned(),
                });
            }
            let refuse = |reason| match table.columns.get(column) {
                Some(declared) => refused(table, declared, reason),
                None => Violation::UnknownColumn {
                    table: table.name.clone(),
                    column: name.to_owned(),
                },
            };
            if verb != Verb::Set && value == Value::Null {
                return Err(refuse(InvalidValue::NullOperand {
                    change: verb.name(),
                }));
            }
            table.check_value(column, &mut value, floats, &mut room)?;
            if let Some(column_type) = value.column_type()
                && !has_change(column_type, verb)
            {
                return Err(refuse(InvalidValue::Change {
                    change: verb.name(),
                    column_type,
                }));
            }
            checked.push(column, Step::from(verb, value));
        }
        Ok(checked)
    }

    /// Appends later changes.
    pub fn extend(&mut self, later: Self) {
        for (column, step) in later.steps {
            self.push(column, step);
        }
    }

    /// Whether applying them can fail, which depends on the row.
    #[must_use]
    pub fn can_fail(&self) -> bool {
        self.steps
            .iter()
            .any(|(_, step)| matches!(step, Step::AddIntegers { .. } | Step::Apply(Verb::Add, _)))
    }

    /// What they hold, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.steps
            .iter()
            .map(|(_, step)| {
                size_of::<(usize, Step)>()
                    + match step {
                        Step::AddIntegers { .. } => 0,
                        Step::Apply(_, value) => value.size(),
                    }
            })
            .sum()
    }

    /// Applies them to a row. The digits of decimal sums are paid for from the
    /// budget: they are of the row's length, not of the change's.
    ///
    /// # Errors
    /// [`Violation::Value`] if a sum leaves the range of its column, or
    /// [`Violation::TooManyBytes`]; some of the changes are made then.
    pub fn apply(
        self,
        table: &Table,
        row: &mut Row,
        floats: Floats,
        budget: &mut Budget,
    ) -> Result<(), Violation> {
        for (column, step) in self.steps {
            let (Some(cell), Some(declared)) = (row.get_mut(column), table.columns.get(column))
            else {
                continue;
            };
            let is_plain = step.is_plain();
            step.apply(cell, declared.column_type)
                .map_err(|reason| refused(table, declared, reason))?;
            if !is_plain {
                budget.hold(cell.content_bytes())?;
                // Sums are no JSON.
                table.check_value(column, cell, floats, &mut 0)?;
            }
        }
        table.check_entries(row)
    }

    /// Whether [`Self::check`] foresees all that can go wrong when they are
    /// applied: each sum of its column is the first change to it, and no key and
    /// no index gets longer.
    pub(crate) fn are_plain(&self, table: &Table) -> bool {
        self.steps
            .iter()
            .enumerate()
            .all(|(place, (column, step))| {
                let is_first = || {
                    !self
                        .steps
                        .iter()
                        .take(place)
                        .any(|(other, _)| other == column)
                };
                step.is_plain()
                    && (!matches!(step, Step::AddIntegers { .. }) || is_first())
                    && !table.identifies(*column)
            })
    }

    /// Whether there are none.
    pub(crate) const fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Checks that plain changes can be made to a row.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub(crate) fn check(&self, table: &Table, row: &Row) -> Result<(), Violation> {
        for (column, step) in &self.steps {
            if let (Some(cell), Some(declared)) = (row.get(*column), table.columns.get(*column)) {
                step.check(cell, declared.column_type)
                    .map_err(|reason| refused(table, declared, reason))?;
            }
        }
        Ok(())
    }

    /// Makes plain changes that were checked on this row.
    pub(crate) fn make(self, row: &mut Row) -> Resized {
        let mut resized = Resized::default();
        for (column, step) in self.steps {
            if let Some(cell) = row.get_mut(column) {
                resized.before += cell.content_bytes();
                step.make(cell);
                resized.after += cell.content_bytes();
            }
        }
        resized
    }

    fn push(&mut self, column: usize, step: Step) {
        let last = match self.steps.len() {
            0..STEPS_SEARCHED => (self.steps.iter()).rposition(|(other, _)| *other == column),
            _ => {
                if self.last.is_empty() {
                    let steps = std::mem::take(&mut self.steps);
                    for (place, (column, _)) in steps.iter().enumerate() {
                        self.note_last(*column, place);
                    }
                    self.steps = steps;
                }
                self.last.get(column).copied().flatten()
            }
        };
        let unfolded = match last.and_then(|place| self.steps.get_mut(place)) {
            Some((_, last)) => last.fold(step),
            None => Some(step),
        };
        if let Some(step) = unfolded {
            if !self.last.is_empty() {
                self.note_last(column, self.steps.len());
            }
            self.steps.push((column, step));
        }
    }

    fn note_last(&mut self, column: usize, place: usize) {
        if self.last.len() <= column {
            self.last.resize(column + 1, None);
        }
        if let Some(last) = self.last.get_mut(column) {
            *last = Some(place);
        }
    }
}

fn refused(table: &Table, column: &Column, reason: InvalidValue) -> Violation {
    Violation::Value {
        table: table.name.clone(),
        column: column.name.clone(),
        column_type: column.column_type,
        reason,
    }
}

fn has_change(column_type: ColumnType, verb: Verb) -> bool {
    match verb {
        Verb::Set => true,
        Verb::Add => matches!(
            column_type,
            ColumnType::Integer | ColumnType::Float | ColumnType::Decimal
        ),
        Verb::Min | Verb::Max => column_type != ColumnType::Json,
    }
}

impl Step {
    fn from(verb: Verb, value: Value) -> Self {
        match (verb, value) {
            (Verb::Add, Value::Integer(number)) => Self::AddIntegers {
                sum: number,
                lowest: number,
                highest: number,
            },
            (verb, value) => Self::Apply(verb, value),
        }
    }

    /// Takes a later step for the same column into this one, if that is exact;
    /// else gives it back.
    fn fold(&mut self, later: Self) -> Option<Self> {
        match (&mut *self, later) {
            (
                Self::AddIntegers {
                    sum,
                    lowest,
                    highest,
                },
                later @ Self::AddIntegers {
                    sum: later_sum,
                    lowest: later_lowest,
                    highest: later_highest,
                },
            ) => {
                let partial = [later_lowest, later_highest, later_sum];
                let [Some(low), Some(high), Some(all)] =
                    partial.map(|later| sum.checked_add(later))
                else {
                    return Some(later);
                };
                *lowest = low.min(*lowest);
                *highest = high.max(*highest);
                *sum = all;
            }
            (
                Self::Apply(Verb::Set | Verb::Min | Verb::Max, _),
                later @ Self::Apply(Verb::Set, _),
            ) => *self = later,
            (Self::Apply(Verb::Min, value), Self::Apply(Verb::Min, other)) => {
                if other.order(value).is_lt() {
                    *value = other;
                }
            }
            (Self::Apply(Verb::Max, value), Self::Apply(Verb::Max, other)) => {
                if other.order(value).is_gt() {
                    *value = other;
                }
            }
            (_, later) => return Some(later),
        }
        None
    }

    /// Whether it gives a canonical value, and [`Self::check`] says if it can be
    /// made.
    const fn is_plain(&self) -> bool {
        !matches!(self, Self::Apply(Verb::Add, _))
    }

    fn check(&self, cell: &Value, column_type: ColumnType) -> Result<(), InvalidValue> {
        let Self::AddIntegers {
            sum,
            lowest,
            highest,
        } = self
        else {
            return Ok(());
        };
        let start = integer(cell);
        let fits = |number: &i64| start.checked_add(*number).is_some();
        if fits(lowest) && fits(highest) && fits(sum) {
            Ok(())
        } else {
            Err(InvalidValue::Overflow { column_type })
        }
    }

    /// Makes a plain step that was checked on this cell.
    fn make(self, cell: &mut Value) {
        match self {
            Self::AddIntegers { sum, .. } => {
                *cell = Value::Integer(integer(cell).saturating_add(sum));
            }
            Self::Apply(Verb::Min, value) if *cell != Value::Null => {
                if value.order(cell).is_lt() {
                    *cell = value;
                }
            }
            Self::Apply(Verb::Max, value) if *cell != Value::Null => {
                if value.order(cell).is_gt() {
                    *cell = value;
                }
            }
            Self::Apply(_, value) => *cell = value,
        }
    }

    fn apply(self, cell: &mut Value, column_type: ColumnType) -> Result<(), InvalidValue> {
        match self {
            Self::Apply(Verb::Add, Value::Float(number)) => {
                *cell = Value::Float(match cell {
                    Value::Float(start) => *start + number,
                    _ => number,
                });
            }
            Self::Apply(Verb::Add, Value::Decimal(number)) => {
                let zero = Decimal::zero();
                let start = match cell {
                    Value::Decimal(start) => &*start,
                    _ => &zero,
                };
                let sum = start.checked_add(&number);
                *cell = sum
                    .map(Value::Decimal)
                    .ok_or(InvalidValue::Overflow { column_type })?;
            }
            plain => {
                plain.check(cell, column_type)?;
                plain.make(cell);
            }
        }
        Ok(())
    }
}

/// What an integer column holds; null counts as zero.
const fn integer(cell: &Value) -> i64 {
    match cell {
        Value::Integer(number) => *number,
        _ => 0,
    }
}
