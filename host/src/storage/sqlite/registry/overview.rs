//! What hosts have to know to decide what they do.

use super::lease::now;
use crate::registry::{Overview, SeenLease, StoredControl};
use crate::storage::sqlite::database::Database;
use crate::storage_error::StorageError;

pub(super) fn overview(database: &Database) -> Result<Overview, StorageError> {
    let (stored, hosts) = database.read("read the controls in", |connection| {
        let hosts = connection
            .prepare_cached(concat!(
                "SELECT name FROM gnomon_hosts WHERE expires_at > ",
                now!(),
                " ORDER BY name",
            ))?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()?;
        let stored = connection
            .prepare_cached(concat!(
                "SELECT p.name, g.id, g.module, g.state, g.goal, g.until,
                        CASE WHEN g.attended_until > ",
                now!(),
                " THEN g.stop_at END, p.desired_state = 'paused', p.resumes, coalesce((
                     SELECT max(r.id) FROM gnomon_dead_letter_requests r
                     WHERE r.generation = g.id), 0), coalesce((
                     SELECT o.skips FROM gnomon_projections o WHERE o.name = g.decided_by), 0),
                     l.host, coalesce(l.expires_at <= ",
                now!(),
                ", 1)
                 FROM gnomon_generations g JOIN gnomon_projections p ON p.name = g.projection
                 LEFT JOIN gnomon_leases l ON l.generation = g.id
                 WHERE g.state <> 'dropped' AND p.desired_state <> 'removed' ORDER BY g.id",
            ))?
            .query_map([], |row| {
                Ok(StoredControl {
                    projection: row.get(0)?,
                    generation: row.get(1)?,
                    module: row.get(2)?,
                    state: row.get(3)?,
                    goal: row.get(4)?,
                    until: row.get(5)?,
                    stop_at: row.get(6)?,
                    paused: row.get(7)?,
                    resumes: row.get(8)?,
                    requests: row.get(9)?,
                    skips: row.get(10)?,
                    lease: SeenLease {
                        holder: row.get(11)?,
                        has_lapsed: row.get(12)?,
                        requested_by: None,
                    },
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()?;
        Ok((stored, hosts))
    })?;
    Ok(Overview {
        controls: stored
            .into_iter()
            .map(StoredControl::read)
            .collect::<Result<_, _>>()?,
        hosts,
    })
}
