//! What is tested: a project, which is built when need be, or a component.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tokio::task::spawn_blocking;

use super::super::output;
use super::shown_path;

/// Folders of a project that hold no source.
const NO_SOURCE: [&str; 4] = ["target", "node_modules", "__pycache__", "tests"];

/// A project or a component, and its fixtures.
#[derive(Clone, Debug)]
pub(super) struct Subject {
    path: PathBuf,
    fixtures: Option<PathBuf>,
}

impl Subject {
    pub(super) const fn new(path: PathBuf, fixtures: Option<PathBuf>) -> Self {
        Self { path, fixtures }
    }

    /// The project's directory or the component's file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A fixture or a folder of them.
    pub(super) fn fixtures(&self) -> PathBuf {
        if let Some(fixtures) = &self.fixtures {
            return fixtures.clone();
        }
        let folder = if self.path.is_dir() {
            Some(self.path.as_path())
        } else {
            self.path.parent()
        };
        match folder {
            Some(folder) if folder != Path::new(".") => folder.join("tests"),
            _ => PathBuf::from("tests"),
        }
    }

    /// The component; that of a project is built if it is missing, or older
    /// than the source.
    pub(super) async fn component(&self) -> anyhow::Result<PathBuf> {
        if !self.path.is_dir() {
            return Ok(self.path.clone());
        }
        let component = gnomon_workbench::component_path(&self.path)?;
        let built = fs::metadata(&component).and_then(|metadata| metadata.modified());
        let why = match (built, newest_source(&self.path)) {
            (Err(_), _) => "it is not built yet".to_owned(),
            (Ok(built), Some((changed, file))) if changed > built => {
                format!("{} has changed", shown_path(&file))
            }
            _ => return Ok(component),
        };
        output::say(&format!("building {}: {why}", shown_path(&component)));
        let directory = self.path.clone();
        let built = spawn_blocking(move || gnomon_workbench::build(&directory, None)).await??;
        Ok(built.path)
    }
}

/// The file of a project's source that was changed last, and when.
fn newest_source(directory: &Path) -> Option<(SystemTime, PathBuf)> {
    let entries = fs::read_dir(directory).ok()?.flatten();
    entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_none_or(|name| is_source(Path::new(name)))
        })
        .filter_map(|path| {
            let metadata = fs::metadata(&path).ok()?;
            if metadata.is_dir() {
                newest_source(&path)
            } else {
                Some((metadata.modified().ok()?, path))
            }
        })
        .max()
}

/// Whether a file or folder of a project may be source, by its path below the
/// project.
pub(super) fn is_source(path: &Path) -> bool {
    let is_of_tools = path.iter().any(|part| {
        let part = part.to_string_lossy();
        part.starts_with('.') || NO_SOURCE.contains(&&*part)
    });
    let is_component = path
        .extension()
        .is_some_and(|extension| extension == "wasm");
    !is_of_tools && !is_component
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tools_make_is_no_source() {
        for (path, expected) in [
            ("src/lib.rs", true),
            ("Cargo.lock", true),
            ("spending.wasm", false),
            ("target/debug/x.rs", false),
            (".gnomon/rust/wit/projection.wit", false),
            (".gitignore", false),
            ("tests/spending.json", false),
            ("node_modules/a/index.js", false),
        ] {
            assert_eq!(is_source(Path::new(path)), expected, "{path}");
        }
    }
}
