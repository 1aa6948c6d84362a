//! What the pages of the documentation refer to is there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// The directory of the repository.
pub(super) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Every file below a directory whose name ends in one of these.
pub(super) fn files_below(directory: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        // A link leads to what is found where it lies.
        let kind = entry.file_type().unwrap();
        if kind.is_symlink() {
            continue;
        }
        if kind.is_dir() {
            // Cargo puts the tag into its target directories.
            let is_made = name.starts_with('.')
                || name == "node_modules"
                || path.join("CACHEDIR.TAG").exists();
            if !is_made {
                files.extend(files_below(&path, endings));
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// A page, and what of it is not code.
struct Page {
    /// The lines outside of fenced blocks, with their numbers.
    lines: Vec<(usize, String)>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        let mut lines = Vec::new();
        let mut is_code = false;
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                lines.push((number + 1, line.to_owned()));
            }
        }
        assert!(!is_code, "{}: a block of code has no end", path.display());
        Self { lines }
    }

    /// What can be linked to within the page, as GitHub names its headings.
    fn anchors(&self) -> BTreeSet<String> {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut anchors = BTreeSet::new();
        for (_, line) in &self.lines {
            let heading = line.trim_start_matches('#');
            if heading.len() == line.len() || !heading.starts_with(' ') {
                continue;
            }
            let anchor = anchor(heading.trim());
            let count = seen.entry(anchor.clone()).or_default();
            anchors.insert(match *count {
                0 => anchor,
                number => format!("{anchor}-{number}"),
            });
            *count += 1;
        }
        anchors
    }

    /// Where its links lead, with the line of each.
    fn links(&self) -> Vec<(usize, String)> {
        let mut links = Vec::new();
        // A link may go over the end of a line, but not its target.
        for (number, line) in &self.lines {
            let line = without_code(line);
            for part in line.split("](").skip(1) {
                let target = part.split(')').next().unwrap();
                links.push((*number, target.to_owned()));
            }
        }
        links
    }
}

/// GitHub's name of a heading.
fn anchor(heading: &str) -> String {
    heading
        .chars()
        .filter_map(|character| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ if character.is_alphanumeric() => Some(character),
            _ => None,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                normal.pop();
            }
            Component::CurDir => {}
            other => normal.push(other),
        }
    }
    normal
}

