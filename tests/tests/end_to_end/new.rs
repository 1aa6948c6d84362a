//! A new project, as a user makes it: from an empty directory to rows.

use std::fs;
use std::path::Path;
use std::process::Output;

use gnomon_tests::harness::{Installation, System};
use serde_json::json;

use super::languages::can_be_tested;

/// Runs a command in a folder of the installation, for as long as it takes: the
/// first build of a project takes minutes on a busy machine.
fn run(installation: &Installation, folder: &str, arguments: &[&str]) -> Output {
    // Where `tests/run` has put the tools of other languages.
    let toolchains = std::env::var_os("GNOMON_TOOLCHAINS");
    installation
        .command(arguments)
        .envs(toolchains.map(|folder| ("GNOMON_TOOLCHAINS", folder)))
        .current_dir(installation.path(folder))
        .output()
        .unwrap()
}

fn succeed(installation: &Installation, folder: &str, arguments: &[&str]) -> String {
    let output = run(installation, folder, arguments);
    assert!(output.status.success(), "gnomon {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_new_project_in_rust_is_tested_built_and_run_outside_of_this_repository() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    succeed(
        &installation,
        "",
        &["new", "big-spending", "--lang", "rust"],
    );
    let project = installation.path("big-spending");
    let lock = fs::read(project.join("Cargo.lock")).unwrap();

    let tested = succeed(&installation, "big-spending", &["test"]);
    assert_eq!(tested.matches("ok tests/").count(), 2, "{tested}");
    succeed(&installation, "big-spending", &["build"]);
    assert_eq!(
        fs::read(project.join("Cargo.lock")).unwrap(),
        lock,
        "the build uses the versions that were pinned"
    );
    fs::copy(
        project.join("big-spending.wasm"),
        installation.path("projections/big-spending.wasm"),
    )
    .unwrap();

    let paid = |customer: &str, cents: i64| {
        let data = json!({"customer_id": customer, "amount_cents": cents});
        installation.append("Order-1", "PaymentReceived", &data);
    };
    paid("anna", 1_200);
    paid("bert", 30);
    paid("anna", 50);
    installation.succeed(&["run", "--until-caught-up"]);
    let sum = "SELECT spent_cents FROM big_spending WHERE customer_id = 'anna'";
    assert_eq!(installation.read_models.number(sum), 1_250);
}

#[test]
fn a_new_project_in_every_other_language_passes_its_fixtures() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    for language in ["javascript", "typescript", "python", "go", "c"] {
        if !can_be_tested(language, &format!("values-{language}"), "a new project") {
            continue;
        }
        let project = format!("spending-{language}");
        succeed(&installation, "", &["new", &project, "--lang", language]);
        let tested = succeed(&installation, &project, &["test"]);
        assert_eq!(
            tested.matches("ok tests/").count(),
            2,
            "{language}: {tested}"
        );
        let again = run(&installation, &project, &["test"]);
        let said = String::from_utf8_lossy(&again.stderr);
        assert!(!said.contains("building"), "{language}: {said}");
    }
}

#[test]
fn an_empty_project_has_no_example_and_passes_in_every_language() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    for language in ["rust", "javascript", "typescript", "python", "go", "c"] {
        let guest = match language {
            "rust" => "values".to_owned(),
            other => format!("values-{other}"),
        };
        if !can_be_tested(language, &guest, "an empty project") {
            continue;
        }
        let project = format!("entries-{language}");
        let new = ["new", &project, "--lang", language, "--empty"];
        let made = succeed(&installation, "", &new);
        assert!(!made.contains("spending"), "{language}: {made}");
        let tested = succeed(&installation, &project, &["test"]);
        assert_eq!(
            tested.trim(),
            "ok tests/nothing.json, 0 events",
            "{language}"
        );
        let data = json!({"event_type": "SomethingHappened", "data": {"id": "a"}});
        let table = project.replace('-', "_");
        let fixture = json!({"given": [data], "expect": {table: [{"id": "a"}]}});
        let path = installation.path(&project).join("tests/something.json");
        fs::write(path, fixture.to_string()).unwrap();
        let tested = succeed(&installation, &project, &["test"]);
        assert_eq!(
            tested.matches("ok tests/").count(),
            2,
            "{language}: {tested}"
        );
    }
}

#[test]
fn a_new_project_never_takes_the_place_of_something() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    fs::write(installation.path("spending"), "mine").unwrap();
    let new = ["new", "spending", "--lang", "rust"];
    installation.fail(&new, &["spending already exists"]);
    assert_eq!(fs::read(installation.path("spending")).unwrap(), b"mine");
    let is_left = |file: &Path| file.to_string_lossy().contains("spending-");
    let files = fs::read_dir(installation.path("")).unwrap().flatten();
    assert!(!files.map(|file| file.path()).any(|file| is_left(&file)));
}

#[test]
fn a_name_or_language_that_cannot_be_is_wrong_usage_and_says_what_can_be() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    for (arguments, said) in [
        (&["new", "Spending-2", "--lang", "rust"][..], "a-z"),
        (&["new", "../spending", "--lang", "rust"], "a-z"),
        (&["new", "spending", "--lang", "cobol"], "rust"),
        (&["new", "spending"], "--lang"),
    ] {
        let finished = installation.run(arguments);
        assert_eq!(finished.code, Some(2), "{arguments:?}: {finished:?}");
        assert!(
            finished.stderr.contains(said),
            "{arguments:?}: {finished:?}"
        );
    }
}
