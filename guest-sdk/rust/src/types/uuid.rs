//! UUIDs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const TEXT_BYTES: usize = 36;
const HYPHEN_PLACES: [usize; 4] = [8, 13, 18, 23];
/// Where the digits stand, four by four.
const DIGIT_PLACES: [usize; 8] = [0, 4, 9, 14, 19, 24, 28, 32];

/// A byte, eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Eight half bytes, one in each byte, as hexadecimal digits. Those that are
/// too large become something else than a digit.
const fn written(halves: u64) -> u64 {
    let letters = halves.wrapping_add(each(6)) >> 4 & each(1);
    let to_letter = letters.wrapping_mul((b'a' - b'9' - 1) as u64);
    halves.wrapping_add(each(b'0')).wrapping_add(to_letter)
}

/// The four bytes that eight hexadecimal digits stand for, the first of both in
/// the lowest place; and not 0 if one is no digit.
const fn read(digits: u64) -> (u64, u64) {
    let letters = digits >> 6 & each(1);
    let halves = (digits & each(0xf)).wrapping_add(letters.wrapping_mul(9));
    let lower_case = digits | letters << 5;
    let wrong = written(halves) ^ lower_case | halves & each(0xf0);
    let bytes = (halves << 4 | halves >> 8) & 0x00ff_00ff_00ff_00ff;
    let pairs = (bytes | bytes >> 8) & 0x0000_ffff_0000_ffff;
    ((pairs | pairs >> 16) & 0xffff_ffff, wrong)
}

/// The reverse of [`read`].
const fn write(bytes: u64) -> u64 {
    let pairs = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
    let bytes = (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff;
    written((bytes >> 4 | bytes << 8) & each(0xf))
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

    #[expect(clippy::indexing_slicing, reason = "places of an array of this length")]
    fn text(self) -> [u8; TEXT_BYTES] {
        let bytes = self.0.to_be_bytes();
        let digits = [0, 4, 8, 12].map(|at| {
            let four = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
            write(u32::from_le_bytes(four).into()).to_le_bytes()
        });
        let mut text = [b'-'; TEXT_BYTES];
        for (place, digits) in DIGIT_PLACES
            .into_iter()
            .zip(digits.as_flattened().chunks(4))
        {
            text[place..place + 4].copy_from_slice(digits);
        }
        text
    }

    #[expect(unsafe_code, reason = "36 characters need no second look")]
    pub(crate) fn into_string(self) -> String {
        // SAFETY: hexadecimal digits and hyphens are ASCII.
        unsafe { String::from_utf8_unchecked(self.text().into()) }
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    #[expect(clippy::indexing_slicing, reason = "places of an array of this length")]
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text: &[u8; TEXT_BYTES] = text.as_bytes().try_into().map_err(|_| ParseUuidError)?;
        let four = |place| {
            let digits = [
                text[place],
                text[place + 1],
                text[place + 2],
                text[place + 3],
            ];
            u64::from(u32::from_le_bytes(digits))
        };
        let [a, b, c, d, e, f, g, h] = DIGIT_PLACES.map(four);
        let [a, b, c, d] = [(a, b), (c, d), (e, f), (g, h)].map(|(a, b)| read(a | b << 32));
        if a.1 | b.1 | c.1 | d.1 != 0 || HYPHEN_PLACES.iter().any(|&place| text[place] != b'-') {
            return Err(ParseUuidError);
        }
        let [high, low] = [(a.0, b.0), (c.0, d.0)].map(|(a, b)| (a | b << 32).swap_bytes());
        Ok(Self(u128::from(high) << 64 | u128::from(low)))
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
