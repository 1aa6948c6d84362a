//! The window of a build, over a real SQLite file: what is folded is read like
//! what is committed, and written once.

use std::sync::Arc;

use gnomon_event_store::source::Checkpoint;
use gnomon_model::{
    BatchWrites, Change, Column, ColumnType, CommittedRows as _, DeclaredTable, Description,
    Floats, FoldedRows as _, Key, Position, Row, Subscription, TableWrites, Value, WriteLimits,
};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{GenerationRows, Rows, Step};
use crate::dead_letter::DeadLetterChanges;
use crate::generation::Rate;
use crate::storage::UnregisteredTables;
use crate::storage_error::StorageError;

const CACHE_BYTES: usize = 1 << 20;

struct Built {
    rows: GenerationRows,
    file: std::path::PathBuf,
    _directory: tempfile::TempDir,
    _runtime: Runtime,
    _lost: watch::Sender<bool>,
}

fn description() -> Description {
    let column = |name: &str, column_type| Column {
        name: name.to_owned(),
        column_type,
        nullable: false,
    };
    let table = DeclaredTable {
        name: "customers".to_owned(),
        columns: vec![
            column("id", ColumnType::Integer),
            column("city", ColumnType::Text),
            column("note", ColumnType::Text),
        ],
        primary_key: vec!["id".to_owned()],
        indexes: vec![vec!["city".to_owned()]],
    };
    Description::check(
        "customers".to_owned(),
        1,
        Subscription::default(),
        vec![table],
    )
    .unwrap()
}

fn at(number: u64) -> Checkpoint {
    Checkpoint::behind(Position::new(number).unwrap())
}

/// The rows of a new generation, which has none.
fn built() -> Built {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("read-models.db");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (sender, lost) = watch::channel(false);
    let description = Arc::new(description());
    let tables = UnregisteredTables::create(&file, &description, &at(0)).unwrap();
    let rows = GenerationRows::open(
        tables.writer().unwrap(),
        description,
        runtime.handle().clone(),
        lost,
        CACHE_BYTES,
        &at(0),
    )
    .unwrap();
    Built {
        rows,
        file,
        _directory: directory,
        _runtime: runtime,
        _lost: sender,
    }
}

fn row(id: i64, city: &str) -> Row {
    noted(id, city, "")
}

fn noted(id: i64, city: &str, note: &str) -> Row {
    vec![
        Value::Integer(id),
        Value::Text(city.into()),
        Value::Text(note.into()),
    ]
}

fn key(id: i64) -> Key {
    Key::new(vec![Value::Integer(id)])
}

impl Built {
    fn fold(&self, upserts: Vec<Row>, deletes: Vec<Key>, position: u64) {
        let fold = |rows: &mut Rows| {
            for row in upserts {
                rows.set(0, Key::new(vec![row[0].clone()]), Some(row));
            }
            for key in deletes {
                rows.set(0, key, None);
            }
            Ok::<(), StorageError>(())
        };
        let reached = Position::new(position).unwrap();
        self.rows
            .fold(fold, at(position), reached, None, Rate::default())
            .unwrap();
    }

    fn patch(&self, id: i64, column: &str, text: &str, position: u64) {
        let description = Arc::new(description());
        let mut writes = BatchWrites::new(description, Floats::All, WriteLimits::NONE);
        let change = Change::Set(column, Value::Text(text.to_owned()));
        let key = vec![Value::Integer(id)];
        writes.patch(0, key, vec![change]).unwrap();
        let fold = |rows: &mut Rows| writes.fold(rows);
        let reached = Position::new(position).unwrap();
        self.rows
            .fold(fold, at(position), reached, None, Rate::default())
            .unwrap();
    }

    fn get(&self, ids: &[i64]) -> Vec<Option<Row>> {
        let keys: Vec<Key> = ids.iter().map(|id| key(*id)).collect();
        self.rows.clone().get_many(0, &keys).unwrap()
    }

    /// The rows in the file, as others see them.
    fn stored(&self) -> Vec<(i64, String)> {
        let connection = rusqlite::Connection::open(&self.file).unwrap();
        let mut statement = connection
            .prepare("SELECT id, city FROM gnomon_1_customers ORDER BY id")
            .unwrap();
        statement
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    }
}

#[test]
fn what_is_folded_is_read_and_is_not_in_the_database() {
    let built = built();
    built.fold(vec![row(1, "Bern"), row(2, "Oslo")], vec![], 5);
    assert_eq!(
        built.get(&[2, 3, 1]),
        [Some(row(2, "Oslo")), None, Some(row(1, "Bern"))]
    );
    assert!(built.stored().is_empty());
    assert_eq!(built.rows.checkpoint(), at(0));
    assert_eq!(built.rows.folded_to(), Position::new(5));
}

