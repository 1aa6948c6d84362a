//! C: clang compiles a folder's sources, and with them the SDK, to one core
//! module.
//!
//! ```text
//! DIR/*.c + .gnomon/c/*.c ──> clang for wasm32, wasm-ld ──> core module
//!                            (freestanding, sanitized)
//! ```
//!
//! Without a C library: there is no other sysroot to install than clang
//! itself, nothing can ask for WASI, and what a projection must not have
//! (files, clocks, randomness) does not compile.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{BuildError, Language, sdk};

const TARGET: &str = "wasm32-unknown-unknown";

/// Where the SDK is, in the directory.
const SDK: &str = ".gnomon/c";

/// Undefined behaviour arrives in `gnomon_faults.c`, which rejects the event.
/// Checks of function types need C++; the stack lies below the data, so that
/// it overflows into a trap.
const FLAGS: [&str; 17] = [
    "-std=c11",
    "-ffreestanding",
    "-nostdlib",
    "-mbulk-memory",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Wno-missing-field-initializers",
    "-Werror=implicit-function-declaration",
    "-fsanitize=undefined",
    "-fno-sanitize=function",
    "-fno-ident",
    "-Wl,--no-entry",
    "-Wl,--strip-all",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=1048576",
    "-Wl,--fatal-warnings",
];

/// Beside plain `clang`, the names that Debian and others give it.
const NEWEST: u32 = 24;
/// Older ones are not looked for. Tried with 19.
const OLDEST: u32 = 15;

const ADVICE: &str = "install clang 15 or newer and lld: `apt-get install clang lld` (Debian 13), \
     `apt-get install clang-19 lld-19` (Debian 12), `brew install llvm lld` (macOS)";

/// C cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum CError {
    /// No compiler was found.
    #[error("no clang with a linker for {TARGET} was found: {ADVICE}")]
    NoCompiler,
}

/// Compiles the sources in `directory` to a core module.
pub(super) fn build(directory: &Path) -> Result<Vec<u8>, BuildError> {
    let clang = find().ok_or(CError::NoCompiler)?;
    sdk::write(Language::C, directory)?;
    let made = tempfile::NamedTempFile::new().map_err(BuildError::writing(directory))?;
    let mut command = Command::new(&clang);
    command
        .arg(format!("--target={TARGET}"))
        .args(FLAGS)
        .args(["-isystem", SDK, "-o"])
        .arg(made.path())
        .args(sources(directory, Path::new("."))?)
        .args(sources(directory, Path::new(SDK))?)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::from(std::io::stderr()));
    let status = command.status().map_err(|cause| BuildError::Tool {
        tool: "clang",
        advice: ADVICE,
        cause,
    })?;
    if !status.success() {
        return Err(BuildError::Compilation {
            project: directory.display().to_string(),
            tool: "clang",
        });
    }
    let mut module = std::fs::read(made.path()).map_err(BuildError::reading(made.path()))?;
    gnomon_contract::embed(&mut module).map_err(|cause| BuildError::Component {
        directory: directory.to_owned(),
        cause,
    })?;
    Ok(module)
}

/// The sources in a folder of the directory, by their names, so that every
/// build gives the same bytes.
fn sources(directory: &Path, folder: &Path) -> Result<Vec<PathBuf>, BuildError> {
    let place = directory.join(folder);
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(&place).map_err(BuildError::reading(&place))? {
        let name: PathBuf = entry
            .map_err(BuildError::reading(&place))?
            .file_name()
            .into();
        if is_source(&name) {
            // The folder before it, so that no name is taken for an option.
            sources.push(folder.join(name));
        }
    }
    sources.sort();
    Ok(sources)
}

fn is_source(file: &Path) -> bool {
    file.extension().is_some_and(|extension| extension == "c")
}

/// The compiler: `CC`, if it is one, or else the first that is.
fn find() -> Option<PathBuf> {
    let given = std::env::var_os("CC").map(PathBuf::from);
    let numbered = (OLDEST..=NEWEST)
        .rev()
        .map(|version| format!("clang-{version}").into());
    given
        .into_iter()
        .chain(["clang".into()])
        .chain(numbered)
        .find(|clang| has_linker(clang))
}

/// Whether it is a clang that makes WebAssembly and can link it.
fn has_linker(clang: &Path) -> bool {
    let output = Command::new(clang)
        .arg(format!("--target={TARGET}"))
        .args(["-print-prog-name=wasm-ld"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    // A program that is not found is given by its bare name.
    output.is_ok_and(|output| output.status.success() && output.stdout.trim_ascii().contains(&b'/'))
}
