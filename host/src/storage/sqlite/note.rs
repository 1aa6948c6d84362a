//! What a host says when the file is too full to say it there, or when another
//! process writes to it.
//!
//! The note is in the lock file, over space that was taken when the lock was:
//! writing it needs no room. It is only true for a while after it was written.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::OFlags;
use serde::{Deserialize, Serialize};

use crate::generation::{GenerationId, RunReport, RunState};

/// What is taken for it; a note that is longer is not written.
const NOTE_BYTES: usize = 64 * 1024;
const CAUSE_CHARACTERS_MAX: usize = 500;
/// Longer than a runner waits between two attempts.
const FRESH_FOR: Duration = Duration::from_secs(10);

/// How the text of a note begins.
const BEGINNING: &[u8; 17] = b"{\"written_at_ms\":";
/// The lock file is opened only where it is a file itself: a link would lead to
/// one that is not ours, and a pipe would be waited for.
pub(super) const NO_DETOURS: i32 = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .bits()
    .cast_signed();

/// A note about some generations.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct Note {
    written_at_ms: u128,
    pub(super) host: String,
    generations: BTreeMap<i64, Said>,
}

#[derive(Debug, Deserialize, Serialize)]
struct Said {
    state: RunState,
    cause: Option<String>,
}

impl Note {
    /// Whether a file is empty, or holds a note or the room for one: nothing of
    /// somebody else would be lost.
    pub(super) fn is_place_for_one(file: &File) -> bool {
        let mut beginning = [b' '; BEGINNING.len()];
        let is_plain = file.metadata().is_ok_and(|metadata| metadata.is_file());
        is_plain
            && file.read_at(&mut beginning, 0).is_ok()
            && (beginning == *BEGINNING || beginning.iter().all(|byte| *byte == b' '))
    }

    /// Takes the room for a note.
    pub(super) fn reserve(file: &File) -> io::Result<()> {
        file.write_all_at(&[b' '; NOTE_BYTES], 0)
    }

    /// The note beside a database, if somebody wrote one lately.
    pub(super) fn read(lock_file: &Path) -> Option<Self> {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(NO_DETOURS)
            .open(lock_file)
            .ok()?;
        let mut text = Vec::new();
        file.take(NOTE_BYTES as u64).read_to_end(&mut text).ok()?;
        let note: Self = serde_json::from_slice(&text).ok()?;
        let age = now_ms().saturating_sub(note.written_at_ms);
        (age < FRESH_FOR.as_millis()).then_some(note)
    }

    /// What it says of a generation.
    pub(super) fn of(&self, generation: GenerationId) -> Option<RunReport> {
        let said = self.generations.get(&generation.to_sql())?;
        Some(RunReport {
            state: said.state,
            cause: said.cause.clone(),
        })
    }

    /// Adds what there is to say of a generation.
    pub(super) fn add(&mut self, generation: GenerationId, report: &RunReport) {
        let cause = report.cause.as_deref();
        let said = Said {
            state: report.state,
            cause: cause.map(|cause| cause.chars().take(CAUSE_CHARACTERS_MAX).collect()),
        };
        self.generations.insert(generation.to_sql(), said);
    }

    /// Forgets a generation; says whether there was something to forget.
    pub(super) fn remove(&mut self, generation: GenerationId) -> bool {
        self.generations.remove(&generation.to_sql()).is_some()
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.generations.clear();
    }

    /// Writes it in the place of the one before.
    pub(super) fn write(&mut self, file: &File) -> io::Result<()> {
        self.written_at_ms = now_ms();
        let mut text = serde_json::to_vec(self)?;
        if text.len() <= NOTE_BYTES {
            text.resize(NOTE_BYTES, b' ');
            file.write_all_at(&text, 0)?;
        }
        Ok(())
    }
}

fn now_ms() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis()
}
