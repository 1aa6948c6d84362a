//! A registry that an older Gnomon made is brought up to date.

use super::*;
use crate::generation::GenerationState;
use crate::storage::format::FORMAT;

on_both!(
    a_registry_of_format_1_is_brought_up_to_date,
    a_registry_of_format_2_is_brought_up_to_date,
    hosts_that_open_an_old_registry_at_once_agree,
    a_registry_that_was_brought_up_to_date_works,
);

/// The tables of each old format, in SQLite and in PostgreSQL.
const OLD_FORMATS: [[&str; 2]; 2] = [
    [
        include_str!("migrations/format_1.sqlite.sql"),
        include_str!("migrations/format_1.postgres.sql"),
    ],
    [
        include_str!("migrations/format_2.sqlite.sql"),
        include_str!("migrations/format_2.postgres.sql"),
    ],
];

/// A registry of an old format with a paused projection of three generations:
/// one retired, one live, one that is being built and has waiting events.
async fn old_registry(database: &Database, number: usize) {
    let registry = OLD_FORMATS[number - 1][usize::from(database.is_postgres())];
    let goal = |goal: &str| match number {
        1 => String::new(),
        _ => format!(", '{goal}'"),
    };
    let description = serde_json::to_string(&orders()).unwrap();
    let format = if database.is_postgres() { "true" } else { "1" };
    let data = if database.is_postgres() {
        "data_json"
    } else {
        "data"
    };
    let insert =
        |table: &str, rest: &str| format!("INSERT INTO {} {rest};", database.registry(table));
    let statements = [
        registry.to_owned(),
        insert("registry", &format!("VALUES ({format}, {number})")),
        insert(
            "modules",
            &format!("(hash, description, bytes) VALUES ('old', '{description}', '')"),
        )
        .replace(
            "'')",
            if database.is_postgres() {
                "'')"
            } else {
                "x'')"
            },
        ),
        insert(
            "projections",
            "(name, desired_state, resumes) VALUES ('orders_by_customer', 'paused', 3)",
        ),
        insert(
            "generations",
            &format!(
                "(projection, module, version, state, run_state, cause, promoted_at{column}) VALUES
             ('orders_by_customer', 'old', 1, 'retired', NULL, NULL, \
                 '2025-01-01T00:00:00Z'{promote}),
             ('orders_by_customer', 'old', 1, 'live', 'halted', 'event 7', \
                 '2025-01-02T00:00:00Z'{rest}),
             ('orders_by_customer', 'old', 1, 'building', NULL, NULL, NULL{promote})",
                column = if number == 1 { "" } else { ", goal" },
                // Of the retired one it is a rollback that was overtaken.
                promote = goal("promote"),
                rest = goal("rest"),
            ),
        ),
        insert(
            "checkpoints",
            "(generation, checkpoint, position, epoch)
             VALUES (1, '3', 3, 1), (2, '7', 7, 4), (3, '5', 5, 1)",
        ),
        insert(
            "leases",
            &format!(
                "(generation, host, epoch, expires_at)
                 VALUES (1, NULL, 1, {0}), (2, 'gone', 4, {0}), (3, NULL, 1, {0})",
                if database.is_postgres() { "now()" } else { "0" }
            ),
        ),
        insert(
            "dead_letter_requests",
            "(generation, action, stream_id)
             VALUES (3, 'retry', NULL), (2, 'discard', 'Order-2')",
        ),
        insert(
            "dead_letters",
            &format!(
                "(generation, position, event_id, stream_id, event_type, version, schema_version,
                  {data}, metadata, recorded_at, error)
                 VALUES (2, 4, 'four', 'Order-1', 'Placed', 1, 1, '1', '', 0, 'bad'),
                     (2, 5, 'five', 'Order-2', 'Placed', 1, 1, '1', '', 0, 'bad')"
            ),
        ),
    ];
    database.execute(&statements.concat()).await;
}

