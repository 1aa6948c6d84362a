//! Leases. The lock on the file decides between hosts; the rows decide
//! between the runners of one host, carry the fencing epoch and tell others
//! who has the file.

use std::time::Duration;

use gnomon_databases::error_chain::chain;
use rusqlite::{Connection, OptionalExtension, params};

use crate::generation::{GenerationId, Lease, RunReport, RunState};
use crate::registry::Acquired;
use crate::registry::fenced;
use crate::storage::sqlite::database::{Database, Failure, held};
use crate::storage::sqlite::error::shown;
use crate::storage::sqlite::host_lock::Taken;
use crate::storage_error::{StorageError, StorageErrorKind};

/// The database's clock, in milliseconds since the Unix epoch.
macro_rules! now {
    () => {
        "CAST(unixepoch('subsec') * 1000 AS INTEGER)"
    };
}
pub(crate) use now;

/// Whoever left leases in the file is gone when its lock was free.
const FREE_ALL: &str = "UPDATE gnomon_leases SET host = NULL, expires_at = 0";

/// Makes this host the only one of the file, until the database is closed.
pub(crate) fn claim(database: &Database, host: &str) -> Result<(), StorageError> {
    let mut lock = held(&database.host_lock);
    match lock.claim()? {
        Taken::ByAnother => {
            let holder = database.read("read the leases in", last_holder)?;
            let holder = holder.map_or_else(String::new, |(host, _)| format!(", {host}"));
            return Err(StorageError::new(
                StorageErrorKind::Refused,
                format!(
                    "{} has a host already{holder}, and a SQLite file takes one; stop that host, or \
                     keep the read models in PostgreSQL",
                    shown(&database.file)
                ),
            ));
        }
        Taken::Before => return Ok(()),
        Taken::Now => {}
    }
    let freed = database.write("take over the leases in", |transaction| {
        transaction.execute(FREE_ALL, [])?;
        Ok(())
    });
    match &freed {
        Ok(()) => lock.has_freed_leases(),
        // Somebody else writes to the file, so it is said in the lock file that
        // a host is there, and what it waits for.
        Err(error) if error.kind() == StorageErrorKind::Retry => {
            let unsaid = RunReport {
                state: RunState::Retrying,
                cause: Some(chain(error)),
            };
            let generations = database.read("read the registry of", generations_to_run);
            for generation in generations.unwrap_or_default() {
                lock.add_to_note(generation, &unsaid);
            }
            lock.say_that_it_is_there(host);
        }
        Err(_) => {}
    }
    freed
}

fn generations_to_run(connection: &Connection) -> rusqlite::Result<Vec<GenerationId>> {
    connection
        .prepare(
            "SELECT g.id FROM gnomon_generations g
             JOIN gnomon_projections p ON p.name = g.projection
             WHERE g.state IN ('building', 'ready', 'live') AND p.desired_state = 'running'",
        )?
        .query_map([], |row| row.get(0).map(GenerationId::from_sql))?
        .collect()
}

pub(crate) fn acquire(
    database: &Database,
    generation: GenerationId,
    host: &str,
    duration: Duration,
) -> Result<Acquired, StorageError> {
    let mut lock = held(&database.host_lock);
    let taken = lock.take()?;
    if taken == Taken::ByAnother {
        return database.read("read the leases in", held_by_other_host);
    }
    let result = database.write("take a lease in", |transaction| {
        if taken == Taken::Now {
            transaction.execute(FREE_ALL, [])?;
        }
        take_row(transaction, generation, host, duration)
    });
    match &result {
        Ok(Acquired::Lease(lease)) => lock.hold_for(*lease, host),
        // Without a lease there is nowhere else to say it.
        Err(error) if error.kind() == StorageErrorKind::Retry => {
            let unsaid = RunReport {
                state: RunState::Retrying,
                cause: Some(chain(&error)),
            };
            lock.note_of(host, generation, &unsaid);
        }
        _ => {}
    }
    lock.give_back_if_unused();
    result
}

