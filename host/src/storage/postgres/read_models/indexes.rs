//! Secondary indexes. A build makes them when it has caught up, or when it
//! first needs one.

use gnomon_databases::connections::Lent;
use gnomon_model::{Description, Table};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::tables::{index_name, physical_schema, schema_name};
use crate::generation::Lease;
use crate::read_models::unknown;
use crate::read_models::{identifier::column_names, identifier::quoted};
use crate::registry::fenced;
use crate::storage::postgres::failure::Failure;

/// PostgreSQL's limit for the columns of an index.
const INDEX_COLUMNS_MAX: usize = 32;
/// A sort that keeps within it needs no temporary file.
pub(super) const MAINTENANCE_MEMORY: &str = "SET LOCAL maintenance_work_mem = '256MB'";

/// Makes the statistics of a table that readers' plans go by. An empty table
/// gets none: the planner would take it at its word, and choose any index as
/// good as another.
pub(super) async fn analyze(
    mut lent: Lent,
    lease: Lease,
    description: &Description,
    table: &Table,
) -> Result<(), Failure> {
    check_lease(&mut *lent, lease).await?;
    let schema = physical_schema(&description.name, lease.generation);
    let name = format!("{schema}.{}", quoted(&table.name));
    let first = format!("SELECT 1 FROM {name} LIMIT 1");
    if lent.fetch_optional(AssertSqlSafe(first)).await?.is_some() {
        lent.execute(AssertSqlSafe(format!("ANALYZE {name}")))
            .await?;
    }
    lent.end();
    Ok(())
}

/// Makes one index if it is missing or unusable. An attempt that is
/// interrupted leaves nothing behind.
pub(crate) async fn ensure(
    lent: Lent,
    lease: Lease,
    description: &Description,
    table_number: usize,
    index_number: usize,
) -> Result<(), Failure> {
    let table = description
        .tables
        .get(table_number)
        .ok_or_else(|| unknown("table", table_number))?;
    let schema = schema_name(&description.name, lease.generation);
    let name = index_name(table_number, table, &index_number.to_string());
    let mut transaction = lent.begin().await?;
    if is_usable(&mut transaction, &schema, &name).await? == Some(true) {
        return Ok(transaction.rollback().await?);
    }
    check_lease(&mut *transaction, lease).await?;
    transaction.execute(MAINTENANCE_MEMORY).await?;
    let qualified = format!("{}.{}", quoted(&schema), quoted(&table.name));
    // Whoever else makes it, a host that was fenced meanwhile, has finished
    // when we have the lock.
    let lock = format!("LOCK TABLE {qualified} IN SHARE ROW EXCLUSIVE MODE");
    transaction.execute(AssertSqlSafe(lock)).await?;
    let found = is_usable(&mut transaction, &schema, &name).await?;
    if found == Some(false) {
        let drop = format!("DROP INDEX {}.{}", quoted(&schema), quoted(&name));
        transaction.execute(AssertSqlSafe(drop)).await?;
    }
    if found != Some(true) {
        let columns = indexed_columns(table, index_number)?;
        let create = format!(
            "CREATE INDEX {} ON {qualified} ({})",
            quoted(&name),
            column_names(table, &columns).join(", "),
        );
        transaction.execute(AssertSqlSafe(create)).await?;
    }
    transaction.commit().await?;
    Ok(())
}

/// A secondary index ends with the primary key, so that it gives rows in its
/// order and a page begins where the last one ended.
fn indexed_columns(table: &Table, index_number: usize) -> Result<Vec<usize>, Failure> {
    let index = table
        .indexes
        .get(index_number)
        .ok_or_else(|| unknown("index", index_number))?;
    let mut columns = index.columns.clone();
    let rest = table
        .primary_key
        .iter()
        .filter(|column| !index.columns.contains(column));
    columns.extend(rest);
    columns.truncate(INDEX_COLUMNS_MAX);
    Ok(columns)
}

/// Whether queries can use an index; `None` if there is none. One that was
/// made, or made anew, `CONCURRENTLY` and interrupted is there and unusable.
async fn is_usable(
    connection: &mut PgConnection,
    schema: &str,
    name: &str,
) -> sqlx::Result<Option<bool>> {
    sqlx::query_scalar(
        "SELECT i.indisvalid AND i.indisready
         FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema)
    .bind(name)
    .fetch_optional(connection)
    .await
}

async fn check_lease(connection: impl sqlx::PgExecutor<'_>, lease: Lease) -> Result<(), Failure> {
    let is_ours: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM gnomon.checkpoints WHERE generation = $1 AND epoch = $2)",
    )
    .bind(lease.generation.to_sql())
    .bind(lease.epoch)
    .fetch_one(connection)
    .await?;
    if is_ours {
        Ok(())
    } else {
        Err(fenced(lease.generation).into())
    }
}
