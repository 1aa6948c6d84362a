//! The views through which readers see the live generation.
//!
//! A view whose columns stay, or only grow at the end, is replaced and keeps
//! all that hangs on it. Another one is dropped and made anew, and is given
//! back what users set on it: owner, grants, comments and options.

use gnomon_model::{Description, Table};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::dependents;
use super::tables::physical_schema;
use crate::generation::GenerationId;
use crate::read_models::{identifier::column_names, identifier::quoted};
use crate::storage::postgres::binary::type_oid;

/// What has to be done so that readers see a generation.
#[derive(Default)]
pub(crate) struct Change {
    /// What to run, in order. From the first of them on readers wait.
    pub(super) statements: Vec<String>,
    /// What of users stands on views that are dropped.
    pub(crate) dependents: Vec<String>,
}

/// A view as it is in the database.
struct View {
    number: i64,
    /// Names and types of its columns.
    columns: Vec<(String, i64)>,
    /// `WITH (…)`, or nothing.
    options: String,
}

/// What it takes to show a generation's tables under their public names, in
/// the place of what `live` showed. With `cascade`, what stands on views that
/// are dropped goes too.
pub(crate) async fn change(
    connection: &mut PgConnection,
    generation: GenerationId,
    description: &Description,
    live: Option<&Description>,
    cascade: bool,
) -> sqlx::Result<Change> {
    let schema = physical_schema(&description.name, generation);
    let mut change = Change::default();
    for old in live.iter().flat_map(|live| &live.tables) {
        if description.table(&old.name).is_none() {
            drop(
                connection,
                &mut change,
                &description.name,
                &old.name,
                cascade,
            )
            .await?;
        }
    }
    for table in &description.tables {
        let public = public_name(&description.name, &table.name);
        let view = View::read(connection, &description.name, &table.name).await?;
        let options = view.as_ref().map_or("", |view| &view.options);
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let create = format!(
            "VIEW {public} {options} AS SELECT {} FROM {schema}.{}",
            column_names(table, &all).join(", "),
            quoted(&table.name),
        );
        match &view {
            None => change.statements.push(format!("CREATE {create}")),
            Some(view) if view.can_become(table) => {
                change
                    .statements
                    .push(format!("CREATE OR REPLACE {create}"));
            }
            Some(view) => {
                let belongings = belongings(connection, view.number, &public, table).await?;
                drop(
                    connection,
                    &mut change,
                    &description.name,
                    &table.name,
                    cascade,
                )
                .await?;
                change.statements.push(format!("CREATE {create}"));
                change.statements.extend(belongings);
            }
        }
    }
    Ok(change)
}

/// What it takes that readers see nothing any more.
pub(crate) async fn removal(
    connection: &mut PgConnection,
    live: &Description,
    cascade: bool,
) -> sqlx::Result<Change> {
    let mut change = Change::default();
    for table in &live.tables {
        drop(connection, &mut change, &live.name, &table.name, cascade).await?;
    }
    Ok(change)
}

async fn drop(
    connection: &mut PgConnection,
    change: &mut Change,
    projection: &str,
    table: &str,
    cascade: bool,
) -> sqlx::Result<()> {
    let found = dependents::of_view(connection, projection, table).await?;
    change.dependents.extend(found);
    change.statements.push(format!(
        "DROP VIEW IF EXISTS {}{}",
        public_name(projection, table),
        if cascade { " CASCADE" } else { "" },
    ));
    Ok(())
}

impl Change {
    /// Runs the statements.
    pub(crate) async fn run(self, connection: &mut PgConnection) -> sqlx::Result<()> {
        for statement in self.statements {
            connection.execute(AssertSqlSafe(statement)).await?;
        }
        Ok(())
    }
}

fn public_name(projection: &str, table: &str) -> String {
    format!("{}.{}", quoted(projection), quoted(table))
}

