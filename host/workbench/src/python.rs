//! Python: componentize-py joins a project with CPython to a component.
//!
//! ```text
//! DIR ──> componentize-py ──> component
//!         with the SDK and the packages of DIR/.venv
//! ```

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use super::tools::{Pinned, Tool};
use super::{BuildError, Language, sdk};

/// Where the SDK lies in a project.
const SDK: &str = ".gnomon/python";
/// The module that becomes the component.
const COMPONENT: &str = "gnomon_component";

const PYTHON: Tool = Tool {
    name: "python3",
    advice: "install Python 3.11 or later with pip (Debian: apt-get install python3 python3-pip)",
};

const FILES: [(&str, &[u8]); 2] = [
    (
        "requirements.txt",
        include_bytes!("../toolchains/python/requirements.txt"),
    ),
    ("wit/projection.wit", gnomon_contract::TEXT.as_bytes()),
];

/// What a `pyproject.toml` says.
#[derive(Deserialize)]
struct Project {
    tool: Option<Tools>,
}

#[derive(Deserialize)]
struct Tools {
    gnomon: Option<Settings>,
}

#[derive(Deserialize)]
struct Settings {
    projection: Option<String>,
}

/// Builds the project in `directory`, which is absolute.
pub(super) fn build(directory: &Path) -> Result<Vec<u8>, BuildError> {
    let manifest = directory.join("pyproject.toml");
    let projection = projection_of(&manifest)?;
    sdk::write(Language::Python, directory)?;
    let tools = Pinned {
        language: Language::Python,
        files: &FILES,
        installer: PYTHON,
    }
    .folder(install)?;
    let scratch = tempfile::tempdir().map_err(BuildError::writing(&std::env::temp_dir()))?;
    let main = scratch.path().join(COMPONENT).with_extension("py");
    fs::write(&main, component_module(&projection)).map_err(BuildError::writing(&main))?;
    let component = scratch.path().join("component.wasm");
    let is_built = PYTHON.run(|python| {
        python
            .current_dir(directory)
            .env("PYTHONPATH", tools.join("packages"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            // What fails is the author's; the frames are the builder's.
            .env("RUST_BACKTRACE", "0")
            .args(["-c", "import componentize_py; componentize_py.script()"])
            .arg("--wit-path")
            .arg(tools.join("wit"))
            .args(["--world", "projection", "componentize", "--stub-wasi"]);
        for folder in modules(directory, scratch.path()) {
            python.arg("--python-path").arg(folder);
        }
        python.arg(COMPONENT).arg("--output").arg(&component);
    })?;
    if !is_built {
        return Err(BuildError::Compilation {
            project: projection.text,
            tool: "componentize-py",
        });
    }
    fs::read(&component).map_err(BuildError::reading(&component))
}

fn install(python: &mut Command, folder: &Path) {
    python
        .current_dir(folder)
        .args(["-m", "pip", "install", "--quiet", "--no-input"])
        .args(["--disable-pip-version-check", "--root-user-action=ignore"])
        .arg("--require-hashes")
        .args(["--target", "packages", "--requirement", "requirements.txt"]);
}

/// The folders in which the component's modules are.
fn modules(directory: &Path, scratch: &Path) -> Vec<PathBuf> {
    let mut folders = vec![scratch.to_owned(), directory.join(SDK)];
    let source = directory.join("src");
    folders.push(if source.is_dir() {
        source
    } else {
        directory.to_owned()
    });
    // One version of Python has one such folder.
    if let Ok(versions) = fs::read_dir(directory.join(".venv/lib")) {
        let packages = |version: fs::DirEntry| version.path().join("site-packages");
        folders.extend(
            versions
                .flatten()
                .map(packages)
                .filter(|folder| folder.is_dir()),
        );
    }
    folders
}

/// An object in a module.
struct Place {
    text: String,
    module: String,
    object: String,
}

fn projection_of(manifest: &Path) -> Result<Place, BuildError> {
    let text = fs::read_to_string(manifest).map_err(BuildError::reading(manifest))?;
    let project: Project = toml::from_str(&text)
        .map_err(|error| BuildError::reading(manifest)(std::io::Error::other(error)))?;
    project
        .tool
        .and_then(|tool| tool.gnomon)
        .and_then(|gnomon| gnomon.projection)
        .as_deref()
        .and_then(place)
        .ok_or_else(|| BuildError::NoEntryPoint(manifest.to_owned()))
}

/// `module:object`, where both are names and the module may have dots.
fn place(text: &str) -> Option<Place> {
    let is_name = |name: &str| {
        !name.is_empty()
            && !name.starts_with(|first: char| first.is_ascii_digit())
            && name
                .chars()
                .all(|part| part == '_' || part.is_alphanumeric())
    };
    let (module, object) = text.split_once(':')?;
    (module.split('.').all(is_name) && is_name(object)).then(|| Place {
        text: text.to_owned(),
        module: module.to_owned(),
        object: object.to_owned(),
    })
}

fn component_module(projection: &Place) -> String {
    let Place { module, object, .. } = projection;
    format!(
        "import sys\n\
         sys.dont_write_bytecode = True\n\
         # First of all: it replaces what others may import.\n\
         from gnomon.component import component\n\
         from {module} import {object} as declared\n\
         WitWorld = component(declared)\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_point_is_a_module_and_an_object() {
        for text in ["spending:projection", "shop.spending:projection_2"] {
            assert_eq!(place(text).unwrap().text, text);
        }
        for text in [
            "spending",
            "spending:",
            ":x",
            "a b:c",
            "a:b.c",
            "a..b:c",
            "2:a",
            "a;b:c",
        ] {
            assert!(place(text).is_none(), "{text}");
        }
    }
}
