//! One host runs a generation, and the others know which.

use super::*;
use crate::generation::{RunReport, RunState};
use crate::registry::HostNotes;

on_both!(
    a_lease_that_is_held_names_its_host,
    a_lease_that_ran_out_is_taken_over,
    a_released_lease_is_free_at_once,
    a_renewed_lease_lasts,
    a_stale_lease_cannot_be_renewed_or_report,
    a_host_may_take_its_own_lease_again,
    an_epoch_only_grows,
    a_report_is_shown,
    a_generation_that_is_not_there_has_no_lease,
    an_overview_tells_who_is_there,
);

async fn generation(database: &Database) -> (Storage, GenerationId) {
    let storage = database.open().await;
    let generation = created(&storage, &orders()).await.unwrap();
    (storage, generation.id)
}

/// Renews a lease for a minute; gives it if it is lost.
async fn renewed(storage: &Storage, lease: Lease) -> Vec<Lease> {
    storage.registry.renew(&[(lease, A_MINUTE)]).await.unwrap()
}

async fn a_lease_that_is_held_names_its_host(database: &Database) {
    let (storage, id) = generation(database).await;
    acquired(&storage, id, "host-a").await;
    // Another host, and another thread of this one.
    for other in [database.open().await, storage.clone()] {
        match other
            .registry
            .acquire(id, "host-b", A_MINUTE)
            .await
            .unwrap()
        {
            Acquired::HeldBy { host, remaining } => {
                assert_eq!(host, "host-a");
                assert!(
                    remaining > A_MINUTE / 2 && remaining <= A_MINUTE,
                    "{remaining:?}"
                );
            }
            lease @ Acquired::Lease(_) => panic!("{lease:?}"),
        }
    }
    assert_eq!(
        storage.registry.generations().await.unwrap()[0]
            .host
            .as_deref(),
        Some("host-a")
    );
}

async fn a_lease_that_ran_out_is_taken_over(database: &Database) {
    let (storage, id) = generation(database).await;
    let Acquired::Lease(old) = storage
        .registry
        .acquire(id, "host-a", Duration::ZERO)
        .await
        .unwrap()
    else {
        panic!("it is held");
    };
    assert_eq!(storage.registry.generations().await.unwrap()[0].host, None);
    let new = acquired(&storage, id, "host-b").await;
    assert!(new.epoch > old.epoch);
    assert_eq!(renewed(&storage, old).await, [old]);
}

async fn a_released_lease_is_free_at_once(database: &Database) {
    let (storage, id) = generation(database).await;
    let lease = acquired(&storage, id, "host-a").await;
    storage.registry.release(lease).await.unwrap();
    assert_eq!(storage.registry.generations().await.unwrap()[0].host, None);
    assert_eq!(renewed(&storage, lease).await, [lease]);
    let other = database.open().await;
    acquired(&other, id, "host-b").await;
    // A late release by the first owner changes nothing.
    storage.registry.release(lease).await.unwrap();
    assert_eq!(
        storage.registry.generations().await.unwrap()[0]
            .host
            .as_deref(),
        Some("host-b")
    );
}

async fn a_renewed_lease_lasts(database: &Database) {
    let (storage, id) = generation(database).await;
    let Acquired::Lease(lease) = storage
        .registry
        .acquire(id, "host-a", Duration::ZERO)
        .await
        .unwrap()
    else {
        panic!("it is held");
    };
    assert_eq!(renewed(&storage, lease).await, []);
    let other = storage
        .registry
        .acquire(id, "host-b", A_MINUTE)
        .await
        .unwrap();
    assert!(matches!(other, Acquired::HeldBy { .. }), "{other:?}");
}

async fn a_stale_lease_cannot_be_renewed_or_report(database: &Database) {
    let (storage, id) = generation(database).await;
    let old = acquired(&storage, id, "host-a").await;
    acquired(&storage, id, "host-a").await;
    let report = RunReport {
        state: RunState::Running,
        cause: None,
    };
    assert_eq!(renewed(&storage, old).await, [old]);
    refused(
        storage.registry.report(old, &report).await,
        StorageErrorKind::Fenced,
        "no longer ours",
    );
    assert_eq!(
        storage.registry.generations().await.unwrap()[0].report,
        None
    );
}

async fn a_host_may_take_its_own_lease_again(database: &Database) {
    let (storage, id) = generation(database).await;
    let first = acquired(&storage, id, "host-a").await;
    let second = acquired(&storage, id, "host-a").await;
    assert!(second.epoch > first.epoch);
}

async fn an_epoch_only_grows(database: &Database) {
    let (storage, id) = generation(database).await;
    let mut last = 0;
    for _ in 0..5 {
        let lease = acquired(&storage, id, "host-a").await;
        assert!(lease.epoch > last);
        last = lease.epoch;
        storage.registry.release(lease).await.unwrap();
    }
}

async fn a_report_is_shown(database: &Database) {
    let (storage, id) = generation(database).await;
    let lease = acquired(&storage, id, "host-a").await;
    for report in [
        RunReport {
            state: RunState::Halted,
            cause: Some("event 7: it's \"bad\"; DROP TABLE x".to_owned()),
        },
        RunReport {
            state: RunState::Running,
            cause: None,
        },
    ] {
        storage.registry.report(lease, &report).await.unwrap();
        assert_eq!(
            storage.registry.generations().await.unwrap()[0]
                .report
                .as_ref(),
            Some(&report)
        );
    }
}

