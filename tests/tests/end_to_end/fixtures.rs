//! `gnomon test`: fixtures that pass, and everything that it finds.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use gnomon_tests::harness::{
    Declaration, Finished, Installation, PATIENCE, System, component, example, guest,
};
use serde_json::{Value, json};

use super::languages::can_be_tested;

/// A component and its fixtures.
struct Bench {
    installation: Installation,
}

impl Bench {
    fn of(component: &[u8]) -> Self {
        let installation = Installation::new(System::Sqlite, System::Sqlite);
        fs::create_dir(installation.path("tests")).unwrap();
        fs::write(installation.path("module.wasm"), component).unwrap();
        Self { installation }
    }

    fn with(self, name: &str, fixture: &Value) -> Self {
        self.write(name, &serde_json::to_string_pretty(fixture).unwrap());
        self
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.installation.path("tests").join(name), text).unwrap();
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.installation.path("tests").join(name)).unwrap()
    }

    fn run(&self, more: &[&str]) -> Finished {
        self.installation
            .run(&[&["test", "module.wasm"], more].concat())
    }

    /// What is said of its only fixture, which must fail.
    fn finding(&self) -> Value {
        let finished = self.run(&["--json"]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        let mut tried: Value = serde_json::from_str(&finished.stdout)
            .unwrap_or_else(|error| panic!("{error}: {finished:?}"));
        assert_eq!(tried["passed"], false);
        assert_eq!(tried["findings"].as_array().unwrap().len(), 1, "{tried}");
        tried["findings"][0].take()
    }

    /// What is said of fixtures that cannot be read.
    fn mistakes(&self) -> String {
        let finished = self.run(&[]);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert_eq!(finished.stdout, "");
        finished.stderr
    }
}

fn placed(customer: &str) -> Value {
    json!({"event_type": "OrderPlaced", "data": {"customer_id": customer}})
}

fn paid(customer: &str, cents: i64) -> Value {
    let data = json!({"customer_id": customer, "amount_cents": cents});
    json!({"event_type": "PaymentReceived", "data": data})
}

/// Events that tell the abusive guest what to do.
fn abuses(types: &[&str]) -> Value {
    let events = types
        .iter()
        .map(|event_type| json!({"event_type": event_type, "data": {}}));
    json!({"given": events.collect::<Vec<_>>(), "expect": {}})
}

#[test]
fn the_examples_pass_their_fixtures() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../projections");
    for folder in ["customer-value", "daily-revenue", "order-summary"] {
        let bench = Bench::of(&example(folder));
        let fixtures = examples.join(folder).join("tests");
        let finished = bench.run(&["--fixtures", fixtures.to_str().unwrap()]);
        assert_eq!(finished.code, Some(0), "{folder}: {finished:?}");
        assert!(finished.stdout.contains("ok "), "{folder}: {finished:?}");
    }
}

