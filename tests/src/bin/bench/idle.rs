//! What hosts that have caught up ask of their databases, and of the machine.

use std::time::{Duration, Instant};

use anyhow::Result;
use gnomon_tests::harness::{Declaration, Host, Installation, PATIENCE, System, component};
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};

use crate::databases::{runtime, server};
use crate::log::{insert, orders};
use crate::processes::Process;
use crate::report::{Measured, mebibytes};

const EVENTS: usize = 1_000;
/// The seed of the events that come later; the log has another one.
const LATER_SEED: u64 = 2;
/// From one of those to the next.
const EVENT_EVERY: Duration = Duration::from_millis(5);
/// The server's sessions count what they did at least that often.
const COUNTED_AFTER: Duration = Duration::from_secs(3);

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// How many projections, one after another
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10, 100])]
    projections: Vec<u32>,
    /// How many hosts share them, one after another
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2])]
    hosts: Vec<u32>,
    /// How long to wait for the hosts to settle before counting
    #[arg(long, default_value_t = 25)]
    settle: u32,
    /// How long to count
    #[arg(long, default_value_t = 30)]
    seconds: u32,
    /// How many events come after that, 200 a second
    #[arg(long, default_value_t = 2_000)]
    events: u32,
}

/// What was asked of both databases: transactions, most of one statement.
#[derive(Serialize)]
pub(crate) struct Idle {
    projections: u32,
    hosts: u32,
    /// From the start of the hosts until every projection is live, as found by
    /// asking for one after another.
    start_seconds: f64,
    events_per_second: f64,
    read_models_per_second: f64,
    /// For each event of 200 a second, both databases together, without what
    /// is asked anyway.
    per_event: f64,
    /// Of the host that used most: of one processor, without any event.
    host_cpu_percent: f64,
    /// Of the host that holds most.
    host_memory_bytes: u64,
}

impl Measured for Idle {
    const HEADINGS: &'static [&'static str] = &[
        "projections",
        "hosts",
        "start",
        "event store",
        "read models",
        "per event",
        "host's CPU",
        "host's memory",
    ];

    fn title(&self) -> String {
        "What hosts that have caught up ask together: transactions a second, most of one statement, \
         and what each event adds at 200 a second (without autovacuum, which would count as well); \
         processor and memory are those of the host with most. Before that: how long they take to \
         deploy new modules and make them live"
            .to_owned()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.projections.to_string(),
            self.hosts.to_string(),
            format!("{:.1} s", self.start_seconds),
            format!("{:.1}", self.events_per_second),
            format!("{:.1}", self.read_models_per_second),
            format!("{:.1}", self.per_event),
            format!("{:.2} %", self.host_cpu_percent),
            mebibytes(self.host_memory_bytes),
        ]
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Idle>> {
    // Its transactions would count as the host's.
    set_autovacuum("= off")?;
    let counts = arguments.projections.iter().flat_map(|projections| {
        let hosts = arguments.hosts.iter();
        hosts.map(|hosts| (*projections, *hosts))
    });
    let measured = counts
        .map(|(projections, hosts)| measure_one(projections, hosts, arguments))
        .collect();
    set_autovacuum("TO DEFAULT")?;
    measured
}

fn set_autovacuum(value: &'static str) -> Result<()> {
    let statement = format!("ALTER SYSTEM SET autovacuum {value}");
    runtime()?.block_on(async {
        let mut server = server().await?;
        server.execute(AssertSqlSafe(statement)).await?;
        server.execute("SELECT pg_reload_conf()").await?;
        Ok(())
    })
}

