//! `gnomon dead-letters retry`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::waiting::{Own, POLL, has_host};
use super::super::{Context, output};
use super::{order_advice, shown};
use crate::generation::Generation;
use crate::storage::Storage;

/// How long a command waits for its request to be carried out.
const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(30);
/// How long a projection may be without a lease while there are hosts. One that
/// stood still gives its lease back, and takes a new one to go on.
const BETWEEN_LEASES: Duration = Duration::from_secs(2);

/// Applies them again, with the code of today
///
/// A stream whose event fails again goes on waiting from there. What waited is
/// applied behind later events of other streams, out of the global order; where
/// a projection brings streams together its rows may then differ from those of
/// a rebuild. `gnomon rebuild` gives the order back.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Retry {
    /// The projection
    name: String,
    /// Only the events of this stream
    #[arg(long, value_name = "S")]
    stream: Option<String>,
}

impl Retry {
    pub(super) async fn run(
        self,
        context: &Context,
        storage: &Storage,
    ) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        let own = Own::read(&*storage.registry, name).await?;
        let before = shown(&own, name)?;
        storage
            .registry
            .request_retry(before.id, self.stream.as_deref())
            .await?;
        let is_done = wait_until(storage, name, async |_| {
            let controls = storage.registry.controls().await?;
            let waits = controls
                .iter()
                .any(|control| control.projection == *name && control.requests > 0);
            Ok(!waits)
        })
        .await?;
        let own = Own::read(&*storage.registry, name).await?;
        let after = shown(&own, name)?;
        let late = late_since(before, after);
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "name": name,
                "action": "retry",
                "stream": self.stream,
                "done": is_done,
                "dead_letters": after.dead_letters,
                "applied_late": late,
            });
            writeln!(stdout, "{shown}")?;
            return Ok(ExitCode::SUCCESS);
        }
        if !is_done {
            writeln!(
                stdout,
                "{name}: recorded; the host that runs the projection will do it"
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(
            stdout,
            "{name}: {} of {} dead letters still wait",
            after.dead_letters, before.dead_letters
        )?;
        if late > 0 {
            writeln!(stdout, "{name}: {}", order_advice(name, late))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How many events were applied late meanwhile.
pub(super) fn late_since(before: &Generation, after: &Generation) -> u64 {
    let earlier = match before.id == after.id {
        true => before.applied_late,
        false => 0,
    };
    after.applied_late.saturating_sub(earlier)
}

/// Waits until the hosts of a projection have done something; says whether they
/// have. Where it has no host there is nobody to wait for.
pub(super) async fn wait_until(
    storage: &Storage,
    name: &str,
    is_done: impl AsyncFn(&Own) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    let started = Instant::now();
    let mut without_lease: Option<Instant> = None;
    loop {
        let own = Own::read(&*storage.registry, name).await?;
        if is_done(&own).await? {
            return Ok(true);
        }
        if own.all.iter().any(|generation| generation.host.is_some()) {
            without_lease = None;
        } else {
            let since = *without_lease.get_or_insert_with(Instant::now);
            if since.elapsed() >= BETWEEN_LEASES || !has_host(&*storage.registry).await? {
                return Ok(false);
            }
        }
        if started.elapsed() >= REQUEST_TIME_LIMIT {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use gnomon_databases::database_url::DatabaseUrl;
    use gnomon_event_store::source::Checkpoint;
    use std::cell::Cell;

    use gnomon_model::{Column, ColumnType, DeclaredTable, Description, Position, Subscription};

    use super::*;
    use crate::generation::{Goal, Module, ModuleHash};
    use crate::registry::{HostNotes, NewGeneration};
    use crate::storage;

    const NAME: &str = "customers";

    /// A projection that no host has a lease for.
    async fn without_lease(directory: &tempfile::TempDir) -> Storage {
        let url = DatabaseUrl::Sqlite(directory.path().join("read-models.db"));
        let storage = storage::open(&url).await.unwrap();
        let column = Column {
            name: "id".to_owned(),
            column_type: ColumnType::Integer,
            nullable: false,
        };
        let table = DeclaredTable {
            name: NAME.to_owned(),
            columns: vec![column],
            primary_key: vec!["id".to_owned()],
            indexes: vec![],
        };
        let subscription = Subscription::default();
        let description = Description::check(NAME.to_owned(), 1, subscription, vec![table]);
        let module = Module {
            hash: ModuleHash::of(b"module"),
            bytes: b"module".to_vec(),
            description: description.unwrap(),
        };
        storage.registry.add_module(&module).await.unwrap();
        let generation = NewGeneration {
            projection: NAME,
            module: &module.hash,
            description: &module.description,
            goal: Goal::Promote,
            until: None,
            newest: None,
            start: &Checkpoint::behind(Position::START),
        };
        storage
            .registry
            .create_generation(generation)
            .await
            .unwrap();
        storage
    }

    #[tokio::test]
    async fn a_host_between_two_leases_is_waited_for_and_nobody_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let storage = without_lease(&directory).await;
        let looks = async || {
            let looks = Cell::new(0);
            let is_done = wait_until(&storage, NAME, async |_| {
                looks.set(looks.get() + 1);
                Ok(looks.get() > 3)
            });
            (is_done.await.unwrap(), looks.get())
        };
        assert_eq!(looks().await, (false, 1));
        let notes = HostNotes::default();
        let long = Duration::from_secs(600);
        storage
            .registry
            .announce("host", &notes, long)
            .await
            .unwrap();
        assert_eq!(looks().await, (true, 4));
        // Not one that has nothing to do with the projection.
        let never = wait_until(&storage, NAME, async |_| Ok(false));
        assert!(!never.await.unwrap());
    }
}
