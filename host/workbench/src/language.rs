//! The languages in which a projection can be written.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// A language whose toolchain `gnomon build` drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// A Rust package: `Cargo.toml`.
    Rust,
    /// An npm package whose `main` is JavaScript: `package.json`.
    JavaScript,
    /// An npm package whose `main` is TypeScript: `package.json`.
    TypeScript,
    /// A Python project: `pyproject.toml`.
    Python,
    /// A Go module: `go.mod`.
    Go,
    /// C sources: `*.c`.
    C,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Rust,
        Self::JavaScript,
        Self::TypeScript,
        Self::Python,
        Self::Go,
        Self::C,
    ];

    /// What the command line calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rust => "rust",
            Self::JavaScript => "javascript",
            Self::TypeScript => "typescript",
            Self::Python => "python",
            Self::Go => "go",
            Self::C => "c",
        }
    }

    /// The language of the projection in a directory, by its files.
    #[must_use]
    pub fn of(directory: &Path) -> Option<Self> {
        let has = |file: &str| directory.join(file).is_file();
        if has("Cargo.toml") {
            Some(Self::Rust)
        } else if has("package.json") {
            Some(javascript_or_typescript(&directory.join("package.json")))
        } else if has("pyproject.toml") {
            Some(Self::Python)
        } else if has("go.mod") {
            Some(Self::Go)
        } else if holds_c(directory) {
            Some(Self::C)
        } else {
            None
        }
    }
}

/// By the extension of `main`. What else is wrong with the file is for the
/// build to say.
fn javascript_or_typescript(manifest: &Path) -> Language {
    let main = std::fs::read(manifest)
        .ok()
        .and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok())
        .and_then(|manifest| Some(manifest.get("main")?.as_str()?.to_owned()))
        .unwrap_or_default();
    match Path::new(&main).extension() {
        Some(extension) if extension == "ts" || extension == "mts" => Language::TypeScript,
        _ => Language::JavaScript,
    }
}

fn holds_c(directory: &Path) -> bool {
    std::fs::read_dir(directory).is_ok_and(|files| {
        files
            .flatten()
            .any(|file| file.path().extension().is_some_and(|end| end == "c"))
    })
}

impl fmt::Display for Language {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// No language is called that.
#[derive(Debug, thiserror::Error)]
#[error("no language is called `{name}`; there are {}", Language::ALL.map(Language::name).join(", "))]
pub struct UnknownLanguage {
    /// What was asked for.
    pub name: String,
}

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|language| language.name() == name)
            .ok_or_else(|| UnknownLanguage {
                name: name.to_owned(),
            })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_language_is_known_by_its_files() {
        for (file, text, language) in [
            ("Cargo.toml", "", Some(Language::Rust)),
            ("package.json", "{}", Some(Language::JavaScript)),
            ("package.json", "not JSON", Some(Language::JavaScript)),
            (
                "package.json",
                r#"{"main": "spending.ts"}"#,
                Some(Language::TypeScript),
            ),
            ("pyproject.toml", "", Some(Language::Python)),
            ("go.mod", "", Some(Language::Go)),
            ("spending.c", "", Some(Language::C)),
            ("README.md", "", None),
        ] {
            let directory = tempfile::tempdir().unwrap();
            fs::write(directory.path().join(file), text).unwrap();
            assert_eq!(Language::of(directory.path()), language, "{file} {text}");
        }
    }

    #[test]
    fn every_name_is_read_back() {
        for language in Language::ALL {
            assert_eq!(language.name().parse::<Language>().unwrap(), language);
        }
        let message = "cobol".parse::<Language>().unwrap_err().to_string();
        assert!(message.contains("typescript"), "{message}");
    }
}
