//! What the operating system lets a host have.

use std::time::Duration;

use gnomon_tests::harness::{Installation, ORDER_SUMMARY, System};

const LIMIT: Duration = Duration::from_secs(90);

/// The pool of address space takes terabytes; without it guests start slower,
/// and the rows are the same.
#[test]
fn a_host_runs_in_little_address_space_and_says_so() {
    for limit in ["--as=16000000000", "--as=3000000000"] {
        let installation = Installation::new(System::Sqlite, System::Sqlite).with_examples();
        installation.append_orders(2_000, 8);
        let host = installation.start_host_under(&["prlimit", limit]);
        for read_model in gnomon_tests::harness::READ_MODELS {
            installation.wait_for(read_model.projection, 2_000);
        }
        let (ended, _) = host.terminate(LIMIT);
        assert_eq!(ended.code, Some(0), "{limit}: {ended:?}");
        assert!(ended.stderr.contains("ulimit -v"), "{limit}: {ended:?}");
        installation.assert_rows_are_right(limit);
    }
}

#[test]
fn a_soft_limit_of_open_files_is_raised() {
    let installation = Installation::new(System::Sqlite, System::Sqlite).with_examples();
    installation.append_orders(500, 9);
    let host = installation.start_host_under(&["prlimit", "--nofile=24:4096"]);
    for read_model in gnomon_tests::harness::READ_MODELS {
        installation.wait_for(read_model.projection, 500);
    }
    let (ended, _) = host.terminate(LIMIT);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn too_few_open_files_are_named_with_the_way_out() {
    let installation =
        Installation::new(System::Sqlite, System::Sqlite).with_example("order-summary");
    installation.append_orders(10, 9);
    let host = installation.start_host_under(&["prlimit", "--nofile=16:16"]);
    let started = std::time::Instant::now();
    while !host.log().contains("ulimit -n") {
        assert!(started.elapsed() < LIMIT, "{}", host.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(host);
    installation.succeed(&["run", "--until-caught-up"]);
    ORDER_SUMMARY.assert_right(
        &installation.events,
        &installation.read_models,
        "after a host with too few files",
    );
}