fn measure_one(projections: u32, hosts: u32, arguments: &Arguments) -> Result<Idle> {
    let mut installation = Installation::new(System::Postgres, System::Postgres);
    let names: Vec<String> = (1..=projections)
        .map(|number| format!("idle_{number}"))
        .collect();
    for name in &names {
        let module = component(&Declaration::sane(name, "notes"));
        installation = installation.with_module(&format!("{name}.wasm"), &module);
    }
    installation.append_orders(EVENTS, 1);
    let started = Instant::now();
    let running: Vec<Host> = (0..hosts).map(|_| installation.start_host()).collect();
    for name in &names {
        installation.wait_for_status(name, PATIENCE, |status| {
            status["generation_state"] == "live"
        });
    }
    let databases = [&installation.events, &installation.read_models].map(|database| {
        let url = database.url();
        url.rsplit('/').next().unwrap_or_default().to_owned()
    });
    let start = started.elapsed();
    let processes: Vec<Process> = running.iter().map(|host| Process(host.process())).collect();
    let runtime = runtime()?;
    let mut server = runtime.block_on(server())?;
    std::thread::sleep(Duration::from_secs(arguments.settle.into()));

    let before = runtime.block_on(Look::at(&processes, &mut server, &databases))?;
    std::thread::sleep(Duration::from_secs(arguments.seconds.into()));
    let quiet = runtime.block_on(Look::at(&processes, &mut server, &databases))?;
    runtime.block_on(feed(&installation.events.url(), arguments.events))?;
    let fed = runtime.block_on(Look::at(&processes, &mut server, &databases))?;
    for name in &names {
        installation.wait_for(name, installation.head());
    }

    let [events_per_second, read_models_per_second] = quiet.rates_since(&before);
    let seconds = (fed.at - quiet.at).as_secs_f64();
    let more: f64 = fed
        .rates_since(&quiet)
        .iter()
        .zip([events_per_second, read_models_per_second])
        .map(|(fed, quiet)| (fed - quiet) * seconds)
        .sum();
    let used = quiet.cpu.iter().zip(&before.cpu);
    let cpu = used
        .map(|(quiet, before)| *quiet - *before)
        .max()
        .unwrap_or_default();
    Ok(Idle {
        projections,
        hosts,
        start_seconds: start.as_secs_f64(),
        events_per_second,
        read_models_per_second,
        // One transaction for each is the writer's own.
        per_event: more / f64::from(arguments.events.max(1)) - 1.0,
        host_cpu_percent: 100.0 * cpu.as_secs_f64() / (quiet.at - before.at).as_secs_f64(),
        host_memory_bytes: quiet.memory.iter().copied().max().unwrap_or_default(),
    })
}

/// What was counted until a moment.
struct Look {
    at: Instant,
    /// Of the event store and of the read models.
    transactions: [f64; 2],
    /// Of each host.
    cpu: Vec<Duration>,
    memory: Vec<u64>,
}

impl Look {
    async fn at(
        hosts: &[Process],
        server: &mut PgConnection,
        databases: &[String; 2],
    ) -> Result<Self> {
        let mut transactions = [0.0; 2];
        for (database, count) in databases.iter().zip(&mut transactions) {
            *count = sqlx::query_scalar(
                "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database \
                 WHERE datname = $1",
            )
            .bind(database)
            .fetch_one(&mut *server)
            .await?;
        }
        Ok(Self {
            at: Instant::now(),
            transactions,
            cpu: hosts.iter().map(|host| host.cpu()).collect::<Result<_>>()?,
            memory: hosts
                .iter()
                .map(|host| host.memory())
                .collect::<Result<_>>()?,
        })
    }

    /// Transactions a second of each database since another look.
    fn rates_since(&self, before: &Self) -> [f64; 2] {
        let seconds = (self.at - before.at).as_secs_f64();
        let [events, read_models] = self.transactions;
        let [events_before, read_models_before] = before.transactions;
        [events - events_before, read_models - read_models_before].map(|count| count / seconds)
    }
}

/// Inserts events one by one, and waits until what they caused is counted.
async fn feed(url: &str, events: u32) -> Result<()> {
    let mut connection = PgConnection::connect(url).await?;
    let mut ticks = tokio::time::interval(EVENT_EVERY);
    for order in orders(LATER_SEED).take(usize::try_from(events)?) {
        ticks.tick().await;
        insert(&mut connection, &[order]).await?;
    }
    tokio::time::sleep(COUNTED_AFTER).await;
    Ok(())
}
