//! Filling a table that is empty, by `COPY` in the binary format: a signature,
//! then for each row the count of its columns and for each cell its length and
//! bytes, and a count of -1 at the end.

use gnomon_model::{Row, Table, Value};
use sqlx::PgConnection;
use sqlx::error::BoxDynError;

use super::binary::encode;
use crate::target::identifier::{column_names, quoted};

/// How much goes into one message.
const CHUNK_BYTES: usize = 1024 * 1024;
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const NO_FLAGS: u32 = 0;
const NO_EXTENSION: u32 = 0;
const NULL_LENGTH: i32 = -1;
const END: i16 = -1;

/// The statement for a table in a quoted schema.
pub(super) fn statement(schema: &str, table: &Table) -> String {
    let all: Vec<usize> = (0..table.columns.len()).collect();
    format!(
        "COPY {schema}.{} ({}) FROM STDIN (FORMAT BINARY)",
        quoted(&table.name),
        column_names(table, &all).join(", "),
    )
}

/// Sends rows in chunks.
pub(super) async fn fill(
    connection: &mut PgConnection,
    statement: &str,
    rows: &[Row],
) -> sqlx::Result<()> {
    let mut copy = connection.copy_in_raw(statement).await?;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    chunk.extend(SIGNATURE);
    chunk.extend(NO_FLAGS.to_be_bytes());
    chunk.extend(NO_EXTENSION.to_be_bytes());
    for row in rows {
        if let Err(error) = append_row(row, &mut chunk) {
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
