//! How a comparison looks for people.

use std::io::Write;

use gnomon_model::readable::indented;

use super::style;
use crate::json_text::JsonRow;
use crate::operations::ComparedGenerations;
use crate::read_models::{Difference, RowDifference, TableComparison};

/// What the second side of a comparison is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sides {
    /// Its name for people.
    name: &'static str,
}

impl Sides {
    pub(super) const CANDIDATE: Self = Self { name: "candidate" };
    pub(super) const REBUILT: Self = Self { name: "rebuilt" };
}

/// Writes counts for each table, and the first differing rows.
pub(super) fn write_comparison(
    output: &mut impl Write,
    comparison: &ComparedGenerations,
    sides: Sides,
) -> anyhow::Result<()> {
    let verdict = if comparison.equal {
        "all rows are the same"
    } else {
        "they differ"
    };
    writeln!(
        output,
        "{}: live and {} at position {}: {verdict}",
        comparison.name, sides.name, comparison.position
    )?;
    let mut table = style::table(&[
        "table",
        "rows live",
        &format!("rows {}", sides.name),
        "only live",
        &format!("only {}", sides.name),
        "different",
    ]);
    for compared in &comparison.tables {
        table.add_row(
            [
                compared.left_rows,
                compared.right_rows,
                compared.only_left,
                compared.only_right,
                compared.different,
            ]
            .iter()
            .fold(vec![compared.table.clone()], |mut row, number| {
                row.push(style::grouped(*number));
                row
            }),
        );
    }
    writeln!(output, "{table}")?;
    for compared in &comparison.tables {
        write_table(output, compared, sides)?;
    }
    Ok(())
}

fn write_table(
    output: &mut impl Write,
    compared: &TableComparison,
    sides: Sides,
) -> anyhow::Result<()> {
    let table = &compared.table;
    if let Some(reason) = &compared.incomparable {
        writeln!(output, "{table}: not compared, {}", indented(reason))?;
    }
    for (columns, side) in [
        (&compared.only_left_columns, "live"),
        (&compared.only_right_columns, sides.name),
    ] {
        if !columns.is_empty() {
            writeln!(output, "{table}: only {side} has {}", columns.join(", "))?;
        }
    }
    for column in &compared.different_columns {
        writeln!(
            output,
            "{table}: {} rows differ in {}",
            style::grouped(column.rows),
            column.column
        )?;
    }
    for sample in &compared.samples {
        write_row(output, table, sample, sides)?;
    }
    let found = compared.only_left + compared.only_right + compared.different;
    let more = found.saturating_sub(compared.samples.len() as u64);
    if more > 0 {
        writeln!(output, "{table}: {} more", style::grouped(more))?;
    }
    Ok(())
}

fn write_row(
    output: &mut impl Write,
    table: &str,
    row: &RowDifference,
    sides: Sides,
) -> anyhow::Result<()> {
    let key = fields(Some(&row.key));
    let (left, right) = (fields(row.left.as_ref()), fields(row.right.as_ref()));
    match row.difference {
        Difference::OnlyLeft => {
            writeln!(output, "{table} [{key}] only live: {left}")?;
        }
        Difference::OnlyRight => {
            writeln!(output, "{table} [{key}] only {}: {right}", sides.name)?;
        }
        Difference::Different => writeln!(
            output,
            "{table} [{key}] live: {left} | {}: {right}",
            sides.name
        )?,
    }
    Ok(())
}

/// A row as `name=value` pairs.
fn fields(row: Option<&JsonRow>) -> String {
    row.into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ")
}
