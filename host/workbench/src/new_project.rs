//! A new project from a language's template.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use include_dir::{Dir, include_dir};

use super::sdk::{embedded_files, path_in_project};
use super::{BuildError, Language, sdk};

/// As long as the name of a projection may be.
const NAME_BYTES_MAX: usize = 40;

static C: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/c");
static GO: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/go");
static RUST: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/rust");
static JAVASCRIPT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/javascript");
static TYPESCRIPT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/typescript");
static PYTHON: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/python");

/// What stands in the place of the examples, in a folder for each language.
static EMPTY: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/templates/empty");
/// The fixture of an empty project, which any projection passes.
const NOTHING: &str = "nothing.json";
/// Where fixtures are.
const FIXTURES: &str = "tests";
/// What the README of a template says of its example.
const EXAMPLE_SENTENCE: &str =
    "What customers spend: one row for each of them, in the table `{{projection}}`.";
const EMPTY_SENTENCE: &str = "A projection with one table, `{{projection}}`.";

/// What a new project begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// An example with its fixtures.
    Example,
    /// The least that can be built.
    Empty,
}

/// What a project is called; so are its folder, its package and its projection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectName(String);

/// A project cannot be called that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` cannot be the name of a projection, which begins with a-z, goes on with a-z, 0-9, `_` and \
     `-`, does not end with `-`, and has at most {NAME_BYTES_MAX} characters, as in order-summary"
)]
pub struct InvalidName(String);

impl FromStr for ProjectName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let is_allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(is_allowed)
            && !name.ends_with('-')
            && name.len() <= NAME_BYTES_MAX;
        if is_name {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidName(name.to_owned()))
        }
    }
}

