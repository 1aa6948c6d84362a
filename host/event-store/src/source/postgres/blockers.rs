//! Saying who holds the frontier back.

use gnomon_model::Position;
use sqlx::Row as _;
use sqlx::postgres::{PgConnection, PgRow};

use super::samples::Holders;

/// Sessions that a sentence names.
const MAX_NAMED: usize = 3;

/// A sentence about the transactions that may still commit a position up to
/// `head`.
pub(super) async fn sentence(
    connection: &mut PgConnection,
    head: Position,
    blockers: &[String],
    holders: &Holders,
) -> Result<String, sqlx::Error> {
    let processes: Vec<i32> = blockers
        .iter()
        .filter_map(|blocker| holders.get(blocker).copied().flatten())
        .collect();
    let mut named = Vec::new();
    if !processes.is_empty() {
        let rows = sqlx::query(
            "SELECT pid, application_name, state, \
               extract(epoch FROM clock_timestamp() - xact_start)::bigint \
             FROM pg_stat_activity WHERE pid = ANY ($1) ORDER BY xact_start, pid",
        )
        .bind(&processes)
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            named.push(session(row)?);
        }
    }
    if processes.len() < blockers.len() {
        let rows = sqlx::query(
            "SELECT p.gid, extract(epoch FROM clock_timestamp() - p.prepared)::bigint \
             FROM pg_locks AS l JOIN pg_prepared_xacts AS p ON p.transaction = l.transactionid \
             WHERE l.pid IS NULL AND l.virtualtransaction = ANY ($1) ORDER BY p.prepared",
        )
        .bind(blockers)
        .fetch_all(connection)
        .await?;
        for row in &rows {
            named.push(format!(
                "prepared transaction `{}` ({} s old)",
                row.try_get::<&str, _>(0)?,
                row.try_get::<Option<i64>, _>(1)?.unwrap_or(0)
            ));
        }
    }
    let others = blockers.len().saturating_sub(named.len().min(MAX_NAMED));
    named.truncate(MAX_NAMED);
    let mut who = named.join(", ");
    if who.is_empty() {
        who = format!("{others} open transactions");
    } else if others > 0 {
        who.push_str(&format!(" and {others} more"));
    }
    Ok(format!(
        "waiting for {who} to commit or roll back: a position up to {head} may still come from there"
    ))
}

/// One session; without the right to see others' sessions its fields are null.
fn session(row: &PgRow) -> Result<String, sqlx::Error> {
    let mut text = format!("session {}", row.try_get::<i32, _>(0)?);
    let mut details = Vec::new();
    match row.try_get::<Option<&str>, _>(1)? {
        None | Some("") => {}
        Some(application) => details.push(format!("application `{application}`")),
    }
    if let Some(state) = row.try_get::<Option<&str>, _>(2)? {
        details.push(state.to_owned());
    }
    if let Some(age) = row.try_get::<Option<i64>, _>(3)? {
        details.push(format!("transaction {age} s old"));
    }
    if !details.is_empty() {
        text.push_str(&format!(" ({})", details.join(", ")));
    }
    Ok(text)
}
