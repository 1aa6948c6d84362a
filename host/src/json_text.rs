//! JSON that is passed on as it is. To read it into values and write those out
//! again rounds numbers, and fails on what a parser does not allow: `1e400`, or
//! 129 levels.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// One JSON document, as text.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JsonText(Box<RawValue>);

/// The cells of a row, by column.
pub type JsonRow = BTreeMap<String, JsonText>;

impl JsonText {
    /// A document; what is none becomes a string.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(document) => Self(document),
            Err(_) => Self::of(text),
        }
    }

    /// What a value is in JSON; null where it is nothing there.
    #[must_use]
    pub fn of(value: impl Serialize) -> Self {
        serde_json::value::to_raw_value(&value)
            .map_or_else(|_| Self(RawValue::NULL.to_owned()), Self)
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.get())
    }
}

impl PartialEq for JsonText {
    /// The same text.
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_written_out_as_it_was() {
        let deep = format!("{}{}", "[".repeat(300), "]".repeat(300));
        let long = "1".repeat(500);
        for text in [
            "1e400",
            "0.10",
            "12345678901234567890.123",
            &deep,
            &long,
            "\"\u{e9}\"",
            "null",
        ] {
            let document = JsonText::new(text);
            assert_eq!(document.to_string(), text);
            let row: JsonRow = [("a".to_owned(), document)].into();
            let row = serde_json::to_string(&row).unwrap();
            assert_eq!(row, format!("{{\"a\":{text}}}"));
            let read: JsonRow = serde_json::from_str(&row).unwrap();
            assert_eq!(read["a"].to_string(), text);
        }
        assert_eq!(JsonText::new("no JSON").to_string(), "\"no JSON\"");
        assert_eq!(JsonText::of(1.5).to_string(), "1.5");
    }
}
