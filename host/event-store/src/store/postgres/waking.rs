//! Waking readers after an append.
//!
//! `NOTIFY` takes a lock on the whole server from the commit's beginning to its
//! end, so with one in every transaction no two appends commit at the same
//! time. Readers look by themselves every few milliseconds while events come,
//! and only after a quiet time they may be asleep: then, and only then, they are
//! woken, after the commit, by a statement that waits for no disk.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use gnomon_databases::connections::Connections;

use crate::table::postgres::QUIET;

/// Decides which appends of this process wake readers.
#[derive(Default)]
pub(super) struct Waking {
    last: Mutex<Option<Instant>>,
}

impl Waking {
    /// Something was appended: wakes readers where it has been quiet. Only a
    /// hint, so a failure does not matter.
    pub(super) async fn appended(&self, pool: &Connections, channel: &str) {
        if self.ends_the_quiet(Instant::now()) {
            let woken = sqlx::query(
                "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, '')",
            )
            .bind(channel)
            .execute(pool)
            .await;
            if let Err(error) = woken {
                tracing::debug!(%error, "readers were not woken and will look by themselves");
            }
        }
    }

    fn ends_the_quiet(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(now);
        before.is_none_or(|before| now.duration_since(before) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gnomon_databases::database_url::DatabaseUrl;
    use sqlx::postgres::PgListener;

    use super::*;
    use crate::store::{self, ExpectedVersion, NewEvent, StreamId};
    use crate::table::Layout;
    use crate::test_database::postgres;

    #[test]
    fn of_appends_in_quick_succession_only_the_first_wakes_readers() {
        let waking = Waking::default();
        let start = Instant::now();
        assert!(waking.ends_the_quiet(start));
        for number in 1..1_000 {
            assert!(!waking.ends_the_quiet(start + QUIET / 2 * number));
        }
        assert!(waking.ends_the_quiet(start + QUIET / 2 * 1_001));
    }
    #[tokio::test(flavor = "multi_thread")]
    async fn the_first_append_wakes_whoever_listens() {
        let url = postgres().await;
        let store = store::open(&url).await.unwrap();
        let DatabaseUrl::Postgres(server) = &url else {
            panic!("{url} is not a PostgreSQL database");
        };
        let mut listener = PgListener::connect(server.reveal()).await.unwrap();
        listener.listen(Layout::built_in().channel).await.unwrap();
        store
            .append(
                &StreamId::new("S-1").unwrap(),
                ExpectedVersion::Any,
                &[NewEvent::new("T", "1").unwrap()],
            )
            .await
            .unwrap();
        tokio::time::timeout(Duration::from_secs(60), listener.recv())
            .await
            .expect("nobody was woken")
            .unwrap();
    }
}
