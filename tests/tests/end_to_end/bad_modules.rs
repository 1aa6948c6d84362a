//! Modules that cannot run: each is refused with the reason, and leaves no
//! table behind.

use gnomon_tests::harness::{
    Declaration, Installation, System, component, component_of_world, core_module,
};

const SYSTEMS: [System; 2] = [System::Sqlite, System::Postgres];

/// Neither `inspect` nor `run` takes these bytes.
fn refuse(bytes: &[u8], said: &[&str]) {
    let said = [&["bad.wasm"], said].concat();
    for system in SYSTEMS {
        let installation = Installation::new(System::Sqlite, system).with_module("bad.wasm", bytes);
        installation.fail(&["inspect", "projections/bad.wasm"], &said);
        installation.fail(&["run", "--until-caught-up"], &said);
        assert!(
            !installation.read_models.has_table("notes"),
            "{system:?}: a table was left"
        );
    }
}

fn refuse_declaration(change: impl Fn(&mut Declaration), said: &[&str]) {
    let mut declaration = Declaration::sane("notebook", "notes");
    change(&mut declaration);
    refuse(&component(&declaration), said);
}

#[test]
fn a_module_made_by_hand_runs_when_nothing_is_wrong_with_it() {
    for system in SYSTEMS {
        let module = component(&Declaration::sane("notebook", "notes"));
        let installation =
            Installation::new(System::Sqlite, system).with_module("good.wasm", &module);
        installation.append_orders(100, 9);
        installation.succeed(&["inspect", "projections/good.wasm"]);
        installation.succeed(&["run", "--until-caught-up"]);
        assert!(installation.read_models.has_table("notes"));
    }
}

#[test]
fn a_missing_file_is_named() {
    let installation = Installation::new(System::Sqlite, System::Sqlite);
    installation.fail(&["inspect", "nowhere.wasm"], &["nowhere.wasm"]);
}

#[test]
fn random_bytes_are_refused() {
    refuse(&[0x5a; 1000], &["not WebAssembly"]);
}

#[test]
fn an_empty_file_is_refused() {
    refuse(&[], &["not WebAssembly"]);
}

#[test]
fn a_truncated_component_is_refused() {
    let whole = component(&Declaration::sane("notebook", "notes"));
    refuse(&whole[..whole.len() / 2], &[]);
}

#[test]
fn a_core_module_is_refused_with_what_makes_it_a_component() {
    let core = core_module(&Declaration::sane("notebook", "notes"));
    refuse(&core, &["core module", "component"]);
}

#[test]
fn a_component_of_another_world_is_refused() {
    let wit =
        "package other:thing@1.0.0;\nworld other { export apply: func(a: u32, b: u32) -> u32; }";
    let core = core_module(&Declaration::sane("notebook", "notes"));
    refuse(
        &component_of_world(&core, wit, "other"),
        &["gnomon:projection"],
    );
}

#[test]
fn a_component_of_another_version_of_the_contract_is_refused() {
    let contract = include_str!("../../../wit/projection.wit").replace("@0.1.0", "@9.0.0");
    let core = core_module(&Declaration::sane("notebook", "notes"));
    refuse(
        &component_of_world(&core, &contract, "projection"),
        &["9.0.0"],
    );
}

#[test]
fn a_projection_name_that_breaks_the_rules_is_refused() {
    for name in [
        "",
        "Notebook",
        "1st",
        "note-book",
        "n; DROP TABLE x",
        "ümlaut",
    ] {
        refuse_declaration(
            |declaration| name.clone_into(&mut declaration.name),
            &["name"],
        );
    }
    let long = "n".repeat(41);
    refuse_declaration(
        |declaration| long.clone_into(&mut declaration.name),
        &["40"],
    );
}

#[test]
fn a_table_name_that_breaks_the_rules_is_refused() {
    for name in ["", "Notes", "my notes", "notes\"; DROP TABLE x; --"] {
        refuse_declaration(
            |declaration| name.clone_into(&mut declaration.tables[0].name),
            &["table name"],
        );
    }
}

#[test]
fn a_column_that_is_declared_twice_is_refused() {
    refuse_declaration(
        |declaration| declaration.tables[0].columns.push("id".to_owned()),
        &["notes", "`id`", "twice"],
    );
}

#[test]
fn a_table_that_is_declared_twice_is_refused() {
    refuse_declaration(
        |declaration| {
            let table = declaration.tables[0].clone();
            declaration.tables.push(table);
        },
        &["`notes`", "twice"],
    );
}

#[test]
fn a_primary_key_on_an_unknown_column_is_refused() {
    refuse_declaration(
        |declaration| declaration.tables[0].primary_key = vec!["nobody".to_owned()],
        &["notes", "primary key", "`nobody`"],
    );
}

#[test]
fn a_table_without_a_primary_key_is_refused() {
    refuse_declaration(
        |declaration| declaration.tables[0].primary_key.clear(),
        &["notes", "primary key"],
    );
}

#[test]
fn an_index_on_an_unknown_column_is_refused() {
    refuse_declaration(
        |declaration| {
            declaration.tables[0]
                .indexes
                .push(vec!["nobody".to_owned()])
        },
        &["notes", "index", "`nobody`"],
    );
}

#[test]
fn a_table_of_another_projection_is_left_to_it_on_sqlite() {
    let installation = Installation::new(System::Sqlite, System::Sqlite)
        .with_module(
            "first.wasm",
            &component(&Declaration::sane("first", "notes")),
        )
        .with_module(
            "second.wasm",
            &component(&Declaration::sane("second", "notes")),
        );
    installation.append_orders(10, 10);
    installation.fail(&["run", "--until-caught-up"], &["notes", "first", "second"]);
}

#[test]
fn two_projections_may_use_the_same_table_name_on_postgres() {
    let installation = Installation::new(System::Sqlite, System::Postgres)
        .with_module(
            "first.wasm",
            &component(&Declaration::sane("first", "notes")),
        )
        .with_module(
            "second.wasm",
            &component(&Declaration::sane("second", "notes")),
        );
    installation.append_orders(10, 10);
    installation.succeed(&["run", "--until-caught-up"]);
}

#[test]
fn a_refused_module_does_not_stop_the_others() {
    let installation = Installation::new(System::Sqlite, System::Sqlite)
        .with_examples()
        .with_module("bad.wasm", &[0x5a; 1000]);
    installation.append_orders(500, 11);
    installation.fail(&["run", "--until-caught-up"], &["bad.wasm"]);
    installation.assert_rows_are_right("beside a refused module");
}
