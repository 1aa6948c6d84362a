//! What event store, source and target share of SQLite files: how a file is
//! opened, and why it cannot be written.

use std::error::Error;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::process_limits;

/// The name of a file is a name, and no URI with parameters; each connection is
/// used by one thread at a time.
const PLAIN: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

/// Opens a file, and makes it if it is missing.
pub fn open_or_make(file: &Path) -> rusqlite::Result<Connection> {
    let flags = PLAIN | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    Connection::open_with_flags(file, flags)
}

/// Opens a file that is there.
pub fn open_to_write(file: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(file, PLAIN | OpenFlags::SQLITE_OPEN_READ_WRITE)
}

/// Opens a file that is there, to read it only.
pub fn open_to_read(file: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(file, PLAIN | OpenFlags::SQLITE_OPEN_READ_ONLY)
}

/// Asks the file whether it has a table. `Connection::table_exists` asks the
/// connection, which does not know what another process has made meanwhile.
pub fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = ?1)",
        [name],
        |row| row.get(0),
    )
}

/// Whether a file could not be opened because too many are. SQLite says only
/// that it could not.
pub fn is_out_of_files(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::CannotOpen | ErrorCode::SystemIoFailure)
    ) && process_limits::is_out_of_files()
}

/// Whether it is because another process has locked the file.
pub fn is_locked(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let code = error
            .downcast_ref::<rusqlite::Error>()
            .and_then(rusqlite::Error::sqlite_error_code);
        if matches!(
            code,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
        ) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// What to do where a file cannot be opened or written: empty, or a clause to
/// append.
pub fn advice(error: &rusqlite::Error, file: &Path) -> String {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match error.sqlite_error_code() {
        _ if is_out_of_files(error) => process_limits::OPEN_FILES_ADVICE.to_owned(),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied | ErrorCode::CannotOpen) => {
            if !directory.is_dir() {
                format!(
                    "; there is no directory {}: create it first",
                    directory.display()
                )
            } else if is_on_read_only_system(directory) {
                format!("; the file system of {} is read-only", directory.display())
            } else if may_not_write(directory) {
                format!(
                    "; the directory {} is not writable for this user, and SQLite puts files \
                     beside the database",
                    directory.display()
                )
            } else if file.exists() && may_not_write(file) {
                format!(
                    "; the file {} is not writable for this user",
                    file.display()
                )
            } else {
                String::new()
            }
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => format!(
            "; {} is writing to it, try again when it has finished",
            writer(file).map_or_else(|| "another process".to_owned(), process_name)
        ),
        Some(ErrorCode::DiskFull) => "; make room on the disk and try again".to_owned(),
        Some(ErrorCode::NotADatabase) => {
            "; the file is something else than a SQLite database".to_owned()
        }
        _ => String::new(),
    }
}

/// Another process that has a SQLite file locked for writing, where the system
/// tells: on Linux.
pub fn writer(file: &Path) -> Option<u32> {
    let mut index = file.as_os_str().to_owned();
    index.push("-shm");
    holder_of_one(&[file, Path::new(&index)])
}

/// Another process that has a file locked as a whole, with the same condition.
pub fn holder(lock_file: &Path) -> Option<u32> {
    holder_of_one(&[lock_file])
}

/// Another process that has one of these files locked for writing.
fn holder_of_one(files: &[&Path]) -> Option<u32> {
    let inodes: Vec<String> = files
        .iter()
        .filter_map(|file| Some(file.metadata().ok()?.ino().to_string()))
        .collect();
    let own = std::process::id();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    // As in `1: POSIX  ADVISORY  WRITE 4711 08:01:131 120 120`. What waits for a
    // lock has an arrow before its kind.
    let mut held = locks.lines().filter(|line| !line.contains("->"));
    held.find_map(|line| {
        let mut fields = line
            .split_whitespace()
            .skip_while(|field| *field != "WRITE");
        let (process, place) = (fields.nth(1)?.parse().ok()?, fields.next()?);
        let inode = place.rsplit(':').next()?;
        (process != own && inodes.iter().any(|known| known == inode)).then_some(process)
    })
}

/// A process, as a message names it.
pub fn process_name(process: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
    let name: String = name.trim().chars().flat_map(char::escape_debug).collect();
    match name.as_str() {
        "" => format!("process {process}"),
        name => format!("process {process} ({name})"),
    }
}

fn is_on_read_only_system(path: &Path) -> bool {
    rustix::fs::statvfs(path).is_ok_and(|system| {
        system
            .f_flag
            .contains(rustix::fs::StatVfsMountFlags::RDONLY)
    })
}

fn may_not_write(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_err()
}
