//! How trials look, for people and as JSON.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;
use serde_json::value::RawValue;

use super::super::{Context, output, style};
use super::{Tried, shown_path};
use crate::trial::{Change, Finding, RowDifference};

/// Rows of a finding that are shown to people.
const ROWS_SHOWN: usize = 20;

/// Shows what became of a fixture.
pub(super) fn show(tried: &Tried, context: &Context) -> anyhow::Result<()> {
    let mut stdout = output::stdout();
    if context.json {
        writeln!(stdout, "{}", serde_json::to_string(&json(tried)?)?)?;
        return Ok(());
    }
    let path = shown_path(&tried.fixture.path);
    if tried.recorded {
        writeln!(stdout, "{} {path}", style::good("recorded"))?;
    } else if tried.findings.is_empty() {
        let events = tried.fixture.events.len();
        writeln!(stdout, "{} {path}, {events} events", style::good("ok"))?;
    }
    for finding in &tried.findings {
        writeln!(stdout, "{} {path}: {finding}", style::error("failed"))?;
        write_rows(&mut stdout, finding)?;
    }
    Ok(())
}

/// Says how many failed.
pub(super) fn sum_up(fixtures: usize, failed: usize) {
    output::say(&match (fixtures, failed) {
        (1, 0) => "the fixture passed".to_owned(),
        (_, 0) => format!("all {fixtures} fixtures passed"),
        _ => format!("{failed} of {fixtures} fixtures failed"),
    });
}

fn write_rows(output: &mut impl Write, finding: &Finding) -> anyhow::Result<()> {
    let [left, right] = finding.sides();
    let rows = finding.rows();
    for row in rows.iter().take(ROWS_SHOWN) {
        let key: Vec<String> = row
            .key
            .iter()
            .map(|(column, value)| format!("{column} = {value}"))
            .collect();
        let key = format!("  {} where {}", row.table, key.join(" and "));
        let (only, columns) = match &row.change {
            Change::Columns(columns) => {
                writeln!(output, "{key}")?;
                for (column, expected, found) in columns {
                    writeln!(output, "    {column}: {left} {expected}, {right} {found}")?;
                }
                continue;
            }
            Change::OnlyLeft(columns) => (left, columns),
            Change::OnlyRight(columns) => (right, columns),
        };
        let columns: Vec<String> = columns
            .iter()
            .map(|(column, value)| format!("{column} {value}"))
            .collect();
        writeln!(output, "{key}, only {only}: {}", columns.join(", "))?;
    }
    if let more @ 1.. = rows.len().saturating_sub(ROWS_SHOWN) {
        writeln!(output, "  and {more} more rows")?;
    }
    Ok(())
}

/// A fixture in JSON.
#[derive(Serialize)]
struct TriedJson {
    fixture: String,
    events: usize,
    passed: bool,
    recorded: bool,
    findings: Vec<FindingJson>,
}

#[derive(Serialize)]
struct FindingJson {
    kind: &'static str,
    message: String,
    rows: Vec<RowJson>,
}

#[derive(Serialize)]
struct RowJson {
    table: String,
    key: BTreeMap<String, Box<RawValue>>,
    change: &'static str,
    /// What differs, or all columns beside the key: values that were expected.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    expected: BTreeMap<String, Box<RawValue>>,
    /// The same: values that were found.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    found: BTreeMap<String, Box<RawValue>>,
}

fn json(tried: &Tried) -> serde_json::Result<TriedJson> {
    let finding = |finding: &Finding| {
        Ok(FindingJson {
            kind: finding.kind(),
            message: finding.to_string(),
            rows: finding
                .rows()
                .iter()
                .map(row_json)
                .collect::<serde_json::Result<_>>()?,
        })
    };
    Ok(TriedJson {
        fixture: shown_path(&tried.fixture.path),
        events: tried.fixture.events.len(),
        passed: tried.findings.is_empty(),
        recorded: tried.recorded,
        findings: tried
            .findings
            .iter()
            .map(finding)
            .collect::<serde_json::Result<_>>()?,
    })
}

fn row_json(row: &RowDifference) -> serde_json::Result<RowJson> {
    let none: &[(String, String)] = &[];
    let (change, expected, found) = match &row.change {
        Change::OnlyLeft(columns) => ("missing", raw(columns)?, raw(none)?),
        Change::OnlyRight(columns) => ("unexpected", raw(none)?, raw(columns)?),
        Change::Columns(columns) => {
            let side = |pick: fn(&(String, String, String)) -> &String| {
                let columns = columns.iter().map(|all| (all.0.clone(), pick(all).clone()));
                raw(&columns.collect::<Vec<_>>())
            };
            ("different", side(|all| &all.1)?, side(|all| &all.2)?)
        }
    };
    Ok(RowJson {
        table: row.table.clone(),
        key: raw(&row.key)?,
        change,
        expected,
        found,
    })
}

/// Values as they are written, so that numbers stay exact.
fn raw(columns: &[(String, String)]) -> serde_json::Result<BTreeMap<String, Box<RawValue>>> {
    columns
        .iter()
        .map(|(column, value)| Ok((column.clone(), RawValue::from_string(value.clone())?)))
        .collect()
}
