//! Importing files of envelopes, one per line.
//!
//! A file is read twice: once to check every line, and once more to append,
//! in chunks, inside one transaction. So a fault in any line leaves the store
//! as it was, and memory is bounded by a chunk, whatever the size of the file.
//! A file that is compressed (gzip) is told by its first bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use gnomon_model::Position;
use tokio::sync::mpsc;

use super::new_event::Found;
use super::{Envelope, EventStoreError, EventStoreErrorKind, InvalidEnvelope, OnProgress};
use crate::table::EVENT_BYTES_MAX;

/// Events that are appended with one statement.
const CHUNK_MAX_EVENTS: usize = 2_000;
/// Bytes of their lines, or of the events in them, if those are more. One may
/// be longer.
const CHUNK_MAX_BYTES: usize = 8 * 1024 * 1024;
/// Bytes that one line may have: data and metadata, and room for how they are
/// written.
const LINE_MAX_BYTES: usize = 4 * EVENT_BYTES_MAX;
/// How a gzip file begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];
const BUFFER_BYTES: usize = 256 * 1024;

/// A file every line of which is an envelope, or empty.
#[derive(Clone, Debug)]
pub struct CheckedFile {
    path: PathBuf,
    name: String,
    events: u64,
    bytes: u64,
}

/// How far an import has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The file is being checked.
    Checking {
        /// Bytes read.
        bytes: u64,
        /// Bytes of the file.
        of: u64,
    },
    /// Its events are being appended.
    Importing {
        /// Bytes read.
        bytes: u64,
        /// Bytes of the file.
        of: u64,
    },
}

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Events that are new.
    pub imported: u64,
    /// Events that were there already.
    pub skipped: u64,
    /// The highest position that an event of the file has, new or not; `None`
    /// for a file without events.
    pub last_position: Option<Position>,
}

/// A line with its number, from 1.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) envelope: Envelope,
}

/// A few thousand lines.
pub(super) struct Chunk {
    pub(super) lines: Vec<Line>,
    /// Bytes of the file up to its end.
    pub(super) read: u64,
}

impl CheckedFile {
    /// Reads a file and checks every line. `name` is what messages call it.
    ///
    /// # Errors
    /// [`EventStoreError::Line`] for the first line that is no envelope.
    pub fn check(
        path: &Path,
        name: &str,
        on_progress: &OnProgress,
    ) -> Result<Self, EventStoreError> {
        let mut file = Self {
            path: path.to_owned(),
            name: name.to_owned(),
            events: 0,
            bytes: 0,
        };
        file.bytes = file.open()?.metadata().map_or(0, |data| data.len());
        let mut events = 0;
        for chunk in file.chunks()? {
            let chunk = chunk?;
            events += count(chunk.lines.len());
            on_progress(Progress::Checking {
                bytes: chunk.read,
                of: file.bytes,
            });
        }
        file.events = events;
        Ok(file)
    }

