//! What cargo is asked: where the package is, and to compile it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::compiler::{Compiler, TARGET};
use super::{BuildError, RustError};

const PROFILE: &str = "gnomon-guest";

/// The guest profile, complete, so that nothing in an author's `Cargo.toml`
/// weakens it. Without overflow checks a counter at 0 wraps when 1 is taken
/// away, and the batch succeeds.
const PROFILE_SETTINGS: [(&str, &str); 10] = [
    ("inherits", "\"release\""),
    ("opt-level", "3"),
    ("lto", "true"),
    ("codegen-units", "1"),
    ("panic", "\"abort\""),
    ("strip", "true"),
    ("debug", "false"),
    ("debug-assertions", "false"),
    ("overflow-checks", "true"),
    ("incremental", "false"),
];

/// The error of a program of Rust's toolchain that cannot be started.
pub(super) fn missing(tool: &'static str) -> impl Fn(std::io::Error) -> BuildError {
    move |cause| BuildError::Tool {
        tool,
        advice: "install Rust from https://rustup.rs",
        cause,
    }
}

/// What the compiler of the package itself is told, and with `lto` it compiles
/// everything. To decode an event is to call many small functions, and with
/// most of them inlined a guest takes a tenth less time for it.
const COMPILER_SETTINGS: [&str; 1] = ["-Cllvm-args=-inline-threshold=2000"];

/// A Rust package that may be a projection.
#[derive(Debug)]
pub(super) struct Package {
    /// Its folder, absolute.
    pub(super) directory: PathBuf,
    /// Its name.
    pub(super) name: String,
    /// Where cargo leaves what it makes.
    pub(super) target_directory: PathBuf,
    manifest: PathBuf,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

impl Target {
    fn is_module(&self) -> bool {
        self.crate_types.iter().any(|kind| kind == "cdylib")
    }
}

impl Package {
    /// The package in a directory, which is absolute.
    pub(super) fn read(directory: &Path) -> Result<Self, BuildError> {
        let manifest = directory.join("Cargo.toml");
        let output = Command::new("cargo")
            .args(["metadata", "--format-version=1", "--no-deps"])
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .map_err(missing("cargo"))?;
        let failed = |message| RustError::Probe {
            command: "cargo metadata",
            message,
        };
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr);
            return Err(failed(message.trim().to_owned()).into());
        }
        let metadata: Metadata =
            serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))?;
        let package = metadata
            .packages
            .into_iter()
            .find(|package| package.manifest_path == manifest)
            .ok_or_else(|| RustError::NoPackage(directory.to_owned()))?;
        if !package.targets.iter().any(Target::is_module) {
            return Err(RustError::NoLibrary {
                package: package.name,
                manifest,
            }
            .into());
        }
        Ok(Self {
            directory: directory.to_owned(),
            name: package.name,
            target_directory: metadata.target_directory,
            manifest,
        })
    }
}

/// One line of `--message-format=json`.
#[derive(Deserialize)]
struct Message {
    manifest_path: Option<PathBuf>,
    target: Option<Target>,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles a package with the guest profile and returns its core module.
pub(super) fn compile(package: &Package, compiler: &Compiler) -> Result<PathBuf, BuildError> {
    let mut command = Command::new("cargo");
    command
        .args(["rustc", "--lib", "--profile", PROFILE, "--target", TARGET])
        .arg("--message-format=json-render-diagnostics")
        .arg("--manifest-path")
        .arg(&package.manifest)
        .current_dir(&package.directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    for (setting, value) in PROFILE_SETTINGS {
        command.arg("--config");
        command.arg(format!("profile.{PROFILE}.{setting}={value}"));
    }
    compiler.prepare(&mut command);
    command.arg("--").args(COMPILER_SETTINGS);
    let mut cargo = command.spawn().map_err(missing("cargo"))?;
    let mut module = None;
    if let Some(output) = cargo.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line.map_err(missing("cargo"))?;
            module = made(package, &line).or(module);
        }
    }
    let status = cargo.wait().map_err(missing("cargo"))?;
    match module {
        Some(module) if status.success() => Ok(module),
        _ => Err(BuildError::Compilation {
            project: package.name.clone(),
            tool: "cargo",
        }),
    }
}

/// The core module of the package, if this message says that it was made.
fn made(package: &Package, line: &str) -> Option<PathBuf> {
    let message: Message = serde_json::from_str(line).ok()?;
    if message.manifest_path? != package.manifest || !message.target?.is_module() {
        return None;
    }
    message.filenames.into_iter().find(|file| {
        file.extension()
            .is_some_and(|extension| extension == "wasm")
    })
}
