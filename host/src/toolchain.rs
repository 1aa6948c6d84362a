//! The guest toolchain: from a projection's source to a component.
//!
//! ```text
//! DIR ──> compiler for wasm32 ──> cargo build ──> core module ──> component ──> FILE
//!          (found or fetched)     (guest profile)                 (contract only)
//! ```
//!
//! Nobody needs a tool beside their language's own: the component is made in
//! process, and it imports nothing but the contract.

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};

mod cargo;
mod compiler;
mod component;

pub use compiler::{Attempt, CompilerKind};
pub use component::{ComponentError, from_core_module};

/// What became of a build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: usize,
    /// Which compiler made it.
    pub compiler: CompilerKind,
}

/// A projection cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The directory holds no Rust package.
    #[error(
        "{} has no Cargo.toml: name the directory of a projection, or make one with `gnomon new`",
        .0.display()
    )]
    NoManifest(PathBuf),
    /// The directory holds a workspace and no package.
    #[error("{} is a workspace without a package: name the directory of one projection", .0.display())]
    NoPackage(PathBuf),
    /// The package makes no module.
    #[error(
        "package `{package}` makes no module: add `crate-type = [\"cdylib\", \"rlib\"]` below [lib] in {}",
        manifest.display()
    )]
    NoLibrary {
        /// The package's name.
        package: String,
        /// Its `Cargo.toml`.
        manifest: PathBuf,
    },
    /// A tool is missing or cannot be started.
    #[error("`{tool}` cannot be started: install Rust from https://rustup.rs")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// cargo or rustc did not say what it was asked for.
    #[error("{command} failed: {message}")]
    Probe {
        /// What was run.
        command: &'static str,
        /// What it said.
        message: String,
    },
    /// No compiler for WebAssembly was found.
    #[error("no Rust compiler for {} was found{}", compiler::TARGET, Attempts(.0))]
    NoCompiler(Vec<Attempt>),
    /// cargo refused the source; it has said why on stderr.
    #[error("package `{package}` does not compile: cargo's messages are above")]
    Compilation {
        /// The package's name.
        package: String,
    },
    /// The module is no projection.
    #[error("package `{package}` is no projection: {cause}")]
    Component {
        /// The package's name.
        package: String,
        /// What is wrong with its module.
        #[source]
        cause: ComponentError,
    },
    /// A file cannot be read or written.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read" or "written".
        what: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// What was tried, and what to install.
struct Attempts<'a>(&'a [Attempt]);

impl fmt::Display for Attempts<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attempt in self.0 {
            write!(formatter, "\n  {attempt}")?;
        }
        write!(
            formatter,
            "\ninstall one of these:\n  \
             rustup target add {}\n  \
             rustup component add rust-src\n  \
             apt-get install rustc-web rust-web-src   (Debian)",
            compiler::TARGET
        )
    }
}

/// Compiles the projection in `directory` and writes the component to
/// `output`, or else to `<name of the directory>.wasm` in the directory
/// itself. What cargo has to say goes to stderr. A component that was there
/// is replaced only when the new one is complete.
///
/// Blocks for as long as the compiler needs: seconds, or minutes the first
/// time.
///
/// # Errors
/// [`BuildError`].
pub fn build(directory: &Path, output: Option<&Path>) -> Result<Built, BuildError> {
    let package = cargo::Package::read(directory)?;
    let compiler = compiler::find(&package)?;
    let module_path = cargo::compile(&package, &compiler)?;
    let module = std::fs::read(&module_path).map_err(|cause| BuildError::File {
        path: module_path,
        what: "read",
        cause,
    })?;
    let component = from_core_module(&module).map_err(|cause| BuildError::Component {
        package: package.name.clone(),
        cause,
    })?;
    let path = output.map_or_else(|| package.default_output(directory), Path::to_owned);
    write_whole(&path, &component).map_err(|cause| BuildError::File {
        path: path.clone(),
        what: "written",
        cause,
    })?;
    Ok(Built {
        path,
        bytes: component.len(),
        compiler: compiler.kind,
    })
}

/// Writes a file so that nobody sees half of it: a host may be watching.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}
