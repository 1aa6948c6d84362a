//! The text of a JSON value, where `serde_json` would give a number that has lost
//! digits.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};

/// What `serde_json` calls a value of which it gives the text. From another
/// deserializer, or under another name, comes the value itself.
pub(crate) const SOURCE: &str = "$serde_json::private::RawValue";

/// The text, out of the map in which `serde_json` gives it.
pub(crate) fn text<'de, A: MapAccess<'de>>(mut source: A) -> Result<Cow<'de, str>, A::Error> {
    match source.next_key::<IgnoredAny>()? {
        Some(IgnoredAny) => source.next_value_seed(Text),
        None => Err(A::Error::custom("a value without its text")),
    }
}

struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the text of a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
