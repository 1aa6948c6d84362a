//! Commands that look make nothing, wherever a mistyped URL leads.

use std::fs;
use std::sync::Arc;

use gnomon_tests::harness::{Database, Disk, Installation, System};

const COMMANDS: [&[&str]; 9] = [
    &["status", "--check"],
    &["status", "order_summary"],
    &["events"],
    &[
        "wait",
        "order_summary",
        "--position",
        "1",
        "--timeout",
        "1ms",
    ],
    &["diff", "order_summary"],
    &["verify", "order_summary"],
    &["dead-letters", "list", "order_summary"],
    &["pause", "order_summary"],
    &["rebuild", "order_summary"],
];

fn pointed_at(url: &str) -> Installation {
    Installation::new(System::Sqlite, System::Sqlite)
        .with_example("order-summary")
        .with_variable("GNOMON_EVENTS_URL", url)
        .with_variable("GNOMON_READ_MODELS_URL", url)
}

/// Each says what is not there, and what makes it.
fn look(installation: &Installation) {
    for command in COMMANDS {
        let said = installation.fail(command, &["there "]);
        assert!(
            ["gnomon append", "gnomon run"]
                .iter()
                .any(|maker| said.contains(maker)),
            "{command:?}: {said}"
        );
    }
    // A host that is just starting makes the registry, so this is no failure.
    let status = installation.run(&["status"]);
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(status.stderr.contains("gnomon run"), "{status:?}");
    let said = installation.fail(&["run", "--until-caught-up"], &["there is no event store"]);
    assert!(said.contains("gnomon append"), "{said}");
}

#[test]
fn where_there_is_no_file_none_is_made() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    let file = installation.path("mistyped.db");
    look(&pointed_at(&format!("sqlite:{}", file.display())));
    assert!(!file.exists());
}

#[test]
fn a_file_of_somebody_else_stays_as_it_is() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    let file = installation.path("theirs.db");
    let theirs = rusqlite::Connection::open(&file).unwrap();
    theirs
        .execute_batch("CREATE TABLE theirs (id INTEGER)")
        .unwrap();
    drop(theirs);
    let before = fs::read(&file).unwrap();
    look(&pointed_at(&format!("sqlite:{}", file.display())));
    assert_eq!(fs::read(&file).unwrap(), before);
    for beside in ["theirs.db-wal", "theirs.db-shm", "theirs.db.lock"] {
        assert!(!installation.path(beside).exists(), "{beside}");
    }
}

#[test]
fn a_database_of_somebody_else_stays_as_it_is() {
    let database = Database::new(System::Postgres);
    look(&pointed_at(&database.url()));
    let made = database.number(
        "SELECT (SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                 WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')) \
              + (SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'gnomon%')",
    );
    assert_eq!(made, 0);
}

/// A store that an application keeps in another journal mode is read in it.
#[test]
fn a_host_never_changes_its_event_store() {
    let installation =
        Installation::new(System::Sqlite, System::Sqlite).with_example("order-summary");
    installation.append_orders(50, 3);
    installation.events.execute("PRAGMA journal_mode = DELETE");
    let Database::Sqlite { file, .. } = &*installation.events else {
        panic!("it is a SQLite file");
    };
    let before = fs::read(file).unwrap();
    installation.succeed(&["run", "--until-caught-up"]);
    installation.succeed(&["events"]);
    assert_eq!(fs::read(file).unwrap(), before);
}

#[test]
fn the_event_store_is_made_by_the_first_append_and_by_init() {
    for system in [System::Sqlite, System::Postgres] {
        let database = Database::new(system);
        let installation = pointed_at(&database.url());
        installation.succeed(&["init", "--events"]);
        assert!(database.has_table("events"));
        assert_eq!(installation.succeed(&["events", "--json"]), "");
    }
    let database = Database::new(System::Sqlite);
    let installation = pointed_at(&database.url());
    installation.append("A-1", "T", &serde_json::json!({}));
    assert_eq!(installation.json_lines(&["events"]).len(), 1);
}

#[test]
fn a_read_only_file_system_is_named() {
    let Some(disk) = Disk::mount(8) else { return };
    let database = Arc::new(Database::on_disk(&disk));
    let installation = Installation::on(Arc::clone(&database), database);
    let installation = installation.with_example("order-summary");
    installation.append_orders(5, 3);
    disk.make_read_only();
    for command in [
        &["append", "--stream", "A-1", "--type", "T", "--data", "{}"][..],
        &["run", "--until-caught-up"],
    ] {
        installation.fail(command, &["the file system of", "is read-only"]);
    }
}

/// The one who holds the lock is this process.
#[test]
fn whoever_has_a_file_locked_is_named() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    let Database::Sqlite { file, .. } = &*installation.events else {
        panic!("it is a SQLite file");
    };
    let holder = rusqlite::Connection::open(file).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let holder_name = format!("process {} (", std::process::id());
    installation.fail(
        &["append", "--stream", "A-1", "--type", "T", "--data", "{}"],
        &[&holder_name, "is writing to it"],
    );
}

/// A link in the place of the lock file leads to a file that is not ours.
#[test]
fn a_lock_file_that_is_something_else_is_left_as_it_is() {
    for is_link in [true, false] {
        let installation =
            Installation::new(System::Sqlite, System::Sqlite).with_example("order-summary");
        installation.append_orders(5, 3);
        let Database::Sqlite { file, .. } = &*installation.read_models else {
            panic!("it is a SQLite file");
        };
        let lock = file.with_extension("db.lock");
        let theirs = installation.path("theirs");
        fs::write(&theirs, "keep me").unwrap();
        if is_link {
            std::os::unix::fs::symlink(&theirs, &lock).unwrap();
        } else {
            fs::copy(&theirs, &lock).unwrap();
        }
        installation.fail(
            &["run", "--until-caught-up"],
            &["test.db.lock", "move it away"],
        );
        assert_eq!(fs::read(&theirs).unwrap(), b"keep me");
        assert_eq!(fs::read(&lock).unwrap(), b"keep me");
    }
}
