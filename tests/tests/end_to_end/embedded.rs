//! A host inside of another program: in this one.

use std::path::Path;
use std::time::{Duration, Instant};

use gnomon::Gnomon;
use gnomon::operations::OperationError;
use gnomon::storage;
use gnomon_event_store::{ExpectedVersion, NewEvent, StreamId};
use gnomon_tests::harness::example;

#[expect(dead_code, reason = "a test calls what `main` calls")]
#[path = "../../../host/examples/embedded.rs"]
mod example_program;

/// Much longer than it takes on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn the_example_appends_deploys_waits_and_reads() {
    let directory = tempfile::tempdir().unwrap();
    let rows = example_program::run(directory.path(), example("order-summary")).await;
    let expected = [("customer-1", 1_200), ("customer-2", 800)];
    let expected = expected.map(|(customer, cents)| (customer.to_owned(), cents));
    assert_eq!(rows.unwrap(), expected);
}

/// A host with an event store and one projection that has read it all.
async fn running(directory: &Path, module: &str) -> Gnomon {
    let file = |name: &str| format!("sqlite:{}", directory.join(name).display());
    let projections = directory.join("projections");
    std::fs::create_dir(&projections).unwrap();
    let store = gnomon_event_store::open(&file("events.db").parse().unwrap()).await;
    let event = NewEvent::new("SomethingElse", "{}").unwrap();
    let stream = StreamId::new("Other-1").unwrap();
    let appended = store
        .unwrap()
        .append(&stream, ExpectedVersion::Any, &[event])
        .await;
    appended.unwrap();
    let gnomon = Gnomon::builder()
        .events(&file("events.db"))
        .read_models(&file("read-models.db"))
        .projections_directory(&projections)
        .start()
        .await
        .unwrap();
    let deployed = gnomon.deploy(example(module)).await.unwrap();
    gnomon.wait(&deployed.name, None, TIME_LIMIT).await.unwrap();
    gnomon
}

/// The threads of this process that belong to a projection. No two tests here that
/// count them have the same one.
fn threads(projection: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .flatten()
        .filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok())
        .filter(|name| name.trim() == projection)
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_dropped_gives_its_leases_back_and_leaves_no_thread() {
    let directory = tempfile::tempdir().unwrap();
    let gnomon = running(directory.path(), "customer-value").await;
    assert!(threads("customer_value") > 0, "its thread has another name");
    let status = gnomon.status().await.unwrap();
    assert!(status[0].host.is_some(), "{status:?}");
    let url = format!(
        "sqlite:{}",
        directory.path().join("read-models.db").display()
    );
    let storage = storage::open(&url.parse().unwrap()).await.unwrap();
    drop(gnomon);
    let started = Instant::now();
    loop {
        let overview = storage.registry.overview().await.unwrap();
        // One that ran out would still have its holder.
        let is_held = (overview.controls.iter()).any(|control| control.lease.holder.is_some());
        if !is_held && threads("customer_value") == 0 {
            break;
        }
        assert!(
            started.elapsed() < TIME_LIMIT,
            "{overview:?}, {} threads",
            threads("customer_value")
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_projection_and_who_is_unknown_are_errors_with_a_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let gnomon = running(directory.path(), "order-summary").await;
    let refused = gnomon.deploy(b"no module".to_vec()).await.unwrap_err();
    assert!(matches!(refused, OperationError::Module(_)), "{refused}");
    let unknown = gnomon.wait("order_sumary", None, TIME_LIMIT).await;
    let unknown = unknown.unwrap_err();
    assert!(matches!(unknown, OperationError::NotFound(_)), "{unknown}");
    assert!(unknown.to_string().contains("order_summary"), "{unknown}");
    gnomon.stop().await;
}

#[test]
fn a_runtime_that_ends_with_its_host_leaves_no_thread() {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let gnomon = runtime.block_on(running(directory.path(), "daily-revenue"));
    assert!(threads("daily_revenue") > 0);
    drop(gnomon);
    drop(runtime);
    let started = Instant::now();
    while threads("daily_revenue") > 0 {
        assert!(started.elapsed() < TIME_LIMIT);
        std::thread::sleep(Duration::from_millis(10));
    }
}