    /// How many events it has.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    fn open(&self) -> Result<File, EventStoreError> {
        File::open(&self.path).map_err(|error| self.unreadable(error))
    }

    /// The lines again, a chunk at a time, parsed on a thread of their own
    /// while the database is busy with the chunk before.
    pub(super) fn read_ahead(&self) -> mpsc::Receiver<Result<Chunk, EventStoreError>> {
        let (sender, receiver) = mpsc::channel(1);
        let file = self.clone();
        std::thread::spawn(move || match file.chunks() {
            Err(error) => {
                // Without a receiver the import has failed by itself.
                let _ = sender.blocking_send(Err(error));
            }
            Ok(chunks) => {
                for chunk in chunks {
                    if sender.blocking_send(chunk).is_err() {
                        break;
                    }
                }
            }
        });
        receiver
    }

    fn chunks(&self) -> Result<Chunks<'_>, EventStoreError> {
        let mut file = self.open()?;
        let mut begins = Vec::new();
        let is_gzip = io::Read::by_ref(&mut file)
            .take(count(GZIP.len()))
            .read_to_end(&mut begins)
            .and_then(|_| file.rewind())
            .map(|()| begins == GZIP)
            .map_err(|error| self.unreadable(error))?;
        let bytes_read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            file,
            bytes: Arc::clone(&bytes_read),
        };
        let counted = BufReader::with_capacity(BUFFER_BYTES, counted);
        let reader: Box<dyn BufRead + Send> = if is_gzip {
            let text = MultiGzDecoder::new(counted);
            Box::new(BufReader::with_capacity(BUFFER_BYTES, text))
        } else {
            Box::new(counted)
        };
        Ok(Chunks {
            file: self,
            reader,
            bytes_read,
            number: 0,
            text_read: 0,
            text: Vec::new(),
            ended: false,
        })
    }

    fn unreadable(&self, error: io::Error) -> EventStoreError {
        EventStoreError::caused(
            EventStoreErrorKind::Refused,
            format!("cannot read {}", self.name),
            error,
        )
    }

    /// The version that an event gets in a stream that is at `current`.
    pub(super) fn next_version(&self, line: &Line, current: u64) -> Result<u64, EventStoreError> {
        let next = current + 1;
        match line.envelope.version {
            Some(given) if given != next => Err(self.line_error(
                line.number,
                EventStoreErrorKind::Conflict,
                format!(
                    "conflict in stream {}: the event has version {given}, but the stream is at \
                     version {current}",
                    line.envelope.stream
                ),
            )),
            _ => Ok(next),
        }
    }

    pub(super) fn line_error(
        &self,
        line: u64,
        kind: EventStoreErrorKind,
        problem: impl Into<String>,
    ) -> EventStoreError {
        EventStoreError::Line {
            file: self.name.clone(),
            line,
            problem: problem.into(),
            kind,
        }
    }
}

/// An iterator over the chunks of a file.
struct Chunks<'a> {
    file: &'a CheckedFile,
    reader: Box<dyn BufRead + Send>,
    /// Bytes of the file, compressed where it is, that were read.
    bytes_read: Arc<AtomicU64>,
    number: u64,
    /// Bytes of its text.
    text_read: u64,
    text: Vec<u8>,
    ended: bool,
}

impl Chunks<'_> {
    /// The next line that is not empty.
    fn line(&mut self) -> Result<Option<Line>, EventStoreError> {
        loop {
            self.text.clear();
            let length = self.read_line()?;
            if length == 0 {
                return Ok(None);
            }
            self.number += 1;
            self.text_read += count(length);
            let invalid = |problem: String| {
                self.file
                    .line_error(self.number, EventStoreErrorKind::Invalid, problem)
            };
            let mut text = std::str::from_utf8(&self.text).map_err(|error| {
                invalid(format!("not UTF-8 from byte {}", error.valid_up_to() + 1))
            })?;
            if self.number == 1 {
                // Some editors put a byte order mark before the first line.
                text = text.strip_prefix('\u{feff}').unwrap_or(text);
            }
            let text = text.trim_ascii();
            if !text.is_empty() {
                let envelope = Envelope::parse(text)
                    .map_err(|problem: InvalidEnvelope| invalid(problem.to_string()))?;
                return Ok(Some(Line {
                    number: self.number,
                    envelope,
                }));
            }
        }
    }

    fn read_line(&mut self) -> Result<usize, EventStoreError> {
        let mut limited = self.reader.by_ref().take(count(LINE_MAX_BYTES));
        let length = limited
            .read_until(b'\n', &mut self.text)
            .map_err(|error| self.file.unreadable(error))?;
        if length == LINE_MAX_BYTES {
            return Err(self.file.line_error(
                self.number + 1,
                EventStoreErrorKind::Invalid,
                too_long(),
            ));
        }
        Ok(length)
    }
}

impl Iterator for Chunks<'_> {
    type Item = Result<Chunk, EventStoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut lines = Vec::new();
        let mut bytes = 0;
        while lines.len() < CHUNK_MAX_EVENTS && bytes < count(CHUNK_MAX_BYTES) {
            let start = self.text_read;
            match self.line() {
                Ok(Some(line)) => {
                    // Numbers get longer where an exponent is written out.
                    bytes += (self.text_read - start).max(count(line.envelope.event.size()));
                    lines.push(line);
                }
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
        (!lines.is_empty()).then_some(Ok(Chunk {
            lines,
            read: self.bytes_read.load(Ordering::Relaxed),
        }))
    }
}

