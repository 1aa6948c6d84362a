//! The tables of generations, and the views under their public names.

use gnomon_model::{ColumnType, Description, Table};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::binary::sql_type;
use super::failure::Failure;
use crate::generation::GenerationId;
use crate::target::identifier::{column_names, quoted};
use crate::target::{TargetError, TargetErrorKind};

/// PostgreSQL's limit for the columns of an index.
const INDEX_COLUMNS_MAX: usize = 32;
/// What a table's name adds to the names of its indexes; the whole must keep
/// within 63 bytes.
const TABLE_NAME_BYTES_IN_INDEX: usize = 50;

/// The quoted schema of a generation's tables.
pub(super) fn physical_schema(projection: &str, generation: GenerationId) -> String {
    quoted(&format!("gnomon_{projection}_{generation}"))
}

/// Makes the tables of a generation, with their indexes.
pub(super) async fn create(
    connection: &mut PgConnection,
    generation: GenerationId,
    description: &Description,
) -> sqlx::Result<()> {
    let schema = physical_schema(&description.name, generation);
    let mut statements = vec![format!("CREATE SCHEMA {schema}")];
    for (number, table) in description.tables.iter().enumerate() {
        statements.push(create_table(&schema, number, table));
        statements.extend(create_indexes(&schema, number, table));
    }
    for statement in statements {
        connection.execute(AssertSqlSafe(statement)).await?;
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
        "CREATE TABLE {schema}.{} ({}, CONSTRAINT {} PRIMARY KEY ({}))",
        quoted(&table.name),
        columns.join(", "),
        index_name(number, table, "key"),
        column_names(table, &table.primary_key).join(", "),
    )
}

/// A secondary index ends with the primary key, so that it gives rows in its
/// order and a page begins where the last one ended.
fn create_indexes(schema: &str, number: usize, table: &Table) -> Vec<String> {
    table
        .indexes
        .iter()
        .enumerate()
        .map(|(index_number, index)| {
            let mut columns = index.columns.clone();
            let rest = table
                .primary_key
                .iter()
                .filter(|column| !index.columns.contains(column));
            columns.extend(rest);
            columns.truncate(INDEX_COLUMNS_MAX);
            format!(
                "CREATE INDEX {} ON {schema}.{} ({})",
                index_name(number, table, &index_number.to_string()),
                quoted(&table.name),
                column_names(table, &columns).join(", "),
            )
        })
        .collect()
}

/// Indexes share their names with tables; no declared name begins with `_`.
fn index_name(number: usize, table: &Table, suffix: &str) -> String {
    let length = table.name.floor_char_boundary(TABLE_NAME_BYTES_IN_INDEX);
    let name = table.name.get(..length).unwrap_or_default();
    quoted(&format!("_{name}_{number}_{suffix}"))
}

/// Claims the schema that bears the projection's name, or finds that it is
/// ours already.
pub(super) async fn claim_schema(
    connection: &mut PgConnection,
    projection: &str,
    is_registered: bool,
) -> Result<(), Failure> {
    let refuse = |reason: String| {
        TargetError::new(
            TargetErrorKind::Refused,
            format!("projection `{projection}` cannot have the schema of its name: {reason}"),
        )
    };
    let is_reserved = ["pg_", "gnomon_"]
        .iter()
        .any(|prefix| projection.starts_with(prefix))
        || ["information_schema", "public", "gnomon"].contains(&projection);
    if is_reserved {
        return Err(refuse("the name is reserved".to_owned()).into());
    }
    let owner: Option<String> = sqlx::query_scalar(
        "SELECT pg_get_userbyid(nspowner)::text FROM pg_namespace WHERE nspname = $1",
    )
    .bind(projection)
    .fetch_optional(&mut *connection)
    .await?;
    match owner {
        Some(_) if is_registered => Ok(()),
        Some(owner) => Err(refuse(format!(
            "there is a schema `{projection}` of role `{owner}` that is not Gnomon's; rename one of them"
        ))
        .into()),
        None => {
            let schema = quoted(projection);
            connection
                .execute(AssertSqlSafe(format!(
                    "CREATE SCHEMA {schema}; COMMENT ON SCHEMA {schema} IS 'Read model kept by Gnomon'"
                )))
                .await?;
            Ok(())
        }
    }
}

