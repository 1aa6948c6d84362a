//! The schema that bears a projection's name, where readers find its views.

use gnomon_model::Description;
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::read_models::identifier::quoted;
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::schemas;
use crate::storage_error::{StorageError, StorageErrorKind};

/// Tells a schema that Gnomon made.
const SCHEMA_COMMENT: &str = "Read model kept by Gnomon";

/// Claims the schema that bears the projection's name, or finds that it is
/// ours already: that of a registered projection, or one that was left with
/// things of users in it.
pub(crate) async fn claim_schema(
    connection: &mut PgConnection,
    projection: &str,
    is_registered: bool,
) -> Result<(), Failure> {
    let refuse = |reason: String| {
        StorageError::new(
            StorageErrorKind::Refused,
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
    let found: Option<(String, bool, bool)> = sqlx::query_as(
        "SELECT pg_get_userbyid(nspowner)::text,
                coalesce(obj_description(oid, 'pg_namespace') = $2, false),
                nspowner = current_user::regrole::oid AND NOT EXISTS (
                    SELECT 1 FROM pg_depend d
                    WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid)
         FROM pg_namespace n WHERE nspname = $1",
    )
    .bind(projection)
    .bind(SCHEMA_COMMENT)
    .fetch_optional(&mut *connection)
    .await?;
    match found {
        Some((_, is_marked, _)) if is_registered || is_marked => Ok(()),
        // Somebody made it beforehand, for this role.
        Some((_, _, true)) => mark(connection, projection).await,
        Some((owner, ..)) => Err(refuse(format!(
            "there is a schema `{projection}` of role `{owner}` that is not Gnomon's; rename one of them"
        ))
        .into()),
        None => {
            schemas::create(connection, projection).await?;
            mark(connection, projection).await
        }
    }
}

/// Tells everybody whose the schema is.
async fn mark(connection: &mut PgConnection, projection: &str) -> Result<(), Failure> {
    let schema = quoted(projection);
    let comment = format!("COMMENT ON SCHEMA {schema} IS '{SCHEMA_COMMENT}'");
    connection.execute(AssertSqlSafe(comment)).await?;
    Ok(())
}

/// Whether the views have their names to themselves in the projection's
/// schema. `live` is what it shows now.
pub(crate) async fn check(
    connection: &mut PgConnection,
    description: &Description,
    live: Option<&Description>,
) -> Result<(), Failure> {
    let taken: Option<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE n.nspname = $1 AND c.relname = ANY ($2)
           AND NOT (c.relkind = 'v' AND c.relname = ANY ($3))
         ORDER BY 1 LIMIT 1",
    )
    .bind(&description.name)
    .bind(table_names(description))
    .bind(live.map(table_names).unwrap_or_default())
    .fetch_optional(connection)
    .await?;
    match taken {
        None => Ok(()),
        Some(taken) => Err(StorageError::new(
            StorageErrorKind::Refused,
            format!(
                "projection `{0}` cannot show its table `{taken}`: there is a relation \
                 `{0}.{taken}` that is not Gnomon's; rename one of them",
                description.name
            ),
        )
        .into()),
    }
}

/// The names of all tables, as parameters.
pub(crate) fn table_names(description: &Description) -> Vec<String> {
    let names = description.tables.iter().map(|table| table.name.clone());
    names.collect()
}

/// Drops the schema that bears a projection's name, unless users have put
/// things of their own there.
pub(crate) async fn drop_schema(
    connection: &mut PgConnection,
    projection: &str,
) -> sqlx::Result<()> {
    let is_empty: bool = sqlx::query_scalar(
        "SELECT EXISTS (
             SELECT 1 FROM pg_namespace n WHERE n.nspname = $1
             AND NOT EXISTS (
                 SELECT 1 FROM pg_depend d
                 WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = n.oid))",
    )
    .bind(projection)
    .fetch_one(&mut *connection)
    .await?;
    if is_empty {
        let drop = format!("DROP SCHEMA {}", quoted(projection));
        connection.execute(AssertSqlSafe(drop)).await?;
    }
    Ok(())
}
