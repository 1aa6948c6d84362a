//! Filling a table that is empty, by `COPY` in the binary format.

use gnomon_databases::postgres::copy_format::{END, HEADER, NULL_LENGTH};
use gnomon_model::{Table, Value};
use sqlx::error::BoxDynError;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use super::indexes::MAINTENANCE_MEMORY;
use super::tables::{index_name, primary_key};
use crate::read_models::{identifier::column_names, identifier::quoted};
use crate::storage::postgres::binary::encode;

/// How much goes into one message.
const CHUNK_BYTES: usize = 128 * 1024;

/// From so many rows on the key is made behind them: one sort takes a fraction
/// of what it takes to find a place for each row (0.15 instead of 0.4 s for
/// 200,000). Fewer are not worth changing the table twice.
const KEY_AFTER_ROWS: usize = 10_000;

/// The statements that fill one table.
pub(super) struct Filling {
    copy: String,
    drop_key: String,
    add_key: String,
}

impl Filling {
    /// Those of a table in a quoted schema.
    pub(crate) fn new(schema: &str, number: usize, table: &Table) -> Self {
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let name = format!("{schema}.{}", quoted(&table.name));
        Self {
            copy: format!(
                "COPY {name} ({}) FROM STDIN (FORMAT BINARY)",
                column_names(table, &all).join(", "),
            ),
            drop_key: format!(
                "ALTER TABLE {name} DROP CONSTRAINT {}",
                quoted(&index_name(number, table, "key"))
            ),
            add_key: format!("ALTER TABLE {name} ADD {}", primary_key(number, table)),
        }
    }

    /// Fills the table, within a transaction. Rows that are given away are freed
    /// while the server works.
    pub(crate) async fn run<R: AsRef<[Value]>>(
        &self,
        connection: &mut PgConnection,
        rows: impl IntoIterator<Item = R, IntoIter: ExactSizeIterator + Send>,
    ) -> sqlx::Result<()> {
        let rows = rows.into_iter();
        let is_keyless = rows.len() >= KEY_AFTER_ROWS && self.drop_key(connection).await?;
        send(connection, &self.copy, rows).await?;
        if is_keyless {
            connection.execute(MAINTENANCE_MEMORY).await?;
            let add_key = AssertSqlSafe(self.add_key.as_str());
            connection.execute(add_key).await?;
        }
        Ok(())
    }

    /// Says whether the table has no key now.
    async fn drop_key(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        connection.execute("SAVEPOINT before_the_key").await?;
        let drop_key = AssertSqlSafe(self.drop_key.as_str());
        match connection.execute(drop_key).await {
            Ok(_) => Ok(true),
            // Somebody reads the table for long, or something of theirs stands
            // on the key: it works with the key as well.
            Err(sqlx::Error::Database(_)) => {
                let back = "ROLLBACK TO SAVEPOINT before_the_key";
                connection.execute(back).await.map(|_| false)
            }
            Err(error) => Err(error),
        }
    }
}

/// Sends rows in chunks.
async fn send(
    connection: &mut PgConnection,
    statement: &str,
    rows: impl Iterator<Item = impl AsRef<[Value]>>,
) -> sqlx::Result<()> {
    let mut copy = connection.copy_in_raw(statement).await?;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    chunk.extend(HEADER);
    for row in rows {
        if let Err(error) = append_row(row.as_ref(), &mut chunk) {
            copy.abort("a row has no binary form").await?;
            return Err(sqlx::Error::Encode(error));
        }
        if chunk.len() >= CHUNK_BYTES {
            copy.send(chunk.as_slice()).await?;
            chunk.clear();
        }
    }
    chunk.extend(END.to_be_bytes());
    copy.send(chunk).await?;
    copy.finish().await?;
    Ok(())
}

fn append_row(row: &[Value], chunk: &mut Vec<u8>) -> Result<(), BoxDynError> {
    chunk.extend(i16::try_from(row.len())?.to_be_bytes());
    for value in row {
        let length_at = chunk.len();
        chunk.extend(NULL_LENGTH.to_be_bytes());
        if let Value::Null = value {
            continue;
        }
        let start = chunk.len();
        encode(value, chunk)?;
        let length = i32::try_from(chunk.len() - start)?;
        if let Some(place) = chunk.get_mut(length_at..start) {
            place.copy_from_slice(&length.to_be_bytes());
        }
    }
    Ok(())
}
