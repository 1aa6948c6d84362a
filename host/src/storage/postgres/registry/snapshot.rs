//! What the rules have to know, read under the locks that keep it true.

use gnomon_model::Position;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::generation::GenerationId;
use crate::registry::request::{Request, Subject};
use crate::registry::rules::{Contest, Snapshot, contender};
use crate::registry::stored::StoredStanding;
use crate::storage::postgres::failure::Failure;
use crate::storage::postgres::read_models::showing::WAIT_BRIEFLY;

/// Whether what is read has to stay true until the transaction ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lock {
    None,
    /// A build that catches up meanwhile waits to say so. Commits do not wait:
    /// their dead letters refer to the keys of these rows only.
    Generations,
}

/// Snapshots of the projections that a request is about.
pub(super) async fn read(
    connection: &mut PgConnection,
    request: &Request,
    lock: Lock,
) -> Result<Vec<Snapshot>, Failure> {
    let named: Option<String> = match request.subject() {
        Subject::All => None,
        Subject::Projection(name) => Some(name.to_owned()),
        Subject::Generation(id) => {
            let found: Option<String> =
                sqlx::query_scalar("SELECT projection FROM gnomon.generations WHERE id = $1")
                    .bind(id.to_sql())
                    .fetch_optional(&mut *connection)
                    .await?;
            match found {
                Some(name) => Some(name),
                None => return Ok(Vec::new()),
            }
        }
    };
    let (now, wish, was_dropped): (i64, Option<String>, bool) = sqlx::query_as(
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
                (SELECT desired_state FROM gnomon.projections WHERE name = $1),
                EXISTS (SELECT 1 FROM gnomon.dropped WHERE projection = $1)",
    )
    .bind(&named)
    .fetch_one(&mut *connection)
    .await?;
    let mut snapshots = Vec::new();
    if let Some(name) = &named {
        snapshots.push(Snapshot::of(name, wish.as_deref(), was_dropped, now)?);
    }
    let select = format!(
        "SELECT id, projection, module, state, goal, until IS NOT NULL AS has_end, obstacle, obstacle_kind,
                insisted, decided_by <> projection AS is_copy,
                (extract(epoch FROM retired_at) * 1000000)::bigint AS retired_at,
                (extract(epoch FROM attended_until) * 1000000)::bigint AS attended_until
         FROM gnomon.generations WHERE $1::text IS NULL OR projection = $1
         ORDER BY projection, id {}",
        match lock {
            Lock::None => "",
            Lock::Generations => "FOR NO KEY UPDATE",
        }
    );
    let rows = sqlx::query(AssertSqlSafe(select))
        .bind(&named)
        .fetch_all(&mut *connection)
        .await?;
    for row in rows {
        let projection: String = row.try_get("projection")?;
        let stored = StoredStanding {
            id: row.try_get("id")?,
            module: row.try_get("module")?,
            state: row.try_get("state")?,
            goal: row.try_get("goal")?,
            has_end: row.try_get("has_end")?,
            obstacle: row.try_get("obstacle")?,
            obstacle_kind: row.try_get("obstacle_kind")?,
            is_insisted: row.try_get("insisted")?,
            is_copy: row.try_get("is_copy")?,
            retired_at: row.try_get("retired_at")?,
            attended_until: row.try_get("attended_until")?,
        };
        stored.add_to(&mut snapshots, projection, now)?;
    }
    if let (Request::Promote(candidate), Some(snapshot)) = (request, snapshots.first_mut())
        && let Some(live) = contender(snapshot, *candidate)
    {
        sqlx::raw_sql(WAIT_BRIEFLY)
            .execute(&mut *connection)
            .await?;
        snapshot.contest = Some(contest(connection, *candidate, live).await?);
    }
    Ok(snapshots)
}

/// No batch of the two generations is committed from here to the end of the
/// transaction.
async fn contest(
    connection: &mut PgConnection,
    candidate: GenerationId,
    live: GenerationId,
) -> sqlx::Result<Contest> {
    let positions: Vec<(i64, Option<i64>)> = sqlx::query_as(
        "SELECT generation, CASE WHEN NOT set_back THEN position END FROM gnomon.checkpoints
         WHERE generation = ANY ($1) ORDER BY generation FOR UPDATE",
    )
    .bind([candidate.to_sql(), live.to_sql()])
    .fetch_all(&mut *connection)
    .await?;
    let position = |id: GenerationId| {
        let found = positions.iter().find(|found| found.0 == id.to_sql());
        found.and_then(|found| found.1).and_then(Position::from_sql)
    };
    let (parked_alone, first_parked_alone) = sqlx::query_as(
        "SELECT count(*), min(d.position) FROM gnomon.dead_letters d
         LEFT JOIN gnomon.dead_letters l
             ON l.generation = $2 AND l.position = d.position AND l.event_id = d.event_id
         WHERE d.generation = $1 AND l.position IS NULL",
    )
    .bind(candidate.to_sql())
    .bind(live.to_sql())
    .fetch_one(connection)
    .await?;
    Ok(Contest {
        candidate: position(candidate),
        live: position(live),
        parked_alone,
        first_parked_alone,
    })
}
