//! What waking the reader costs the writers: how many appends a second eight
//! of them make, with one way of waking after another.

use std::time::{Duration, Instant};

use anyhow::Result;
use gnomon_event_store::source;
use gnomon_event_store::{EventStore, ExpectedVersion};
use gnomon_tests::harness::{Database, System};
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Executor as _};

use crate::databases::runtime;
use crate::log::orders;
use crate::report::Measured;
use crate::statistics::{Summary, Times, median};

/// Wakes the reader from within each append's transaction.
const TRIGGER: &str = "
CREATE FUNCTION wake() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN NOTIFY gnomon_events; RETURN NULL; END $$;
CREATE TRIGGER wake AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION wake();
";

#[derive(clap::Args, Serialize)]
pub(crate) struct Arguments {
    /// Appenders at the same time
    #[arg(long, default_value_t = 8)]
    appenders: u64,
    /// How long one run takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Runs of each way; the median counts
    #[arg(long, default_value_t = 5)]
    runs: u32,
}

/// The appends with one way of waking.
#[derive(Serialize)]
pub(crate) struct Waking {
    way: &'static str,
    appends: usize,
    appends_per_second: f64,
    #[serde(flatten)]
    append: Summary,
}

impl Measured for Waking {
    const HEADINGS: &'static [&'static str] = &[
        "readers are woken",
        "appends",
        "appends/s",
        "min",
        "p50",
        "p99",
        "max",
    ];

    fn title(&self) -> String {
        "What waking the reader costs concurrent appenders (one event an append)".to_owned()
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![
            self.way.to_owned(),
            self.appends.to_string(),
            format!("{:.0}", self.appends_per_second),
        ];
        cells.extend(self.append.cells());
        cells
    }
}

#[derive(Clone, Copy)]
enum Way {
    NoReader,
    InTransaction,
    AfterCommit,
    Gnomon,
}

impl Way {
    const ALL: [Self; 4] = [
        Self::NoReader,
        Self::InTransaction,
        Self::AfterCommit,
        Self::Gnomon,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::NoReader => "never: there is no reader",
            Self::InTransaction => "NOTIFY in each transaction",
            Self::AfterCommit => "NOTIFY after each commit",
            Self::Gnomon => "as Gnomon does it",
        }
    }
}

/// What one or more runs of a way gave.
#[derive(Default)]
struct Runs {
    rates: Vec<f64>,
    appends: Vec<Duration>,
}

pub(crate) fn measure(arguments: &Arguments) -> Result<Vec<Waking>> {
    let mut all: [Runs; Way::ALL.len()] = Default::default();
    // By turns, so that what else the machine does meets all of them.
    for _ in 0..arguments.runs {
        for (way, runs) in Way::ALL.into_iter().zip(&mut all) {
            let appends = run(way, arguments)?;
            let seconds = Duration::from_secs(arguments.seconds).as_secs_f64();
            runs.rates
                .push(f64::from(u32::try_from(appends.len())?) / seconds);
            runs.appends.extend(appends);
        }
    }
    let measured = Way::ALL.into_iter().zip(all).map(|(way, runs)| {
        let times: Times = runs.appends.into_iter().collect();
        Waking {
            way: way.name(),
            appends: times.len(),
            appends_per_second: median(runs.rates),
            append: times.summary(),
        }
    });
    Ok(measured.collect())
}

/// How long each append took.
fn run(way: Way, arguments: &Arguments) -> Result<Vec<Duration>> {
    let database = Database::new(System::Postgres);
    let url = database.url();
    let store_url = url.parse()?;
    runtime()?.block_on(async {
        let store = gnomon_event_store::open(&store_url).await?;
        let _reader = match way {
            Way::NoReader => None,
            _ => Some(source::open(&store_url).await?),
        };
        if matches!(way, Way::InTransaction) {
            PgConnection::connect(&url).await?.execute(TRIGGER).await?;
        }
        let until = Instant::now() + Duration::from_secs(arguments.seconds);
        let mut appenders = tokio::task::JoinSet::new();
        for number in 0..arguments.appenders {
            let store = std::sync::Arc::clone(&store);
            let waker = match way {
                Way::AfterCommit => Some(PgConnection::connect(&url).await?),
                _ => None,
            };
            appenders.spawn(async move { append_until(until, &*store, number, waker).await });
        }
        let mut appends = Vec::new();
        while let Some(appender) = appenders.join_next().await {
            appends.extend(appender??);
        }
        Ok(appends)
    })
}

async fn append_until(
    until: Instant,
    store: &dyn EventStore,
    seed: u64,
    mut waker: Option<PgConnection>,
) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    for order in orders(seed) {
        let started = Instant::now();
        if started >= until {
            break;
        }
        store
            .append(&order.stream, ExpectedVersion::Any, &[order.event()?])
            .await?;
        if let Some(waker) = &mut waker {
            waker
                .execute("SET synchronous_commit = off; NOTIFY gnomon_events")
                .await?;
        }
        times.push(started.elapsed());
    }
    Ok(times)
}
