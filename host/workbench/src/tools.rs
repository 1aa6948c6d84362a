//! Programs that build projections: how they are run, and how those of a
//! pinned version get onto a machine.
//!
//! Where a language's builder is a package of its own package manager, Gnomon
//! says which version, down to the hashes of the files, and has it installed
//! once for all projects: below `$GNOMON_TOOLCHAINS`, or else
//! `gnomon-toolchains` in the user's cache directory.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest as _, Sha256};

use super::{BuildError, Language};

/// As much of a hash as names a version among few.
const HASH_BYTES: usize = 8;

/// A program that the author has to install.
#[derive(Clone, Copy)]
pub(super) struct Tool {
    pub(super) name: &'static str,
    /// What to do where it is missing.
    pub(super) advice: &'static str,
}

impl Tool {
    /// Runs it with these settings, its output on stderr, and says whether it
    /// succeeded.
    pub(super) fn run(self, set: impl FnOnce(&mut Command)) -> Result<bool, BuildError> {
        let mut command = Command::new(self.name);
        set(&mut command);
        let status = command
            .stdin(Stdio::null())
            .stdout(Stdio::from(io::stderr()))
            .status()
            .map_err(|cause| BuildError::Tool {
                tool: self.name,
                advice: self.advice,
                cause,
            })?;
        Ok(status.success())
    }
}

/// The files that say which version of a language's tools is wanted, and
/// whatever else goes with them.
pub(super) struct Pinned<'a> {
    pub(super) language: Language,
    /// By path in the folder.
    pub(super) files: &'a [(&'a str, &'a [u8])],
    /// Which program installs them, and how its messages are called.
    pub(super) installer: Tool,
}

impl Pinned<'_> {
    /// The folder in which they are installed. The first time, `set` tells the
    /// installer what to do in a new folder, which has the files.
    pub(super) fn folder(
        &self,
        set: impl FnOnce(&mut Command, &Path),
    ) -> Result<PathBuf, BuildError> {
        let base = base()?;
        let folder = base.join(format!("{}-{}", self.language, self.hash()));
        if folder.is_dir() {
            return Ok(folder);
        }
        let failed = || BuildError::writing(&base);
        fs::create_dir_all(&base).map_err(failed())?;
        let new = tempfile::Builder::new()
            .prefix("new-")
            .tempdir_in(&base)
            .map_err(failed())?;
        for (path, bytes) in self.files {
            let path = new.path().join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent).map_err(BuildError::writing(parent))?;
            }
            fs::write(&path, bytes).map_err(BuildError::writing(&path))?;
        }
        if !self.installer.run(|command| set(command, new.path()))? {
            return Err(BuildError::Installation {
                language: self.language,
                tool: self.installer.name,
            });
        }
        match fs::rename(new.path(), &folder) {
            // Another build was quicker.
            Err(_) if folder.is_dir() => Ok(folder),
            Err(cause) => Err(BuildError::writing(&folder)(cause)),
            Ok(()) => Ok(folder),
        }
    }

    fn hash(&self) -> String {
        let mut digest = Sha256::new();
        for (path, bytes) in self.files {
            digest.update(path.as_bytes());
            digest.update([0]);
            digest.update(bytes.len().to_le_bytes());
            digest.update(bytes);
        }
        let digest = digest.finalize();
        digest
            .iter()
            .take(HASH_BYTES)
            .fold(String::new(), |mut text, byte| {
                // Writing to a text cannot fail.
                let _ = write!(text, "{byte:02x}");
                text
            })
    }
}

fn base() -> Result<PathBuf, BuildError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(base) = set("GNOMON_TOOLCHAINS") {
        return Ok(base.into());
    }
    set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))
        .map(|cache| cache.join("gnomon-toolchains"))
        .ok_or(BuildError::NoCache)
}
