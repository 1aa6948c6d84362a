//! One order log, on which all ways to rebuild take turns.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use gnomon_tests::harness::{Database, Installation, System};
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};
use tokio::runtime::Runtime;

use crate::contenders::{Against, ByHand, Contender, Models, SCHEMA, remove};
use crate::databases::{process, runtime};
use crate::log;
use crate::processes::{self, Server, Spent};

/// The databases, and what looks at them.
pub(crate) struct Arena {
    events: Arc<Database>,
    read_models: Arc<Database>,
    by_hand: ByHand,
    session: Option<Session>,
    head: usize,
}

/// A session beside those that are measured.
struct Session {
    runtime: Runtime,
    connection: PgConnection,
    server: Server,
}

/// What a rebuild took.
pub(crate) struct Cost {
    pub(crate) client: Spent,
    /// None where there is no server.
    pub(crate) server: Option<ServerCost>,
}

pub(crate) struct ServerCost {
    pub(crate) cpu: Duration,
    pub(crate) wal_bytes: u64,
}

impl Arena {
    /// Without any event: one database in PostgreSQL, two files in SQLite.
    pub(crate) fn new(system: System) -> Result<Self> {
        let events = Arc::new(Database::new(system));
        let (read_models, session) = match system {
            System::Postgres => (Arc::clone(&events), Some(Session::open(&events.url())?)),
            System::Sqlite => (Arc::new(Database::new(system)), None),
        };
        Ok(Self {
            events,
            read_models,
            by_hand: ByHand::new()?,
            session,
            head: 0,
        })
    }

    pub(crate) fn system(&self) -> System {
        self.events.system()
    }

    /// The position of the last event.
    pub(crate) fn head(&self) -> i64 {
        i64::try_from(self.head).unwrap_or(i64::MAX)
    }

    /// Appends events until there are so many.
    pub(crate) fn grow(&mut self, events: usize) -> Result<()> {
        log::append(&self.installation(Models::NONE), self.head..events)?;
        self.head = events;
        if self.system() == System::Postgres {
            // The first to read would otherwise mark the rows as committed, for
            // all others.
            self.events.execute("VACUUM ANALYZE events");
        }
        Ok(())
    }

    /// Gnomon with the projections of these read models.
    pub(crate) fn installation(&self, models: Models) -> Installation {
        let (events, read_models) = (Arc::clone(&self.events), Arc::clone(&self.read_models));
        models.folders().into_iter().fold(
            Installation::on(events, read_models),
            Installation::with_example,
        )
    }

    /// Makes Gnomon begin from nothing.
    pub(crate) fn forget(&self) -> Result<()> {
        let Database::Sqlite { file, .. } = &*self.read_models else {
            let projections = Models::ALL.tables();
            let names: Vec<&str> = projections.iter().map(|(name, _)| *name).collect();
            self.read_models.execute(&format!(
                "DO $$ DECLARE own text; BEGIN \
                   FOR own IN SELECT nspname FROM pg_namespace \
                     WHERE nspname LIKE 'gnomon%' OR nspname LIKE '{SCHEMA}%' \
                       OR nspname IN ('{}') \
                   LOOP EXECUTE format('DROP SCHEMA %I CASCADE', own); END LOOP; END $$",
                names.join("', '")
            ));
            return Ok(());
        };
        remove(file)
    }

    /// Runs what rebuilds, and counts what it takes.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<Cost> {
        let Some(session) = &mut self.session else {
            let client = processes::run(command)?;
            return Ok(Cost {
                client,
                server: None,
            });
        };
        session.level()?;
        let (cpu, wal) = (session.server.cpu()?, session.wal()?);
        let client = processes::run(command)?;
        let server = ServerCost {
            cpu: session.server.cpu()?.saturating_sub(cpu),
            wal_bytes: (session.wal()? - wal).try_into()?,
        };
        Ok(Cost {
            client,
            server: Some(server),
        })
    }

    /// Lets a contender build from the events up to a position.
    pub(crate) fn run_by_hand(
        &mut self,
        contender: Contender,
        models: Models,
        until: i64,
    ) -> Result<Cost> {
        let mut command = contender.command(models, until, &self.events, &self.by_hand)?;
        self.run(&mut command)
            .with_context(|| format!("{} failed", contender.name()))
    }

    /// Fails where a contender that has just built gave other rows than
    /// Gnomon, or, of a part of the log, than the expert.
    pub(crate) fn check(&mut self, contender: Contender, models: Models) -> Result<()> {
        let until = contender.end(self.head());
        let mut against = Against::Gnomon;
        if until < self.head() {
            self.by_hand.put_aside(&self.read_models)?;
            self.run_by_hand(Contender::expert(self.system()), models, until)?;
            against = Against::Aside;
        }
        self.by_hand
            .check(&self.read_models, models, against, contender.name())
    }
}

impl Session {
    fn open(url: &str) -> Result<Self> {
        let runtime = runtime()?;
        let (connection, process) = runtime.block_on(async {
            let mut connection = PgConnection::connect(url).await?;
            let process = process(&mut connection).await?;
            anyhow::Ok((connection, process))
        })?;
        Ok(Self {
            server: Server::of_session(process)?,
            runtime,
            connection,
        })
    }

    /// What one way wrote is not left for the next to bring to the disk.
    fn level(&mut self) -> Result<()> {
        let checkpoint = self.connection.execute("CHECKPOINT");
        self.runtime.block_on(checkpoint)?;
        Ok(())
    }

    /// Bytes of the write-ahead log so far.
    fn wal(&mut self) -> Result<i64> {
        let position = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint";
        let position = sqlx::query_scalar(position).fetch_one(&mut self.connection);
        Ok(self.runtime.block_on(position)?)
    }
}