#[test]
fn every_link_between_pages_leads_to_a_file_and_a_heading() {
    let repository = repository();
    let mut broken = Vec::new();
    let mut checked = 0;
    for path in files_below(&repository, &[".md"]) {
        let page = Page::read(&path);
        let name = path.strip_prefix(&repository).unwrap().display();
        for (line, link) in page.links() {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            checked += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() {
                path.clone()
            } else {
                normal(&path.parent().unwrap().join(file))
            };
            if !target.exists() {
                broken.push(format!("{name}:{line}: there is no {file}"));
            } else if !anchor.is_empty() && !Page::read(&target).anchors().contains(anchor) {
                broken.push(format!("{name}:{line}: {file} has no heading #{anchor}"));
            }
        }
    }
    assert!(checked > 50, "only {checked} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_start_page_leads_to_every_page() {
    let documentation = repository().join("docs");
    let start = documentation.join("README.md");
    let linked: BTreeSet<PathBuf> = Page::read(&start)
        .links()
        .into_iter()
        .map(|(_, link)| normal(&documentation.join(link.split('#').next().unwrap())))
        .collect();
    let left_out: Vec<_> = files_below(&documentation, &[".md"])
        .into_iter()
        .filter(|page| *page != start && !linked.contains(page))
        .collect();
    assert!(left_out.is_empty(), "docs/README.md lacks {left_out:?}");
}

/// The names of pages in messages and comments, as `docs/reference/limits.md`.
fn pages_named_in(text: &str) -> Vec<String> {
    text.match_indices("docs/")
        .filter_map(|(at, _)| {
            let rest = &text[at..];
            let end = rest
                .find(|character: char| {
                    !(character.is_alphanumeric() || "/-_.".contains(character))
                })
                .unwrap_or(rest.len());
            let name = rest[..end].trim_end_matches('.');
            name.ends_with(".md").then(|| name.to_owned())
        })
        .collect()
}

#[test]
fn a_page_that_a_message_names_exists() {
    let repository = repository();
    let mut named = 0;
    for folder in ["host", "guest-sdk", "tests/tests", "tools", "wit"] {
        for path in files_below(&repository.join(folder), &[".rs", ".wit", ".bash", ".sh"]) {
            for page in pages_named_in(&fs::read_to_string(&path).unwrap()) {
                named += 1;
                assert!(
                    repository.join(&page).is_file(),
                    "{} names {page}",
                    path.display()
                );
            }
        }
    }
    assert!(named > 3, "only {named} pages are named");
}

/// The source of the library, with its strings as they are printed.
fn source_text() -> String {
    let mut text = String::new();
    for path in files_below(&repository().join("host"), &[".rs"]) {
        text.push_str(&fs::read_to_string(path).unwrap());
    }
    // A string goes on behind a backslash at the end of a line.
    let mut lines = text.lines();
    let mut joined = String::new();
    let mut is_continued = false;
    for line in lines.by_ref() {
        let line = if is_continued {
            line.trim_start()
        } else {
            line
        };
        is_continued = line.ends_with('\\');
        joined.push_str(line.trim_end_matches('\\'));
        if !is_continued {
            joined.push('\n');
        }
    }
    joined.replace("\\\"", "\"")
}

#[test]
fn every_message_of_the_troubleshooting_page_is_in_the_program() {
    let page = repository().join("docs/how-to/troubleshooting.md");
    let source = source_text();
    let mut messages = 0;
    for line in fs::read_to_string(page).unwrap().lines() {
        let Some(message) = line
            .strip_prefix("| `")
            .and_then(|rest| rest.split("` |").next())
        else {
            continue;
        };
        messages += 1;
        for part in message.split('…') {
            // What stands between two values may be as short as a space.
            let part = part.trim_matches(['`', '.']);
            assert!(source.contains(part), "no message has `{part}`: {line}");
        }
    }
    assert!(messages > 30, "only {messages} messages were found");
}

#[test]
fn every_file_that_the_architecture_names_exists() {
    let repository = repository();
    let text = fs::read_to_string(repository.join("docs/architecture.md")).unwrap();
    let mut roots = vec![repository.clone(), repository.join("host/src")];
    for entry in fs::read_dir(repository.join("host")).unwrap() {
        let package = entry.unwrap().path();
        roots.extend([package.join("src"), package]);
    }
    let mut named = 0;
    for token in text.split('`').skip(1).step_by(2) {
        let is_path = !token.contains(char::is_whitespace)
            && (token.ends_with(".rs") || token.ends_with('/'))
            && token != "host/src/";
        if !is_path {
            continue;
        }
        named += 1;
        for system in ["postgres", "sqlite"] {
            let path = token.replace('*', system);
            let is_there = roots.iter().any(|root| root.join(&path).exists());
            assert!(is_there, "architecture.md names {path}");
        }
    }
    assert!(named > 30, "only {named} files are named");
}

#[test]
fn the_readme_shows_the_projection_that_gnomon_new_writes() {
    let readme = fs::read_to_string(repository().join("README.md")).unwrap();
    let (_, behind) = readme.split_once("```rust\n").unwrap();
    let (shown, _) = behind.split_once("```").unwrap();
    let template = repository().join("host/workbench/templates/rust/src/lib.rs");
    let template = fs::read_to_string(template).unwrap();
    assert_eq!(shown, template.replace("{{projection}}", "spending"));
}

#[test]
fn headings_have_the_names_that_github_gives_them() {
    for (heading, expected) in [
        ("What a column takes", "what-a-column-takes"),
        ("`halt` and `park`", "halt-and-park"),
        ("Who may write? (PostgreSQL)", "who-may-write-postgresql"),
        ("keep-generations", "keep-generations"),
    ] {
        assert_eq!(anchor(heading), expected);
    }
}
