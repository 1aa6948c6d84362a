//! Changes to single columns: `set`, `add`, `min` and `max`.

use crate::schema::{Row, Table, Violation};
use crate::value::{ColumnType, Decimal, Floats, InvalidValue, Value};

/// One change to one column, as a guest gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Replaces the value.
    Set(String, Value),
    /// Adds to an integer, float or decimal; null counts as zero.
    Add(String, Value),
    /// Keeps the smaller value; null is replaced.
    Min(String, Value),
    /// Keeps the larger value; null is replaced.
    Max(String, Value),
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
    /// would have.
    AddIntegers {
        sum: i128,
        lowest: i128,
        highest: i128,
    },
    /// Any other change.
    Apply(Verb, Value),
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
}

impl Changes {
    /// Checks changes against the table.
    ///
    /// # Errors
    /// [`Violation`] for an unknown column, a column of the primary key, a
    /// value that the column cannot hold, or a change that its type does not
    /// have.
    pub fn checked(table: &Table, changes: Vec<Change>, floats: Floats) -> Result<Self, Violation> {
        let mut checked = Self::default();
        for change in changes {
            let (verb, name, mut value) = match change {
                Change::Set(name, value) => (Verb::Set, name, value),
                Change::Add(name, value) => (Verb::Add, name, value),
                Change::Min(name, value) => (Verb::Min, name, value),
                Change::Max(name, value) => (Verb::Max, name, value),
            };
            let column = table.column(&name)?;
            if table.primary_key.contains(&column) {
                return Err(Violation::ChangedKey {
                    table: table.name.clone(),
                    column: name,
                });
            }
            let refuse = |reason| Violation::Value {
                table: table.name.clone(),
                column: name.clone(),
                reason,
            };
            if verb != Verb::Set && value == Value::Null {
                return Err(refuse(InvalidValue::Null));
            }
            table.check_value(column, &mut value, floats)?;
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

    /// Applies them to a row.
    ///
    /// # Errors
    /// [`Violation::Value`] if a sum leaves the range of its column.
    pub fn apply(&self, table: &Table, row: &mut Row, floats: Floats) -> Result<(), Violation> {
        for (column, step) in &self.steps {
            let (Some(cell), Some(declared)) = (row.get_mut(*column), table.columns.get(*column))
            else {
                continue;
            };
            let refuse = |reason| Violation::Value {
                table: table.name.clone(),
                column: declared.name.clone(),
                reason,
            };
            *cell = step.apply(cell, declared.column_type).map_err(refuse)?;
            table.check_value(*column, cell, floats)?;
        }
        table.check_entries(row)
    }

    fn push(&mut self, column: usize, step: Step) {
        let last = self
            .steps
            .iter_mut()
            .rev()
            .find(|(other, _)| *other == column);
        if let Some((_, last)) = last
            && last.fold(&step)
        {
            return;
        }
        self.steps.push((column, step));
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
            (Verb::Add, Value::Integer(number)) => {
                let number = i128::from(number);
                Self::AddIntegers {
                    sum: number,
                    lowest: number,
                    highest: number,
                }
            }
            (verb, value) => Self::Apply(verb, value),
        }
    }

    /// Takes a later step for the same column into this one, if that is
    /// exact; says whether it did.
    fn fold(&mut self, later: &Self) -> bool {
        match (&mut *self, later) {
            (
                Self::AddIntegers {
                    sum,
                    lowest,
                    highest,
                },
                Self::AddIntegers {
                    sum: later_sum,
                    lowest: later_lowest,
                    highest: later_highest,
                },
            ) => {
                *lowest = (*lowest).min(*sum + later_lowest);
                *highest = (*highest).max(*sum + later_highest);
                *sum += later_sum;
                true
            }
            (Self::Apply(Verb::Set | Verb::Min | Verb::Max, _), Self::Apply(Verb::Set, _)) => {
                *self = later.clone();
                true
            }
            (Self::Apply(Verb::Min, value), Self::Apply(Verb::Min, other)) => {
                if other.order(value).is_lt() {
                    *value = other.clone();
                }
                true
            }
            (Self::Apply(Verb::Max, value), Self::Apply(Verb::Max, other)) => {
                if other.order(value).is_gt() {
                    *value = other.clone();
                }
                true
            }
            _ => false,
        }
    }

    fn apply(&self, cell: &Value, column_type: ColumnType) -> Result<Value, InvalidValue> {
        let overflow = InvalidValue::Overflow { column_type };
        match self {
            Self::AddIntegers {
                sum,
                lowest,
                highest,
            } => {
                let start = match cell {
                    Value::Integer(number) => i128::from(*number),
                    _ => 0,
                };
                let fits = |number: i128| i64::try_from(start + number).ok();
                match (fits(*lowest), fits(*highest), fits(*sum)) {
                    (Some(_), Some(_), Some(sum)) => Ok(Value::Integer(sum)),
                    _ => Err(overflow),
                }
            }
            Self::Apply(Verb::Add, Value::Float(number)) => Ok(Value::Float(match cell {
                Value::Float(start) => start + number,
                _ => *number,
            })),
            Self::Apply(Verb::Add, Value::Decimal(number)) => {
                let zero = Decimal::zero();
                let start = match cell {
                    Value::Decimal(start) => start,
                    _ => &zero,
                };
                start
                    .checked_add(number)
                    .map(Value::Decimal)
                    .ok_or(overflow)
            }
            Self::Apply(Verb::Min, value) if *cell != Value::Null => {
                Ok(if value.order(cell).is_lt() {
                    value
                } else {
                    cell
                }
                .clone())
            }
            Self::Apply(Verb::Max, value) if *cell != Value::Null => {
                Ok(if value.order(cell).is_gt() {
                    value
                } else {
                    cell
                }
                .clone())
            }
            Self::Apply(_, value) => Ok(value.clone()),
        }
    }
}
