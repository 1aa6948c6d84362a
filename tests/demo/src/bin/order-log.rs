//! Prints an order log as NDJSON, one event a line.

use std::io::{BufWriter, ErrorKind, Write as _};

use clap::Parser;
use gnomon_demo::Orders;

/// Prints an order log as NDJSON, one event a line
#[derive(Parser)]
struct Arguments {
    /// How many events
    #[arg(long, default_value_t = 50_000)]
    events: usize,
    /// The same seed gives the same log
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut output = BufWriter::new(std::io::stdout().lock());
    for envelope in Orders::new(arguments.seed).take(arguments.events) {
        serde_json::to_writer(&mut output, &envelope)?;
        // Whoever reads may stop early, as `head` does.
        match output.write_all(b"\n") {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            result => result?,
        }
    }
    output.flush()?;
    Ok(())
}
