//! What of users stands on a public view, and who reads it.

use gnomon_databases::connections::Connections;
use sqlx::PgConnection;

use crate::storage::postgres::error::cause;
use crate::storage_error::{StorageError, StorageErrorKind};

/// What would go with a view: other views, functions, triggers, rules,
/// defaults. Each as words that name it.
pub(super) async fn of_view(
    connection: &mut PgConnection,
    schema: &str,
    view: &str,
) -> sqlx::Result<Vec<String>> {
    // A view depends on itself through its own rule; its row type, and that
    // one's array, are inner parts of it.
    sqlx::query_scalar(
        "WITH view AS (
             SELECT c.oid, c.reltype, t.typarray
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_type t ON t.oid = c.reltype
             WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind = 'v'
         )
         SELECT DISTINCT CASE
             WHEN rule.rulename = '_RETURN' THEN
                 CASE other.relkind WHEN 'm' THEN 'materialized view `' ELSE 'view `' END
                 || other.relnamespace::regnamespace::text || '.' || quote_ident(other.relname)
                 || '`'
             ELSE pg_describe_object(d.classid, d.objid, d.objsubid)
         END AS dependent
         FROM view
         JOIN pg_depend d
             ON (d.refclassid = 'pg_class'::regclass AND d.refobjid = view.oid)
             OR (d.refclassid = 'pg_type'::regclass AND d.refobjid IN (reltype, typarray))
         LEFT JOIN pg_rewrite rule
             ON d.classid = 'pg_rewrite'::regclass AND rule.oid = d.objid
         LEFT JOIN pg_class other ON other.oid = rule.ev_class
         WHERE d.deptype <> 'i'
           AND (rule.rulename IS DISTINCT FROM '_RETURN' OR rule.ev_class <> view.oid)
         ORDER BY dependent",
    )
    .bind(schema)
    .bind(view)
    .fetch_all(connection)
    .await
}

/// Says what stands in the way of dropping views. `what` begins the sentence.
/// `command` drops them too.
pub(crate) fn in_the_way(what: &str, dependents: &[String], command: &str) -> StorageError {
    let (stands, them) = match dependents {
        [_] => ("stands on it", "it"),
        _ => ("stand on it", "them"),
    };
    StorageError::new(
        StorageErrorKind::Refused,
        format!(
            "{what}, and {} {stands}; drop {them} first, or let `{command}` drop {them}",
            dependents.join(", "),
        ),
    )
}

/// Says who holds a lock on one of these views.
pub(crate) async fn blocked(
    pool: &Connections,
    schema: &str,
    views: &[String],
    error: sqlx::Error,
) -> StorageError {
    let holder: sqlx::Result<Option<String>> = sqlx::query_scalar(
        "SELECT format('process %s%s', l.pid, ' (' || nullif(a.application_name, '') || ')')
         FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
         JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_stat_activity a ON a.pid = l.pid
         WHERE n.nspname = $1 AND c.relname = ANY ($2) AND l.granted
           AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
         ORDER BY a.xact_start LIMIT 1",
    )
    .bind(schema)
    .bind(views)
    .fetch_optional(pool)
    .await;
    let reader = match holder {
        Ok(Some(holder)) => format!("a reader, {holder},"),
        // It may have ended just now.
        Ok(None) | Err(_) => "a reader".to_owned(),
    };
    StorageError::caused(
        StorageErrorKind::Retry,
        format!("{reader} holds a lock on a view of `{schema}`, in a transaction that goes on"),
        cause(error),
    )
}
