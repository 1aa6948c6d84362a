//! Modules that abuse the host before they have applied anything: by what they
//! import, or when they are asked what they are.

use gnomon_tests::harness::{Installation, System, component_of_world};

const CONTRACT: &str = include_str!("../../../wit/projection.wit");
const HOST_BYTES_MAX: u64 = 300 << 20;

/// `describe` with this body, beside what a module has to have.
fn describing(imports: &str, body: &str) -> Vec<u8> {
    let core = format!(
        r#"(module
            {imports}
            (memory (export "memory") 32)
            (global $calls (mut i32) (i32.const 0))
            (func $recurse (export "recurse") (param i64) (result i64)
                (i64.add (local.get 0) (call $recurse (i64.add (local.get 0) (i64.const 1)))))
            (func (export "describe") (result i32) {body})
            (func (export "apply") (param i32 i32) (result i32) (i32.const 0))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 16)))"#
    );
    component_of_world(&wat::parse_str(core).unwrap(), CONTRACT, "projection")
}

/// The module is refused with this reason; the examples beside it are not.
fn refuse(what: &str, bytes: &[u8], said: &[&str]) {
    let installation = Installation::new(System::Sqlite, System::Sqlite)
        .with_examples()
        .with_module("bad.wasm", bytes)
        .with_configuration("[limits]\nbatch-time = '500ms'\n");
    installation.append_orders(300, 8);
    let host = installation.run(&["run", "--until-caught-up"]);
    println!("{what}: {} MB", host.memory / 1_000_000);
    assert_eq!(host.code, Some(1), "{what}: {host:?}");
    assert!(
        host.memory < HOST_BYTES_MAX,
        "{what}: the host had {} bytes",
        host.memory
    );
    for fragment in [&["bad.wasm is refused"], said].concat() {
        assert!(
            host.stderr.contains(fragment),
            "{what}: no `{fragment}` in {}",
            host.stderr
        );
    }
    assert!(host.stderr.len() < 200_000, "{what}: {}", host.stderr.len());
    installation.assert_rows_are_right(what);
}

#[test]
fn a_module_that_does_anything_but_describe_itself_is_refused() {
    let open = r#"(import "gnomon:projection/read-model@0.1.0" "[constructor]table"
        (func $open (param i32 i32) (result i32)))"#;
    let log = r#"(import "gnomon:projection/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;
    for (what, imports, body, said) in [
        (
            "calls read-model from describe",
            open,
            "(drop (call $open (i32.const 0) (i32.const 0))) (i32.const 0)",
            "`describe` may not use the read model",
        ),
        (
            "loops in describe",
            "",
            "(loop (br 0)) (unreachable)",
            "ran longer than 500ms",
        ),
        (
            "recurses in describe",
            "",
            "(drop (call $recurse (i64.const 0))) (i32.const 0)",
            "stack overflowed",
        ),
        (
            "eats memory in describe",
            "",
            "(loop (drop (memory.grow (i32.const 16))) (br 0)) (unreachable)",
            "limits.memory",
        ),
        ("traps in describe", "", "(unreachable)", "trapped"),
        (
            "replies from beyond its memory",
            "",
            "(i32.const 0x7fff0000)",
            "out of bounds",
        ),
        (
            // Tables at 32: a list of 0xffffffff.
            "replies with an enormous list",
            "",
            "(i32.store (i32.const 32) (i32.const 64)) \
             (i32.store (i32.const 36) (i32.const -1)) (i32.const 0)",
            "out of bounds",
        ),
        (
            // Event types at 12: 200,000 strings that are all the same megabyte.
            "replies with one megabyte 200,000 times",
            "",
            "(local $i i32)
             (loop
                (i32.store (i32.add (i32.const 64) (local.get $i)) (i32.const 0))
                (i32.store (i32.add (i32.const 68) (local.get $i)) (i32.const 0x100000))
                (local.set $i (i32.add (local.get $i) (i32.const 8)))
                (br_if 0 (i32.lt_u (local.get $i) (i32.const 1600000))))
             (i32.store (i32.const 12) (i32.const 64))
             (i32.store (i32.const 16) (i32.const 200000))
             (i32.const 0)",
            "its description takes more than 32 MiB",
        ),
        (
            "logs for ever in describe",
            log,
            "(loop (call $log (i32.const 4) (i32.const 64) (i32.const 0)) (br 0)) (unreachable)",
            "ran longer than 500ms",
        ),
    ] {
        refuse(
            what,
            &describing(imports, body),
            &["`describe` failed", said],
        );
    }
}

#[test]
fn a_module_that_imports_anything_else_is_refused_with_what_to_do() {
    for import in [
        "wasi:clocks/monotonic-clock@0.2.0",
        "wasi:clocks/wall-clock@0.2.0",
        "wasi:random/random@0.2.0",
        "wasi:filesystem/preopens@0.2.0",
        "wasi:cli/environment@0.2.0",
        "wasi:sockets/tcp@0.2.0",
        "wasi:http/outgoing-handler@0.2.0",
        "another:host/api@1.0.0",
    ] {
        let bytes =
            wat::parse_str(format!(r#"(component (import "{import}" (instance)))"#)).unwrap();
        let advice = if import.starts_with("wasi:") {
            "wasm32-unknown-unknown"
        } else {
            "no clock, no randomness, no files and no network"
        };
        refuse(import, &bytes, &[&format!("it imports `{import}`"), advice]);
    }
    let long = "a".repeat(50_000);
    let bytes = wat::parse_str(format!(r#"(component (import "{long}" (func)))"#)).unwrap();
    refuse("a long import", &bytes, &["it imports `aaa"]);
}

#[test]
fn instructions_that_differ_between_machines_are_refused() {
    for (what, core, said) in [
        (
            "relaxed SIMD",
            "(module (func (param v128 v128 v128) (result v128)
                (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))",
            "relaxed",
        ),
        ("shared memory", "(module (memory 1 1 shared))", "threads"),
        ("memory of 64 bits", "(module (memory i64 1))", "memory64"),
    ] {
        let core = core.strip_prefix("(module").unwrap();
        let bytes = wat::parse_str(format!("(component (core module {core})")).unwrap();
        refuse(what, &bytes, &["not a valid component", said]);
    }
}
