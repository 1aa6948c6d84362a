//! Modules as files: read whole, but neither from what is no file nor without
//! end.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// The most bytes of a module: six times as many as Python's. The registry
/// stores it whole, and PostgreSQL holds at most 1 GB in a cell.
pub const MODULE_BYTES_MAX: u64 = 256 << 20;

/// Why the bytes of a module cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ModuleFileError {
    /// The system refuses.
    #[error("{} cannot be read", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It has no bytes of its own.
    #[error("{} is {what}, and a module is a regular file", .file.display())]
    NoFile {
        /// What is there.
        file: PathBuf,
        /// What it is, with its article.
        what: &'static str,
    },
    /// It is longer than any module.
    #[error(
        "{} has more than {MODULE_BYTES_MAX} bytes, which is the most that a module may have",
        .file.display()
    )]
    TooLarge {
        /// The file.
        file: PathBuf,
    },
}

/// The bytes of a module.
///
/// # Errors
/// [`ModuleFileError`], which names the file.
pub fn read(file: &Path) -> Result<Vec<u8>, ModuleFileError> {
    let unreadable = |source| ModuleFileError::Unreadable {
        file: file.to_owned(),
        source,
    };
    // To open some devices has an effect, so the first look is from outside.
    check(
        file,
        std::fs::metadata(file).map_err(unreadable)?.file_type(),
    )?;
    let opened = open(file).map_err(unreadable)?;
    let metadata = opened.metadata().map_err(unreadable)?;
    check(file, metadata.file_type())?;
    let mut bytes = Vec::new();
    if metadata.len() <= MODULE_BYTES_MAX {
        // It may grow meanwhile.
        let read = opened.take(MODULE_BYTES_MAX + 1).read_to_end(&mut bytes);
        read.map_err(unreadable)?;
    }
    if metadata.len().max(bytes.len() as u64) > MODULE_BYTES_MAX {
        return Err(ModuleFileError::TooLarge {
            file: file.to_owned(),
        });
    }
    Ok(bytes)
}

/// A pipe that took the file's place is opened without waiting for a writer.
fn open(file: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(file)
}

fn check(file: &Path, found: FileType) -> Result<(), ModuleFileError> {
    let what = if found.is_file() {
        return Ok(());
    } else if found.is_dir() {
        "a directory"
    } else if found.is_fifo() {
        "a pipe"
    } else if found.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(ModuleFileError::NoFile {
        file: file.to_owned(),
        what,
    })
}

#[cfg(test)]
mod tests {
    use gnomon_databases::error_chain::chain;
    use std::os::unix::fs::symlink;

    use super::*;

    #[track_caller]
    fn refused(file: &Path) -> String {
        chain(&read(file).unwrap_err())
    }

    #[test]
    fn what_is_no_file_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe.wasm"))
            .status();
        assert!(made.unwrap().success());
        symlink("/dev/zero", at("zero.wasm")).unwrap();
        std::fs::create_dir(at("folder.wasm")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.wasm")).unwrap();
        for (name, words) in [
            (
                "pipe.wasm",
                "pipe.wasm is a pipe, and a module is a regular file",
            ),
            ("zero.wasm", "zero.wasm is a device"),
            ("folder.wasm", "folder.wasm is a directory"),
            ("socket.wasm", "socket.wasm is a socket"),
            ("nothing.wasm", "nothing.wasm cannot be read: "),
        ] {
            let said = refused(&at(name));
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn a_file_is_read_up_to_a_size_that_the_message_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("large.wasm");
        std::fs::write(&path, b"\0asm").unwrap();
        assert_eq!(read(&path).unwrap(), b"\0asm");
        // A hole takes no room.
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(MODULE_BYTES_MAX + 1).unwrap();
        let said = refused(&path);
        assert!(said.contains("has more than 268435456 bytes"), "{said}");
    }
}