async fn a_registry_of_format_1_is_brought_up_to_date(database: &Database) {
    is_brought_up_to_date(database, 1).await;
}

async fn a_registry_of_format_2_is_brought_up_to_date(database: &Database) {
    is_brought_up_to_date(database, 2).await;
}

async fn is_brought_up_to_date(database: &Database, format: usize) {
    old_registry(database, format).await;
    let reason = "a view stands in the way".to_owned();
    if format > 1 {
        let generations = database.registry("generations");
        let update = format!("UPDATE {generations} SET obstacle = '{reason}' WHERE id = 3");
        database.execute(&update).await;
    }
    let storage = database.open().await;
    let generations = storage.registry.generations().await.unwrap();
    let stand: Vec<_> = generations
        .iter()
        .map(|generation| (generation.state, generation.goal, generation.position.get()))
        .collect();
    assert_eq!(
        stand,
        [
            (GenerationState::Retired, Goal::Rest, 3),
            (GenerationState::Live, Goal::Rest, 7),
            (GenerationState::Building, Goal::Promote, 5),
        ]
    );
    let known = (format > 1).then_some(reason).and_then(refusal);
    assert_eq!(generations[2].obstacle, known);
    let live = &generations[1];
    assert_eq!(
        live.report.as_ref().unwrap().cause.as_deref(),
        Some("event 7")
    );
    assert_eq!(live.description, orders());
    assert_eq!(
        (live.until, live.is_removed, &live.obstacle),
        (None, false, &None)
    );
    let controls = storage.registry.controls().await.unwrap();
    assert_eq!(controls.len(), 3);
    assert!(
        controls
            .iter()
            .all(|control| control.paused && control.resumes == 3)
    );
    assert_eq!(
        controls
            .iter()
            .map(|control| control.requests > 0)
            .collect::<Vec<_>>(),
        [false, false, true]
    );
    // What was to be discarded, and was not yet, is a decision now.
    let skips = storage
        .registry
        .skips("orders_by_customer", Position::START, 10)
        .await
        .unwrap();
    let skipped: Vec<_> = skips
        .iter()
        .map(|skip| (skip.position.get(), skip.event_id.as_str()))
        .collect();
    assert_eq!(skipped, [(5, "five")]);
    assert!(controls.iter().all(|control| control.skips > 0));
    let format = format!("SELECT format FROM {}", database.registry("registry"));
    assert_eq!(database.texts(&format).await, [FORMAT.to_string()]);
}

async fn hosts_that_open_an_old_registry_at_once_agree(database: &Database) {
    old_registry(database, 1).await;
    let hosts: Vec<_> = (0..8)
        .map(|_| {
            let url = database.url();
            tokio::spawn(async move { crate::storage::open(&url).await })
        })
        .collect();
    for host in hosts {
        let storage = host.await.unwrap().unwrap();
        assert_eq!(storage.registry.generations().await.unwrap().len(), 3);
    }
}

async fn a_registry_that_was_brought_up_to_date_works(database: &Database) {
    old_registry(database, 1).await;
    let storage = database.open().await;
    storage.registry.remove("orders_by_customer").await.unwrap();
    storage.registry.resume("orders_by_customer").await.unwrap();
    let new = created(&storage, &orders()).await.unwrap();
    assert!(new.id > GenerationId::from_sql(3), "{}", new.id);
    let live = acquired(&storage, GenerationId::from_sql(2), "host-a").await;
    assert!(live.epoch > 4);
    // The one that it replaces is gone, with its request.
    storage.registry.tidy(1).await.unwrap();
    let ids: Vec<_> = (storage.registry.generations().await.unwrap().iter())
        .map(|generation| generation.id.to_sql())
        .collect();
    assert_eq!(ids, [1, 2, new.id.to_sql()]);
    storage
        .registry
        .drop_projection("orders_by_customer", false)
        .await
        .unwrap();
    assert_eq!(storage.registry.generations().await.unwrap(), []);
}
