//! UUIDs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const TEXT_BYTES: usize = 36;
const HYPHEN_PLACES: [usize; 4] = [8, 13, 18, 23];
/// Where the two digits of each byte stand in the text.
const BYTE_PLACES: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
/// By byte: the two digits in which it is written.
const WRITTEN: [[u8; 2]; 256] = written();
/// By character: what it is worth as a hexadecimal digit.
const WORTH: [u8; 256] = worth();
/// What a character that is no digit is worth.
const NO_DIGIT: u8 = 0xff;

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn written() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut written = [[0; 2]; 256];
    let mut byte = 0;
    while byte < written.len() {
        written[byte] = [DIGITS[byte >> 4], DIGITS[byte & 0xf]];
        byte += 1;
    }
    written
}

#[expect(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "evaluated by the compiler"
)]
const fn worth() -> [u8; 256] {
    let mut worth = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        if let Some(character) = char::from_digit(digit, 16) {
            worth[character as usize] = digit as u8;
            worth[character.to_ascii_uppercase() as usize] = digit as u8;
        }
        digit += 1;
    }
    worth
}

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

    #[expect(
        clippy::indexing_slicing,
        reason = "places of an array of this length, and a table for all bytes"
    )]
    fn text(self) -> [u8; TEXT_BYTES] {
        let mut text = [b'-'; TEXT_BYTES];
        for (byte, place) in self.0.to_be_bytes().into_iter().zip(BYTE_PLACES) {
            let [high, low] = WRITTEN[usize::from(byte)];
            text[place] = high;
            text[place + 1] = low;
        }
        text
    }

    pub(crate) fn into_string(self) -> String {
        String::from_utf8(self.text().into()).unwrap_or_default()
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    #[expect(
        clippy::indexing_slicing,
        reason = "places of an array of this length, and a table for all bytes"
    )]
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text: &[u8; TEXT_BYTES] = text.as_bytes().try_into().map_err(|_| ParseUuidError)?;
        let mut bytes = [0; BYTE_PLACES.len()];
        let mut digits = 0;
        for (byte, place) in bytes.iter_mut().zip(BYTE_PLACES) {
            let high = WORTH[usize::from(text[place])];
            let low = WORTH[usize::from(text[place + 1])];
            digits |= high | low;
            *byte = high << 4 | low;
        }
        if digits == NO_DIGIT || HYPHEN_PLACES.iter().any(|&place| text[place] != b'-') {
            return Err(ParseUuidError);
        }
        Ok(Self(u128::from_be_bytes(bytes)))
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
    fn only_hexadecimal_digits_are_digits() {
        for character in (0..0x80_u8).map(char::from) {
            let text = format!("{character}1234567-89ab-cdef-fedc-ba987654321{character}");
            let expected = character.to_digit(16).map(|digit| {
                let digit = u128::from(digit);
                digit << 124 | 0x0123_4567_89ab_cdef_fedc_ba98_7654_3210 | digit
            });
            let parsed = text.parse::<Uuid>().ok().map(Uuid::as_u128);
            assert_eq!(parsed, expected, "{text}");
        }
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
