//! An event of somebody else's table that is small where it lies and large where
//! it is read. It stops the projection that wants it, and nothing else; and a host
//! that starts again meets it again.

use std::time::Duration;

use gnomon_demo::Orders;
use gnomon_tests::harness::{Installation, System, guest};

/// The most memory of a host with four projections, one of which meets a bomb.
/// It has about 100 MB when none is there.
const HOST_BYTES_MAX: u64 = 300 << 20;
const STATUS_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const EVENT_ID: &str = "00000000-0000-4000-9000-00000000b0b0";

/// What a foreign writer inserts: some hundred bytes of `jsonb` that PostgreSQL
/// sends as 131 MB, some thousand that it fails to send, as they are more than a
/// gigabyte, and a text of 100 MB, which SQLite can only have as it is.
const BOMBS: [(System, &str); 3] = [
    (
        System::Postgres,
        "('[' || repeat('1e131071,', 1000) || '0]')::jsonb",
    ),
    (
        System::Postgres,
        "('[' || repeat('1e131071,', 9000) || '0]')::jsonb",
    ),
    (
        System::Sqlite,
        "'\"' || replace(hex(zeroblob(50000000)), '00', 'xx') || '\"'",
    ),
];

/// 23 kB of `jsonb` that a server sends as 0.9 GB, which takes it seconds, and so
/// many of them that a page of them takes longer than any answer is waited for.
const LONG_BOMB: &str = "('[' || repeat('1e131071,', 7000) || '0]')::jsonb";
const LONG_BOMBS: i64 = 12;

fn insert_bomb(installation: &Installation, system: System, bomb: &str) {
    installation.events.execute(&format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version, \
           schema_version, created_at) \
         VALUES ('{EVENT_ID}', 'Abuse-bomb', 'Abuse', 'Bomb', {bomb}, '{{}}', 1, 1, {})",
        match system {
            System::Postgres => "clock_timestamp()",
            System::Sqlite => "'2025-01-15T10:30:00.000000Z'",
        }
    ));
}

fn meets(system: System, bomb: &str) {
    let installation = Installation::new(system, system)
        .with_examples()
        .with_module("guest.wasm", &guest("abuses"));
    let mut orders = Orders::new(7);
    let mut append = || {
        let path = installation.path("orders.ndjson");
        let lines: Vec<String> = (orders.by_ref().take(50))
            .map(|envelope| serde_json::to_string(&envelope).unwrap())
            .collect();
        std::fs::write(path, lines.join("\n")).unwrap();
        installation.succeed(&["append", "--file", "orders.ndjson"]);
    };
    append();
    insert_bomb(&installation, system, bomb);
    let place = installation.head();
    append();
    let head = installation.head();
    assert_eq!(head, place + 50);
    for start in ["the first", "the second"] {
        let when = format!("{start} start on {system:?}");
        let host = installation.start_host();
        for neighbour in ["order_summary", "customer_value", "daily_revenue"] {
            installation.wait_for(neighbour, head);
        }
        let status = installation.wait_for_status("abuses", STATUS_LIMIT, |status| {
            let cause = status["cause"].as_str().unwrap_or_default();
            cause.contains(&format!("event {place}")) && cause.contains("16777216")
        });
        let position = status["position"].as_i64().unwrap();
        assert!(position < place, "{when}: {status}");
        let (host, _) = host.terminate(STOP_LIMIT);
        assert_eq!(host.code, Some(0), "{when}: {host:?}");
        println!("{when}: {} MB", host.memory / 1_000_000);
        assert!(
            host.memory > 0 && host.memory < HOST_BYTES_MAX,
            "{when}: the host had {} bytes",
            host.memory
        );
    }
}

#[test]
fn a_foreign_event_that_expands_stops_one_projection_and_no_host() {
    for (system, bomb) in BOMBS {
        meets(system, bomb);
    }
}

