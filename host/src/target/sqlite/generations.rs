//! Modules and generations in the registry.

use gnomon_model::{Description, Position};
use rusqlite::{Connection, OptionalExtension, params};

use super::database::{Database, Failure, held};
use super::lease::now;
use super::tables;
use crate::generation::{Generation, GenerationId, GenerationState, Module, ModuleHash};
use crate::source::Checkpoint;
use crate::target::TargetError;
use crate::target::registry::{
    StoredGeneration, check_newest, not_promotable, read_description, stored_description,
    unknown_module,
};

pub(super) fn add_module(database: &Database, module: &Module) -> Result<(), TargetError> {
    let description = stored_description(&module.description)?;
    database.write("store a module in", |transaction| {
        transaction.execute(
            "INSERT INTO gnomon_modules (hash, description, bytes) VALUES (?1, ?2, ?3)
             ON CONFLICT DO NOTHING",
            params![module.hash.as_str(), description, module.bytes],
        )?;
        Ok(())
    })
}

pub(super) fn module(
    database: &Database,
    hash: &ModuleHash,
) -> Result<Option<Module>, TargetError> {
    let stored: Option<(String, Vec<u8>)> = database.read("read a module from", |connection| {
        connection
            .query_row(
                "SELECT description, bytes FROM gnomon_modules WHERE hash = ?1",
                [hash.as_str()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
    })?;
    stored
        .map(|(description, bytes)| {
            Ok(Module {
                hash: hash.clone(),
                bytes,
                description: read_description(&description)?,
            })
        })
        .transpose()
}

pub(super) fn create(
    database: &Database,
    module: &ModuleHash,
    description: &Description,
    newest: Option<GenerationId>,
    start: &Checkpoint,
) -> Result<Generation, TargetError> {
    database.write("create a generation in", |transaction| {
        let found: Option<i64> = transaction.query_row(
            "SELECT max(id) FROM gnomon_generations WHERE projection = ?1 AND state <> 'dropped'",
            [&description.name],
            |row| row.get(0),
        )?;
        check_newest(&description.name, newest, found.map(GenerationId::from_sql))?;
        let is_known: bool = transaction.query_row(
            "SELECT EXISTS (SELECT 1 FROM gnomon_modules WHERE hash = ?1)",
            [module.as_str()],
            |row| row.get(0),
        )?;
        if !is_known {
            return Err(unknown_module(module).into());
        }
        let live = live(transaction, &description.name)?.map(|(_, description)| description);
        let others = other_projections(transaction, &description.name)?;
        tables::check_public_names(
            transaction,
            &database.file,
            description,
            live.as_ref(),
            &others,
        )?;
        transaction.execute(
            "INSERT INTO gnomon_projections (name) VALUES (?1) ON CONFLICT DO NOTHING",
            [&description.name],
        )?;
        let id = GenerationId::from_sql(transaction.query_row(
            "INSERT INTO gnomon_generations (projection, module, version, state)
             VALUES (?1, ?2, ?3, ?4) RETURNING id",
            params![
                description.name,
                module.as_str(),
                description.version,
                GenerationState::Building.name()
            ],
            |row| row.get(0),
        )?);
        transaction.execute(
            "INSERT INTO gnomon_checkpoints (generation, checkpoint, position, epoch)
             VALUES (?1, ?2, ?3, 0)",
            params![id.to_sql(), start.as_str(), Position::START.to_sql()],
        )?;
        transaction.execute(
            "INSERT INTO gnomon_leases (generation, epoch, expires_at) VALUES (?1, 0, 0)",
            [id.to_sql()],
        )?;
        tables::create(transaction, id, description)?;
        Ok(Generation {
            id,
            projection: description.name.clone(),
            module: module.clone(),
            description: description.clone(),
            state: GenerationState::Building,
            checkpoint: start.clone(),
            position: Position::START,
            report: None,
            dead_letters: 0,
            host: None,
        })
    })
}

pub(super) fn all(database: &Database) -> Result<Vec<Generation>, TargetError> {
    let stored = database.read("read the registry of", |connection| {
        connection
            .prepare_cached(concat!(
                "SELECT g.id, g.projection, g.module, m.description, g.state, g.run_state, g.cause,
                        c.checkpoint, c.position, CASE WHEN l.expires_at > ",
                now!(),
                " THEN l.host END,
                        (SELECT count(*) FROM gnomon_dead_letters d WHERE d.generation = g.id)
                 FROM gnomon_generations g
                 JOIN gnomon_modules m ON m.hash = g.module
                 JOIN gnomon_checkpoints c ON c.generation = g.id
                 JOIN gnomon_leases l ON l.generation = g.id
                 WHERE g.state <> 'dropped'
                 ORDER BY g.projection, g.id",
            ))?
            .query_map([], |row| {
                Ok(StoredGeneration {
                    id: row.get(0)?,
                    projection: row.get(1)?,
                    module: row.get(2)?,
                    description: row.get(3)?,
                    state: row.get(4)?,
                    run_state: row.get(5)?,
                    cause: row.get(6)?,
                    checkpoint: row.get(7)?,
                    position: row.get(8)?,
                    host: row.get(9)?,
                    dead_letters: row.get(10)?,
                })
            })?
            .collect::<rusqlite::Result<Vec<_>>>()
    })?;
    let note = held(&database.host_lock).read_note();
    stored
        .into_iter()
        .map(|stored| {
            let mut generation = stored.read()?;
            if let Some(note) = &note
                && let Some(report) = note.of(generation.id)
            {
                generation.report = Some(report);
                generation.host = Some(note.host.clone());
            }
            Ok(generation)
        })
        .collect()
}

pub(super) fn set_module(
    database: &Database,
    generation: GenerationId,
    module: &ModuleHash,
) -> Result<(), TargetError> {
    database.write("change a module in", |transaction| {
        transaction.execute(
            "UPDATE gnomon_generations SET module = ?2 WHERE id = ?1",
            params![generation.to_sql(), module.as_str()],
        )?;
        Ok(())
    })
}

pub(super) fn promote(database: &Database, generation: GenerationId) -> Result<(), TargetError> {
    database.write("promote a generation in", |transaction| {
        let found: Option<(String, String)> = transaction
            .query_row(
                "SELECT g.state, m.description
                 FROM gnomon_generations g JOIN gnomon_modules m ON m.hash = g.module
                 WHERE g.id = ?1",
                [generation.to_sql()],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()?;
        let Some((state, description)) = found else {
            return Err(not_promotable(generation, None).into());
        };
        match GenerationState::from_name(&state) {
            Some(GenerationState::Live) => return Ok(()),
            Some(GenerationState::Building | GenerationState::Ready | GenerationState::Retired) => {
            }
            _ => return Err(not_promotable(generation, Some(&state)).into()),
        }
        let description = read_description(&description)?;
        let live = live(transaction, &description.name)?;
        let shown = live.as_ref().map(|(_, description)| description);
        let others = other_projections(transaction, &description.name)?;
        tables::check_public_names(transaction, &database.file, &description, shown, &others)?;
        tables::show(transaction, generation, &description, shown)?;
        if let Some((replaced, _)) = live {
            transaction.execute(
                "UPDATE gnomon_generations SET state = ?2 WHERE id = ?1",
                params![replaced.to_sql(), GenerationState::Retired.name()],
            )?;
        }
        transaction.execute(
            "UPDATE gnomon_generations
             SET state = ?2, promoted_at = strftime('%Y-%m-%dT%H:%M:%fZ') WHERE id = ?1",
            params![generation.to_sql(), GenerationState::Live.name()],
        )?;
        Ok(())
    })
}

/// The live generation of a projection and its tables.
fn live(
    connection: &Connection,
    projection: &str,
) -> Result<Option<(GenerationId, Description)>, Failure> {
    let found: Option<(i64, String)> = connection
        .query_row(
            "SELECT g.id, m.description
             FROM gnomon_generations g JOIN gnomon_modules m ON m.hash = g.module
             WHERE g.projection = ?1 AND g.state = 'live'",
            [projection],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    Ok(match found {
        Some((id, text)) => Some((GenerationId::from_sql(id), read_description(&text)?)),
        None => None,
    })
}

/// What all other projections declare.
fn other_projections(
    connection: &Connection,
    projection: &str,
) -> Result<Vec<(String, Description)>, Failure> {
    let stored = connection
        .prepare(
            "SELECT DISTINCT g.projection, m.description
             FROM gnomon_generations g JOIN gnomon_modules m ON m.hash = g.module
             WHERE g.projection <> ?1 AND g.state <> 'dropped'
             ORDER BY g.projection",
        )?
        .query_map([projection], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<Vec<(String, String)>>>()?;
    let mut others = Vec::new();
    for (name, text) in stored {
        others.push((name, read_description(&text)?));
    }
    Ok(others)
}