#[test]
fn each_row_and_column_that_is_wrong_is_shown() {
    let row = |customer: &str, orders: i64, paid: Value| json!({"customer_id": customer, "orders": orders, "paid_cents": paid, "cancelled": 0});
    let expected = [
        // Exact as a number and as a text, and where it is null left out.
        row("c", 0, json!(i64::MAX)),
        row("b", 0, json!("5")),
        row("d", 1, json!(0)),
    ];
    let bench = Bench::of(&example("customer-value")).with(
        "wrong.json",
        &json!({
            "given": [paid("b", 5), paid("c", i64::MAX - 1), placed("e")],
            "expect": {"customer_value": expected},
        }),
    );
    let finding = bench.finding();
    assert_eq!(finding["kind"], "rows");
    assert_eq!(
        finding["rows"],
        json!([
            {
                "table": "customer_value", "key": {"customer_id": "c"}, "change": "different",
                "expected": {"paid_cents": i64::MAX}, "found": {"paid_cents": i64::MAX - 1},
            },
            {
                "table": "customer_value", "key": {"customer_id": "d"}, "change": "missing",
                "expected": {"orders": 1, "paid_cents": 0, "cancelled": 0, "last_order_at": null},
            },
            {
                "table": "customer_value", "key": {"customer_id": "e"}, "change": "unexpected",
                "found": {
                    "orders": 1, "paid_cents": 0, "cancelled": 0,
                    "last_order_at": "2025-01-01T00:00:02.000000Z",
                },
            },
        ])
    );
    let shown = bench.run(&[]).stdout;
    for line in [
        "failed tests/wrong.json: 3 rows are not as expected",
        "  customer_value where customer_id = \"c\"",
        "    paid_cents: expected 9223372036854775807, found 9223372036854775806",
        "  customer_value where customer_id = \"d\", only expected: orders 1, ",
        "  customer_value where customer_id = \"e\", only found: orders 1, ",
    ] {
        assert!(shown.contains(line), "no `{line}` in\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "no colours in a file: {shown}");
}

#[test]
fn a_table_that_is_not_named_must_be_empty() {
    let bench = Bench::of(&example("customer-value")).with(
        "unnamed.json",
        &json!({"given": [paid("b", 5)], "expect": {}}),
    );
    assert_eq!(bench.finding()["rows"][0]["change"], "unexpected");
}

#[test]
fn a_rejection_is_expected_by_position_and_message() {
    let broken = json!({"event_type": "PaymentReceived", "data": {}});
    let given = json!([paid("b", 5), broken, paid("c", 5)]);
    let fixture = |expect: Value| {
        let bench = Bench::of(&example("customer-value"));
        bench.with(
            "rejection.json",
            &json!({"given": given, "expect_rejection": expect}),
        )
    };
    for expected in [
        json!({"position": 2}),
        json!({"position": 2, "message": "missing field `customer_id`"}),
    ] {
        let finished = fixture(expected).run(&[]);
        assert_eq!(finished.code, Some(0), "{finished:?}");
    }
    for (expected, said) in [
        (
            json!({"position": 1}),
            "event 1 was to be rejected, but event 2 was",
        ),
        (
            json!({"position": 2, "message": "too large"}),
            "\"too large\"",
        ),
    ] {
        let finding = fixture(expected).finding();
        assert_eq!(finding["kind"], "other-rejection");
        assert!(
            finding["message"].as_str().unwrap().contains(said),
            "{finding}"
        );
    }
    let bench = Bench::of(&example("customer-value"));
    let bench = bench.with("rows.json", &json!({"given": given, "expect": {}}));
    assert_eq!(bench.finding()["kind"], "rejected");
    let all_well = json!({"given": [paid("b", 5)], "expect_rejection": {"position": 1}});
    let bench = Bench::of(&example("customer-value")).with("applied.json", &all_well);
    assert_eq!(bench.finding()["kind"], "not-rejected");
    // The rows of that moment can be expected as well.
    let bench = Bench::of(&example("customer-value")).with(
        "both.json",
        &json!({"given": given, "expect_rejection": {"position": 2}, "expect": {}}),
    );
    assert_eq!(bench.finding()["rows"][0]["key"]["customer_id"], "b");
}

#[test]
fn a_guest_that_remembers_what_it_did_has_hidden_state() {
    let bench = Bench::of(&guest("abuses")).with("counts.json", &abuses(&["Counts", "Counts"]));
    let finding = bench.finding();
    assert_eq!(finding["kind"], "hidden-state");
    assert_eq!(finding["rows"][0]["expected"]["amount"], 0);
    assert_eq!(finding["rows"][0]["found"]["amount"], 1);
}

#[test]
fn a_guest_that_looks_at_its_batch_depends_on_the_cut() {
    let bench = Bench::of(&guest("abuses"));
    let bench = bench.with("batch.json", &abuses(&["LooksAtItsBatch"; 3]));
    let finding = bench.finding();
    assert_eq!(finding["kind"], "depends-on-cut");
    assert!(
        finding["message"].as_str().unwrap().contains("all at once"),
        "{finding}"
    );
    assert_eq!(finding["rows"][0]["expected"]["amount"], 1);
    assert_eq!(finding["rows"][0]["found"]["amount"], 3);

    let bench = Bench::of(&guest("abuses"));
    let bench = bench.with("company.json", &abuses(&["TrapsInCompany", "Fine"]));
    let finding = bench.finding();
    assert_eq!(finding["kind"], "depends-on-cut");
    let message = finding["message"].as_str().unwrap();
    assert!(
        message.contains("events 1 to 2 can be applied one by one"),
        "{message}"
    );
}

#[test]
fn what_ends_a_batch_is_told_in_the_words_of_the_host() {
    for (event_type, said) in [
        ("Traps", "event 2 failed: it trapped"),
        ("LoopsForever", "event 2 failed: it ran longer than 10s"),
        ("EatsMemory", "limits.memory"),
        (
            "WritesToAnUndeclaredTable",
            "it declares no table `customer_value`",
        ),
        ("WritesANullKey", "column `id`"),
    ] {
        let bench = Bench::of(&guest("abuses"));
        let mut fixture = abuses(&["Fine", event_type]);
        // A rejection is expected, and this is none.
        fixture["expect_rejection"] = json!({"position": 2});
        let finding = bench.with("bad.json", &fixture).finding();
        assert_eq!(finding["kind"], "failed", "{event_type}: {finding}");
        let message = finding["message"].as_str().unwrap();
        assert!(message.contains(said), "{event_type}: {message}");
    }
}

#[test]
fn what_is_recorded_passes_and_the_rest_of_the_file_stays() {
    let bench = Bench::of(&example("customer-value"));
    let old = "{\n\"expect\": {\"customer_value\": [{\"gone\": 1}]},\n   \"given\": [\n  \
               {\"event_type\": \"OrderPlaced\",   \"data\": {\"customer_id\": \"𝄞\\n\"}}]\n}\n";
    bench.write("old.json", old);
    bench.write(
        "new.json",
        &format!("{{\"given\": [{}]}}", paid("b", i64::MAX)),
    );
    bench.write("log.ndjson", &format!("{}\n{}\n", placed("b"), placed("c")));
    bench.write(
        "rejected.json",
        "{\"given\": [{\"event_type\": \"OrderPlaced\", \"data\": {}}]}",
    );
    // Without `--record` each of them is a mistake.
    let mistakes = bench.mistakes();
    for said in [
        "tests/old.json:2: row 1 of `customer_value`: there is no column `gone`",
        "tests/new.json:1: it expects nothing",
        "tests/log.ndjson:1: it expects nothing",
        "tests/rejected.json:1: it expects nothing",
    ] {
        assert!(mistakes.contains(said), "no `{said}` in {mistakes}");
    }
    let recorded = bench.run(&["--record"]);
    assert_eq!(recorded.code, Some(0), "{recorded:?}");
    assert_eq!(recorded.stdout.matches("recorded tests/").count(), 4);

    let old = bench.text("old.json");
    assert!(
        old.starts_with("{\n\"expect\": {\n    \"customer_value\": [\n"),
        "{old}"
    );
    assert!(
        old.contains("{\"event_type\": \"OrderPlaced\",   \"data\""),
        "{old}"
    );
    assert!(bench.text("new.json").contains(&i64::MAX.to_string()));
    assert_eq!(bench.text("log.ndjson").lines().count(), 3);
    assert!(
        bench
            .text("rejected.json")
            .contains("\"position\": 1, \"message\": \"")
    );

    let passed = bench.run(&[]);
    assert_eq!(passed.code, Some(0), "{passed:?}");
    let again = bench.run(&["--record"]);
    assert_eq!(again.stdout.matches("recorded").count(), 0, "{again:?}");
}

#[test]
fn what_is_wrong_in_itself_is_not_recorded() {
    let bench = Bench::of(&guest("abuses"));
    let bench = bench.with(
        "batch.json",
        &abuses(&["LooksAtItsBatch", "LooksAtItsBatch"]),
    );
    let before = bench.text("batch.json");
    let recorded = bench.run(&["--record"]);
    assert_eq!(recorded.code, Some(1), "{recorded:?}");
    assert!(
        recorded.stdout.contains("depends on how events are cut"),
        "{recorded:?}"
    );
    assert_eq!(bench.text("batch.json"), before);
}

#[test]
fn a_fault_in_the_code_is_not_recorded_and_a_decision_is_without_its_place() {
    let trapping = Bench::of(&guest("abuses")).with("traps.json", &abuses(&["Traps"]));
    let before = trapping.text("traps.json");
    let recorded = trapping.run(&["--record"]);
    assert_eq!(recorded.code, Some(1), "{recorded:?}");
    assert!(recorded.stdout.contains("it trapped"), "{recorded:?}");
    assert_eq!(trapping.text("traps.json"), before);

    for (language, source) in [
        ("rust", "lib.rs"),
        ("go", "values.go"),
        ("c", "values.c"),
        ("javascript", "values.js"),
        ("python", "values.py"),
    ] {
        let name = match language {
            "rust" => "values".to_owned(),
            other => format!("values-{other}"),
        };
        if !can_be_tested(language, &name, "recording") {
            continue;
        }
        let bench = Bench::of(&guest(&name));
        let event = |event_type: &str, data: Value| json!({"given": [{"event_type": event_type, "data": data}]});
        let fault = event("FaultMet", json!({})).to_string();
        bench.write("fault.json", &fault);
        let recorded = bench.run(&["--record"]);
        assert_eq!(recorded.code, Some(1), "{language}: {recorded:?}");
        // In Rust it is a trap.
        let advice = if language == "rust" {
            "event 1 failed: it trapped"
        } else {
            "fix the projection, or, if it is meant to reject the event so, write \
             \"expect_rejection\": {\"position\": 1} into the fixture"
        };
        assert!(recorded.stdout.contains(advice), "{language}: {recorded:?}");
        assert_eq!(bench.text("fault.json"), fault, "{language}");

        fs::remove_file(bench.installation.path("tests").join("fault.json")).unwrap();
        let refused = event("EventRefused", json!({"why": "not on Sundays"}));
        bench.write("refused.json", &refused.to_string());
        let recorded = bench.run(&["--record"]);
        assert_eq!(recorded.code, Some(0), "{language}: {recorded:?}");
        let text = bench.text("refused.json");
        assert!(text.contains("not on Sundays\"}"), "{language}: {text}");
        assert!(!text.contains(source), "{language}: {text}");
        assert_eq!(bench.run(&[]).code, Some(0), "{language}");
    }
}

#[test]
fn all_mistakes_of_all_fixtures_are_told_at_once_each_with_its_line() {
    let bench = Bench::of(&example("customer-value"));
    bench.write("syntax.json", "{\n  \"given\": [,]\n}");
    bench.write(
        "many.json",
        r#"{
  "given": [
    {"event_type": "OrderPlaced", "data": {}, "global_position": 5},
    {"event_type": "OrderPlaced", "data": {}, "global_position": 5},
    {"event_typ": "OrderPlaced", "data": {}}
  ],
  "expects": {},
  "expect": {
    "customers": [],
    "customer_value": [
      {"customer_id": "a", "orders": 1.5, "paid_cents": 0, "cancelled": 0},
      {"customer_id": "b", "orders": 1},
      {"customer_id": "c", "orders": 1, "paid_cents": 0, "cancelled": 0},
      {"customer_id": "c", "orders": 2, "paid_cents": 0, "cancelled": 0}
    ]
  }
}"#,
    );
    bench.write(
        "nobody.json",
        "{\n\"given\": [],\n\"expect_rejection\": {\"position\": 9}\n}",
    );
    let mistakes = bench.mistakes();
    for said in [
        "tests/syntax.json:2: not a fixture",
        "tests/many.json:4: event 2: `global_position` must be larger than 5",
        "tests/many.json:5: event 3: unknown field `event_typ`, did you mean `event_type`?",
        "tests/many.json:7: unknown field `expects`",
        "tests/many.json:9: the projection declares no table `customers`; it declares customer_value",
        "tests/many.json:11: row 1 of `customer_value`: `orders` must be a whole number",
        "tests/many.json:12: row 2 of `customer_value` has no `paid_cents`",
        "tests/many.json:14: row 4 of `customer_value` has the key of an earlier one",
        "tests/nobody.json:3: `expect_rejection`: no given event",
        "there are 10 mistakes in the fixtures:",
    ] {
        assert!(mistakes.contains(said), "no `{said}` in {mistakes}");
    }
}

#[test]
fn a_folder_without_fixtures_and_a_module_that_is_none_are_told() {
    let bench = Bench::of(&example("customer-value"));
    let mistakes = bench.mistakes();
    assert!(mistakes.contains("tests has no fixture"), "{mistakes}");
    assert!(mistakes.contains("\"given\""), "{mistakes}");
    let bench = Bench::of(b"#!/bin/sh").with("any.json", &json!({"given": [], "expect": {}}));
    let mistakes = bench.mistakes();
    assert!(mistakes.contains("it is not WebAssembly"), "{mistakes}");
    assert_eq!(bench.run(&["--seed", "x"]).code, Some(2));
    let nowhere = bench.installation.run(&["test", "nowhere.wasm"]);
    assert_eq!(nowhere.code, Some(1), "{nowhere:?}");
}

#[test]
fn a_module_that_applies_nothing_passes_where_nothing_is_expected() {
    let module = component(&Declaration::sane("notebook", "notes"));
    let bench = Bench::of(&module).with("none.json", &json!({"given": [], "expect": {}}));
    let finished = bench.run(&[]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

#[test]
fn watching_tests_again_when_a_fixture_changes() {
    let bench = Bench::of(&example("customer-value")).with(
        "watched.json",
        &json!({"given": [paid("b", 5)], "expect": {}}),
    );
    let command = ["test", "module.wasm", "--watch"];
    let watching = bench.installation.start_command(&command);
    let wait_for = |what: &str| {
        let started = Instant::now();
        while !watching.log().contains(what) {
            assert!(
                started.elapsed() < PATIENCE,
                "no `{what}`: {}",
                watching.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    wait_for("1 of 1 fixtures failed\nwaiting for changes");
    bench.write(
        "watched.json",
        &json!({"given": [], "expect": {}}).to_string(),
    );
    wait_for("the fixture passed");
    let _ = watching.kill();
}
