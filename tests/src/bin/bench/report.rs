//! Showing what was measured: tables for people, one JSON document for
//! programs.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;
use serde_json::Value;

use crate::machine::Machine;

/// One line of a table.
pub(crate) trait Measured: Serialize {
    /// The columns.
    const HEADINGS: &'static [&'static str];

    /// What is measured, in a sentence. Lines that follow each other under the
    /// same title are one table.
    fn title(&self) -> String;

    /// The cells, one for each heading.
    fn cells(&self) -> Vec<String>;
}

/// All that was measured, as a document.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    measurements: Vec<Measurement>,
    /// Whether each table is shown as soon as it is there.
    #[serde(skip)]
    tables: bool,
}

#[derive(Serialize)]
struct Measurement {
    name: &'static str,
    parameters: Value,
    figures: Value,
}

impl Report {
    pub(crate) fn begin(machine: Machine, tables: bool) -> Result<Self> {
        if tables {
            writeln!(anstream::stdout(), "{machine}\n")?;
        }
        Ok(Self {
            machine,
            measurements: Vec::new(),
            tables,
        })
    }

    pub(crate) fn add<M: Measured>(
        &mut self,
        name: &'static str,
        parameters: &impl Serialize,
        measured: &[M],
    ) -> Result<()> {
        if self.tables {
            let mut output = anstream::stdout().lock();
            for lines in measured.chunk_by(|one, next| one.title() == next.title()) {
                let title = lines.first().map(M::title).unwrap_or_default();
                writeln!(output, "{title}\n{}\n", table(lines))?;
            }
        }
        self.measurements.push(Measurement {
            name,
            parameters: serde_json::to_value(parameters)?,
            figures: serde_json::to_value(measured)?,
        });
        Ok(())
    }

    /// Shows the document where the tables were not shown.
    pub(crate) fn end(&self) -> Result<()> {
        if !self.tables {
            writeln!(
                anstream::stdout(),
                "{}",
                serde_json::to_string_pretty(self)?
            )?;
        }
        Ok(())
    }

    /// Writes the document to a file.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let write = || -> Result<()> {
            let mut file = BufWriter::new(File::create(file)?);
            serde_json::to_writer_pretty(&mut file, self)?;
            Ok(file.flush()?)
        };
        write().with_context(|| format!("cannot write {}", file.display()))
    }
}

fn table<M: Measured>(measured: &[M]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY);
    table.set_header(M::HEADINGS);
    for one in measured {
        table.add_row(one.cells().into_iter().map(|text| {
            let is_number = text.starts_with(|first: char| first.is_ascii_digit());
            let cell = Cell::new(text);
            if is_number {
                cell.set_alignment(CellAlignment::Right)
            } else {
                cell
            }
        }));
    }
    table
}

/// Bytes, as a table shows them.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// A whole number, its digits in groups of three.
pub(crate) fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_can_be_read() {
        let shown = [0.0, 999.4, 1000.0, 88_123.0, 1_234_567.0].map(grouped);
        assert_eq!(shown, ["0", "999", "1,000", "88,123", "1,234,567"]);
    }
}
