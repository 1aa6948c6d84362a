//! Prints the first rows of every read model in an SQLite file. The demo needs
//! it, as the `sqlite3` shell is missing on many machines.

use std::io::Write as _;
use std::path::PathBuf;

use clap::Parser;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{Cell, CellAlignment, Table};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

/// Prints the first rows of every read model in an SQLite file
#[derive(Parser)]
struct Arguments {
    /// The read-model database
    file: PathBuf,
    /// How many rows of each
    #[arg(long, default_value_t = 5)]
    rows: u32,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let database = Connection::open_with_flags(&arguments.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut views =
        database.prepare("SELECT name FROM sqlite_schema WHERE type = 'view' ORDER BY name")?;
    let names: Vec<String> = views
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for name in names {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let all: i64 =
            database.query_row(&format!("SELECT count(*) FROM {quoted}"), [], |row| {
                row.get(0)
            })?;
        let mut statement = database.prepare(&format!("SELECT * FROM {quoted} LIMIT ?1"))?;
        let mut table = Table::new();
        table.load_preset(UTF8_BORDERS_ONLY);
        table.set_header(statement.column_names());
        let columns = statement.column_count();
        let rows = statement.query_map([arguments.rows], |row| cells(row, columns))?;
        for row in rows {
            table.add_row(row?);
        }
        writeln!(anstream::stdout(), "{name}: {all} rows\n{table}\n")?;
    }
    Ok(())
}

fn cells(row: &Row<'_>, columns: usize) -> rusqlite::Result<Vec<Cell>> {
    (0..columns)
        .map(|column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => Cell::new(""),
                ValueRef::Integer(number) => Cell::new(number).set_alignment(CellAlignment::Right),
                ValueRef::Real(number) => Cell::new(number).set_alignment(CellAlignment::Right),
                ValueRef::Text(text) => Cell::new(String::from_utf8_lossy(text)),
                ValueRef::Blob(bytes) => Cell::new(format!("{} bytes", bytes.len())),
            })
        })
        .collect()
}
