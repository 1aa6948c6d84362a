//! Imports run one way, and what an application uses stays small.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use super::documentation::{files_below, repository};

/// The modules of the host library, a layer a line: each imports only what stands
/// in the lines above its own.
const LAYERS: [&[&str]; 9] = [
    // Nouns.
    &[
        "configuration",
        "dead_letter",
        "generation",
        "json_text",
        "module_file",
        "shutdown",
        "storage_error",
    ],
    // The seams to the read models and the registry.
    &["read_models", "registry"],
    // What a runner works with.
    &["reader", "row_cache", "storage"],
    &["deployment", "runner"],
    &["supervisor"],
    &["operations"],
    // The edges.
    &["embedded", "fixture"],
    &["trial"],
    &["command_line"],
];

/// Crates that only these modules know, beside what is compiled for tests.
const KNOWN_TO_FEW: [(&str, &[&str]); 4] = [
    ("clap", &["command_line", "main"]),
    ("rusqlite", &["storage"]),
    ("sqlx", &["storage"]),
    ("wasmtime", &[]),
];

/// Files that are compiled for tests only may import everything.
const FOR_TESTS: [&str; 2] = ["documentation", "tests"];

/// The names of the modules on the way from the crate to a file.
fn module_path(sources: &Path, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(sources).unwrap().with_extension("");
    let names = path.iter().map(|name| name.to_string_lossy().into_owned());
    names.collect()
}

/// The code of a file that is no comment, and not behind `#[cfg(test)]`.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The modules of the crate that a piece of code names.
fn imports(code: &str, depth: usize) -> BTreeSet<String> {
    let root = "super::".repeat(depth);
    let mut named = BTreeSet::new();
    for prefix in ["crate::", root.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let before = &code[..at];
            let is_within_a_name =
                before.ends_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | ':'));
            if is_within_a_name {
                continue;
            }
            let behind = &code[at + prefix.len()..];
            match behind.strip_prefix('{') {
                Some(list) => named.extend(first_names(list)),
                None => named.extend(first_name(behind)),
            }
        }
    }
    named
}

fn first_name(path: &str) -> Option<String> {
    let name: String = path
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

/// The first name of each path of a list, up to the brace that ends it.
fn first_names(list: &str) -> Vec<String> {
    let (mut nesting, mut begins, mut names) = (0, 0, Vec::new());
    for (at, character) in list.char_indices() {
        match character {
            '{' => nesting += 1,
            '}' if nesting > 0 => nesting -= 1,
            ',' | '}' if nesting == 0 => {
                names.extend(first_name(list[begins..at].trim_start()));
                begins = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

#[test]
fn all_ways_to_name_a_module_are_found() {
    let code = "use crate::target::Target;\nuse crate::{\n    generation::{A, B},\n    guest,\n};\n\
                fn f() { super::super::runner::g(super::near::h()); mycrate::no() }";
    let expected = ["generation", "guest", "runner", "target"];
    assert_eq!(imports(code, 2), expected.map(str::to_owned).into());
}

#[test]
fn no_import_of_the_host_runs_up() {
    let sources = repository().join("host/src");
    let layer = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    let mut found: BTreeMap<(String, String), String> = BTreeMap::new();
    let mut modules = BTreeSet::new();
    for file in files_below(&sources, &[".rs"]) {
        let path = module_path(&sources, &file);
        let module = path[0].clone();
        let is_for_tests = path.iter().any(|name| FOR_TESTS.contains(&name.as_str()));
        if is_for_tests || matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let from = layer(&module).unwrap_or_else(|| {
            panic!(
                "the module `{module}` stands in no layer; add it to {}",
                file!()
            )
        });
        for name in imports(&code(&file), path.len()) {
            if name != module && layer(&name).is_some_and(|to| to >= from) {
                found.insert((module.clone(), name), file.display().to_string());
            }
        }
        modules.insert(module);
    }
    for module in LAYERS.into_iter().flatten() {
        assert!(modules.contains(*module), "there is no module `{module}`");
    }
    assert!(found.is_empty(), "these imports run up: {found:#?}");
}

#[test]
fn few_modules_know_each_heavy_crate() {
    let sources = repository().join("host/src");
    for file in files_below(&sources, &[".rs"]) {
        let path = module_path(&sources, &file);
        if path.iter().any(|name| FOR_TESTS.contains(&name.as_str())) {
            continue;
        }
        let code = code(&file);
        for (heavy, modules) in KNOWN_TO_FEW {
            let is_named = [
                format!(" {heavy}::"),
                format!("({heavy}::"),
                format!("<{heavy}::"),
            ]
            .iter()
            .any(|name| code.contains(name));
            assert!(
                modules.contains(&path[0].as_str()) || !is_named,
                "{} names {heavy}, which is for {modules:?}",
                file.display()
            );
        }
    }
}

#[test]
fn crates_bring_only_what_they_are_for() {
    const COMMAND_LINE: &str = "clap";
    const SANDBOX: &str = "wasmtime";
    const DRIVERS: [&str; 2] = ["rusqlite", "sqlx"];
    for (package, without) in [
        (
            "gnomon-model",
            &[COMMAND_LINE, SANDBOX, DRIVERS[0], DRIVERS[1]][..],
        ),
        ("gnomon-databases", &[COMMAND_LINE, SANDBOX]),
        ("gnomon-event-store", &[COMMAND_LINE, SANDBOX]),
        ("gnomon-guest", &[COMMAND_LINE, DRIVERS[0], DRIVERS[1]]),
    ] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--locked", "--edges", "normal"])
            .args(["--prefix", "none", "--format", "{p}", "--package", package])
            .current_dir(repository())
            .output()
            .unwrap();
        let message = String::from_utf8_lossy(&tree.stderr);
        assert!(tree.status.success(), "{message}");
        let tree = String::from_utf8(tree.stdout).unwrap();
        let names: BTreeSet<&str> = (tree.lines())
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert!(names.contains(package), "{tree}");
        for name in without {
            assert!(!names.contains(name), "{package} depends on {name}");
        }
    }
}