#[test]
fn the_last_write_of_a_row_wins_and_the_checkpoint_goes_with_it() {
    let built = built();
    built.fold(vec![row(1, "Bern"), row(2, "Oslo")], vec![], 5);
    built.fold(vec![row(1, "Rome"), row(3, "Lima")], vec![key(2)], 9);
    built.fold(vec![row(2, "Riga")], vec![key(3)], 12);
    built.rows.flush().unwrap();
    let expected = [(1, "Rome".to_owned()), (2, "Riga".to_owned())];
    assert_eq!(built.stored(), expected);
    assert_eq!(built.rows.checkpoint(), at(12));
    assert_eq!(built.rows.folded(), None);
    assert_eq!(built.get(&[1, 3]), [Some(row(1, "Rome")), None]);
}

#[test]
fn a_row_that_was_committed_before_is_read_after_a_later_window() {
    let built = built();
    built.fold((0..50).map(|id| row(id, "Bern")).collect(), vec![], 5);
    built.rows.flush().unwrap();
    built.fold(vec![row(7, "Oslo")], vec![key(8)], 6);
    assert_eq!(
        built.get(&[6, 7, 8]),
        [Some(row(6, "Bern")), Some(row(7, "Oslo")), None]
    );
    built.rows.flush().unwrap();
    assert_eq!(
        built.get(&[6, 7, 8]),
        [Some(row(6, "Bern")), Some(row(7, "Oslo")), None]
    );
    assert_eq!(built.stored().len(), 49);
}

#[test]
fn a_window_that_is_larger_than_the_cache_leaves_no_old_row_in_it() {
    for flush in [GenerationRows::flush, GenerationRows::flush_at_end] {
        let built = built();
        let ids: Vec<i64> = (0..40).collect();
        let rows = |city: &str| ids.iter().map(|id| row(*id, city)).collect::<Vec<_>>();
        built.fold(rows("Bern"), vec![], 5);
        built.rows.flush().unwrap();
        let larger = "x".repeat(CACHE_BYTES / 20);
        built.fold(rows(&larger), vec![key(40)], 6);
        flush(&built.rows).unwrap();
        let expected: Vec<_> = rows(&larger).into_iter().map(Some).collect();
        assert_eq!(built.get(&ids), expected);
    }
}

#[test]
fn an_index_finds_what_is_folded() {
    let built = built();
    built.fold(
        vec![row(1, "Bern"), row(2, "Oslo"), row(3, "Bern")],
        vec![],
        5,
    );
    let city = [Value::Text("Bern".into())];
    let found = built.rows.clone().find(0, 0, &city, None, 10).unwrap();
    assert_eq!(found.rows, [row(1, "Bern"), row(3, "Bern")]);
}

#[test]
fn a_commit_takes_what_is_folded_with_it() {
    let built = built();
    built.fold(vec![row(1, "Bern")], vec![], 5);
    let writes = [TableWrites {
        table: 0,
        upserts: vec![row(2, "Oslo")],
        deletes: vec![],
    }];
    built
        .rows
        .commit(Step {
            writes: &writes,
            dead_letters: DeadLetterChanges::default(),
            next: &at(8),
            position: Position::new(8).unwrap(),
            event: None,
            rate: Rate::default(),
        })
        .unwrap();
    assert_eq!(
        built.stored(),
        [(1, "Bern".to_owned()), (2, "Oslo".to_owned())]
    );
    assert_eq!(built.rows.checkpoint(), at(8));
}

#[test]
fn the_window_knows_its_size() {
    let built = built();
    let size = || built.rows.folded().unwrap().0;
    let long = "x".repeat(10_000);
    assert_eq!(built.rows.folded(), None);
    built.fold(vec![noted(1, "Bern", &long)], vec![], 1);
    let large = size();
    assert!(large > 10_000, "{large}");
    built.fold(vec![row(1, "Bern")], vec![], 2);
    let small = size();
    assert!(small < 1_000, "{small}");
    built.patch(1, "note", &long, 3);
    assert_eq!(size(), large);
    built.patch(1, "note", "", 4);
    assert_eq!(size(), small);
}

#[test]
fn a_row_is_changed_wherever_it_is() {
    let built = built();
    built.fold((0..50).map(|id| row(id, "Bern")).collect(), vec![], 5);
    built.rows.flush().unwrap();
    built.fold(vec![row(1, "Oslo")], vec![key(2)], 6);
    for id in [1, 2, 3, 99] {
        built.patch(id, "city", "Rome", 7);
        built.patch(id, "note", "seen", 8);
    }
    let seen = |id| Some(noted(id, "Rome", "seen"));
    let expected = [seen(1), None, seen(3), None];
    assert_eq!(built.get(&[1, 2, 3, 99]), expected);
    built.rows.flush().unwrap();
    assert_eq!(built.get(&[1, 2, 3, 99]), expected);
    assert_eq!(built.stored().len(), 49);
}
