//! The column of the positions in a table that may be somebody else's.

use gnomon_databases::database_url::PostgresUrl;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::{literal, regclass, table_error};
use crate::table::{Layout, TableError};

fn failed(url: &PostgresUrl, layout: &Layout, error: sqlx::Error) -> TableError {
    table_error(
        &format!("look at the table `{}` of {url}", layout.table),
        error,
    )
}

/// What is known of it.
pub(crate) struct PositionColumn {
    /// Whether its rows lie in other tables: partitions, or children that inherit.
    pub(crate) has_parts: bool,
    may_be_null: bool,
    /// Whether an index begins with it, so that rows can be found by it.
    pub(crate) is_indexed: bool,
    pub(crate) is_unique: bool,
}

pub(crate) async fn position_column(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    layout: &Layout,
) -> Result<PositionColumn, TableError> {
    let query = format!(
        "SELECT c.relkind = 'p' OR EXISTS (SELECT 1 FROM pg_inherits WHERE inhparent = c.oid), \
           NOT a.attnotnull, \
           EXISTS (SELECT 1 FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisvalid \
             AND i.indpred IS NULL AND i.indkey[0] = a.attnum), \
           EXISTS (SELECT 1 FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisvalid \
             AND i.indpred IS NULL AND i.indisunique AND i.indnkeyatts = 1 \
             AND i.indkey[0] = a.attnum) \
         FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid \
         WHERE c.oid = {} AND a.attname = {}",
        regclass(&layout.table),
        literal(layout.position.name())
    );
    let row = sqlx::query(AssertSqlSafe(query))
        .fetch_one(connection)
        .await;
    row.and_then(|row| {
        Ok(PositionColumn {
            has_parts: row.try_get(0)?,
            may_be_null: row.try_get(1)?,
            is_indexed: row.try_get(2)?,
            is_unique: row.try_get(3)?,
        })
    })
    .map_err(|error| failed(url, layout, error))
}

impl PositionColumn {
    /// Finds rows that would never be delivered; nothing where no index shows
    /// them, because to look for them would take a pass over the table.
    pub(crate) fn unruly(&self, layout: &Layout) -> String {
        let (from, position) = (layout.from(), layout.position.sql());
        let rows =
            |condition| format!("EXISTS (SELECT 1 FROM {from} WHERE {position} {condition})");
        match (self.is_indexed, self.may_be_null) {
            (false, _) => "false".to_owned(),
            (true, false) => rows("<= 0"),
            (true, true) => format!("({} OR {})", rows("<= 0"), rows("IS NULL")),
        }
    }
}

/// Refuses a table with positions where no event can stand, as these statements
/// find them.
pub(crate) async fn refuse_unruly(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    layout: &Layout,
    unruly: &str,
) -> Result<(), TableError> {
    let query = format!("SELECT {unruly}");
    let is_unruly: bool = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| failed(url, layout, error))?;
    if is_unruly {
        return Err(TableError::refused(format!(
            "the table `{}` of {url} has rows without a position ({} IS NULL), or with one below 1, \
             where no event can stand; they would never be delivered; give them numbers from 1 on, \
             and the column NOT NULL",
            layout.table, layout.position
        )));
    }
    Ok(())
}
