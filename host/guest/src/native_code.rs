//! Compiled modules on disk, by module hash and engine version.
//!
//! The files hold native code that the host runs, so the directory belongs to
//! the host's user alone, and any other directory is refused.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use gnomon_model::ModuleHash;
use wasmtime::component::Component;
use wasmtime::{Engine, Module, Precompiled};

/// Read, write and search for the owner, nothing for anybody else.
const OWNER_ONLY: u32 = 0o700;
/// Another number for files in which something else is kept for the same module.
const FORM: u32 = 2;

/// A module that is compiled, in the way in which it is called.
pub(super) enum Code {
    Component(Component),
    Core(Module),
}

/// A directory of compiled modules.
#[derive(Clone, Debug)]
pub struct NativeCodeCache {
    directory: PathBuf,
}

/// Why a directory is not used as a cache.
#[derive(Debug, thiserror::Error)]
pub enum UnsafeCache {
    /// It cannot be made or looked at.
    #[error("the cache of compiled modules, {}, cannot be used", .directory.display())]
    Unusable {
        /// The directory.
        directory: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Somebody else could put another directory in its place.
    #[error(
        "the cache of compiled modules, {}, is not safe: other users may change {}; set \
         XDG_CACHE_HOME to a directory that only you and root may change",
        .directory.display(), .parent.display()
    )]
    Replaceable {
        /// The directory.
        directory: PathBuf,
        /// Where it is.
        parent: PathBuf,
    },
    /// Somebody else could put code into it.
    #[error(
        "the cache of compiled modules, {}, is open to other users; make it yours alone: chmod 700",
        .directory.display()
    )]
    Open {
        /// The directory.
        directory: PathBuf,
    },
}

impl NativeCodeCache {
    /// The cache in this directory, which is made if it is missing.
    ///
    /// # Errors
    /// [`UnsafeCache`] if anybody but the host's user may write there.
    pub fn open(directory: &Path) -> Result<Self, UnsafeCache> {
        let unusable = |source| UnsafeCache::Unusable {
            directory: directory.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(OWNER_ONLY)
            .create(directory)
            .map_err(unusable)?;
        let metadata = fs::metadata(directory).map_err(unusable)?;
        // A file that we make belongs to us; so must the directory.
        let probe = tempfile::NamedTempFile::new_in(directory).map_err(unusable)?;
        let ours = probe.as_file().metadata().map_err(unusable)?.uid();
        if metadata.uid() != ours || metadata.permissions().mode() & 0o777 != OWNER_ONLY {
            return Err(UnsafeCache::Open {
                directory: directory.to_owned(),
            });
        }
        // Without links, so that what was looked at is what is used.
        let directory = directory.canonicalize().map_err(unusable)?;
        for parent in directory.ancestors().skip(1) {
            let metadata = fs::metadata(parent).map_err(unusable)?;
            if !keeps_its_entries(&metadata, ours) {
                return Err(UnsafeCache::Replaceable {
                    parent: parent.to_owned(),
                    directory,
                });
            }
        }
        Ok(Self { directory })
    }

    /// The user's own cache directory: `$XDG_CACHE_HOME/gnomon`, or
    /// `~/.cache/gnomon`; `None` where neither variable is set.
    #[must_use]
    pub fn default_directory() -> Option<PathBuf> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let base = set("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| Path::new(&home).join(".cache")))?;
        Some(base.join("gnomon"))
    }

    /// The compiled module, if it is there and fits the engine.
    pub(super) fn load(&self, engine: &Engine, hash: &ModuleHash) -> Option<Code> {
        let file = self.file(engine, hash);
        let kind = Engine::detect_precompiled_file(&file).ok()??;
        #[expect(
            unsafe_code,
            reason = "the file was written by `store`, whole or not at all, into a directory that \
                      only this user may write; wasmtime checks version and settings"
        )]
        // SAFETY: see the reason above.
        let loaded = unsafe {
            match kind {
                Precompiled::Module => Module::deserialize_file(engine, &file).map(Code::Core),
                Precompiled::Component => {
                    Component::deserialize_file(engine, &file).map(Code::Component)
                }
            }
        };
        loaded
            .inspect_err(|error| tracing::debug!("{} is not used: {error:#}", file.display()))
            .ok()
    }

    /// Keeps a compiled module. A cache that cannot be written costs time, so
    /// it is worth a warning, not an error.
    pub(super) fn store(&self, engine: &Engine, hash: &ModuleHash, code: &Code) {
        let file = self.file(engine, hash);
        let serialized = match code {
            Code::Component(component) => component.serialize(),
            Code::Core(module) => module.serialize(),
        };
        let written = serialized
            .map_err(io::Error::other)
            .and_then(|code| self.write(&file, &code));
        if let Err(error) = written {
            tracing::warn!("{} cannot be written: {error}", file.display());
        }
    }

    fn write(&self, file: &Path, code: &[u8]) -> io::Result<()> {
        let mut temporary = tempfile::NamedTempFile::new_in(&self.directory)?;
        temporary.write_all(code)?;
        temporary.persist(file)?;
        Ok(())
    }

    fn file(&self, engine: &Engine, hash: &ModuleHash) -> PathBuf {
        let mut version = DefaultHasher::new();
        FORM.hash(&mut version);
        engine.precompile_compatibility_hash().hash(&mut version);
        self.directory
            .join(format!("{hash}-{:016x}.cwasm", version.finish()))
    }
}

/// Whether nobody but the user and root can rename what is in a directory. In
/// one that is sticky, as `/tmp` is, everybody can rename only their own.
fn keeps_its_entries(directory: &fs::Metadata, user: u32) -> bool {
    const OTHERS_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let mode = directory.permissions().mode();
    [user, 0].contains(&directory.uid()) && (mode & OTHERS_WRITE == 0 || mode & STICKY != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_cache_belongs_to_its_owner_alone() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("cache");
        NativeCodeCache::open(&directory).unwrap();
        let mode = fs::metadata(&directory).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_cache_that_others_may_replace_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = NativeCodeCache::open(&parent.path().join("cache")).unwrap_err();
        assert!(
            matches!(refused, UnsafeCache::Replaceable { .. }),
            "{refused}"
        );
    }

    #[test]
    fn a_cache_that_others_may_enter_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let refused = NativeCodeCache::open(directory.path()).unwrap_err();
        assert!(refused.to_string().contains("chmod 700"), "{refused}");
    }
}
