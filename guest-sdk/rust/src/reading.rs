//! Reads JSON as what a projection wants, and says where it is something else.
//!
//! serde lets a list stand for a struct, its elements for the fields in their
//! order. Here it does not, at any depth: `["anna"]` is no
//! `{"customer_id": "anna"}`, and no other language reads it so. Only what serde
//! keeps before it knows what it is for (`#[serde(flatten)]`, untagged enums) is
//! read as ever.

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

mod objects;
mod place;
pub(crate) mod source;

use objects::{Objects, Way};

/// Deserialises a document.
#[track_caller]
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let way = Way::default();
    let read = T::deserialize(Objects::new(&mut deserializer, &way));
    match read.and_then(|value| deserializer.end().map(|()| value)) {
        Ok(value) => Ok(value),
        Err(error) => Err(explained(text, &error, way)),
    }
}

/// The error with the member at which it arose, and what stands there.
#[cold]
#[track_caller]
fn explained(text: &str, error: &serde_json::Error, way: Way) -> Error {
    let (path, value) = place::of(text, way.into_steps());
    match (path.as_str(), value) {
        ("", _) => Error::new(error),
        (path, None) => Error::new(format_args!("`{path}`: {error}")),
        (path, Some(value)) => Error::new(format_args!("`{path}` is {value}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::types::{Decimal, Json};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        to: String,
        #[serde(default)]
        lines: Vec<Line>,
        #[serde(default)]
        shipping: Option<Shipping>,
        #[serde(default)]
        pair: Option<(i64, String)>,
        #[serde(default)]
        extra: Option<Json>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Line {
        sku: String,
        price: Decimal,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    enum Shipping {
        Pickup,
        Parcel { weight: f64 },
        Both(bool, Box<Shipping>),
    }

    #[test]
    fn what_is_there_is_read() {
        let text = r#"{
            "to": "an\"na", "lines": [{"sku": "a", "price": "1.50"}], "pair": [1, "b"],
            "shipping": {"Both": [true, {"Parcel": {"weight": 1}}]}, "extra": [["x", 1.10]], "more": [1]
        }"#;
        let order: Order = read(text).unwrap();
        assert_eq!(order.to, "an\"na");
        assert_eq!(order.lines[0].price.as_str(), "1.50");
        assert_eq!(order.pair, Some((1, "b".to_owned())));
        let parcel = Box::new(Shipping::Parcel { weight: 1.0 });
        assert_eq!(order.shipping, Some(Shipping::Both(true, parcel)));
        assert_eq!(order.extra.unwrap().as_text(), r#"[["x", 1.10]]"#);
        let plain: Order = read(r#"{"to": "x", "shipping": "Pickup"}"#).unwrap();
        assert_eq!(plain.shipping, Some(Shipping::Pickup));
    }

    #[test]
    fn a_number_is_the_nearest_float() {
        let digits = "1234567890".repeat(8);
        let numbers = [&digits, "0.30000000000000004", "5e-324", "-0", "1e3"];
        for number in numbers {
            let list = format!("[{number}, {number}]");
            let (double, some): (f64, Option<f64>) = read(&list).unwrap();
            let expected: f64 = number.parse().unwrap();
            assert_eq!(double.to_bits(), expected.to_bits(), "{number}");
            assert_eq!(some.map(f64::to_bits), Some(expected.to_bits()));
        }
        for refused in ["1e400", "\"1\"", "null", "[1]", "{}", "true"] {
            let error = read::<Vec<f64>>(&format!("[{refused}]")).unwrap_err();
            assert!(error.message().starts_with("`[0]`"), "{refused}: {error:?}");
        }
    }

    #[test]
    fn a_list_is_no_object_at_any_depth() {
        for (text, path) in [
            (r#"["x"]"#, ""),
            (r#"["x", []]"#, ""),
            (r#"{"to": "x", "lines": [["a", "1.50"]]}"#, "`lines[0]`"),
            (
                r#"{"to": "x", "shipping": {"Parcel": [1]}}"#,
                "`shipping.Parcel`",
            ),
        ] {
            let error = read::<Order>(text).unwrap_err();
            assert!(error.message().contains("expected struct"), "{error:?}");
            assert!(error.message().starts_with(path), "{text}: {error:?}");
        }
    }

    #[test]
    fn an_error_names_the_member_and_its_value() {
        for (text, message) in [
            (
                r#"{"to": 5}"#,
                "`to` is 5: invalid type: integer `5`, expected a string",
            ),
            (
                r#"{"to": "x", "lines": [{"sku": "a", "price": "1"}, {"sku": "b", "price": 1.25}]}"#,
                "`lines[1].price` is 1.25: invalid type: 1.25, expected a decimal",
            ),
            (
                r#"{"to": "x", "lines": [{"price": "1"}]}"#,
                "`lines[0]`: missing field `sku`",
            ),
            (r#"{"lines": []}"#, "missing field `to`"),
            (
                r#"{"to": "x", "lines": {"a": 1}}"#,
                "`lines`: invalid type: map",
            ),
            (r#"{"to": "x"} 5"#, "trailing characters"),
        ] {
            let error = read::<Order>(text).unwrap_err();
            assert!(error.message().starts_with(message), "{text}: {error:?}");
        }
        let long = format!("{{\"to\": \"x\", \"pair\": [{}]}}", "9".repeat(80));
        let error = read::<Order>(&long).unwrap_err();
        assert!(
            error.message().starts_with("`pair[0]` is 9999999999"),
            "{error:?}"
        );
        assert!(error.message().len() < 200, "{error:?}");
    }
}
