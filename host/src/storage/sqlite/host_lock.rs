//! One host for a file: an exclusive lock of the operating system on
//! `<file>.lock`, held while this host has a lease. It ends with the process,
//! however that ends, so a killed host keeps nobody waiting.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use gnomon_databases::sqlite_file;
use rustix::io::Errno;

use super::note::{self, Note};
use crate::generation::{GenerationId, Lease, RunReport};
use crate::storage::sqlite::error::shown;
use crate::storage_error::{StorageError, StorageErrorKind};

/// This host's claim on a file.
pub(super) struct HostLock {
    lock_file: PathBuf,
    /// The locked file; closing it ends the lock.
    locked: Option<File>,
    /// The epochs of the leases that need the lock.
    leases: HashMap<GenerationId, i64>,
    /// Whether it is held without a lease too.
    for_good: bool,
    /// Whether leases may be left in the file of a host that is gone.
    has_leftovers: bool,
    /// What could not be said in the database.
    note: Note,
}

/// The answer to [`HostLock::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// This host had it already.
    Before,
    /// It was free: whoever left leases in the file is gone.
    Now,
    /// Another host has it.
    ByAnother,
}

impl HostLock {
    /// The lock on a database file, not taken yet.
    pub(super) fn beside(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        Self {
            lock_file: PathBuf::from(name),
            locked: None,
            leases: HashMap::new(),
            for_good: false,
            has_leftovers: false,
            note: Note::default(),
        }
    }

    /// Takes the lock unless somebody has it.
    pub(super) fn take(&mut self) -> Result<Taken, StorageError> {
        if self.locked.is_some() {
            return Ok(Taken::Before);
        }
        let failed = |kind, error| {
            StorageError::caused(
                kind,
                format!("failed to lock {}", shown(&self.lock_file)),
                error,
            )
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .custom_flags(note::NO_DETOURS)
            .open(&self.lock_file);
        let file = match file {
            Ok(file) if Note::is_place_for_one(&file) => file,
            Err(error) if error.raw_os_error() != Some(Errno::LOOP.raw_os_error()) => {
                return Err(failed(StorageErrorKind::Refused, error));
            }
            // Somebody's file, or a link.
            _ => {
                return Err(StorageError::new(
                    StorageErrorKind::Refused,
                    format!(
                        "{} is something else than a lock file of Gnomon, and is left as it is; \
                         move it away",
                        shown(&self.lock_file)
                    ),
                ));
            }
        };
        match file.try_lock() {
            Ok(()) => {
                if let Err(error) = Note::reserve(&file) {
                    tracing::debug!("no room for a note in the lock file: {error}");
                }
                self.locked = Some(file);
                Ok(Taken::Now)
            }
            Err(TryLockError::WouldBlock) => Ok(Taken::ByAnother),
            Err(TryLockError::Error(error)) => Err(failed(StorageErrorKind::Retry, error)),
        }
    }

    /// Takes the lock until the process or this value ends. The answer is
    /// [`Taken::Now`] until [`Self::has_freed_leases`] is told.
    pub(super) fn claim(&mut self) -> Result<Taken, StorageError> {
        let taken = self.take()?;
        if taken == Taken::ByAnother {
            return Ok(taken);
        }
        self.for_good = true;
        self.has_leftovers |= taken == Taken::Now;
        Ok(if self.has_leftovers {
            Taken::Now
        } else {
            Taken::Before
        })
    }

    /// Nothing of a host that is gone is left in the file.
    pub(super) fn has_freed_leases(&mut self) {
        self.has_leftovers = false;
        self.forget_note();
    }

    /// Keeps the lock for a lease of this host.
    pub(super) fn hold_for(&mut self, lease: Lease, host: &str) {
        host.clone_into(&mut self.note.host);
        self.leases.insert(lease.generation, lease.epoch);
    }

    /// Says of a generation what could not be said in the database, or ceases
    /// to.
    pub(super) fn note(&mut self, generation: GenerationId, report: Option<&RunReport>) {
        match report {
            Some(report) => self.note.add(generation, report),
            None if self.note.remove(generation) => {}
            None => return,
        }
        self.write_note();
    }

    /// Adds to the note that is written next.
    pub(super) fn add_to_note(&mut self, generation: GenerationId, report: &RunReport) {
        self.note.add(generation, report);
    }

    /// Says that a host is there, which cannot be said in the database.
    pub(super) fn say_that_it_is_there(&mut self, host: &str) {
        host.clone_into(&mut self.note.host);
        self.write_note();
    }

    /// Takes back whatever was said.
    pub(super) fn forget_note(&mut self) {
        self.note.clear();
        if let Some(file) = &self.locked
            && let Err(error) = Note::reserve(file)
        {
            tracing::debug!("the note in the lock file was not taken back: {error}");
        }
    }

    fn write_note(&mut self) {
        if let Some(file) = &self.locked
            && let Err(error) = self.note.write(file)
        {
            tracing::debug!("the note in the lock file was not written: {error}");
        }
    }

    /// As [`Self::note`], for a host that has no lease yet.
    pub(super) fn note_of(&mut self, host: &str, generation: GenerationId, report: &RunReport) {
        host.clone_into(&mut self.note.host);
        self.note(generation, Some(report));
    }

    /// What the host of the file could not say in it.
    pub(super) fn read_note(&self) -> Option<Note> {
        Note::read(&self.lock_file)
    }

    /// Another process that has the lock, where the system tells. It is not asked by
    /// trying to lock: a host that starts meanwhile would find it taken.
    pub(super) fn holder(&self) -> Option<u32> {
        sqlite_file::holder(&self.lock_file)
    }

    /// The lease needs the lock no longer.
    pub(super) fn release(&mut self, lease: Lease) {
        if self.leases.get(&lease.generation) == Some(&lease.epoch) {
            self.leases.remove(&lease.generation);
        }
        self.give_back_if_unused();
    }

    /// Gives the lock back if no lease needs it.
    pub(super) fn give_back_if_unused(&mut self) {
        if self.leases.is_empty() && !self.for_good {
            self.locked = None;
        }
    }
}
