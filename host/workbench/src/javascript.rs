//! JavaScript and TypeScript: esbuild bundles an npm package, and
//! componentize-qjs joins it with the QuickJS engine to a component.
//!
//! ```text
//! DIR ──> tsc (types) ──> esbuild ──> one module ──> componentize-qjs ──> component
//!         TypeScript only  with the SDK and what the package depends on
//! ```

use std::path::Path;

use serde::Deserialize;

use super::tools::{Pinned, Tool};
use super::{BuildError, Language, sdk};

/// Where the SDK lies in a project.
const SDK: &str = ".gnomon/javascript";

const NODE: Tool = Tool {
    name: "node",
    advice: "install Node.js 20 or later (Debian: apt-get install nodejs npm)",
};
const NPM: Tool = Tool {
    name: "npm",
    advice: "it comes with Node.js (Debian: apt-get install npm)",
};

/// The builder's own package, and what it reads beside the author's files.
const FILES: [(&str, &[u8]); 6] = [
    (
        "package.json",
        include_bytes!("../toolchains/javascript/package.json"),
    ),
    (
        "package-lock.json",
        include_bytes!("../toolchains/javascript/package-lock.json"),
    ),
    (
        "build.mjs",
        include_bytes!("../toolchains/javascript/build.mjs"),
    ),
    (
        "mappings.mjs",
        include_bytes!("../toolchains/javascript/mappings.mjs"),
    ),
    ("runtime.wasm", RUNTIME),
    ("wit/projection.wit", gnomon_contract::TEXT.as_bytes()),
];

/// The engine; `host/workbench/toolchains/javascript/README.md` says where it is from.
const RUNTIME: &[u8] = include_bytes!("../toolchains/javascript/runtime.wasm");

/// What a `package.json` says.
#[derive(Deserialize)]
struct Package {
    name: Option<String>,
    #[serde(default = "default_main")]
    main: String,
    #[serde(default)]
    dependencies: serde_json::Map<String, serde_json::Value>,
}

fn default_main() -> String {
    "index.js".to_owned()
}

/// Builds the package in `directory`, which is absolute.
pub(super) fn build(directory: &Path, language: Language) -> Result<Vec<u8>, BuildError> {
    let package = read(directory)?;
    sdk::write(language, directory)?;
    let tools = Pinned {
        language: Language::JavaScript,
        files: &FILES,
        installer: NPM,
    }
    .folder(|npm, folder| {
        npm.current_dir(folder)
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    })?;
    install_dependencies(&package, directory, language)?;
    let does_not_compile = |tool| BuildError::Compilation {
        project: package.name.clone().unwrap_or_else(|| package.main.clone()),
        tool,
    };
    if language == Language::TypeScript {
        let compiler = tools.join("node_modules/typescript/bin/tsc");
        let is_sound = NODE.run(|node| {
            node.current_dir(directory)
                .arg(compiler)
                .args(["--noEmit", "--project", "."]);
        })?;
        if !is_sound {
            return Err(does_not_compile("tsc"));
        }
    }
    let scratch = tempfile::tempdir().map_err(BuildError::writing(&std::env::temp_dir()))?;
    let component = scratch.path().join("component.wasm");
    let is_built = NODE.run(|node| {
        node.current_dir(directory)
            .arg(tools.join("build.mjs"))
            .arg(directory)
            .arg(&package.main)
            .arg(directory.join(SDK))
            .arg(tools.join("wit"))
            .arg(&component);
    })?;
    if !is_built {
        return Err(does_not_compile("esbuild and QuickJS"));
    }
    std::fs::read(&component).map_err(BuildError::reading(&component))
}

fn read(directory: &Path) -> Result<Package, BuildError> {
    let path = directory.join("package.json");
    let text = std::fs::read(&path).map_err(BuildError::reading(&path))?;
    serde_json::from_slice(&text)
        .map_err(|error| BuildError::reading(&path)(std::io::Error::other(error)))
}

/// Installs what the author's code depends on, unless that was done.
fn install_dependencies(
    package: &Package,
    directory: &Path,
    language: Language,
) -> Result<(), BuildError> {
    if package.dependencies.is_empty() || directory.join("node_modules").is_dir() {
        return Ok(());
    }
    let is_locked = directory.join("package-lock.json").is_file();
    let is_installed = NPM.run(|npm| {
        npm.current_dir(directory)
            .arg(if is_locked { "ci" } else { "install" });
    })?;
    if is_installed {
        return Ok(());
    }
    Err(BuildError::Installation {
        language,
        tool: NPM.name,
    })
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_engine_is_the_file_that_its_readme_names() {
        let readme = include_str!("../toolchains/javascript/README.md");
        let hash: String = Sha256::digest(RUNTIME)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert!(readme.contains(&hash), "{hash} is not in the README");
    }
}
