//! What is wrong with a projection.

use std::fmt;

use gnomon_model::{Description, Position};

use super::difference::{self, Difference};
use super::{Cut, End, Outcome, RowDifference};
use crate::fixture::{ExpectedRejection, Fixture};

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// What makes no difference made one.
    Unlike(Unlike),
    /// The projection broke the contract or a limit.
    Failed {
        /// The event.
        position: Option<Position>,
        /// What the host says.
        message: String,
    },
    /// An event was rejected that was to be applied.
    Rejected {
        /// The event.
        position: Position,
        /// What the projection says.
        message: String,
    },
    /// All events were applied, although one was to be rejected.
    NotRejected(Position),
    /// Another event was rejected, or with another message.
    OtherRejection {
        /// What was expected.
        expected: ExpectedRejection,
        /// The event that was rejected.
        position: Position,
        /// What the projection says.
        message: String,
    },
    /// An event was rejected by a fault in the code, which is not recorded as
    /// what is expected.
    Fault {
        /// The event.
        position: Position,
        /// What the projection says.
        message: String,
    },
    /// Rows differ: left is expected, right was found.
    Rows(Vec<RowDifference>),
}

/// The same events came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unlike {
    /// In the same batches, the second time.
    Again(Difference),
    /// In an instance that was kept.
    Kept(Difference),
    /// In other batches; the seed makes the same ones.
    Cut(Cut, Difference, u64),
}

impl Finding {
    /// Its name in JSON.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unlike(Unlike::Again(_)) => "not-deterministic",
            Self::Unlike(Unlike::Kept(_)) => "hidden-state",
            Self::Unlike(Unlike::Cut(..)) => "depends-on-cut",
            Self::Failed { .. } => "failed",
            Self::Rejected { .. } => "rejected",
            Self::NotRejected(_) => "not-rejected",
            Self::OtherRejection { .. } => "other-rejection",
            Self::Fault { .. } => "fault",
            Self::Rows(_) => "rows",
        }
    }

    /// What the two sides of its rows are called.
    #[must_use]
    pub const fn sides(&self) -> [&'static str; 2] {
        match self {
            Self::Unlike(Unlike::Again(_)) => ["first", "second"],
            Self::Unlike(Unlike::Kept(_)) => ["fresh", "kept"],
            Self::Unlike(Unlike::Cut(..)) => ["one by one", "cut"],
            _ => ["expected", "found"],
        }
    }

    /// The rows that differ, as far as they are known.
    #[must_use]
    pub fn rows(&self) -> &[RowDifference] {
        match self {
            Self::Rows(rows) => rows,
            Self::Unlike(
                Unlike::Again(Difference::Row(row))
                | Unlike::Kept(Difference::Row(row))
                | Unlike::Cut(_, Difference::Row(row), _),
            ) => std::slice::from_ref(row),
            _ => &[],
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlike(unlike) => unlike.fmt(formatter),
            Self::Failed {
                position: Some(position),
                message,
            } => write!(formatter, "event {position} failed: {message}"),
            Self::Failed {
                position: None,
                message,
            } => formatter.write_str(message),
            Self::Rejected { position, message } => {
                write!(formatter, "event {position} was rejected: {message}")
            }
            Self::NotRejected(position) => write!(
                formatter,
                "event {position} was to be rejected, and all events were applied"
            ),
            Self::OtherRejection {
                expected,
                position,
                message,
            } => {
                write!(formatter, "event {} was to be rejected", expected.position)?;
                if !expected.message.is_empty() {
                    write!(formatter, " with \"{}\"", expected.message)?;
                }
                write!(formatter, ", but event {position} was: {message}")
            }
            Self::Fault { position, message } => write!(
                formatter,
                "event {position} ends in what looks like a fault in the projection, so it is not \
                 recorded: fix the projection, or, if it is meant to reject the event so, write \
                 \"expect_rejection\": {{\"position\": {position}}} into the fixture: {message}"
            ),
            Self::Rows(rows) => match rows.len() {
                1 => formatter.write_str("1 row is not as expected"),
                rows => write!(formatter, "{rows} rows are not as expected"),
            },
        }
    }
}

impl fmt::Display for Unlike {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let difference = match self {
            Self::Again(difference) => {
                formatter.write_str(
                    "it is not deterministic: the same events in the same batches came out differently \
                     the second time",
                )?;
                difference
            }
            Self::Kept(difference) => {
                formatter.write_str(
                    "it has hidden state: something in its memory survives from one batch to the next; a \
                     host makes a new instance for every batch, so put it into a table",
                )?;
                difference
            }
            Self::Cut(cut, difference, seed) => {
                write!(
                    formatter,
                    "it depends on how events are cut into batches: {cut} they came out differently than \
                     one by one; what one event leaves for the next belongs into a table"
                )?;
                if matches!(cut, Cut::Sizes(_)) {
                    write!(formatter, " (again with --seed {seed})")?;
                }
                difference
            }
        };
        match difference {
            Difference::Row(_) => formatter.write_str("; the first row that differs:"),
            Difference::End(left, right) => write!(formatter, "; first {left}, then {right}"),
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Applied => formatter.write_str("all events were applied"),
            Self::Rejected { position, message } => {
                write!(formatter, "event {position} was rejected: {message}")
            }
            Self::Failed {
                position: Some(position),
                message,
            } => write!(formatter, "event {position} failed: {message}"),
            Self::Failed { message, .. } => formatter.write_str(message),
        }
    }
}