impl ProjectName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of the projection and of its table, which have no `-`.
    #[must_use]
    pub fn projection(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl fmt::Display for ProjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A project cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NewProjectError {
    /// Something has its name.
    #[error("{} already exists and stays as it is; choose another name", .0.display())]
    AlreadyThere(PathBuf),
    /// A folder cannot be written.
    #[error(transparent)]
    Files(#[from] BuildError),
}

const fn template(language: Language) -> &'static Dir<'static> {
    match language {
        Language::Rust => &RUST,
        Language::JavaScript => &JAVASCRIPT,
        Language::TypeScript => &TYPESCRIPT,
        Language::Python => &PYTHON,
        Language::Go => &GO,
        Language::C => &C,
    }
}

/// Makes a project in a new folder below `parent`, whole or not at all, and
/// gives the author's own files in it, in the order of their names.
///
/// # Errors
/// [`NewProjectError`]; what is there already is never touched.
pub fn new_project(
    parent: &Path,
    name: &ProjectName,
    language: Language,
    content: Content,
) -> Result<Vec<PathBuf>, NewProjectError> {
    let place = parent.join(name.as_str());
    if place.symlink_metadata().is_ok() {
        return Err(NewProjectError::AlreadyThere(place));
    }
    let failed = BuildError::writing;
    let new = new_folder(parent, name).map_err(failed(&place))?;
    let mut paths = Vec::new();
    for (file, bytes) in files(name, language, content) {
        let path = new.path().join(&file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(failed(folder))?;
        }
        fs::write(&path, bytes).map_err(failed(&path))?;
        paths.push(place.join(file));
    }
    sdk::write(language, new.path())?;
    fs::rename(new.path(), &place).map_err(failed(&place))?;
    paths.sort();
    Ok(paths)
}

/// The files of a project, by their paths in it.
fn files(name: &ProjectName, language: Language, content: Content) -> Vec<(PathBuf, Vec<u8>)> {
    let template = embedded_files(template(language));
    let file = |file: &'static include_dir::File<'static>, path: &Path| {
        let content = filled_in(file, name, language, content);
        (path_in_project(path), content)
    };
    if content == Content::Example {
        return template.map(|one| file(one, one.path())).collect();
    }
    let empty = EMPTY.get_dir(language.name());
    let own: Vec<_> = empty
        .into_iter()
        .flat_map(embedded_files)
        .filter_map(|one| Some((one, one.path().strip_prefix(language.name()).ok()?)))
        .collect();
    let is_replaced = |path: &Path| own.iter().any(|(_, other)| *other == path);
    let fixture = EMPTY
        .get_file(NOTHING)
        .map(|one| file(one, &Path::new(FIXTURES).join(NOTHING)));
    template
        .filter(|one| !one.path().starts_with(FIXTURES) && !is_replaced(one.path()))
        .map(|one| file(one, one.path()))
        .chain(own.iter().map(|(one, path)| file(one, path)))
        .chain(fixture)
        .collect()
}

/// A folder that becomes the project when it is whole.
fn new_folder(parent: &Path, name: &ProjectName) -> io::Result<tempfile::TempDir> {
    let mut builder = tempfile::Builder::new();
    // What the user's mask leaves of it, as for any other folder.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    builder.prefix(&format!(".{name}-")).tempdir_in(parent)
}

/// A file of a template, with the project's name in it.
fn filled_in(
    file: &'static include_dir::File<'static>,
    name: &ProjectName,
    language: Language,
    content: Content,
) -> Vec<u8> {
    let Some(text) = file.contents_utf8() else {
        return file.contents().to_owned();
    };
    let text = match content {
        Content::Example => text.to_owned(),
        Content::Empty => text.replace(EXAMPLE_SENTENCE, EMPTY_SENTENCE),
    };
    let text = text
        .replace("{{name}}", name.as_str())
        .replace("{{projection}}", &name.projection());
    match (language, file.path().to_str()) {
        (Language::Rust, Some("Cargo.lock")) => in_cargo_order(&text).into_bytes(),
        _ => text.into_bytes(),
    }
}

/// A lock file as cargo itself writes it: the packages by name.
fn in_cargo_order(lock: &str) -> String {
    const PACKAGE: &str = "\n[[package]]\n";
    let mut parts = lock.trim_end().split(PACKAGE);
    let head = parts.next().unwrap_or_default().to_owned();
    let mut packages: Vec<&str> = parts.map(str::trim_end).collect();
    packages.sort_unstable();
    packages.into_iter().fold(head, |lock, package| {
        lock.trim_end().to_owned() + "\n" + PACKAGE + package
    }) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ProjectName {
        text.parse().unwrap()
    }

    #[test]
    fn a_name_fits_every_language_and_database() {
        for allowed in ["spending", "spending-2", "a", "order_summary", "match"] {
            assert_eq!(name(allowed).as_str(), allowed);
        }
        assert_eq!(name("order-summary-2").projection(), "order_summary_2");
        let long = "x".repeat(41);
        for refused in [
            "",
            "Spending-2",
            "2nd",
            "-x",
            "_x",
            "x-",
            "a.b",
            "../x",
            "a b",
            "größe",
            &long,
        ] {
            let message = refused.parse::<ProjectName>().unwrap_err().to_string();
            assert!(message.contains("order-summary"), "{message}");
        }
    }

    #[test]
    fn every_template_becomes_a_project_without_placeholders() {
        let parent = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            for content in [Content::Example, Content::Empty] {
                let name = name(&format!("spending-{language}-{content:?}").to_lowercase());
                let files = new_project(parent.path(), &name, language, content).unwrap();
                let fixtures = files.iter().filter(|file| {
                    file.extension().is_some_and(|end| end == "json")
                        && file.parent().unwrap().ends_with(FIXTURES)
                });
                assert_eq!(
                    fixtures.count(),
                    if content == Content::Example { 2 } else { 1 }
                );
                for wanted in ["README.md", ".gitignore"] {
                    let wanted = parent.path().join(name.as_str()).join(wanted);
                    assert!(files.contains(&wanted), "{language}: {files:?}");
                }
                for file in files {
                    let text = fs::read_to_string(&file).unwrap();
                    assert!(!text.contains("{{"), "{}: {text}", file.display());
                    let is_example = text.contains("customer");
                    assert!(
                        content == Content::Example || !is_example,
                        "{}: {text}",
                        file.display()
                    );
                }
            }
        }
    }

    #[test]
    fn a_new_project_pins_the_versions_that_gnomon_is_tested_with() {
        let packages = |lock: &str| -> Vec<toml::Table> {
            let lock: toml::Table = lock.parse().unwrap();
            let packages = lock["package"].as_array().unwrap().iter();
            packages
                .map(|package| package.as_table().unwrap().clone())
                .collect()
        };
        let own = packages(include_str!("../../../Cargo.lock"));
        let template = RUST.get_file("Cargo.lock").unwrap();
        let published = packages(template.contents_utf8().unwrap())
            .into_iter()
            .filter(|package| package.contains_key("source"));
        for package in published {
            assert!(
                own.iter().any(|known| known["name"] == package["name"]
                    && known.get("checksum") == package.get("checksum")),
                "cargo update has passed host/workbench/templates/rust/Cargo.lock by: {package:?}"
            );
        }
    }

    #[test]
    fn what_is_there_is_never_touched() {
        let parent = tempfile::tempdir().unwrap();
        let place = parent.path().join("spending");
        fs::create_dir(&place).unwrap();
        fs::write(place.join("README.md"), "mine").unwrap();
        let error = new_project(
            parent.path(),
            &name("spending"),
            Language::Rust,
            Content::Example,
        )
        .unwrap_err();
        assert!(matches!(error, NewProjectError::AlreadyThere(_)), "{error}");
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
