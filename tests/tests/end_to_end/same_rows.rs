//! Same events, same rows: whatever the databases and however the stream is
//! cut, the rows are those of a plain SQL query over the events.

use std::sync::Arc;

use gnomon_tests::harness::{Database, Installation, System, shared_log};

use System::{Postgres, Sqlite};

/// What a build folds at most before it writes, when nothing else is said.
const WINDOW: &str = "64MiB";

fn project(source: System, target: System, events: usize, batch_events: usize) {
    project_in_windows(source, target, events, batch_events, WINDOW);
}

fn project_in_windows(
    source: System,
    target: System,
    events: usize,
    batch_events: usize,
    window: &str,
) {
    let log = shared_log(source, events);
    let installation = Installation::on(log, Arc::new(Database::new(target)))
        .with_examples()
        .with_variable("GNOMON_LIMITS_BATCH_EVENTS", batch_events)
        .with_variable("GNOMON_LIMITS_BUILD_WINDOW", window);
    installation.succeed(&["run", "--until-caught-up"]);
    installation.assert_rows_are_right(&format!(
        "{source:?} to {target:?}, {events} events in batches of {batch_events}, \
         windows of {window}"
    ));
}

#[test]
fn batches_of_1_000_give_the_rows_of_the_group_by_from_sqlite_to_sqlite() {
    project(Sqlite, Sqlite, 50_000, 1_000);
}

#[test]
fn batches_of_1_000_give_the_rows_of_the_group_by_from_sqlite_to_postgres() {
    project(Sqlite, Postgres, 50_000, 1_000);
}

#[test]
fn batches_of_1_000_give_the_rows_of_the_group_by_from_postgres_to_sqlite() {
    project(Postgres, Sqlite, 50_000, 1_000);
}

#[test]
fn batches_of_1_000_give_the_rows_of_the_group_by_from_postgres_to_postgres() {
    project(Postgres, Postgres, 50_000, 1_000);
}

#[test]
fn batches_of_10_000_give_the_rows_of_the_group_by_in_any_mix() {
    in_any_mix(50_000, 10_000);
}

#[test]
fn batches_of_7_give_the_rows_of_the_group_by_in_any_mix() {
    in_any_mix(10_000, 7);
}

#[test]
fn batches_of_1_give_the_rows_of_the_group_by_in_any_mix() {
    in_any_mix(3_000, 1);
}

fn in_any_mix(events: usize, batch_events: usize) {
    for source in [Sqlite, Postgres] {
        for target in [Sqlite, Postgres] {
            project(source, target, events, batch_events);
        }
    }
}

#[test]
fn whatever_a_build_folds_before_it_writes_the_rows_are_those_of_the_group_by() {
    // None, each batch, some batches.
    for window in ["0", "1KiB", "256KiB"] {
        for target in [Sqlite, Postgres] {
            project_in_windows(Sqlite, target, 10_000, 50, window);
        }
    }
}

#[test]
fn events_and_read_models_may_share_one_database() {
    for system in [Sqlite, Postgres] {
        let installation = Installation::in_one_database(system).with_examples();
        installation.append_orders(3_000, 2);
        installation.succeed(&["run", "--until-caught-up"]);
        installation.assert_rows_are_right(&format!("in one {system:?} database"));
    }
}
