//! Whether a table of events can be read without loss.

use std::sync::Arc;

use gnomon_databases::database_url::PostgresUrl;
use gnomon_model::Position;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};

use super::definition::Definition;
use super::statements::Watching;
use crate::source::SourceError;
use crate::table::postgres::{
    Columns, PositionColumn, columns, literal, position_column, refuse_unruly, regclass,
    table_error,
};
use crate::table::{Layout, Relation};

/// What the frontier task looks at.
pub(super) struct Watched {
    /// The sequence of the positions, quoted.
    pub(super) sequence: String,
    pub(super) sequence_id: i64,
    /// The transaction that wrote the settings of the sequence.
    pub(super) sequence_written_by: String,
    pub(super) definition: Definition,
    /// The columns of the table.
    pub(super) columns: Columns,
    pub(super) statements: Watching,
    /// The object ids of the sequence, the table and its partitions.
    pub(super) relations: Vec<i64>,
}

fn failed(url: &PostgresUrl, table: &Relation, error: sqlx::Error) -> SourceError {
    table_error(&format!("look at the table `{table}` of {url}"), error).into()
}

/// A standby hands out no positions and shows no locks of the primary.
pub(super) async fn refuse_standby(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    table: &Relation,
) -> Result<(), SourceError> {
    let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()")
        .fetch_one(connection)
        .await
        .map_err(|error| failed(url, table, error))?;
    if standby {
        return Err(SourceError::refused(format!(
            "{url} is a standby, which does not show the open transactions of its primary, so \
             events could be skipped; use the primary's URL for the events"
        )));
    }
    Ok(())
}

/// Checks everything that reading without loss depends on.
pub(super) async fn watched(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    layout: &Arc<Layout>,
) -> Result<Watched, SourceError> {
    let table = &layout.table;
    refuse_standby(connection, url, table).await?;
    let definition = Definition::read(connection, layout).await;
    let Some(definition) = definition.map_err(|error| failed(url, table, error))? else {
        return Err(no_table(url, table));
    };
    refuse_what_is_no_table(connection, url, table).await?;
    refuse_hidden_rows(connection, url, table).await?;
    let columns = columns(connection, url, layout).await?;
    let (sequence, sequence_id) = sequence(connection, url, layout).await?;
    let column = position_column(connection, url, layout).await?;
    refuse_what_may_repeat(&column, url, layout)?;
    let unruly = column.unruly(layout);
    let watched = Watched {
        relations: relations(connection, url, table, sequence_id).await?,
        sequence_written_by: lawful_sequence(connection, url, table, &sequence, sequence_id)
            .await?,
        statements: Watching::new(layout, &sequence, &unruly),
        sequence,
        sequence_id,
        columns,
        definition,
    };
    refuse_unruly(connection, url, layout, &unruly).await?;
    refuse_positions_beyond(connection, url, &watched).await?;
    Ok(watched)
}

async fn refuse_what_is_no_table(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    table: &Relation,
) -> Result<(), SourceError> {
    let query = format!(
        "SELECT relkind::text FROM pg_class WHERE oid = {}",
        regclass(table)
    );
    let kind: Option<String> = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_optional(connection)
        .await
        .map_err(|error| failed(url, table, error))?;
    match kind.as_deref() {
        // A table, or a partitioned one.
        Some("r" | "p") => Ok(()),
        None => Err(no_table(url, table)),
        Some(_) => Err(SourceError::refused(format!(
            "`{table}` in {url} is not a table, so its open writers cannot be seen and events \
             could be skipped; let `search_path` in the URL's `options` lead to the table itself"
        ))),
    }
}

/// Whether the server hides rows of the table from this role, in SQL.
pub(super) fn hides_rows(table: &Relation) -> String {
    format!("row_security_active({}::oid)", regclass(table))
}

/// Refuses a role from which rows are hidden: they look like positions that were
/// rolled back.
async fn refuse_hidden_rows(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    table: &Relation,
) -> Result<(), SourceError> {
    let query = format!("SELECT {}, quote_ident(current_user)", hides_rows(table));
    let asked = sqlx::query_as(AssertSqlSafe(query))
        .fetch_one(connection)
        .await;
    let (hides_rows, role): (bool, String) = asked.map_err(|error| failed(url, table, error))?;
    if hides_rows {
        return Err(SourceError::refused(format!(
            "row-level security may hide rows of the table `{table}` of {url} from the role {role}, \
             and events would be skipped; let a superuser say `ALTER ROLE {role} BYPASSRLS`, or use \
             a role that sees all rows, as the table's owner does without FORCE ROW LEVEL SECURITY"
        )));
    }
    Ok(())
}

fn no_table(url: &PostgresUrl, table: &Relation) -> SourceError {
    SourceError::refused(format!(
        "there is no table `{table}` in {url}; make it with `gnomon append`, or set \
         `search_path` in the URL's `options`"
    ))
}

