//! JSON documents.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::error::Result;

/// A JSON document, as text. As a field of an event it takes whatever stands
/// there. The host stores it in one normal form.
///
/// ```
/// # use gnomon_sdk::Json;
/// let tags = Json::of(&["new", "paid"])?;
/// assert_eq!(tags.as_text(), r#"["new","paid"]"#);
/// assert_eq!(tags.read::<Vec<String>>()?, ["new", "paid"]);
/// # Ok::<(), gnomon_sdk::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Json(String);

impl Json {
    /// The document that a value serialises to.
    ///
    /// # Errors
    /// When JSON has no form for it, such as a map whose keys are no strings.
    pub fn of(value: &impl Serialize) -> Result<Self> {
        Ok(Self(serde_json::to_string(value)?))
    }

    /// Deserialises the document.
    ///
    /// # Errors
    /// When it is not what `T` expects.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T> {
        crate::reading::read(&self.0)
    }

    /// The text.
    #[must_use]
    pub fn as_text(&self) -> &str {
        &self.0
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }

    /// The text of a cell, which the host has checked.
    pub(crate) const fn from_text(text: String) -> Self {
        Self(text)
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        Self(value.to_string())
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_str::<&RawValue>(&self.0)
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(document).into_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_keeps_its_text() {
        #[derive(Serialize, Deserialize)]
        struct Order {
            items: Json,
        }
        let text = r#"{"items":[{"price":1.10,"n":9007199254740993}]}"#;
        let order: Order = serde_json::from_str(text).unwrap();
        assert_eq!(
            order.items.as_text(),
            r#"[{"price":1.10,"n":9007199254740993}]"#
        );
        assert_eq!(serde_json::to_string(&order).unwrap(), text);
    }
}
