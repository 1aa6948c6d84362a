//! What users want: paused or running, another try, and requests about dead
//! letters.

use rusqlite::params;

use super::database::Database;
use crate::dead_letter::DeadLetterAction;
use crate::generation::GenerationId;
use crate::target::registry::unknown_projection;
use crate::target::{Control, TargetError};

pub(super) fn all(database: &Database) -> Result<Vec<Control>, TargetError> {
    database.read("read the controls in", |connection| {
        connection
            .prepare_cached(
                "SELECT p.name, p.desired_state = 'paused', p.resumes, coalesce((
                     SELECT max(r.id) FROM gnomon_dead_letter_requests r
                     JOIN gnomon_generations g ON g.id = r.generation
                     WHERE g.projection = p.name), 0)
                 FROM gnomon_projections p ORDER BY p.name",
            )?
            .query_map([], |row| {
                Ok(Control {
                    projection: row.get(0)?,
                    paused: row.get(1)?,
                    resumes: row.get(2)?,
                    requests: row.get(3)?,
                })
            })?
            .collect()
    })
}

pub(super) fn pause(database: &Database, projection: &str) -> Result<(), TargetError> {
    let change = "UPDATE gnomon_projections SET desired_state = 'paused' WHERE name = ?1";
    control(database, projection, change)
}

pub(super) fn resume(database: &Database, projection: &str) -> Result<(), TargetError> {
    let change = "UPDATE gnomon_projections
                  SET desired_state = 'running', resumes = resumes + 1 WHERE name = ?1";
    control(database, projection, change)
}

fn control(database: &Database, projection: &str, change: &str) -> Result<(), TargetError> {
    database.write("control a projection in", |transaction| {
        match transaction.execute(change, [projection])? {
            0 => Err(unknown_projection(projection).into()),
            _ => Ok(()),
        }
    })
}

pub(super) fn request(
    database: &Database,
    generation: GenerationId,
    action: DeadLetterAction,
    stream: Option<&str>,
) -> Result<(), TargetError> {
    database.write("store a request in", |transaction| {
        transaction.execute(
            "INSERT INTO gnomon_dead_letter_requests (generation, action, stream_id)
             VALUES (?1, ?2, ?3)",
            params![generation.to_sql(), action.name(), stream],
        )?;
        Ok(())
    })
}
