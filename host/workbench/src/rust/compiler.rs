//! Finds a Rust compiler for WebAssembly, or fetches what it lacks.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::cargo::{Package, missing};
use super::{BuildError, RustError};

/// Its standard library asks for no imports at all.
pub(super) const TARGET: &str = "wasm32-unknown-unknown";

/// Where Debian's `rustc-web` puts its compiler.
const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Enough for 20 MB on a slow line; without a network rustup can hang.
const RUSTUP_TIME_LIMIT: Duration = Duration::from_secs(120);
/// How long a failure of rustup is remembered.
const RUSTUP_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// Where the compiler's standard library comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CompilerKind {
    /// The target was installed.
    Installed,
    /// `rustup target add` installed it.
    Rustup,
    /// The standard library is built from the toolchain's own source.
    RustSource,
    /// So it is with Debian's compiler.
    Debian,
}

/// A way to a compiler that led nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What was tried.
    pub what: &'static str,
    /// Why it failed.
    pub why: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.what, self.why)
    }
}

/// A compiler that can make modules.
#[derive(Debug)]
pub(super) struct Compiler {
    kind: CompilerKind,
    /// Another `rustc` than cargo's own.
    rustc: Option<PathBuf>,
    linker: Option<PathBuf>,
}

impl Compiler {
    const fn with_target(kind: CompilerKind) -> Self {
        Self {
            kind,
            rustc: None,
            linker: None,
        }
    }

    /// Makes a `cargo rustc` use it.
    pub(super) fn prepare(&self, cargo: &mut Command) {
        if let Some(rustc) = &self.rustc {
            cargo.env("RUSTC", rustc);
        }
        if let Some(linker) = &self.linker {
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        if matches!(self.kind, CompilerKind::RustSource | CompilerKind::Debian) {
            cargo.env("RUSTC_BOOTSTRAP", "1");
            cargo.arg("-Zbuild-std=std,panic_abort");
        }
    }
}

/// Finds a compiler for a package, in the order of [`CompilerKind`].
pub(super) fn find(package: &Package) -> Result<Compiler, BuildError> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let own = Sysroot::of(&rustc, &package.directory)?;
    if own.has_target() {
        return Ok(Compiler::with_target(CompilerKind::Installed));
    }
    let mut attempts = vec![Attempt {
        what: "the installed target",
        why: format!("{} has none", own.path.display()),
    }];
    match add_target(package, &own) {
        Ok(()) => return Ok(Compiler::with_target(CompilerKind::Rustup)),
        Err(why) => attempts.push(Attempt {
            what: "rustup target add",
            why,
        }),
    }
    if own.has_source()
        && let Some(linker) = own.linker()
    {
        return Ok(Compiler {
            kind: CompilerKind::RustSource,
            rustc: None,
            linker: Some(linker),
        });
    }
    attempts.push(Attempt {
        what: "rust-src",
        why: format!("{} has none", own.path.display()),
    });
    match debian(package, &own) {
        Ok(compiler) => Ok(compiler),
        Err(why) => {
            attempts.push(Attempt {
                what: "Debian's rustc-web",
                why,
            });
            Err(RustError::NoCompiler(attempts).into())
        }
    }
}

/// Debian's compiler, which has the source of its standard library but not
/// always a linker for WebAssembly: the other toolchain's does as well.
fn debian(package: &Package, own: &Sysroot) -> Result<Compiler, String> {
    let rustc = PathBuf::from(DEBIAN_RUSTC);
    if !rustc.exists() {
        return Err(format!("{DEBIAN_RUSTC} does not exist"));
    }
    let sysroot = Sysroot::of(&rustc, &package.directory).map_err(|error| error.to_string())?;
    if !sysroot.has_source() {
        return Err("the package rust-web-src is missing".to_owned());
    }
    let linker = sysroot
        .linker()
        .or_else(|| own.linker())
        .ok_or("no rust-lld and no wasm-ld (package lld) to link with")?;
    Ok(Compiler {
        kind: CompilerKind::Debian,
        rustc: Some(rustc),
        linker: Some(linker),
    })
}

/// A compiler's own folder.
struct Sysroot {
    path: PathBuf,
    /// The libraries of the wasm target, whether they are there or not.
    target_libraries: PathBuf,
}