#[test]
fn a_page_of_events_that_expand_is_passed_event_by_event_by_those_who_park() {
    let installation = Installation::new(System::Postgres, System::Postgres)
        .with_examples()
        .with_module("guest.wasm", &guest("abuses"))
        .with_configuration("[projection.abuses]\non-error = 'park'");
    let orders: Vec<String> = (Orders::new(7).take(50))
        .map(|envelope| serde_json::to_string(&envelope).unwrap())
        .collect();
    let path = installation.path("orders.ndjson");
    std::fs::write(path, orders.join("\n")).unwrap();
    installation.succeed(&["append", "--file", "orders.ndjson"]);
    installation.events.execute(&format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version) \
         SELECT gen_random_uuid(), 'Abuse-' || n, 'Abuse', 'Bomb', {LONG_BOMB}, '{{}}', 1 \
         FROM generate_series(1, {LONG_BOMBS}) AS n"
    ));
    let head = 50 + LONG_BOMBS;
    let _host = installation.start_host();
    for neighbour in ["order_summary", "customer_value", "daily_revenue"] {
        installation.wait_for(neighbour, head);
    }
    let status = installation.wait_for_status("abuses", STATUS_LIMIT, |status| {
        status["position"] == head && status["state"] == "running"
    });
    assert_eq!(status["dead_letters"], LONG_BOMBS, "{status}");
    let finished = installation.run(&["events", "--json"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert_eq!(finished.stdout.lines().count(), 50, "{finished:?}");
    for place in 51..=head {
        let named = format!("event {place} ");
        assert!(finished.stderr.contains(&named), "{finished:?}");
    }
    let finished = installation.run(&["events", "--json", "--stream", "Abuse-1"]);
    assert_eq!(finished.code, Some(1), "{finished:?}");
    for fragment in ["event 51 ", "16777216"] {
        assert!(finished.stderr.contains(fragment), "{finished:?}");
    }
}

/// A table of somebody else, which takes names of any length.
const ANY_NAMES: &str = "CREATE TABLE events (id TEXT, stream_id TEXT, event_type TEXT, \
    event_data TEXT, metadata TEXT, version INTEGER, schema_version INTEGER, \
    global_position INTEGER UNIQUE, created_at TEXT)";
#[test]
fn a_foreign_name_of_megabytes_stops_one_projection_and_no_host() {
    const LENGTH: u32 = 20_000_000;
    for system in [System::Sqlite] {
        for column in ["id", "stream_id", "event_type"] {
            let installation = Installation::new(system, system)
                .with_examples()
                .with_module("guest.wasm", &guest("abuses"));
            let long = format!("replace(hex(zeroblob({LENGTH} / 2)), '0', 'x')");
            let position = "(SELECT coalesce(max(global_position), 0) + 1 FROM events)";
            let own = "DROP TABLE events;";
            installation.events.execute(&format!("{own} {ANY_NAMES}"));
            let insert = |number: u32, long_column: Option<&str>| {
                let value = |name: &str, usual: &str| match long_column == Some(name) {
                    // Of the category that the guest wants.
                    true => format!("'Abuse-' || {long}"),
                    false => format!("'{usual}'"),
                };
                installation.events.execute(&format!(
                    "INSERT INTO events (id, stream_id, event_type, event_data, metadata, version, \
                       schema_version, global_position, created_at) \
                     VALUES ({}, {}, {}, '{{}}', '{{}}', {number}, 1, {position}, \
                       '2025-01-15T10:30:00Z')",
                    value("id", &format!("id-{number}")),
                    value("stream_id", "Abuse-1"),
                    value("event_type", "Counts"),
                ));
            };
            insert(1, None);
            insert(2, Some(column));
            insert(3, None);
            let when = format!("{column} on {system:?}");
            let host = installation.start_host();
            for neighbour in ["order_summary", "customer_value", "daily_revenue"] {
                installation.wait_for(neighbour, 3);
            }
            let status = installation
                .wait_for_status("abuses", STATUS_LIMIT, |status| status["state"] == "halted");
            let cause = status["cause"].as_str().unwrap();
            for fragment in ["event 2", &format!("`{column}`"), "65536"] {
                assert!(cause.contains(fragment), "{when}: {cause}");
            }
            assert!(cause.len() < 2_000, "{when}: {} bytes", cause.len());
            assert_eq!(status["position"], 1, "{when}: {status}");
            let (host, _) = host.terminate(STOP_LIMIT);
            assert_eq!(host.code, Some(0), "{when}: {host:?}");
            println!("{when}: {} MB", host.memory / 1_000_000);
            assert!(host.memory < HOST_BYTES_MAX, "{when}: {}", host.memory);
        }
    }
}
