//! Rust: cargo compiles a package to a core module.
//!
//! ```text
//! DIR ──> compiler for wasm32 ──> cargo rustc ──> core module
//!          (found or fetched)     (guest profile)
//! ```

use std::fmt;
use std::path::{Path, PathBuf};

use super::{BuildError, Language, sdk};

mod cargo;
mod compiler;

pub use compiler::Attempt;

/// A Rust package cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RustError {
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

/// Compiles the package in `directory` to a core module.
pub(super) fn build(directory: &Path) -> Result<Vec<u8>, BuildError> {
    if uses_embedded_sdk(&directory.join("Cargo.toml"))? {
        sdk::write(Language::Rust, directory)?;
    }
    let package = cargo::Package::read(directory)?;
    let compiler = compiler::find(&package)?;
    let module = cargo::compile(&package, &compiler)?;
    std::fs::read(&module).map_err(BuildError::reading(&module))
}

/// A package may take its SDK from elsewhere, as those in Gnomon's own
/// repository do.
fn uses_embedded_sdk(manifest: &Path) -> Result<bool, BuildError> {
    let text = std::fs::read_to_string(manifest).map_err(BuildError::reading(manifest))?;
    Ok(text.contains(".gnomon/rust"))
}