async fn a_generation_that_is_not_there_has_no_lease(database: &Database) {
    let storage = database.open().await;
    let nobody = GenerationId::from_sql(99);
    let result = storage.registry.acquire(nobody, "host-a", A_MINUTE).await;
    refused(result, StorageErrorKind::Fenced, "generation 99");
    assert_eq!(
        storage.registry.promote(nobody).await.unwrap(),
        Promotion::NotWanted
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_host_of_a_sqlite_file_needs_not_wait_for_the_lease_of_a_dead_one() {
    let database = Database::sqlite();
    let (storage, id) = generation(&database).await;
    let dead = acquired(&storage, id, "host-a").await;
    // The process's end closes the locked file, as dropping the storage does.
    drop(storage);
    let storage = database.open().await;
    let new = acquired(&storage, id, "host-b").await;
    assert!(new.epoch > dead.epoch);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_host_of_a_sqlite_file_is_told_who_has_it() {
    let database = Database::sqlite();
    let (storage, id) = generation(&database).await;
    let other = created(
        &storage,
        &description(
            "others",
            1,
            vec![table(
                "others",
                vec![column("id", ColumnType::Integer, false)],
                &["id"],
                &[],
            )],
        ),
    )
    .await
    .unwrap();
    acquired(&storage, id, "host-a").await;
    // Even of another generation: the file has one host.
    let second = database.open().await;
    let answer = second
        .registry
        .acquire(other.id, "host-b", A_MINUTE)
        .await
        .unwrap();
    assert!(
        matches!(&answer, Acquired::HeldBy { host, .. } if host == "host-a"),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_owner_waits_for_the_commit_that_is_under_way() {
    let database = Database::postgres().await;
    let mut started = started(&database, &orders()).await;
    // Stands for a commit that holds the checkpoint's row and goes on.
    let mut old_owner = database.connect().await;
    for statement in [
        "BEGIN",
        "UPDATE gnomon.checkpoints SET checkpoint = '1', position = 1",
    ] {
        sqlx::query(statement)
            .execute(&mut old_owner)
            .await
            .unwrap();
    }
    let acquiring = {
        let (storage, id) = (started.storage.clone(), started.generation.id);
        tokio::spawn(async move { acquired(&storage, id, "host-a").await })
    };
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while database.texts(waiting).await != ["1"] {
        tokio::task::yield_now().await;
    }
    // Renewing goes through: the lease is another row.
    let renewal = tokio::time::timeout(A_MINUTE, started.storage.registry.generations());
    renewal.await.unwrap().unwrap();
    sqlx::query("COMMIT").execute(&mut old_owner).await.unwrap();
    let lease = acquiring.await.unwrap();
    started.writer = started
        .storage
        .read_models
        .writer(lease, Arc::new(orders()))
        .await
        .unwrap();
    assert_eq!(started.writer.checkpoint().await.unwrap(), checkpoint(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_a_host_asked_for_is_kept_for_it() {
    let database = Database::postgres().await;
    let storage = database.open().await;
    let id = created(&storage, &orders()).await.unwrap().id;
    let lease = acquired(&storage, id, "host-a").await;
    let seen = async || storage.registry.controls().await.unwrap().remove(0).lease;
    assert_eq!(seen().await.held_by(), Some("host-a"));

    storage
        .registry
        .request_leases(&[id], "host-b", A_MINUTE)
        .await
        .unwrap();
    assert!(seen().await.is_asked_of("host-a"));
    // Who comes later waits until that is over.
    storage
        .registry
        .request_leases(&[id], "host-c", A_MINUTE)
        .await
        .unwrap();
    assert_eq!(seen().await.requested_by.as_deref(), Some("host-b"));
    // The holder loses nothing by it until it gives the lease back.
    assert_eq!(
        storage.registry.renew(&[(lease, A_MINUTE)]).await.unwrap(),
        []
    );
    storage.registry.release(lease).await.unwrap();
    for other in ["host-a", "host-c"] {
        let answer = storage.registry.acquire(id, other, A_MINUTE).await.unwrap();
        assert!(
            matches!(&answer, Acquired::HeldBy { host, .. } if host == "host-b"),
            "{answer:?}"
        );
    }
    let lease = acquired(&storage, id, "host-b").await;
    let taken = seen().await;
    assert_eq!(
        (taken.held_by(), &taken.requested_by),
        (Some("host-b"), &None)
    );

    // What nobody comes for is free again after its time.
    storage
        .registry
        .request_leases(&[id], "host-c", Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(seen().await.requested_by, None);
    storage.registry.release(lease).await.unwrap();
    let _ = acquired(&storage, id, "host-a").await;
}

async fn an_overview_tells_who_is_there(database: &Database) {
    let storage = database.open().await;
    let id = created(&storage, &orders()).await.unwrap().id;
    assert!(storage.registry.overview().await.unwrap().hosts.is_empty());
    for host in ["host-b", "host-a"] {
        storage
            .registry
            .announce(host, &HostNotes::default(), A_MINUTE)
            .await
            .unwrap();
    }
    let _ = storage
        .registry
        .acquire(id, "host-a", Duration::ZERO)
        .await
        .unwrap();
    let overview = storage.registry.overview().await.unwrap();
    assert_eq!(overview.hosts, ["host-a", "host-b"]);
    let lease = &overview.controls[0].lease;
    assert!(lease.has_lapsed);
    assert_eq!(
        (lease.holder.as_deref(), lease.held_by()),
        (Some("host-a"), None)
    );
    storage
        .registry
        .leave("host-b", &HostNotes::default())
        .await
        .unwrap();
    assert_eq!(storage.registry.overview().await.unwrap().hosts, ["host-a"]);
}
