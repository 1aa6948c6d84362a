//! The pages of the reference have what the source has.

const ERRORS: &str = include_str!("../../docs/reference/errors.md");
const LIMITS: &str = include_str!("../../docs/reference/limits.md");

/// The names in the first column of the table behind a line.
fn documented(page: &'static str, line: &str) -> Vec<&'static str> {
    let (_, behind) = page.split_once(&format!("\n{line}\n")).unwrap();
    behind
        .lines()
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .collect()
}

/// The variants of an enum without fields, from its source.
fn variants(source: &'static str, name: &str) -> Vec<&'static str> {
    let (_, body) = source.split_once(&format!("pub enum {name} {{")).unwrap();
    body.lines()
        .map(str::trim)
        .take_while(|line| *line != "}")
        .filter(|line| line.ends_with(',') && !line.starts_with("//"))
        .map(|line| line.trim_end_matches(','))
        .collect()
}

#[test]
fn every_class_of_errors_is_in_the_reference() {
    for (name, source) in [
        (
            "EventStoreErrorKind",
            include_str!("../event-store/src/store/error.rs"),
        ),
        (
            "SourceErrorKind",
            include_str!("../event-store/src/source.rs"),
        ),
        (
            "StorageErrorKind",
            include_str!("../model/src/storage_error.rs"),
        ),
    ] {
        let found = documented(ERRORS, &format!("`{name}`:"));
        assert_eq!(found, variants(source, name), "{name}");
    }
}

#[test]
fn every_state_is_in_the_reference() {
    for (heading, name) in [
        ("## States of a projection", "RunState"),
        ("## States of a generation", "GenerationState"),
    ] {
        let mut known: Vec<String> = variants(include_str!("generation.rs"), name)
            .into_iter()
            .map(str::to_lowercase)
            .collect();
        let mut found = documented(ERRORS, heading);
        known.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, known, "{heading}");
    }
}

#[test]
fn every_key_of_the_limits_is_in_the_page_of_limits() {
    let keys = documented(
        include_str!("../../docs/reference/configuration.md"),
        "## [limits]",
    );
    assert!(keys.len() > 10, "{keys:?}");
    for key in keys {
        assert!(LIMITS.contains(&format!("`{key}`")), "{key}");
    }
}