fn take_row(
    connection: &Connection,
    generation: GenerationId,
    host: &str,
    duration: Duration,
) -> Result<Acquired, Failure> {
    let holder = connection
        .query_row(
            concat!(
                "SELECT host, expires_at - ",
                now!(),
                " FROM gnomon_leases WHERE generation = ?1",
            ),
            [generation.to_sql()],
            |row| Ok((row.get::<_, Option<String>>(0)?, row.get::<_, i64>(1)?)),
        )
        .optional()?;
    let Some((holder, remaining)) = holder else {
        return Err(fenced(generation).into());
    };
    if let Some(holder) = holder.filter(|holder| holder != host && remaining > 0) {
        return Ok(Acquired::HeldBy {
            host: holder,
            remaining: milliseconds(remaining),
        });
    }
    let epoch = connection.query_row(
        concat!(
            "UPDATE gnomon_leases SET host = ?2, epoch = epoch + 1, expires_at = ",
            now!(),
            " + ?3 WHERE generation = ?1 RETURNING epoch",
        ),
        params![generation.to_sql(), host, to_milliseconds(duration)],
        |row| row.get(0),
    )?;
    connection.execute(
        "UPDATE gnomon_checkpoints SET epoch = ?2 WHERE generation = ?1",
        params![generation.to_sql(), epoch],
    )?;
    Ok(Acquired::Lease(Lease { generation, epoch }))
}

/// Who has the file.
fn held_by_other_host(connection: &Connection) -> rusqlite::Result<Acquired> {
    // Between taking the lock and its first lease a host has no row.
    let (host, remaining) =
        last_holder(connection)?.unwrap_or_else(|| ("another process".to_owned(), 0));
    Ok(Acquired::HeldBy {
        host,
        remaining: milliseconds(remaining),
    })
}

/// The host whose lease runs longest, and for how many milliseconds.
fn last_holder(connection: &Connection) -> rusqlite::Result<Option<(String, i64)>> {
    connection
        .query_row(
            concat!(
                "SELECT host, expires_at - ",
                now!(),
                " FROM gnomon_leases WHERE host IS NOT NULL ORDER BY expires_at DESC LIMIT 1",
            ),
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()
}

pub(super) fn renew(
    database: &Database,
    leases: &[(Lease, Duration)],
) -> Result<Vec<Lease>, StorageError> {
    if leases.is_empty() {
        return Ok(Vec::new());
    }
    database.write("renew leases in", |transaction| {
        let mut renew = transaction.prepare_cached(concat!(
            "UPDATE gnomon_leases SET expires_at = ",
            now!(),
            " + ?3 WHERE generation = ?1 AND epoch = ?2 AND host IS NOT NULL",
        ))?;
        let mut lost = Vec::new();
        for (lease, duration) in leases {
            let renewed = renew.execute(params![
                lease.generation.to_sql(),
                lease.epoch,
                to_milliseconds(*duration)
            ])?;
            if renewed == 0 {
                lost.push(*lease);
            }
        }
        Ok(lost)
    })
}

pub(crate) fn release(database: &Database, lease: Lease) -> Result<(), StorageError> {
    let mut lock = held(&database.host_lock);
    database.write("release a lease in", |transaction| {
        transaction.execute(
            "UPDATE gnomon_leases SET host = NULL, expires_at = 0 WHERE generation = ?1 AND epoch = ?2",
            params![lease.generation.to_sql(), lease.epoch],
        )?;
        Ok(())
    })?;
    lock.release(lease);
    Ok(())
}

pub(crate) fn report(
    database: &Database,
    lease: Lease,
    report: &RunReport,
) -> Result<(), StorageError> {
    let recorded = database.write("record a run state in", |transaction| {
        if !is_ours(transaction, lease)? {
            return Err(fenced(lease.generation).into());
        }
        transaction.execute(
            "UPDATE gnomon_generations
             SET run_state = ?2, cause = ?3, reported_at = strftime('%Y-%m-%dT%H:%M:%fZ')
             WHERE id = ?1",
            params![lease.generation.to_sql(), report.state.name(), report.cause],
        )?;
        Ok(())
    });
    // A full disk is something to say, and has no room for it.
    let unsaid = match &recorded {
        Err(error) if error.kind() == StorageErrorKind::Retry => Some(report),
        _ => None,
    };
    held(&database.host_lock).note(lease.generation, unsaid);
    recorded
}

/// Whether nobody has taken the lease since, and it was not given back.
pub(crate) fn is_ours(connection: &Connection, lease: Lease) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT 1 FROM gnomon_leases
             WHERE generation = ?1 AND epoch = ?2 AND host IS NOT NULL",
        )?
        .exists([lease.generation.to_sql(), lease.epoch])
}

/// A duration as the clock of the database counts it.
pub(super) fn to_milliseconds(duration: Duration) -> i64 {
    // A lease beyond the range of years would not end either way.
    const LONGEST: i64 = i64::MAX / 4;
    i64::try_from(duration.as_millis()).map_or(LONGEST, |milliseconds| milliseconds.min(LONGEST))
}

fn milliseconds(remaining: i64) -> Duration {
    Duration::from_millis(u64::try_from(remaining).unwrap_or(0))
}
