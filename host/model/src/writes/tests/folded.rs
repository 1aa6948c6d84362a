//! What cannot be folded.

use super::*;

/// Rows 1 and 2, folded, with so much in their `count`.
fn folded_with(count: i64) -> Waiting {
    let description = description();
    let mut rows = Waiting::new(&description);
    let mut writes = BatchWrites::new(description, Floats::All, WriteLimits::NONE);
    for id in [1, 2] {
        let mut row = zero(id);
        row[2] = Value::Integer(count);
        writes.put(&mut rows, 0, row).unwrap();
    }
    writes.fold(&mut rows).unwrap();
    rows
}

/// A label that is too long for the index that it is in.
fn too_long() -> Change<'static> {
    Change::Set("label", Value::Text("x".repeat(10_000)))
}

/// The length of an entry depends on the whole row.
#[test]
fn an_entry_of_an_index_that_gets_too_long_is_refused_where_the_row_is_folded() {
    let mut rows = folded_with(0);
    let before = rows.rows();
    let mut writes = BatchWrites::new(description(), Floats::All, WriteLimits::NONE);
    writes
        .patch(0, vec![Value::Integer(1)], vec![too_long()])
        .unwrap();
    let refused = writes.fold(&mut rows);
    assert!(
        matches!(
            refused,
            Err(WriteError::Violation(Violation::EntryTooLong { .. }))
        ),
        "{refused:?}"
    );
    assert_eq!(rows.rows(), before);
}

#[test]
fn the_same_row_is_to_blame_whether_a_batch_is_folded_or_not() {
    let batch = || {
        let mut writes = BatchWrites::new(description(), Floats::All, WriteLimits::NONE);
        let add = Change::Add("count", Value::Integer(1));
        let patches = [(2, add), (1, too_long())];
        for (id, change) in patches {
            writes
                .patch(0, vec![Value::Integer(id)], vec![change])
                .unwrap();
        }
        writes
    };
    let mut rows = folded_with(i64::MAX);
    let finished = batch().finish(&mut rows).map(|_| ());
    assert!(finished.is_err());
    assert_eq!(batch().fold(&mut rows), finished);
}
