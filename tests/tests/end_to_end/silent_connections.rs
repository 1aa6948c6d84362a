//! Connections on which packets vanish: neither an answer nor an error ever
//! comes, and the server does not see that its client has gone.

use std::time::{Duration, Instant};

use gnomon_tests::harness::{Point, Proxy, READ_MODELS};

use super::outages::{
    begun, behind_a_proxy, in_one_postgres_database, more_orders, physical_table, recovers,
};

/// On an idle machine it takes some four seconds.
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn connections_that_are_silent_for_good_are_given_up() {
    let (installation, _host, proxy) = behind_a_proxy();
    for seed in 40..42 {
        proxy.silence();
        more_orders(&installation, seed);
        recovers(&installation, "silence");
    }
}

#[test]
fn a_commit_whose_connection_alone_is_silent_is_given_up() {
    let (installation, _host, proxy) = behind_a_proxy();
    for (seed, point) in [
        (50, Point::Begin),
        (51, Point::BeforeCommit),
        (52, Point::BeforeAcknowledgement),
    ] {
        let strikes = proxy.strikes();
        proxy.arm_silence(point);
        more_orders(&installation, seed);
        wait_for_strike(&proxy, strikes);
        let struck = Instant::now();
        // Any of them may be the one.
        for read_model in READ_MODELS {
            installation.wait_for(read_model.projection, installation.head());
        }
        println!("silence at {point:?}: over after {:.1?}", struck.elapsed());
        installation.assert_rows_are_right(&format!("after silence at {point:?}"));
    }
}

/// No time-out of the server counts while it waits for the rows of a `COPY`.
#[test]
fn a_bulk_copy_whose_connection_is_silent_is_given_up() {
    let installation = in_one_postgres_database().with_examples();
    installation.append_orders(200, 54);
    let direct = installation.events.url();
    let proxy = Proxy::before(&direct);
    let url = proxy.url(&direct);
    proxy.arm_silence(Point::Copy);
    let _host = installation.start_host_with(&url, &url);
    wait_for_strike(&proxy, 0);
    let struck = Instant::now();
    for read_model in READ_MODELS {
        installation.wait_for(read_model.projection, 200);
    }
    println!("silence in a COPY: over after {:.1?}", struck.elapsed());
    installation.assert_rows_are_right("after silence in a COPY");
}

#[test]
fn the_end_of_a_build_whose_connection_is_silent_is_given_up() {
    let installation = in_one_postgres_database().with_examples();
    installation.append_orders(200, 55);
    let direct = installation.events.url();
    let proxy = Proxy::before(&direct);
    let url = proxy.url(&direct);
    proxy.arm_silence(Point::Analyze);
    let _host = installation.start_host_with(&url, &url);
    wait_for_strike(&proxy, 0);
    let struck = Instant::now();
    for read_model in READ_MODELS {
        installation.wait_for_status(read_model.projection, LIMIT, |status| {
            status["generation_state"] == "live"
        });
    }
    println!("silence in ANALYZE: over after {:.1?}", struck.elapsed());
    installation.assert_rows_are_right("after silence at the end of a build");
}

fn wait_for_strike(proxy: &Proxy, before: u64) {
    let started = Instant::now();
    while proxy.strikes() == before {
        assert!(started.elapsed() < LIMIT, "nothing was committed");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_commit_on_which_the_server_works_is_waited_for() {
    let (installation, host) = begun(in_one_postgres_database());
    let table = physical_table(&installation.read_models);
    // Longer than a lease, and than a commit takes before the host asks.
    installation.read_models.execute(&format!(
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN PERFORM pg_sleep(7); RETURN NULL; END $$;
         CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON {table}
         FOR EACH STATEMENT EXECUTE FUNCTION public.slow()"
    ));
    more_orders(&installation, 53);
    installation.wait_for("order_summary", installation.head());
    assert!(!host.log().contains("trying again"), "{}", host.log());
    installation.assert_rows_are_right("after slow commits");
}