/// What is not as a fixture expects it.
pub(super) fn unexpected(
    fixture: &Fixture,
    outcome: &Outcome,
    description: &Description,
) -> Vec<Finding> {
    let end = match (&fixture.rejection, outcome.end.clone()) {
        (_, End::Failed { position, message }) => Some(Finding::Failed { position, message }),
        // What is to be recorded is not wrong.
        (None, _) if !fixture.expects_something() => None,
        (None, End::Applied) => None,
        (None, End::Rejected { position, message }) => {
            Some(Finding::Rejected { position, message })
        }
        (Some(expected), End::Applied) => Some(Finding::NotRejected(expected.position)),
        (Some(expected), End::Rejected { position, message }) => {
            let is_expected = position == expected.position && message.contains(&expected.message);
            (!is_expected).then(|| Finding::OtherRejection {
                expected: expected.clone(),
                position,
                message,
            })
        }
    };
    let rows: Vec<RowDifference> = match (&end, &fixture.rows) {
        // The rows are then not those of that moment.
        (None, Some(expected)) => difference::rows(expected, &outcome.rows, description).collect(),
        _ => Vec::new(),
    };
    let rows = (!rows.is_empty()).then_some(Finding::Rows(rows));
    end.into_iter().chain(rows).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use gnomon_model::{Column, ColumnType, DeclaredTable, Key, Subscription, Value};

    use super::*;

    fn description() -> Description {
        let column = |name: &str| Column {
            name: name.to_owned(),
            column_type: ColumnType::Integer,
            nullable: false,
        };
        let table = DeclaredTable {
            name: "counts".to_owned(),
            columns: vec![column("id"), column("count")],
            primary_key: vec!["id".to_owned()],
            indexes: Vec::new(),
        };
        let subscription = Subscription::default();
        Description::check("counting".to_owned(), 1, subscription, vec![table]).unwrap()
    }

    fn outcome(rows: &[(i64, i64)], end: End) -> Outcome {
        let row = |(id, count): &(i64, i64)| {
            let row = vec![Value::Integer(*id), Value::Integer(*count)];
            (Key::new(vec![Value::Integer(*id)]), row)
        };
        let rows: BTreeMap<_, _> = rows.iter().map(row).collect();
        Outcome {
            rows: vec![rows],
            end,
        }
    }

    #[test]
    fn the_first_row_that_differs_is_named_whatever_made_it_differ() {
        let description = description();
        let first = outcome(&[(1, 1), (2, 1), (3, 1)], End::Applied);
        let second = outcome(&[(1, 1), (2, 2), (4, 1)], End::Applied);
        let difference = difference::between(&first, &second, &description).unwrap();
        for (unlike, kind, said) in [
            (
                Unlike::Again(difference.clone()),
                "not-deterministic",
                "it is not deterministic",
            ),
            (
                Unlike::Kept(difference.clone()),
                "hidden-state",
                "it has hidden state",
            ),
            (
                Unlike::Cut(Cut::Sizes(vec![2, 1]), difference.clone(), 7),
                "depends-on-cut",
                "in batches of 2, 1 they came out differently",
            ),
        ] {
            let finding = Finding::Unlike(unlike);
            assert_eq!(finding.kind(), kind);
            let message = finding.to_string();
            assert!(message.contains(said), "{message}");
            assert_eq!(message.contains("--seed 7"), kind == "depends-on-cut");
            let [row] = finding.rows() else {
                panic!("{finding:?}")
            };
            assert_eq!(row.key, [("id".to_owned(), "2".to_owned())]);
        }
    }

    #[test]
    fn other_words_in_a_rejection_make_no_difference_another_event_does() {
        let description = description();
        let rejected = |position: u64, message: &str| {
            let end = End::Rejected {
                position: Position::new(position).unwrap(),
                message: message.to_owned(),
            };
            outcome(&[(1, 1)], end)
        };
        let between =
            |left: &Outcome, right: &Outcome| difference::between(left, right, &description);
        assert_eq!(between(&rejected(2, "a"), &rejected(2, "b")), None);
        let found = between(&rejected(2, "a"), &rejected(3, "a")).unwrap();
        let message = Finding::Unlike(Unlike::Again(found)).to_string();
        assert!(
            message.ends_with("first event 2 was rejected: a, then event 3 was rejected: a"),
            "{message}"
        );
        let applied = outcome(&[(1, 1)], End::Applied);
        assert!(between(&rejected(2, "a"), &applied).is_some());
    }
}
