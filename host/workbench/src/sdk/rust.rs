//! The Rust SDK as a workspace: three packages in the folders that they have
//! in Gnomon's own repository, with the contract in its place.

use std::borrow::Cow;
use std::path::Path;

use include_dir::{Dir, include_dir};
use toml::{Table, Value};

use super::{File, MANIFEST, folder};

/// Gnomon's own workspace, from which the packages inherit.
const WORKSPACE: &str = include_str!("../../carried/workspace.toml");

static SDK: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/carried/sdk");
static DERIVE: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/carried/derive");
static MODEL: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/carried/model");

/// The packages, each by its folder.
const MEMBERS: [&str; 3] = ["guest-sdk/rust", "guest-sdk/rust-derive", "host/model"];

pub(super) fn files() -> Vec<File> {
    let root = Path::new("rust");
    let mut files = vec![
        (
            root.join("Cargo.toml"),
            Cow::Owned(workspace().into_bytes()),
        ),
        (
            root.join("guest-sdk/rust/wit/projection.wit"),
            Cow::Borrowed(gnomon_contract::TEXT.as_bytes()),
        ),
    ];
    for (member, embedded) in MEMBERS.into_iter().zip([&SDK, &DERIVE, &MODEL]) {
        files.extend(folder(&format!("rust/{member}"), embedded));
    }
    files
}

/// The workspace without what the packages have no use for.
fn workspace() -> String {
    let Ok(mut manifest) = WORKSPACE.parse::<Table>() else {
        // Cargo reads the same text to build this.
        return WORKSPACE.to_owned();
    };
    manifest.remove("profile");
    if let Some(workspace) = manifest.get_mut("workspace").and_then(Value::as_table_mut) {
        let members = MEMBERS.map(|member| Value::String(member.to_owned()));
        workspace.insert("members".to_owned(), Value::Array(members.to_vec()));
        if let Some(dependencies) = workspace
            .get_mut("dependencies")
            .and_then(Value::as_table_mut)
        {
            let manifests = [&SDK, &DERIVE, &MODEL].map(manifest_of);
            dependencies.retain(|name, _| {
                let inherited = format!("{name}.workspace");
                let inherited_with_features = format!("{name} = {{ workspace");
                manifests.iter().any(|manifest| {
                    manifest.lines().any(|line| {
                        line.starts_with(&inherited) || line.starts_with(&inherited_with_features)
                    })
                })
            });
        }
    }
    manifest.to_string()
}

fn manifest_of(package: &'static Dir<'static>) -> &'static str {
    package
        .get_file(MANIFEST)
        .and_then(include_dir::File::contents_utf8)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_has_what_its_packages_inherit_and_no_more() {
        let workspace: Table = workspace().parse().unwrap();
        let inherited = workspace["workspace"]["dependencies"].as_table().unwrap();
        let names: Vec<&str> = inherited.keys().map(String::as_str).collect();
        for name in ["gnomon-model", "serde_json", "wit-bindgen", "bigdecimal"] {
            assert!(names.contains(&name), "{name} is not in {names:?}");
        }
        for name in ["gnomon", "sqlx", "wasmtime", "tokio"] {
            assert!(!names.contains(&name), "{name} is in {names:?}");
        }
        assert!(!workspace.contains_key("profile"));
    }
}
