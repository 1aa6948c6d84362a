//! The normal form of JSON is what a real `jsonb` prints.

use gnomon_model::json::{InvalidJson, normalise};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?",
        // At and beyond the limits of `numeric`.
        1 => "-?[0-9](\\.[0-9]{1,3})?[eE]-?(1638[0-9]|13107[0-9]|10737418(2[0-9])|9{10,30})",
        1 => "-?0\\.0{0,6}[0-9]{0,3}[eE][0-9]{1,2}",
        1 => "[+-]?[0-9]{0,3}\\.?[0-9]{0,3}[eE]?[+-]?[0-9]{0,2}",
    ]
}

fn string() -> impl Strategy<Value = String> {
    let piece = select(vec![
        "a",
        "b",
        "Z",
        "é",
        "😀",
        " ",
        "/",
        "\u{7f}",
        "\\n",
        "\\/",
        "\\\\",
        "\\\"",
        "\\b",
        "\\f",
        "\\r",
        "\\t",
        "\\u0041",
        "\\u00E9",
        "\\u001f",
        "\\u007f",
        "\\ud83d\\ude00",
        "\\uffff",
    ]);
    let odd = select(vec![
        "\\u0000",
        "\\ud800",
        "\\udc00",
        "\\ud800\\u0041",
        "\\x",
        "\\u12",
        "\u{1}",
        "\t",
    ]);
    vec(prop_oneof![60 => piece, 1 => odd], 0..6)
        .prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

fn space() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", " ", "\n", "\t", "\r "])
}

fn document() -> impl Strategy<Value = String> {
    let word = select(vec!["true", "false", "null", "nul", "True", "NaN", ""]);
    let leaf = prop_oneof![
        6 => number(),
        6 => string(),
        2 => word.prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let spaced = (space(), inner, space())
            .prop_map(|(left, value, right)| format!("{left}{value}{right}"))
            .boxed();
        let member = (space(), string(), space(), spaced.clone())
            .prop_map(|(left, key, right, value)| format!("{left}{key}{right}:{value}"));
        prop_oneof![
            vec(spaced, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            vec(member, 0..8).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// Documents, some of them with one character lost or doubled.
fn text() -> impl Strategy<Value = String> {
    (
        document(),
        proptest::option::weighted(0.15, (any::<prop::sample::Index>(), any::<bool>())),
    )
        .prop_map(|(text, change)| match change {
            Some((index, doubled)) if !text.is_empty() => {
                let mut characters: Vec<char> = text.chars().collect();
                let place = index.index(characters.len());
                if doubled {
                    characters.insert(place, characters[place]);
                } else {
                    characters.remove(place);
                }
                characters.into_iter().collect()
            }
            _ => text,
        })
}

/// What PostgreSQL makes of a text; `None` if it refuses it.
async fn theirs(connection: &mut PgConnection, text: &str) -> Option<String> {
    let result = sqlx::query_scalar("SELECT $1::text::jsonb::text")
        .bind(text)
        .fetch_one(connection)
        .await;
    match result {
        Ok(text) => Some(text),
        // Of several faults in one text the server may name another one.
        Err(sqlx::Error::Database(_)) => None,
        Err(error) => panic!("{error}: {text}"),
    }
}

#[test]
fn normal_form_is_what_jsonb_prints() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = std::env::var("GNOMON_TEST_POSTGRES_URL")
        .expect("GNOMON_TEST_POSTGRES_URL is not set; `make test` sets it");
    let connection = runtime.block_on(PgConnection::connect(&server)).unwrap();
    let connection = std::cell::RefCell::new(connection);
    let cases = std::env::var("PROPTEST_CASES").map_or(3_000, |cases| cases.parse().unwrap());
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let accepted = std::cell::Cell::new(0);
    runner
        .run(&text(), |text| {
            let ours = normalise(&text, usize::MAX);
            if ours == Err(InvalidJson::LongNumber) {
                return Ok(());
            }
            let ours = ours.ok();
            let theirs = runtime.block_on(theirs(&mut connection.borrow_mut(), &text));
            prop_assert_eq!(&ours, &theirs, "{}", text);
            if let Some(normal) = ours {
                accepted.set(accepted.get() + 1);
                prop_assert_eq!(normalise(&normal, usize::MAX).unwrap(), normal);
            }
            Ok(())
        })
        .unwrap();
    assert!(
        accepted.get() > cases / 3,
        "too few documents are valid to show anything"
    );
}
