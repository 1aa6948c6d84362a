//! Showing what was measured: a table for people, JSON for programs.

use std::io::Write as _;

use anyhow::Result;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

/// One line of a table.
pub(crate) trait Measured: Serialize {
    /// What is measured, in a sentence.
    const TITLE: &'static str;
    /// The columns.
    const HEADINGS: &'static [&'static str];

    /// The cells, one for each heading.
    fn cells(&self) -> Vec<String>;
}

/// Prints what was measured to stdout.
pub(crate) fn print<M: Measured>(measured: &[M], json: bool) -> Result<()> {
    let mut output = anstream::stdout().lock();
    if json {
        for one in measured {
            writeln!(output, "{}", serde_json::to_string(one)?)?;
        }
    } else {
        writeln!(output, "{}\n{}\n", M::TITLE, table(measured))?;
    }
    Ok(())
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
