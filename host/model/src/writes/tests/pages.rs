//! More rows than one round trip asks for.

use super::*;
use crate::value::Key;
use crate::writes::{CommittedRows, FoundRows, PAGE_BYTES};

const ROWS: i64 = 2_500;

/// Committed rows, and what the buffer asked for at the most in one round trip.
struct Watched {
    rows: MemoryTables,
    asked: usize,
    round_trips: usize,
}

impl Watched {
    /// Rows 1 to `count` of one label.
    fn new(count: i64, label: &str) -> Self {
        let description = description();
        let mut rows = MemoryTables::new(Arc::clone(&description));
        let mut writes = BatchWrites::new(description, Floats::All, WriteLimits::NONE);
        for id in 1..=count {
            let mut row = zero(id);
            row[1] = Value::Text(label.to_owned());
            writes.put(&mut rows, 0, row).unwrap();
        }
        let written = writes.finish(&mut rows).unwrap();
        rows.commit(written);
        Self {
            rows,
            asked: 0,
            round_trips: 0,
        }
    }

    fn asks(&mut self, rows: usize) {
        self.asked = self.asked.max(rows);
        self.round_trips += 1;
    }
}

impl CommittedRows for Watched {
    type Error = Infallible;

    fn get_many(&mut self, table: usize, keys: &[Key]) -> Result<Vec<Option<Row>>, Infallible> {
        self.asks(keys.len());
        self.rows.get_many(table, keys)
    }

    fn find(
        &mut self,
        table: usize,
        index: usize,
        values: &[Value],
        after: Option<&Key>,
        limit: usize,
    ) -> Result<FoundRows, Infallible> {
        self.asks(limit);
        self.rows.find(table, index, values, after, limit)
    }
}

fn batch() -> BatchWrites {
    BatchWrites::new(description(), Floats::All, WriteLimits::NONE)
}

fn ids(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(id_of).collect()
}

#[test]
fn many_keys_are_read_a_thousand_at_a_time() {
    let mut committed = Watched::new(ROWS, "a");
    let keys = (1..=ROWS).map(|id| vec![Value::Integer(id)]).collect();
    let rows = batch().get_many(&mut committed, 0, keys).unwrap();
    let rows: Vec<Row> = rows.into_iter().flatten().collect();
    assert_eq!(ids(&rows), (1..=ROWS).collect::<Vec<_>>());
    assert_eq!((committed.asked, committed.round_trips), (1_000, 3));
}

#[test]
fn rows_of_an_index_are_found_a_thousand_at_a_time_with_what_the_batch_has_changed() {
    let mut committed = Watched::new(ROWS, "a");
    let mut writes = batch();
    let label = || vec![Value::Text("a".to_owned())];
    // Behind the first page one is gone, another has a new label, and a new one has
    // theirs.
    writes
        .remove(&mut committed, 0, vec![Value::Integer(1_500)])
        .unwrap();
    let other = Change::Set("label", Value::Text("b".to_owned()));
    writes
        .patch(0, vec![Value::Integer(2_200)], vec![other])
        .unwrap();
    let mut new = zero(ROWS + 1);
    new[1] = Value::Text("a".to_owned());
    writes.put(&mut committed, 0, new).unwrap();
    let expected: Vec<i64> = (1..=ROWS + 1)
        .filter(|id| ![1_500, 2_200].contains(id))
        .collect();
    for limit in [1, 999, 1_000, 1_001, 2_499, 10_000] {
        let found = writes
            .find(&mut committed, 0, &index_names(0), label(), limit)
            .unwrap();
        let expected = expected.get(..limit).unwrap_or(&expected);
        assert_eq!(ids(&found), expected, "limit {limit}");
    }
    assert!(committed.asked <= 1_000, "{}", committed.asked);
}

#[test]
fn rows_that_fill_pages_by_their_size_are_all_found() {
    let label = "x".repeat(2_000);
    let mut committed = Watched::new(10_000, &label);
    let bytes: usize = (committed.rows.rows(0))
        .map(|row| crate::writes::row_size(row))
        .sum();
    assert!(bytes > 2 * PAGE_BYTES, "{bytes} bytes are no two pages");
    let found = batch()
        .find(
            &mut committed,
            0,
            &index_names(0),
            vec![Value::Text(label)],
            usize::MAX,
        )
        .unwrap();
    assert_eq!(found.len(), 10_000);
}
