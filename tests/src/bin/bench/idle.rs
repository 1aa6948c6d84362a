//! What a host that has nothing to do asks of its databases.

use std::time::Duration;

use anyhow::Result;
use gnomon_tests::harness::{Declaration, Installation, System, component};
use serde::Serialize;
use sqlx::postgres::PgConnection;

use crate::databases::{runtime, server};
use crate::report::Measured;

const EVENTS: usize = 1_000;
const STATUS_LIMIT: Duration = Duration::from_secs(60);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// How many projections, one after another
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10])]
    projections: Vec<u32>,
    /// How long to wait for the host to settle before counting
    #[arg(long, default_value_t = 25)]
    settle: u32,
    /// How long to count
    #[arg(long, default_value_t = 30)]
    seconds: u32,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            projections: vec![1, 10],
            settle: 25,
            seconds: 30,
        }
    }
}

/// What was asked of both databases.
#[derive(Serialize)]
pub(crate) struct Idle {
    measurement: &'static str,
    projections: u32,
    events_per_second: f64,
    read_models_per_second: f64,
}

impl Measured for Idle {
    const TITLE: &'static str = "Transactions a second of an idle host, most of one statement";
    const HEADINGS: &'static [&'static str] = &["projections", "event store", "read models"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.projections.to_string(),
            format!("{:.1}", self.events_per_second),
            format!("{:.1}", self.read_models_per_second),
        ]
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Idle>> {
    arguments
        .projections
        .iter()
        .map(|projections| measure_one(*projections, arguments))
        .collect()
}

fn measure_one(projections: u32, arguments: &Arguments) -> Result<Idle> {
    let mut installation = Installation::new(System::Postgres, System::Postgres);
    let names: Vec<String> = (1..=projections)
        .map(|number| format!("idle_{number}"))
        .collect();
    for name in &names {
        let module = component(&Declaration::sane(name, "notes"));
        installation = installation.with_module(&format!("{name}.wasm"), &module);
    }
    installation.append_orders(EVENTS, 1);
    let head = installation.head();
    let _host = installation.start_host();
    for name in &names {
        installation.wait_for_status(name, STATUS_LIMIT, |status| status["position"] == head);
    }
    let databases = [&installation.events, &installation.read_models].map(|database| {
        let url = database.url();
        url.rsplit('/').next().unwrap_or_default().to_owned()
    });
    let [events, read_models] = runtime()?.block_on(async {
        let mut server = server().await?;
        tokio::time::sleep(Duration::from_secs(arguments.settle.into())).await;
        let before = transactions(&mut server, &databases).await?;
        tokio::time::sleep(Duration::from_secs(arguments.seconds.into())).await;
        let after = transactions(&mut server, &databases).await?;
        anyhow::Ok([after[0] - before[0], after[1] - before[1]])
    })?;
    Ok(Idle {
        measurement: "idle",
        projections,
        events_per_second: events / f64::from(arguments.seconds),
        read_models_per_second: read_models / f64::from(arguments.seconds),
    })
}

/// How many transactions each database has seen.
async fn transactions(server: &mut PgConnection, databases: &[String; 2]) -> Result<[f64; 2]> {
    let mut counts = [0.0; 2];
    for (database, count) in databases.iter().zip(&mut counts) {
        *count = sqlx::query_scalar(
            "SELECT (xact_commit + xact_rollback)::float8 FROM pg_stat_database WHERE datname = $1",
        )
        .bind(database)
        .fetch_one(&mut *server)
        .await?;
    }
    Ok(counts)
}
