//! `gnomon build`: a projection's source to a component.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use gnomon_model::Description;
use serde_json::json;

use super::{Context, host, output, style};
use crate::module_file;
use crate::supervisor::{self, load_module};

/// Builds a projection's source to a component
///
/// Finds the toolchain of the language. If none works, the error says what to
/// install.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon build                                    the projection in this directory
  gnomon build order-summary -o projections/order-summary.wasm")]
pub(super) struct Build {
    /// The directory of the source
    #[arg(value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Where to put the component [default: its folder's name.wasm, in DIR]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Build {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let built = gnomon_workbench::build(&self.directory, self.output.as_deref())?;
        let file = built.path.display();
        let module = module_file::read(&built.path)?;
        let limits = host::loading_limits(context)?;
        let guest = load_module(&supervisor::engine()?, &module, &limits)
            .with_context(|| format!("{file} is built, but a host would refuse it"))?;
        let description = guest.description();
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "file": built.path,
                "bytes": built.bytes,
                "name": description.name,
                "version": description.version,
                "tables": tables(description),
            });
            writeln!(stdout, "{shown}")?;
        } else {
            let bytes = style::grouped(built.bytes as u64);
            writeln!(
                stdout,
                "built {file} ({bytes} bytes): {}",
                declared(description)
            )?;
        }
        Ok(())
    }
}

/// As `customer_value version 1, table customer_value`.
fn declared(description: &Description) -> String {
    let tables = tables(description);
    let what = if tables.len() == 1 { "table" } else { "tables" };
    format!(
        "{} version {}, {what} {}",
        description.name,
        description.version,
        tables.join(", ")
    )
}

fn tables(description: &Description) -> Vec<&str> {
    description
        .tables
        .iter()
        .map(|table| table.name.as_str())
        .collect()
}
