//! UUIDs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const HEXADECIMAL_DIGITS: &[u8; 16] = b"0123456789abcdef";
const TEXT_BYTES: usize = 36;
/// Bytes of the text before which a hyphen stands.
const HYPHENS: [usize; 4] = [8, 13, 18, 23];

/// A UUID; in JSON and as text in its 36-character form.
///
/// ```
/// # use gnomon_sdk::Uuid;
/// let id: Uuid = "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11".parse()?;
/// assert_eq!(id.to_string(), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
/// # Ok::<(), gnomon_sdk::ParseUuidError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

/// The text is not a UUID in its 36-character form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseUuidError;

impl Uuid {
    /// The UUID of zeros.
    pub const NIL: Self = Self(0);

    /// The UUID with these bits.
    #[must_use]
    pub const fn from_u128(bits: u128) -> Self {
        Self(bits)
    }

    /// Its bits.
    #[must_use]
    pub const fn as_u128(self) -> u128 {
        self.0
    }

    fn text(self) -> [u8; TEXT_BYTES] {
        let mut text = [b'-'; TEXT_BYTES];
        let mut bits = self.0;
        let places = text
            .iter_mut()
            .enumerate()
            .filter(|(place, _)| !HYPHENS.contains(place));
        for (_, character) in places {
            bits = bits.rotate_left(4);
            let digit = usize::from((bits & 0xf) as u8);
            *character = HEXADECIMAL_DIGITS.get(digit).copied().unwrap_or_default();
        }
        text
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != TEXT_BYTES {
            return Err(ParseUuidError);
        }
        let mut bits = 0;
        for (place, byte) in text.bytes().enumerate() {
            if HYPHENS.contains(&place) {
                if byte != b'-' {
                    return Err(ParseUuidError);
                }
                continue;
            }
            let digit = char::from(byte).to_digit(16).ok_or(ParseUuidError)?;
            bits = bits << 4 | u128::from(digit);
        }
        Ok(Self(bits))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        formatter.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for ParseUuidError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("not a UUID in its 36-character form")
    }
}

impl std::error::Error for ParseUuidError {}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Uuid {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        super::text::parse(deserializer, "a UUID in its 36-character form")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_text_survives() {
        let text = "01234567-89ab-cdef-fedc-ba9876543210";
        let id: Uuid = text.parse().unwrap();
        assert_eq!(id.as_u128(), 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
        assert_eq!(id.to_string(), text);
        assert_eq!(serde_json::to_string(&id).unwrap(), format!("\"{text}\""));
        assert_eq!(
            serde_json::from_str::<Uuid>(&format!("\"{text}\"")).unwrap(),
            id
        );
    }

    #[test]
    fn other_forms_are_refused() {
        for refused in [
            "",
            "0123456789abcdeffedcba9876543210",
            "{1234567-89ab-cdef-fedc-ba987654321}",
            "01234567-89ab-cdef-fedc-ba987654321g",
            "0123456-789ab-cdef-fedc-ba9876543210",
            "+1234567-89ab-cdef-fedc-ba9876543210",
        ] {
            assert_eq!(refused.parse::<Uuid>(), Err(ParseUuidError), "{refused}");
        }
    }
}