/// The sequence that the column's default draws from, or that it owns.
async fn sequence(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    layout: &Layout,
) -> Result<(String, i64), SourceError> {
    let (table, position) = (&layout.table, &layout.position);
    let query = format!(
        "WITH position AS (SELECT attrelid, attnum FROM pg_attribute \
           WHERE attrelid = {regclass} AND attname = {column}), \
         drawn AS (SELECT s.oid FROM position AS p \
           JOIN pg_attrdef AS d ON d.adrelid = p.attrelid AND d.adnum = p.attnum \
           JOIN pg_depend AS u ON u.classid = 'pg_attrdef'::regclass AND u.objid = d.oid \
             AND u.refclassid = 'pg_class'::regclass \
           JOIN pg_class AS s ON s.oid = u.refobjid AND s.relkind = 'S'), \
         found AS (SELECT coalesce((SELECT oid FROM drawn LIMIT 1), \
           pg_get_serial_sequence({name}, {column})::regclass::oid) AS oid) \
         SELECT oid::regclass::text, oid::bigint FROM found WHERE oid IS NOT NULL",
        regclass = regclass(table),
        column = literal(position.name()),
        name = literal(&table.sql()),
    );
    let row = sqlx::query(AssertSqlSafe(query))
        .fetch_optional(connection)
        .await
        .map_err(|error| failed(url, table, error))?;
    match row {
        Some(row) => row
            .try_get(0)
            .and_then(|name| Ok((name, row.try_get(1)?)))
            .map_err(|error| failed(url, table, error)),
        None => Err(SourceError::refused(format!(
            "the column `{position}` of `{table}` in {url} takes its numbers from no \
             sequence, so nobody can tell which are still to come and events could be skipped; \
             make it a BIGSERIAL or an identity column"
        ))),
    }
}

async fn relations(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    table: &Relation,
    sequence: i64,
) -> Result<Vec<i64>, SourceError> {
    let query = format!(
        "SELECT {regclass}::oid::bigint \
         UNION SELECT relid::oid::bigint FROM pg_partition_tree({regclass})",
        regclass = regclass(table)
    );
    let mut relations: Vec<i64> = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_all(connection)
        .await
        .map_err(|error| failed(url, table, error))?;
    relations.push(sequence);
    Ok(relations)
}

/// Refuses a sequence whose numbers could be skipped; gives the transaction that
/// wrote its settings.
async fn lawful_sequence(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    table: &Relation,
    sequence: &str,
    sequence_id: i64,
) -> Result<String, SourceError> {
    let row = sqlx::query(
        "SELECT seqcache, seqincrement, seqcycle, xmin::text FROM pg_sequence \
         WHERE seqrelid = $1::bigint::oid",
    )
    .bind(sequence_id)
    .fetch_one(connection)
    .await;
    let settings = row.and_then(|row| {
        Ok((
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
        ))
    });
    let (cache, increment, cycles, written_by): (i64, i64, bool, String) =
        settings.map_err(|error| failed(url, table, error))?;
    let (problem, setting, first) = if cache != 1 {
        let problem = format!("hands out {cache} numbers at a time to each session");
        (problem, "CACHE 1", "")
    } else if increment != 1 {
        let first = "; if the application draws blocks of numbers (a hi/lo or pooled generator, \
                     Hibernate's allocationSize), first set its block size to 1 and restart it: \
                     with the sequence changed alone its inserts would collide";
        let problem = format!("counts in steps of {increment}");
        (problem, "INCREMENT 1", first)
    } else if cycles {
        ("begins again at its end".to_owned(), "NO CYCLE", "")
    } else {
        return Ok(written_by);
    };
    Err(SourceError::refused(format!(
        "the sequence {sequence} of the positions in {url} {problem}, so events could be skipped; \
         change it with `ALTER SEQUENCE {sequence} {setting}`{first}"
    )))
}

/// Refuses a table in which two events may have the same position: one that
/// comes later would be passed, and nothing would show it. Where an index
/// cannot guard them all, those that are read are compared.
fn refuse_what_may_repeat(
    column: &PositionColumn,
    url: &PostgresUrl,
    layout: &Layout,
) -> Result<(), SourceError> {
    let (table, position) = (&layout.table, &layout.position);
    if column.has_parts {
        // A unique index would have to hold the partition key as well.
        if !column.is_indexed {
            tracing::warn!(
                "no index leads along the positions in {url}, so every look reads the whole \
                 table; make one with `CREATE INDEX ON {table} ({position})`. Writers wait \
                 while it is made; to let them go on, use `CREATE INDEX name ON ONLY {table} \
                 ({position})`, then `CREATE INDEX CONCURRENTLY` on each partition and \
                 `ALTER INDEX name ATTACH PARTITION` for each of these"
            );
        }
    } else if !column.is_unique {
        return Err(SourceError::refused(format!(
            "no unique index guards the positions of the table `{table}` of {url}, so an event \
             could be written at a position that was passed, and would never be delivered; make \
             one with `CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({position})`"
        )));
    }
    Ok(())
}

