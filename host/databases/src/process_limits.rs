//! What the operating system lets this process have.

use std::fs::File;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How to give a process more open files.
pub const OPEN_FILES_ADVICE: &str = "; this process has as many files open as it may: raise \
     the limit with `ulimit -n 65536`, or LimitNOFILE= in its systemd unit";

/// Raises the limit of open files as far as the system allows. The usual soft
/// limit is for programs that cannot have many; each projection in a SQLite file
/// takes some.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::debug!("the limit of open files cannot be raised: {error}");
    }
}

/// Whether there is no room for a few more open files, for those whose library
/// does not say why it could not open one.
pub fn is_out_of_files() -> bool {
    // As many as SQLite opens for a database: file, log, index and directory.
    const FILES: usize = 5;
    let opened: io::Result<Vec<File>> = (0..FILES).map(|_| File::open("/dev/null")).collect();
    opened.is_err_and(|error| is_about_open_files(&error))
}

/// Whether an error is that too many files are open.
pub fn is_about_open_files(error: &io::Error) -> bool {
    [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}
