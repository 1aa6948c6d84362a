//! `gnomon inspect`: what a module declares and imports.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use gnomon_guest::GuestEngine;
use gnomon_model::readable::name;
use gnomon_model::{Description, Table};
use serde_json::json;

use super::{Context, host, output, style};
use crate::module_file;
use crate::supervisor::{self, load_module};

/// Shows what a module declares and imports
///
/// Loads the module as a host does, so a host can run every module that this
/// command shows.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  gnomon inspect projections/order-summary.wasm
  gnomon inspect --json order-summary.wasm | jq .tables")]
pub(super) struct Inspect {
    /// The module
    file: PathBuf,
}

impl Inspect {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let file = self.file.display();
        let bytes = module_file::read(&self.file)?;
        let engine = supervisor::engine()?;
        let refused = || format!("{file} is refused");
        let imports = GuestEngine::imports(&bytes).with_context(refused)?;
        let limits = host::loading_limits(context)?;
        let guest = load_module(&engine, &bytes, &limits).with_context(refused)?;
        let description = guest.description();
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "name": description.name,
                "version": description.version,
                "module": guest.hash(),
                "bytes": bytes.len(),
                "imports": imports,
                "subscription": description.subscription,
                "tables": description.tables.iter().map(table_json).collect::<Vec<_>>(),
            });
            writeln!(stdout, "{shown}")?;
            return Ok(());
        }
        writeln!(
            stdout,
            "{} version {}",
            description.name, description.version
        )?;
        writeln!(
            stdout,
            "module   {} ({} bytes)",
            guest.hash(),
            style::grouped(bytes.len() as u64)
        )?;
        writeln!(stdout, "imports  {}", listed(&imports, "nothing"))?;
        write_description(&mut stdout, description)?;
        Ok(())
    }
}

fn write_description(
    output: &mut impl std::io::Write,
    description: &Description,
) -> anyhow::Result<()> {
    let subscription = &description.subscription;
    writeln!(
        output,
        "events   {}",
        listed(&subscription.event_types, "all types")
    )?;
    writeln!(
        output,
        "streams  {}",
        listed(&subscription.categories, "all categories")
    )?;
    writeln!(
        output,
        "metadata {}",
        if subscription.metadata { "yes" } else { "no" }
    )?;
    for table in &description.tables {
        writeln!(output, "\ntable {}", table.name)?;
        let mut shown = style::table(&["column", "type", "null", "key"]);
        for (number, column) in table.columns.iter().enumerate() {
            shown.add_row([
                column.name.as_str(),
                column.column_type.name(),
                if column.nullable { "yes" } else { "" },
                if table.primary_key.contains(&number) {
                    "primary"
                } else {
                    ""
                },
            ]);
        }
        writeln!(output, "{shown}")?;
        for index in &table.indexes {
            writeln!(
                output,
                "index on {}",
                names(table, &index.columns).join(", ")
            )?;
        }
    }
    Ok(())
}

fn table_json(table: &Table) -> serde_json::Value {
    json!({
        "name": table.name,
        "columns": table.columns,
        "primary_key": names(table, &table.primary_key),
        "indexes": table
            .indexes
            .iter()
            .map(|index| names(table, &index.columns))
            .collect::<Vec<_>>(),
    })
}

fn names<'a>(table: &'a Table, columns: &[usize]) -> Vec<&'a str> {
    columns
        .iter()
        .filter_map(|column| table.columns.get(*column))
        .map(|column| column.name.as_str())
        .collect()
}

fn listed(entries: &[String], otherwise: &str) -> String {
    if entries.is_empty() {
        otherwise.to_owned()
    } else {
        let entries = entries.iter().map(|entry| name(entry));
        entries.collect::<Vec<_>>().join(", ")
    }
}
