//! The tables of generations.

use gnomon_databases::connections::Connections;
use gnomon_model::{ColumnType, Description, Table};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::generation::GenerationId;
use crate::read_models::{identifier::column_names, identifier::quoted};
use crate::storage::postgres::binary::sql_type;
use crate::storage::postgres::schemas;

/// What a table's name adds to the names of its indexes; the whole must keep
/// within 63 bytes.
const TABLE_NAME_BYTES_IN_INDEX: usize = 50;

/// The schema of a generation's tables.
pub(super) fn schema_name(projection: &str, generation: GenerationId) -> String {
    format!("gnomon_{projection}_{generation}")
}

/// The quoted schema of a generation's tables.
pub(crate) fn physical_schema(projection: &str, generation: GenerationId) -> String {
    quoted(&schema_name(projection, generation))
}

/// Makes the tables of a generation, without secondary indexes.
pub(crate) async fn create(
    connection: &mut PgConnection,
    generation: GenerationId,
    description: &Description,
) -> sqlx::Result<()> {
    let schema = physical_schema(&description.name, generation);
    schemas::create(connection, &schema_name(&description.name, generation)).await?;
    let mut statements = Vec::new();
    for (number, table) in description.tables.iter().enumerate() {
        statements.push(create_table(&schema, number, table));
    }
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

/// Drops the tables of a generation, each in a transaction of its own: what
/// is large takes its time, and nothing else has to wait for it.
pub(crate) async fn drop_all(
    pool: &Connections,
    projection: &str,
    generation: GenerationId,
) -> sqlx::Result<()> {
    let schema = schema_name(projection, generation);
    let tables: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relkind = 'r'",
    )
    .bind(&schema)
    .fetch_all(pool)
    .await?;
    for table in tables {
        let drop = format!(
            "DROP TABLE IF EXISTS {}.{}",
            quoted(&schema),
            quoted(&table)
        );
        pool.execute(AssertSqlSafe(drop)).await?;
    }
    Ok(())
}

/// Text sorts by its bytes, as it does in SQLite.
fn create_table(schema: &str, number: usize, table: &Table) -> String {
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|column| {
            format!(
                "{} {}{}{}",
                quoted(&column.name),
                sql_type(column.column_type),
                if column.column_type == ColumnType::Text {
                    " COLLATE \"C\""
                } else {
                    ""
                },
                if column.nullable { "" } else { " NOT NULL" },
            )
        })
        .collect();
    format!(
        "CREATE TABLE {schema}.{} ({}, {})",
        quoted(&table.name),
        columns.join(", "),
        primary_key(number, table),
    )
}

/// The constraint of a table's primary key.
pub(super) fn primary_key(number: usize, table: &Table) -> String {
    format!(
        "CONSTRAINT {} PRIMARY KEY ({})",
        quoted(&index_name(number, table, "key")),
        column_names(table, &table.primary_key).join(", "),
    )
}

/// Indexes share their names with tables; no declared name begins with `_`.
pub(super) fn index_name(number: usize, table: &Table, suffix: &str) -> String {
    let length = table.name.floor_char_boundary(TABLE_NAME_BYTES_IN_INDEX);
    let name = table.name.get(..length).unwrap_or_default();
    format!("_{name}_{number}_{suffix}")
}
