//! The SDKs that the binary carries, and how they get into a project.
//!
//! An SDK comes with the binary and lies in `<project>/.gnomon/<language>/`,
//! so that the two always fit and nothing need be published anywhere. What is
//! carried is linked in `carried/`, so that a package of this crate has it too.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

use super::{BuildError, Language};

mod rust;

/// Where SDKs lie in a project.
const FOLDER: &str = ".gnomon";
/// What a `Cargo.toml` is called where it is embedded.
pub(super) const MANIFEST: &str = "manifest.toml";

static C: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/carried/c");
static GO: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/carried/go");
static JAVASCRIPT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/carried/javascript");
static PYTHON: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/carried/python");

/// A file of an SDK, by its path below `.gnomon/`.
type File = (PathBuf, Cow<'static, [u8]>);

/// Writes the SDK of a language into a project, unless exactly this one is
/// there. Another one is replaced as a whole, so that none of it is left.
///
/// # Errors
/// [`BuildError::File`] when it cannot be written.
pub(super) fn write(language: Language, project: &Path) -> Result<(), BuildError> {
    let folder = project.join(FOLDER);
    write_files(&files(language), &folder).map_err(BuildError::writing(&folder))
}

fn write_files(files: &[File], folder: &Path) -> io::Result<()> {
    let is_there =
        |(path, content): &File| fs::read(folder.join(path)).is_ok_and(|found| found == **content);
    if files.iter().all(is_there) {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let new = tempfile::Builder::new().prefix("new-").tempdir_in(folder)?;
    for (path, content) in files {
        let file = new.path().join(path);
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(file, content)?;
    }
    for part in fs::read_dir(new.path())? {
        let part = part?;
        let place = folder.join(part.file_name());
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::rename(part.path(), place)?,
        }
    }
    Ok(())
}

fn files(language: Language) -> Vec<File> {
    match language {
        Language::Rust => rust::files(),
        Language::JavaScript | Language::TypeScript => folder("javascript", &JAVASCRIPT),
        Language::Python => folder("python", &PYTHON),
        Language::Go => folder("go", &GO),
        Language::C => folder("c", &C),
    }
}

/// All files of an embedded folder, but not the tests in it, to be written below
/// `place`.
fn folder(place: &str, embedded: &'static Dir<'static>) -> Vec<File> {
    let is_test = |file: &Path| file.to_string_lossy().ends_with("_test.go");
    embedded_files(embedded)
        .filter(|file| !is_test(file.path()))
        .map(|file| {
            let path = Path::new(place).join(path_in_project(file.path()));
            (path, Cow::Borrowed(file.contents()))
        })
        .collect()
}

/// Where an embedded file goes. Cargo takes a folder with a `Cargo.toml` for
/// another package and leaves it out of this one, so manifests have another name
/// here.
pub(super) fn path_in_project(embedded: &Path) -> PathBuf {
    match embedded.file_name() {
        Some(name) if name == MANIFEST => embedded.with_file_name("Cargo.toml"),
        _ => embedded.to_owned(),
    }
}

/// The files of an embedded folder and of the folders in it.
pub(super) fn embedded_files(
    embedded: &'static Dir<'static>,
) -> Box<dyn Iterator<Item = &'static include_dir::File<'static>>> {
    let deeper = embedded.dirs().flat_map(embedded_files);
    Box::new(embedded.files().chain(deeper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sdk_is_written_once_and_replaced_as_a_whole() {
        let project = tempfile::tempdir().unwrap();
        write(Language::Rust, project.path()).unwrap();
        let sdk = project.path().join(".gnomon/rust/guest-sdk/rust");
        let source = sdk.join("src/lib.rs");
        let written = || fs::metadata(&source).unwrap().modified().unwrap();
        let first = written();
        write(Language::Rust, project.path()).unwrap();
        assert_eq!(written(), first, "what fits is not touched");

        let whole = fs::read(&source).unwrap();
        fs::write(&source, "of another gnomon").unwrap();
        fs::write(sdk.join("src/old.rs"), "of another gnomon").unwrap();
        write(Language::Rust, project.path()).unwrap();
        assert_eq!(fs::read(&source).unwrap(), whole);
        assert!(!sdk.join("src/old.rs").exists());
        let left: Vec<_> = fs::read_dir(project.path().join(FOLDER)).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
