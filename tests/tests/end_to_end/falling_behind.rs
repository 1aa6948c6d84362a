//! A live projection that could not keep up for a while.

use std::time::{Duration, Instant};

use gnomon_tests::harness::{Commits, Installation, ORDER_SUMMARY, PATIENCE, System};

const BEHIND: &str = "order_summary";
const PROMPT: &str = "customer_value";
/// Orders that come one after the other while it stands.
const ORDERS: i64 = 40;
/// It takes a few to catch up, and more on a busy machine; one by one it would be
/// as many as there are orders.
const COMMITS_MAX: i64 = 20;

/// Inserts an order as any program may.
fn place(installation: &Installation, number: i64) {
    installation.events.execute(&format!(
        "INSERT INTO events (id, stream_id, stream_type, event_type, event_data, metadata, version)
         SELECT gen_random_uuid(), 'Order-' || id, 'Order', 'OrderPlaced', jsonb_build_object(
             'order_id', id, 'customer_id', 'C-1', 'total_cents', 500, 'currency', 'EUR',
             'items', jsonb_build_array(
                 jsonb_build_object('sku', 'SKU-1', 'qty', 2, 'price_cents', 250))), '{{}}', 1
         FROM (VALUES ('00000000-0000-4000-8000-{number:012}')) AS placed (id)"
    ));
}

/// A number that the live generation of a projection has.
fn of(installation: &Installation, projection: &str, number: &str) -> i64 {
    installation.read_models.number(&format!(
        "SELECT {number} FROM gnomon.generations g
         WHERE g.projection = '{projection}' AND g.state = 'live'"
    ))
}

fn position(installation: &Installation, projection: &str) -> i64 {
    let position = "(SELECT position FROM gnomon.checkpoints WHERE generation = g.id)";
    of(installation, projection, position)
}

fn commits(installation: &Installation, projection: &str) -> i64 {
    let commits = "(SELECT count(*) FROM public.commits WHERE generation = g.id)";
    of(installation, projection, commits)
}

#[test]
fn a_projection_that_fell_behind_catches_up_in_a_few_commits() {
    let installation = Installation::new(System::Postgres, System::Postgres).with_examples();
    let recorded = Commits::record(&installation);
    installation.succeed(&["events", "--limit", "1"]);
    place(&installation, 0);
    let _host = installation.start_host();
    for projection in [BEHIND, PROMPT] {
        installation.wait_for_status(projection, PATIENCE, |status| {
            status["generation_state"] == "live" && status["position"] == 1
        });
    }
    let before = [BEHIND, PROMPT].map(|projection| commits(&installation, projection));

    // Its next commit waits for this, and the others go on.
    installation.read_models.execute(&format!(
        "BEGIN;
         SELECT FROM gnomon.checkpoints c JOIN gnomon.generations g ON g.id = c.generation
         WHERE g.projection = '{BEHIND}' FOR UPDATE OF c"
    ));
    for number in 1..=ORDERS {
        place(&installation, number);
        let started = Instant::now();
        while position(&installation, PROMPT) <= number {
            assert!(started.elapsed() < PATIENCE, "{PROMPT} waits as well");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    installation.read_models.execute("COMMIT");
    installation.wait_for(BEHIND, installation.head());

    let after = [BEHIND, PROMPT].map(|projection| commits(&installation, projection));
    assert_eq!(after[1] - before[1], ORDERS, "commits of {PROMPT}");
    let behind = after[0] - before[0];
    assert!(behind <= COMMITS_MAX, "{behind} commits of {BEHIND}");
    let _ = recorded.check("after falling behind");
    ORDER_SUMMARY.assert_right(
        &installation.events,
        &installation.read_models,
        "after falling behind",
    );
}
