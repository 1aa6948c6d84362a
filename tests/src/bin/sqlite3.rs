//! Prints the rows of a statement as the shell `sqlite3` does, which is missing
//! on many machines. The stories of the documentation use it.

use std::io::Write as _;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

fn main() -> anyhow::Result<()> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let has_header = arguments.first().is_some_and(|first| first == "-header");
    if has_header {
        arguments.remove(0);
    }
    let [file, sql] = arguments.as_slice() else {
        anyhow::bail!("usage: sqlite3 [-header] FILE SQL");
    };
    let database = Connection::open(file)?;
    let mut statement = database.prepare(sql)?;
    let mut output = std::io::stdout();
    let names = statement.column_names().join("|");
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    let mut is_first = true;
    while let Some(row) = rows.next()? {
        if std::mem::take(&mut is_first) && has_header {
            writeln!(output, "{names}")?;
        }
        let cells = (0..columns)
            .map(|column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => String::new(),
                    ValueRef::Integer(number) => number.to_string(),
                    ValueRef::Real(number) => number.to_string(),
                    ValueRef::Text(text) | ValueRef::Blob(text) => {
                        String::from_utf8_lossy(text).into_owned()
                    }
                })
            })
            .collect::<rusqlite::Result<Vec<String>>>()?;
        writeln!(output, "{}", cells.join("|"))?;
    }
    Ok(())
}