/// Refuses positions that lie beyond the sequence.
async fn refuse_positions_beyond(
    connection: &mut PgConnection,
    url: &PostgresUrl,
    watched: &Watched,
) -> Result<(), SourceError> {
    let layout = &watched.columns.layout;
    let table = &layout.table;
    let query = format!(
        "SELECT coalesce(max({}), 0)::bigint FROM {}",
        layout.position.sql(),
        layout.from()
    );
    // The highest row first: the sequence can only have moved on since.
    let highest: i64 = sqlx::query_scalar(AssertSqlSafe(query))
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| failed(url, table, error))?;
    let drawn = last_drawn(connection, watched).await;
    let drawn = drawn.map_err(|error| failed(url, table, error))?;
    if highest > drawn.to_sql() {
        return Err(SourceError::refused(format!(
            "the table `{table}` of {url} holds position {highest}, but its sequence {sequence} \
             stands at {drawn}, so events could be skipped; bring it up with \
             `SELECT setval('{sequence}', {highest})`",
            sequence = watched.sequence
        )));
    }
    Ok(())
}

/// What [`drawn`] reads of the sequence whose id is the first parameter.
///
/// To select `last_value` from a sequence may show up to 32 more: every so many
/// calls, `nextval` writes a number ahead to the log, and for that moment it
/// stands in the sequence's row too, which a `SELECT` reads without a lock.
/// Who believed it would pass positions that are yet to be handed out. The
/// function reads under the lock of `nextval`.
pub(super) const DRAWN: &str = "pg_sequence_last_value($1::bigint::oid), last_value, is_called";

/// The last position that was handed out, by a transaction that may be open;
/// nothing if the first one was handed out in between, and is to be read again.
pub(super) fn drawn(row: &PgRow) -> Result<Option<Position>, sqlx::Error> {
    let (drawn, next, is_called): (Option<i64>, i64, bool) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
    // A sequence that was never called shows the number that it will give.
    let drawn = drawn.or_else(|| (!is_called).then(|| next - 1));
    Ok(drawn.map(|drawn| Position::from_sql(drawn).unwrap_or_default()))
}

async fn last_drawn(
    connection: &mut PgConnection,
    watched: &Watched,
) -> Result<Position, sqlx::Error> {
    let query: Arc<str> = format!("SELECT {DRAWN} FROM {}", watched.sequence).into();
    loop {
        let row = sqlx::query(AssertSqlSafe(Arc::clone(&query)))
            .bind(watched.sequence_id)
            .fetch_one(&mut *connection)
            .await?;
        if let Some(drawn) = drawn(&row)? {
            return Ok(drawn);
        }
    }
}

#[cfg(test)]
mod tests {
    use gnomon_databases::database_url::DatabaseUrl;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::store;
    use crate::test_database::{connect, postgres, run};

    /// How often a plain `SELECT` must have been ahead for the test to show
    /// anything, and how long that is waited for.
    const AHEAD: usize = 12;
    const LOOKS_MAX: usize = 1_000_000;

    /// Draws numbers as fast as it can.
    async fn draw(url: DatabaseUrl, stop: Arc<AtomicBool>) {
        let mut connection = connect(&url).await;
        while !stop.load(Ordering::Relaxed) {
            run(
                &mut connection,
                "DO $$ BEGIN FOR i IN 1..20000 LOOP \
                   PERFORM nextval('events_global_position_seq'); END LOOP; END $$",
            )
            .await;
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn no_number_is_believed_drawn_before_it_is() {
        let url = postgres().await;
        store::open(&url).await.unwrap();
        let DatabaseUrl::Postgres(shown) = &url else {
            panic!("{url} is not a PostgreSQL database");
        };
        let mut connection = connect(&url).await;
        let watched = watched(&mut connection, shown, &Arc::new(Layout::built_in()))
            .await
            .unwrap();
        let first = last_drawn(&mut connection, &watched).await.unwrap();
        assert_eq!(first, Position::START, "it was never called");
        run(
            &mut connection,
            "SELECT nextval('events_global_position_seq')",
        )
        .await;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn(draw(url.clone(), Arc::clone(&stop)));
        let (mut looks, mut believed_ahead, mut selected_ahead) = (0, 0, 0);
        while selected_ahead < AHEAD && looks < LOOKS_MAX {
            looks += 1;
            let believed = last_drawn(&mut connection, &watched).await.unwrap();
            let (selected, drawn): (i64, i64) = sqlx::query_as(
                "SELECT last_value, pg_sequence_last_value('events_global_position_seq') \
                 FROM events_global_position_seq",
            )
            .fetch_one(&mut connection)
            .await
            .unwrap();
            believed_ahead += usize::from(believed.to_sql() > drawn);
            selected_ahead += usize::from(selected > drawn);
        }
        stop.store(true, Ordering::Relaxed);
        writer.await.unwrap();
        assert_eq!(selected_ahead, AHEAD, "{looks} looks could not have failed");
        assert_eq!(believed_ahead, 0);
    }
}