impl View {
    async fn read(
        connection: &mut PgConnection,
        projection: &str,
        table: &str,
    ) -> sqlx::Result<Option<Self>> {
        let found: Option<(i64, String)> = sqlx::query_as(
            "SELECT c.oid::bigint, coalesce((
                 SELECT 'WITH (' || string_agg(
                            format('%I = %L', option_name, option_value), ', ') || ')'
                 FROM pg_options_to_table(c.reloptions)), '')
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'v'",
        )
        .bind(projection)
        .bind(table)
        .fetch_optional(&mut *connection)
        .await?;
        let Some((number, options)) = found else {
            return Ok(None);
        };
        let columns = sqlx::query_as(
            "SELECT attname::text, atttypid::bigint FROM pg_attribute
             WHERE attrelid = $1::bigint::oid AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        )
        .bind(number)
        .fetch_all(connection)
        .await?;
        Ok(Some(Self {
            number,
            columns,
            options,
        }))
    }

    /// Whether the columns of a table begin with those of the view: PostgreSQL
    /// replaces no others.
    fn can_become(&self, table: &Table) -> bool {
        self.columns.len() <= table.columns.len()
            && self.columns.iter().zip(&table.columns).all(|(old, new)| {
                (old.0.as_str(), old.1) == (&new.name, i64::from(type_oid(new.column_type)))
            })
    }
}

/// The statements that give what users set on a view to the one that takes
/// its place. Grants that the database's defaults add are taken away.
async fn belongings(
    connection: &mut PgConnection,
    view: i64,
    public: &str,
    table: &Table,
) -> sqlx::Result<Vec<String>> {
    let columns: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
    sqlx::query_scalar(
        "WITH view AS (SELECT * FROM pg_class WHERE oid = $1::bigint::oid),
         kept AS (
             SELECT * FROM pg_attribute
             WHERE attrelid = $1::bigint::oid AND attnum > 0 AND attname::text = ANY ($3)
         ), granted AS (
             SELECT a.*, '' AS on_columns, relowner
             FROM view CROSS JOIN aclexplode(relacl) a
             UNION ALL
             SELECT a.*, format('(%I)', attname), relowner
             FROM view CROSS JOIN kept CROSS JOIN aclexplode(attacl) a
         ), statements (place, statement) AS (
             SELECT 1, format('ALTER VIEW %s OWNER TO %I', $2::text, pg_get_userbyid(relowner))
             FROM view WHERE pg_get_userbyid(relowner) <> current_user
             UNION ALL
             SELECT 2, format('REVOKE ALL ON %s FROM %s', $2, string_agg(DISTINCT role, ', '))
             FROM (
                 SELECT CASE grantee WHEN 0 THEN 'PUBLIC'
                            ELSE quote_ident(pg_get_userbyid(grantee)) END AS role
                 FROM view CROSS JOIN pg_default_acl CROSS JOIN aclexplode(defaclacl)
                 WHERE defaclobjtype = 'r' AND grantee <> relowner
             ) defaults HAVING count(*) > 0
             UNION ALL
             SELECT 3, format('GRANT %s %s ON %s TO %s%s', privilege_type, on_columns, $2,
                 CASE grantee WHEN 0 THEN 'PUBLIC'
                     ELSE quote_ident(pg_get_userbyid(grantee)) END,
                 CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
             FROM granted WHERE grantee <> relowner
             UNION ALL
             SELECT 4, format('COMMENT ON VIEW %s IS %L', $2, obj_description(oid, 'pg_class'))
             FROM view WHERE obj_description(oid, 'pg_class') IS NOT NULL
             UNION ALL
             SELECT 5, format('COMMENT ON COLUMN %s.%I IS %L', $2, attname,
                              col_description(attrelid, attnum))
             FROM kept WHERE col_description(attrelid, attnum) IS NOT NULL
         )
         SELECT statement FROM statements ORDER BY place",
    )
    .bind(view)
    .bind(public)
    .bind(columns)
    .fetch_all(connection)
    .await
}