/// Reads on until a line is longer than any event: what never ends, as
/// `/dev/zero`, must not fill a disk first. Compressed bytes have no lines.
pub struct LineLimit<R> {
    reader: R,
    name: String,
    /// `None` while nothing was read; whether it is text.
    is_text: Option<bool>,
    line: u64,
    length: usize,
}

impl<R: Read> LineLimit<R> {
    /// What messages call it is `name`.
    pub fn new(reader: R, name: &str) -> Self {
        Self {
            reader,
            name: name.to_owned(),
            is_text: None,
            line: 1,
            length: 0,
        }
    }
}

impl<R: Read> Read for LineLimit<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.reader.read(buffer)?;
        let bytes = buffer.get(..length).unwrap_or_default();
        let begins = || bytes.first() != GZIP.first();
        if length == 0 || !*self.is_text.get_or_insert_with(begins) {
            return Ok(length);
        }
        for (number, part) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                self.line += 1;
                self.length = 0;
            }
            self.length += part.len();
            if self.length >= LINE_MAX_BYTES {
                let error = EventStoreError::Line {
                    file: self.name.clone(),
                    line: self.line,
                    problem: too_long(),
                    kind: EventStoreErrorKind::Invalid,
                };
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
        Ok(length)
    }
}

fn too_long() -> String {
    format!("longer than {} MiB", LINE_MAX_BYTES / 1024 / 1024)
}

/// Counts the bytes that are read of a file.
struct Counted {
    file: File,
    bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.bytes.fetch_add(count(length), Ordering::Relaxed);
        Ok(length)
    }
}

/// Counts what an import does, and tells the caller.
pub(super) struct Counter {
    done: Imported,
    events: u64,
    bytes: u64,
    on_progress: OnProgress,
}

impl Counter {
    pub(super) fn new(file: &CheckedFile, on_progress: &OnProgress) -> Self {
        Self {
            done: Imported::default(),
            events: file.events,
            bytes: file.bytes,
            on_progress: OnProgress::clone(on_progress),
        }
    }

    /// Counts a new event.
    pub(super) const fn imported(&mut self) {
        self.done.imported += 1;
    }

    /// Takes note of where an event stands.
    pub(super) fn stands_at(&mut self, position: Position) {
        self.done.last_position = self.done.last_position.max(Some(position));
    }

    /// Counts an event that is there already.
    ///
    /// # Errors
    /// If it is there in another stream, or is another event.
    pub(super) fn skip(
        &mut self,
        file: &CheckedFile,
        line: &Line,
        found: &Found,
    ) -> Result<(), EventStoreError> {
        if found.stream != line.envelope.stream.as_str() {
            return Err(file.line_error(
                line.number,
                EventStoreErrorKind::Duplicate,
                format!(
                    "event {} of stream {} is already version {} of stream {}",
                    found.id, line.envelope.stream, found.version, found.stream
                ),
            ));
        }
        let given = line.envelope.version;
        let difference = found.difference.clone().or_else(|| {
            given
                .filter(|given| *given != found.version)
                .map(|given| format!("its version is {} there, and {given} here", found.version))
        });
        if let Some(difference) = difference {
            return Err(file.line_error(
                line.number,
                EventStoreErrorKind::Duplicate,
                format!(
                    "event {} is already version {} of stream {}, with other content: {difference}; \
                     give a new event an id of its own",
                    found.id, found.version, found.stream
                ),
            ));
        }
        self.done.skipped += 1;
        self.stands_at(found.position);
        Ok(())
    }

    pub(super) fn chunk_done(&self, chunk: &Chunk) {
        (self.on_progress)(Progress::Importing {
            bytes: chunk.read,
            of: self.bytes,
        });
    }

    /// What was done, before it is committed.
    ///
    /// # Errors
    /// If the file has changed since it was checked.
    pub(super) fn finish(self, file: &CheckedFile) -> Result<Imported, EventStoreError> {
        let found = self.done.imported + self.done.skipped;
        if found != self.events {
            return Err(EventStoreError::refused(format!(
                "{} changed while it was imported: it had {} events first and {found} later; \
                 nothing was imported",
                file.name, self.events
            )));
        }
        Ok(self.done)
    }
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
