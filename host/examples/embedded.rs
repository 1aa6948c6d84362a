//! A host inside of a program of your own.
//!
//! ```console
//! $ gnomon build projections/order-summary -o order-summary.wasm
//! $ cargo run --example embedded -- order-summary.wasm
//! customer-1: 1200 cents
//! customer-2: 800 cents
//! ```

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use gnomon::Gnomon;
use gnomon_event_store::{ExpectedVersion, NewEvent, StreamId};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let module = std::env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .context("name the component of the projection order-summary")?;
    let directory = tempfile::tempdir()?;
    for (customer, cents) in run(directory.path(), std::fs::read(module)?).await? {
        writeln!(std::io::stdout(), "{customer}: {cents} cents")?;
    }
    Ok(())
}

/// Appends two orders, and gives what the read model then says of them: who placed
/// each, and what it costs.
///
/// # Errors
/// When a database cannot be used, or the module is refused.
pub(crate) async fn run(directory: &Path, module: Vec<u8>) -> anyhow::Result<Vec<(String, i64)>> {
    let events = format!("sqlite:{}", directory.join("events.db").display());
    let rows = directory.join("read-models.db");
    let projections = directory.join("projections");
    std::fs::create_dir(&projections)?;

    // The application's side: the first append creates the event store.
    let store = gnomon_event_store::open(&events.parse()?).await?;
    for (number, cents) in [(1, 1_200), (2, 800)] {
        let id = format!("00000000-0000-0000-0000-00000000000{number}");
        let stream = StreamId::new(format!("Order-{id}"))?;
        let data = format!(
            r#"{{"order_id": "{id}", "customer_id": "customer-{number}",
                 "total_cents": {cents}, "items": [{{"qty": 1}}]}}"#
        );
        let event = NewEvent::new("OrderPlaced", &data)?;
        let expected = ExpectedVersion::Exactly(0);
        store.append(&stream, expected, &[event]).await?;
    }

    // The host.
    let gnomon = Gnomon::builder()
        .events(&events)
        .read_models(&format!("sqlite:{}", rows.display()))
        .projections_directory(&projections)
        .set("limits.memory", "32MiB")
        .start()
        .await?;
    let deployed = gnomon.deploy(module).await?;
    let limit = Duration::from_secs(60);
    gnomon.wait(&deployed.name, None, limit).await?;

    // Anybody reads the rows with plain SQL.
    let database = rusqlite::Connection::open(&rows)?;
    let mut query = database
        .prepare("SELECT customer_id, total_cents FROM order_summaries ORDER BY customer_id")?;
    let found = query.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found = found.collect::<Result<_, _>>()?;

    gnomon.stop().await;
    Ok(found)
}
