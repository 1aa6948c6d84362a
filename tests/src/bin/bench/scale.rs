//! Rebuilding a log that grows, and what the host keeps in memory for a large
//! read model.

use std::time::{Duration, Instant};

use anyhow::Result;
use gnomon_tests::harness::System;
use serde::Serialize;
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

use crate::arena::Arena;
use crate::contenders::{Contender, Models};
use crate::databases::runtime;
use crate::log::{insert, orders};
use crate::processes::Process;
use crate::report::{Measured, grouped, mebibytes};
use crate::statistics::{median, rate};

/// The seed of the events that are followed; the log has another one.
const LATER_SEED: u64 = 2;
/// No machine takes longer for the longest log.
const BUILD_LIMIT: Duration = Duration::from_secs(3_600);
/// How the host is fed while it follows: 2,000 events a second.
const EVENTS_PER_COMMIT: usize = 20;
const COMMIT_EVERY: Duration = Duration::from_millis(10);

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Events of the log, from the fewest to the most
    #[arg(long, value_delimiter = ',', default_values_t = [100_000, 1_000_000, 5_000_000])]
    events: Vec<usize>,
    /// How often each length is rebuilt
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The read models: A (order_summary), B (customer_value),
    /// C (daily_revenue)
    #[arg(long, default_value = "ABC")]
    models: Models,
    /// How long the host follows after the longest, 2,000 events a second
    #[arg(long, default_value_t = 15)]
    seconds: u32,
}

/// The rebuild of one length.
#[derive(Serialize)]
pub(crate) struct Scale {
    read_models: Models,
    events: i64,
    /// Of all read models together.
    rows: i64,
    /// Events per second, the median of the rounds.
    median: f64,
    min: f64,
    max: f64,
    ratio_to_first: f64,
    /// What the same takes where there is no event: the median of the rounds.
    empty_log_seconds: f64,
    /// Events per second of the rest of the time.
    net: f64,
    /// The most memory of the host, in bytes: while it builds, and, for the
    /// longest log, while the same host then follows.
    building_memory_bytes: u64,
    following_memory_bytes: Option<u64>,
}

impl Measured for Scale {
    const HEADINGS: &'static [&'static str] = &[
        "events",
        "rows",
        "median",
        "min",
        "max",
        "to the first",
        "net",
        "memory building",
        "following",
    ];

    fn title(&self) -> String {
        format!(
            "Rebuild of {} from logs of several lengths, PostgreSQL to PostgreSQL (events per \
             second; net: without the {:.2} s that an empty log takes)",
            self.read_models, self.empty_log_seconds
        )
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.events.to_string(),
            self.rows.to_string(),
            grouped(self.median),
            grouped(self.min),
            grouped(self.max),
            format!("{:.2}", self.ratio_to_first),
            grouped(self.net),
            mebibytes(self.building_memory_bytes),
            self.following_memory_bytes
                .map(mebibytes)
                .unwrap_or_default(),
        ]
    }
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Scale>> {
    let mut arena = Arena::new(System::Postgres)?;
    arena.grow(0)?;
    let empty = rounds(&mut arena, arguments)?.time();
    let mut measured: Vec<Scale> = Vec::new();
    for events in &arguments.events {
        arena.grow(*events)?;
        let first = measured.first().map(|first| first.median);
        measured.push(measure_length(&mut arena, arguments, empty, first)?);
    }
    if let Some(longest) = measured.last_mut() {
        let (building, following) = memory_of_one_host(&arena, arguments)?;
        longest.building_memory_bytes = longest.building_memory_bytes.max(building);
        longest.following_memory_bytes = Some(following);
        check(&mut arena, arguments.models)?;
    }
    Ok(measured)
}

/// Some rebuilds of the same log.
struct Rounds {
    times: Vec<Duration>,
    /// The most memory of the host, in bytes.
    memory: u64,
}

impl Rounds {
    /// The median.
    fn time(&self) -> Duration {
        let seconds = self.times.iter().map(Duration::as_secs_f64);
        Duration::from_secs_f64(median(seconds.collect()))
    }
}

fn rounds(arena: &mut Arena, arguments: &Arguments) -> Result<Rounds> {
    let installation = arena.installation(arguments.models);
    let (mut times, mut memory) = (Vec::new(), 0);
    for _ in 0..arguments.rounds {
        arena.forget()?;
        let cost = arena.run(&mut installation.command(&["run", "--until-caught-up"]))?;
        times.push(cost.client.time);
        memory = memory.max(cost.client.peak_memory);
    }
    Ok(Rounds { times, memory })
}

fn measure_length(
    arena: &mut Arena,
    arguments: &Arguments,
    empty: Duration,
    first: Option<f64>,
) -> Result<Scale> {
    let (models, head) = (arguments.models, arena.head());
    let rounds = rounds(arena, arguments)?;
    check(arena, models)?;
    let installation = arena.installation(models);
    let rows = models.tables().into_iter().map(|(projection, table)| {
        let rows = format!("SELECT count(*) FROM {projection}.{table}");
        installation.read_models.number(&rows)
    });
    let rows = rows.sum();
    let time = rounds.time();
    let median = rate(head, time);
    let rates = rounds.times.iter().map(|time| rate(head, *time));
    Ok(Scale {
        read_models: models,
        events: head,
        rows,
        median,
        min: rates.clone().fold(f64::INFINITY, f64::min),
        max: rates.fold(0.0, f64::max),
        ratio_to_first: median / first.unwrap_or(median),
        empty_log_seconds: empty.as_secs_f64(),
        net: rate(head, time.saturating_sub(empty)),
        building_memory_bytes: rounds.memory,
        following_memory_bytes: None,
    })
}

/// Fails where the rows are not those that SQL gives over all events.
fn check(arena: &mut Arena, models: Models) -> Result<()> {
    arena.run_by_hand(Contender::Sql, models, arena.head())?;
    arena.check(Contender::Sql, models)
}

/// Memory of a host that has built everything and then follows: the most
/// until it has caught up, and the most after that.
fn memory_of_one_host(arena: &Arena, arguments: &Arguments) -> Result<(u64, u64)> {
    arena.forget()?;
    let installation = arena.installation(arguments.models);
    let host = installation.start_host();
    let projections = arguments.models.tables();
    for (projection, _) in &projections {
        installation.wait_for_status(projection, BUILD_LIMIT, |status| {
            status["generation_state"] == "live"
        });
    }
    let process = Process(host.process());
    let building = process.peak_memory()?;
    let following = runtime()?.block_on(async {
        let mut connection = PgConnection::connect(&installation.events.url()).await?;
        let mut orders = orders(LATER_SEED);
        let mut ticks = tokio::time::interval(COMMIT_EVERY);
        let until = Instant::now() + Duration::from_secs(arguments.seconds.into());
        let mut most = 0;
        while Instant::now() < until {
            ticks.tick().await;
            let together: Vec<_> = orders.by_ref().take(EVENTS_PER_COMMIT).collect();
            insert(&mut connection, &together).await?;
            most = most.max(process.memory()?);
        }
        anyhow::Ok(most)
    })?;
    let head = installation.head();
    for (projection, _) in projections {
        installation.wait_for(projection, head);
    }
    Ok((building, following.max(process.memory()?)))
}
