//! What hosts have to know to decide what they do.

use gnomon_databases::connections::Connections;
use sqlx::Row as _;

use crate::registry::{Overview, SeenLease, StoredControl};
use crate::storage::postgres::failure::Failure;

pub(super) async fn overview(pool: &Connections) -> Result<Overview, Failure> {
    let rows = sqlx::query(
        "SELECT g.projection, g.id, g.module, g.state, g.goal, g.until, p.resumes,
                CASE WHEN g.attended_until > clock_timestamp() THEN g.stop_at END AS stop_at,
                p.desired_state = 'paused' AS paused,
                coalesce((SELECT max(r.id) FROM gnomon.dead_letter_requests r
                          WHERE r.generation = g.id), 0) AS requests,
                coalesce((SELECT o.skips FROM gnomon.projections o WHERE o.name = g.decided_by), 0)
                    AS skips,
                l.host AS holder, coalesce(l.expires_at <= clock_timestamp(), true) AS has_lapsed,
                CASE WHEN l.requested_until > clock_timestamp() THEN l.requested_by END
                    AS requested_by,
                (SELECT array_agg(h.name ORDER BY h.name COLLATE \"C\") FROM gnomon.hosts h
                 WHERE h.expires_at > clock_timestamp()) AS hosts
         FROM gnomon.generations g JOIN gnomon.projections p ON p.name = g.projection
         LEFT JOIN gnomon.leases l ON l.generation = g.id
         WHERE g.state <> 'dropped' AND p.desired_state <> 'removed'
         ORDER BY g.id",
    )
    .fetch_all(pool)
    .await?;
    let mut hosts: Option<Vec<String>> = None;
    let mut controls = Vec::with_capacity(rows.len());
    for row in rows {
        if hosts.is_none() {
            hosts = row.try_get("hosts")?;
        }
        let stored = StoredControl {
            projection: row.try_get("projection")?,
            generation: row.try_get("id")?,
            module: row.try_get("module")?,
            state: row.try_get("state")?,
            goal: row.try_get("goal")?,
            until: row.try_get("until")?,
            stop_at: row.try_get("stop_at")?,
            paused: row.try_get("paused")?,
            resumes: row.try_get("resumes")?,
            requests: row.try_get("requests")?,
            skips: row.try_get("skips")?,
            lease: SeenLease {
                holder: row.try_get("holder")?,
                has_lapsed: row.try_get("has_lapsed")?,
                requested_by: row.try_get("requested_by")?,
            },
        };
        controls.push(stored.read()?);
    }
    Ok(Overview {
        controls,
        hosts: hosts.unwrap_or_default(),
    })
}
