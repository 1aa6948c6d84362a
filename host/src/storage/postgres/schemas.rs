//! Making schemas. Each generation has one, so the role needs the right CREATE on
//! the database, or a function that makes them for it.

use sqlx::{AssertSqlSafe, Executor as _, PgConnection};

use crate::read_models::identifier::quoted;

/// A function with the rights of whoever made it, for roles that must not have
/// CREATE on the database. docs/reference/database-rights.md has its text.
const FUNCTION: &str = "gnomon.create_schema(text)";

/// Makes a schema.
pub(super) async fn create(connection: &mut PgConnection, schema: &str) -> sqlx::Result<()> {
    let needs_function: bool = sqlx::query_scalar(
        "SELECT NOT has_database_privilege(current_database(), 'CREATE')
             AND to_regprocedure($1) IS NOT NULL",
    )
    .bind(FUNCTION)
    .fetch_one(&mut *connection)
    .await?;
    if needs_function {
        sqlx::query("SELECT gnomon.create_schema($1)")
            .bind(schema)
            .execute(connection)
            .await?;
    } else {
        let statement = format!("CREATE SCHEMA {}", quoted(schema));
        connection.execute(AssertSqlSafe(statement)).await?;
    }
    Ok(())
}

/// Makes a schema unless it is there. `IF NOT EXISTS` asks for the right first,
/// which is not needed where somebody else has made it.
pub(super) async fn ensure(connection: &mut PgConnection, schema: &str) -> sqlx::Result<()> {
    let is_there: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)")
            .bind(schema)
            .fetch_one(&mut *connection)
            .await?;
    match is_there {
        true => Ok(()),
        false => create(connection, schema).await,
    }
}
