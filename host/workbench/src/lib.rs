//! The guest toolchain: from a projection's source to a component.
//!
//! ```text
//! DIR ──> language ──> its toolchain ──> core module ──> component ──> FILE
//!         (by its                        or component   (contract only)
//!          files)
//! ```
//!
//! Nobody needs a tool beside their language's own: the component is made in
//! process, and it imports nothing but the contract. A language is a file or a
//! folder of its own here, with a function from a directory to the bytes that
//! its toolchain makes.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use gnomon_contract::{ComponentError, from_core_module};

mod c;
mod go;
mod javascript;
mod language;
mod new_project;
mod python;
mod rust;
mod sdk;
mod tools;

pub use c::CError;
pub use language::{Language, UnknownLanguage};
pub use new_project::{Content, InvalidName, NewProjectError, ProjectName, new_project};
pub use rust::{Attempt, RustError};

/// What became of a build.
#[derive(Clone, Debug)]
pub struct Built {
    /// The component.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: usize,
    /// What it was written in.
    pub language: Language,
}

/// A projection cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no such directory.
    #[error("there is no directory {}", .0.display())]
    NoDirectory(PathBuf),
    /// The directory holds no projection.
    #[error(
        "{} holds no projection: it has no Cargo.toml (Rust), package.json (JavaScript, \
         TypeScript), pyproject.toml (Python), go.mod (Go) or *.c; name the directory of one, or \
         make one with `gnomon new`",
        .0.display()
    )]
    NoProjection(PathBuf),
    /// A program is missing or cannot be started.
    #[error("`{tool}` cannot be started: {advice}")]
    Tool {
        /// Its name.
        tool: &'static str,
        /// How it is installed.
        advice: &'static str,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// A compiler refused the source; it has said why on stderr.
    #[error("`{project}` does not compile: the messages of {tool} are above")]
    Compilation {
        /// What the projection's manifest calls it.
        project: String,
        /// Whose messages they are.
        tool: &'static str,
    },
    /// The tools of a language cannot be installed; the installer has said why
    /// on stderr.
    #[error("what builds {language} cannot be installed: the messages of {tool} are above")]
    Installation {
        /// The language.
        language: Language,
        /// Whose messages they are.
        tool: &'static str,
    },
    /// A Python project does not say where its projection is.
    #[error(
        "{} does not say where the projection is: add `projection = \"module:object\"` below \
         [tool.gnomon]",
        .0.display()
    )]
    NoEntryPoint(PathBuf),
    /// There is no place for a language's tools.
    #[error("neither GNOMON_TOOLCHAINS nor HOME says where the tools of a language are kept")]
    NoCache,
    /// What is special to Rust.
    #[error(transparent)]
    Rust(#[from] RustError),
    /// What is special to C.
    #[error(transparent)]
    C(#[from] CError),
    /// The module is no projection.
    #[error("{} holds no projection: {cause}", directory.display())]
    Component {
        /// The source.
        directory: PathBuf,
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

impl BuildError {
    fn reading(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::file(path, "read")
    }

    fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        Self::file(path, "written")
    }

    fn file(path: &Path, what: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        move |cause| Self::File {
            path: path.to_owned(),
            what,
            cause,
        }
    }
}

/// Compiles the projection in `directory` and writes the component to
/// `output`, or else to `<name of the directory>.wasm` in the directory
/// itself. What the compiler has to say goes to stderr. A component that was
/// there is replaced only when the new one is complete.
///
/// Blocks for as long as the compiler needs: seconds, or minutes the first
/// time.
///
/// # Errors
/// [`BuildError`].
pub fn build(directory: &Path, output: Option<&Path>) -> Result<Built, BuildError> {
    let absolute = absolute(directory)?;
    let language =
        Language::of(&absolute).ok_or_else(|| BuildError::NoProjection(directory.to_owned()))?;
    let module = match language {
        Language::Rust => rust::build(&absolute)?,
        Language::C => c::build(&absolute)?,
        Language::Go => go::build(&absolute)?,
        Language::JavaScript | Language::TypeScript => javascript::build(&absolute, language)?,
        Language::Python => python::build(&absolute)?,
    };
    let component = from_core_module(&module).map_err(|cause| BuildError::Component {
        directory: directory.to_owned(),
        cause,
    })?;
    let path = match output {
        Some(output) => output.to_owned(),
        None => component_path(directory)?,
    };
    write_whole(&path, &component).map_err(BuildError::writing(&path))?;
    Ok(Built {
        path,
        bytes: component.len(),
        language,
    })
}

/// Where the component goes if nobody says otherwise: into the directory as it
/// was named, under the directory's own name.
///
/// # Errors
/// When there is no such directory.
pub fn component_path(directory: &Path) -> Result<PathBuf, BuildError> {
    let absolute = absolute(directory)?;
    let mut file = absolute
        .file_name()
        .unwrap_or("projection".as_ref())
        .to_owned();
    file.push(".wasm");
    Ok(if directory == Path::new(".") {
        file.into()
    } else {
        directory.join(file)
    })
}

fn absolute(directory: &Path) -> Result<PathBuf, BuildError> {
    directory
        .canonicalize()
        .map_err(|_| BuildError::NoDirectory(directory.to_owned()))
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