impl Sysroot {
    /// The folder of the compiler that `rustc` is in this directory: rustup
    /// picks one by it.
    fn of(rustc: &Path, directory: &Path) -> Result<Self, BuildError> {
        let output = Command::new(rustc)
            .args([
                "--print=sysroot",
                "--print=target-libdir",
                "--target",
                TARGET,
            ])
            .current_dir(directory)
            .stdin(Stdio::null())
            .output()
            .map_err(missing("rustc"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut lines = text.lines();
        match (output.status.success(), lines.next(), lines.next()) {
            (true, Some(path), Some(target_libraries)) => Ok(Self {
                path: path.into(),
                target_libraries: target_libraries.into(),
            }),
            _ => Err(RustError::Probe {
                command: "rustc --print=sysroot",
                message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }
            .into()),
        }
    }

    fn has_target(&self) -> bool {
        let is_core = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("libcore-");
        fs::read_dir(&self.target_libraries)
            .is_ok_and(|files| files.flatten().any(|file| is_core(&file.file_name())))
    }

    fn has_source(&self) -> bool {
        self.path
            .join("lib/rustlib/src/rust/library/std/Cargo.toml")
            .is_file()
    }

    fn is_of_rustup(&self) -> bool {
        self.path
            .join("lib/rustlib/multirust-channel-manifest.toml")
            .is_file()
    }

    /// A linker for WebAssembly.
    fn linker(&self) -> Option<PathBuf> {
        let hosts = fs::read_dir(self.path.join("lib/rustlib")).ok()?;
        let bundled = hosts.flatten().map(|host| host.path().join("bin/rust-lld"));
        let installed = ["rust-lld", "wasm-ld"].map(|name| self.path.join("bin").join(name));
        bundled.chain(installed).find(|linker| linker.is_file())
    }
}

/// Installs the target with rustup. A failure is remembered, so that a
/// machine without a network waits once and not at every build.
fn add_target(package: &Package, sysroot: &Sysroot) -> Result<(), String> {
    if !sysroot.is_of_rustup() {
        return Err("the compiler is not rustup's".to_owned());
    }
    let memory = package.target_directory.join("gnomon-rustup-failure");
    if let Some(why) = remembered(&memory) {
        return Err(format!("{why} (remembered in {})", memory.display()));
    }
    let failure = match run_rustup(package) {
        Ok(()) if sysroot.has_target() => return Ok(()),
        Ok(()) => "it succeeded, but the target is not there".to_owned(),
        Err(why) => why,
    };
    // Where it cannot be remembered it is only tried again.
    let _ = fs::create_dir_all(&package.target_directory);
    let _ = fs::write(&memory, &failure);
    Err(failure)
}

fn remembered(memory: &Path) -> Option<String> {
    let age = fs::metadata(memory).ok()?.modified().ok()?.elapsed().ok()?;
    if age > RUSTUP_RETRY_AFTER {
        return None;
    }
    fs::read_to_string(memory).ok()
}

fn run_rustup(package: &Package) -> Result<(), String> {
    let mut rustup = Command::new("rustup")
        .args(["target", "add", TARGET])
        .current_dir(&package.directory)
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        // What it prints goes where cargo's progress goes.
        .stdout(Stdio::from(std::io::stderr()))
        .spawn()
        .map_err(|error| format!("rustup cannot be started: {error}"))?;
    match wait(&mut rustup, RUSTUP_TIME_LIMIT) {
        Ok(Some(status)) if status.success() => Ok(()),
        Ok(Some(status)) => Err(format!("it failed ({status})")),
        Ok(None) => Err(format!(
            "it took longer than {} s",
            RUSTUP_TIME_LIMIT.as_secs()
        )),
        Err(error) => Err(format!("it cannot be waited for: {error}")),
    }
}

/// Waits for a process; after the limit it is killed.
fn wait(process: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    const LOOK_EVERY: Duration = Duration::from_millis(50);
    let begun = Instant::now();
    while begun.elapsed() < limit {
        if let Some(status) = process.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    process.kill()?;
    process.wait()?;
    Ok(None)
}