/// Whether the views have their names to themselves in the projection's
/// schema. `live` is what it shows now.
pub(super) async fn check_public_names(
    connection: &mut PgConnection,
    description: &Description,
    live: Option<&Description>,
) -> Result<(), Failure> {
    let new: Vec<String> = description
        .tables
        .iter()
        .filter(|table| live.is_none_or(|live| live.table(&table.name).is_none()))
        .map(|table| table.name.clone())
        .collect();
    let taken: Option<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY ($2) ORDER BY 1 LIMIT 1",
    )
    .bind(&description.name)
    .bind(new)
    .fetch_optional(connection)
    .await?;
    match taken {
        None => Ok(()),
        Some(taken) => Err(TargetError::new(
            TargetErrorKind::Refused,
            format!(
                "projection `{0}` cannot show its table `{taken}`: there is a relation \
                 `{0}.{taken}` that is not Gnomon's; rename one of them",
                description.name
            ),
        )
        .into()),
    }
}

/// Shows a generation's tables under their public names, in the place of what
/// `live` showed.
pub(super) async fn show(
    connection: &mut PgConnection,
    generation: GenerationId,
    description: &Description,
    live: Option<&Description>,
) -> sqlx::Result<()> {
    let schema = physical_schema(&description.name, generation);
    let public = quoted(&description.name);
    for old in live.iter().flat_map(|live| &live.tables) {
        if description.table(&old.name).is_none() {
            let drop = format!("DROP VIEW IF EXISTS {public}.{}", quoted(&old.name));
            connection.execute(AssertSqlSafe(drop)).await?;
        }
    }
    for table in &description.tables {
        let old = live.and_then(|live| live.tables.iter().find(|old| old.name == table.name));
        let view = format!("{public}.{}", quoted(&table.name));
        let mut grants = Vec::new();
        if old.is_some_and(|old| !extends(table, old)) {
            // PostgreSQL cannot replace a view by one of other columns.
            grants = grants_on(connection, &view).await?;
            let drop = format!("DROP VIEW IF EXISTS {view}");
            connection.execute(AssertSqlSafe(drop)).await?;
        }
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let create = format!(
            "CREATE OR REPLACE VIEW {view} AS SELECT {} FROM {schema}.{}",
            column_names(table, &all).join(", "),
            quoted(&table.name),
        );
        connection.execute(AssertSqlSafe(create)).await?;
        for grant in grants {
            connection.execute(AssertSqlSafe(grant)).await?;
        }
    }
    Ok(())
}

/// Whether the columns of a table begin with those of the old one, so that
/// its view can take the old view's place.
fn extends(table: &Table, old: &Table) -> bool {
    old.columns.len() <= table.columns.len()
        && table
            .columns
            .iter()
            .zip(&old.columns)
            .all(|(new, old)| (&new.name, new.column_type) == (&old.name, old.column_type))
}

/// The statements that give a view's grants to the one that follows it.
async fn grants_on(connection: &mut PgConnection, view: &str) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT format('GRANT %s ON %s TO %s%s', granted.privilege_type, $1::text,
                CASE granted.grantee
                    WHEN 0 THEN 'PUBLIC'
                    ELSE quote_ident(pg_get_userbyid(granted.grantee))
                END,
                CASE WHEN granted.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
         FROM pg_class c CROSS JOIN aclexplode(c.relacl) granted
         WHERE c.oid = to_regclass($1) AND granted.grantee <> c.relowner",
    )
    .bind(view)
    .fetch_all(connection)
    .await
}
