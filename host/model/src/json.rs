//! The normal form of JSON: the text that PostgreSQL's `jsonb` gives back.
//!
//! Keys are sorted by length and then by bytes, the last of equal keys wins,
//! numbers are printed as `numeric` prints them (never by way of a float), and
//! strings are escaped only where they must be. Two documents that PostgreSQL
//! holds as the same value with the same scales have the same normal form, so
//! both databases give a projection the same text.
//!
//! A document comes from a guest or from another system, so what is spent on it is
//! bounded before it is spent: the normal form by the caller, a number by
//! [`MAX_EXPANDED_DIGITS`] (nine characters can stand for 131,072 digits), and
//! each byte is moved a few times at the most, however the objects are nested.

use std::borrow::Cow;
use std::ops::Range;

mod number;
mod syntax;
#[cfg(test)]
mod tests;

pub use syntax::check;

/// How deep arrays and objects may be nested. PostgreSQL's own limit depends
/// on its stack and is higher.
pub const MAX_DEPTH: usize = 512;
/// How many digits a number that is written with an exponent may have without
/// it. All 64-bit floats have fewer; what has more can be written out.
pub const MAX_EXPANDED_DIGITS: usize = 1_000;
/// Objects up to this size are sorted where they stand, which moves their bytes
/// once for each level. Larger ones are moved once, when all is read.
const SORTED_IN_PLACE_BYTES: usize = 1 << 10;

/// Why a text has no normal form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    /// It is not one JSON document.
    #[error("not JSON: {reason}")]
    Syntax {
        /// What is wrong, with line and column.
        reason: String,
    },
    /// A string or key with U+0000.
    #[error("U+0000 in a string, which PostgreSQL cannot hold")]
    Nul,
    /// A number with more digits than PostgreSQL's `numeric` holds.
    #[error("a number is out of range")]
    OutOfRange,
    /// A number whose exponent stands for more than [`MAX_EXPANDED_DIGITS`].
    #[error("a number has more than {MAX_EXPANDED_DIGITS} digits when its exponent is written out")]
    LongNumber,
    /// The normal form is longer than the caller allows.
    #[error("its normal form takes more than {bytes_max} bytes")]
    TooLong {
        /// The limit.
        bytes_max: usize,
    },
}

/// Brings a JSON document to its normal form. It, and what is kept on the way to
/// it, may take `bytes_max` bytes.
///
/// # Errors
/// [`InvalidJson`] if PostgreSQL's `jsonb` could not hold it, or if it goes
/// beyond the limits of this module or of the caller.
pub fn normalise(text: &str, bytes_max: usize) -> Result<String, InvalidJson> {
    // Normal form has a space after each comma and colon.
    let usual = text.len() + text.len() / 8;
    let mut scanner = Scanner {
        text,
        at: 0,
        bytes_max,
        out: String::with_capacity(usual.min(bytes_max)),
        members: Vec::new(),
        unsorted: Vec::new(),
        spans: Vec::new(),
    };
    scanner.skip_space();
    scanner.value(0)?;
    scanner.check_room()?;
    scanner.skip_space();
    if scanner.at < text.len() {
        return Err(scanner.unexpected("the end"));
    }
    Ok(scanner.sorted())
}

/// One pair of an object that is being written.
struct Member<'a> {
    key: Cow<'a, str>,
    /// Where it stands in the output, from the key's quote to the value's end.
    start: usize,
    end: usize,
}

/// A large object whose pairs stand in the output in another order than that of
/// the normal form.
struct Unsorted {
    /// Where its bracket stands.
    start: usize,
    /// Behind its last pair.
    end: usize,
    /// The places of its pairs among the spans, in order.
    spans: Range<usize>,
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    bytes_max: usize,
    out: String,
    /// The pairs of all objects that are open, outermost first.
    members: Vec<Member<'a>>,
    unsorted: Vec<Unsorted>,
    spans: Vec<Range<usize>>,
}

impl<'a> Scanner<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn slice(&self, start: usize, end: usize) -> &'a str {
        // Every slice that is asked for begins and ends at an ASCII byte.
        self.text.get(start..end).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: usize) -> Result<(), InvalidJson> {
        // No leaf is longer than its text, or than a number may get.
        self.check_room()?;
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => {
                self.string()?;
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            _ => Err(self.unexpected("a value")),
        }
    }

    /// Whether what was made of the document stays within the limit.
    const fn check_room(&self) -> Result<(), InvalidJson> {
        let held = self.out.len()
            + self.members.len() * size_of::<Member<'_>>()
            + self.spans.len() * size_of::<Range<usize>>();
        if held > self.bytes_max {
            return Err(InvalidJson::TooLong {
                bytes_max: self.bytes_max,
            });
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), InvalidJson> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.unexpected("a value"));
        }
        self.at += word.len();
        self.out.push_str(word);
        self.end_of_word()
    }

    /// `1x` and `truefalse` are one malformed word, not two.
    fn end_of_word(&self) -> Result<(), InvalidJson> {
        match self.peek() {
            None | Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b']' | b'}') => Ok(()),
            Some(_) => Err(self.unexpected("the end of the value")),
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), InvalidJson> {
        self.open(depth, '[')?;
        if self.peek() == Some(b']') {
            self.at += 1;
            self.out.push(']');
            return Ok(());
        }
        loop {
            self.value(depth)?;
            self.skip_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.out.push_str(", ");
                    self.skip_space();
                }
                Some(b']') => {
                    self.at += 1;
                    self.out.push(']');
                    return Ok(());
                }
                _ => return Err(self.unexpected("`,` or `]`")),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), InvalidJson> {
        self.open(depth, '{')?;
        if self.peek() == Some(b'}') {
            self.at += 1;
            self.out.push('}');
            return Ok(());
        }
        let first = self.members.len();
        let body = self.out.len();
        loop {
            let start = self.out.len();
            if self.peek() != Some(b'"') {
                return Err(self.unexpected("a key in quotes"));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.unexpected("`:`"));
            }
            self.at += 1;
            self.out.push_str(": ");
            self.skip_space();
            self.value(depth)?;
            let end = self.out.len();
            self.members.push(Member { key, start, end });
            self.skip_space();
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.out.push_str(", ");
                    self.skip_space();
                }
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                _ => return Err(self.unexpected("`,` or `}`")),
            }
        }
        self.sort_members(first, body);
        self.out.push('}');
        Ok(())
    }

    /// Brings the pairs of the innermost object, which begin at `body` in the
    /// output, into order, and forgets them.
    fn sort_members(&mut self, first: usize, body: usize) {
        let order = |key: &Cow<'_, str>| key.len();
        let members = self.members.get_mut(first..).unwrap_or_default();
        let in_order = members.windows(2).all(|pair| match pair {
            [left, right] => (order(&left.key), &left.key) < (order(&right.key), &right.key),
            _ => true,
        });
        if !in_order {
            // Of equal keys the last comes first, and the others are dropped.
            members.sort_unstable_by(|left, right| {
                (order(&left.key), &left.key, right.start).cmp(&(
                    order(&right.key),
                    &right.key,
                    left.start,
                ))
            });
            let mut previous: Option<&Member<'_>> = None;
            let kept = self.spans.len();
            for member in &*members {
                if previous.is_none_or(|previous| previous.key != member.key) {
                    self.spans.push(member.start..member.end);
                }
                previous = Some(member);
            }
            if self.out.len() - body > SORTED_IN_PLACE_BYTES {
                self.unsorted.push(Unsorted {
                    start: body - 1,
                    end: self.out.len(),
                    spans: kept..self.spans.len(),
                });
            } else {
                let mut sorted = String::with_capacity(self.out.len() - body);
                for span in self.spans.drain(kept..) {
                    separate(&mut sorted);
                    sorted.push_str(self.out.get(span).unwrap_or_default());
                }
                self.out.truncate(body);
                self.out.push_str(&sorted);
            }
        }
        self.members.truncate(first);
    }

    /// The output, with the pairs of the large objects in order.
    fn sorted(mut self) -> String {
        if self.unsorted.is_empty() {
            return self.out;
        }
        self.members = Vec::new();
        self.unsorted.sort_unstable_by_key(|object| object.start);
        let mut sorted = String::with_capacity(self.out.len());
        self.copy_sorted(0..self.out.len(), &mut sorted);
        sorted
    }

    fn copy_sorted(&self, span: Range<usize>, sorted: &mut String) {
        let plain = |from, to| self.out.get(from..to).unwrap_or_default();
        let mut at = span.start;
        loop {
            let next = self.unsorted.partition_point(|object| object.start < at);
            let Some(object) = (self.unsorted.get(next)).filter(|object| object.start < span.end)
            else {
                sorted.push_str(plain(at, span.end));
                return;
            };
            sorted.push_str(plain(at, object.start + 1));
            let members = self.spans.get(object.spans.clone()).unwrap_or_default();
            for (place, member) in members.iter().enumerate() {
                if place > 0 {
                    sorted.push_str(", ");
                }
                self.copy_sorted(member.clone(), sorted);
            }
            at = object.end;
        }
    }

    fn open(&mut self, depth: usize, bracket: char) -> Result<(), InvalidJson> {
        if depth > MAX_DEPTH {
            return Err(self.syntax(&format!("nested deeper than {MAX_DEPTH} levels")));
        }
        self.at += 1;
        self.out.push(bracket);
        self.skip_space();
        Ok(())
    }

    /// Writes a string and gives back what it says.
    fn string(&mut self) -> Result<Cow<'a, str>, InvalidJson> {
        self.at += 1;
        self.out.push('"');
        let mut said: Option<String> = None;
        let mut run = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    let plain = self.slice(run, self.at);
                    self.out.push_str(plain);
                    self.out.push('"');
                    self.at += 1;
                    return Ok(match said {
                        None => Cow::Borrowed(plain),
                        Some(said) => Cow::Owned(said + plain),
                    });
                }
                Some(b'\\') => {
                    let plain = self.slice(run, self.at);
                    let character = self.escape()?;
                    let said = said.get_or_insert_default();
                    said.push_str(plain);
                    said.push(character);
                    self.out.push_str(plain);
                    push_escaped(&mut self.out, character);
                    run = self.at;
                }
                Some(0..0x20) => {
                    return Err(self.syntax("a control character in a string must be escaped"));
                }
                Some(_) => self.at += 1,
                None => return Err(self.syntax("the string has no end")),
            }
        }
    }

    /// Reads an escape sequence, or two where they are a surrogate pair.
    fn escape(&mut self) -> Result<char, InvalidJson> {
        let code = self.text.as_bytes().get(self.at + 1).copied();
        let character = match code {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(),
            _ => return Err(self.syntax("an unknown escape in a string")),
        };
        self.at += 2;
        Ok(character)
    }

    fn unicode_escape(&mut self) -> Result<char, InvalidJson> {
        let first = self.hexadecimal(self.at)?;
        let code = match first {
            0xd800..0xdc00 => {
                let second = self.hexadecimal(self.at + 6).unwrap_or(0);
                if !(0xdc00..0xe000).contains(&second) {
                    return Err(self.syntax("half a surrogate pair in a string"));
                }
                self.at += 6;
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        if code == 0 {
            return Err(InvalidJson::Nul);
        }
        let Some(character) = char::from_u32(code) else {
            return Err(self.syntax("half a surrogate pair in a string"));
        };
        self.at += 6;
        Ok(character)
    }

    /// The number behind a `\u` at `at`.
    fn hexadecimal(&self, at: usize) -> Result<u32, InvalidJson> {
        let bytes = self.text.as_bytes().get(at..at + 6).unwrap_or_default();
        let [b'\\', b'u', digits @ ..] = bytes else {
            return Err(self.syntax("`\\u` needs four hexadecimal digits"));
        };
        let mut code = 0;
        for &digit in digits {
            match char::from(digit).to_digit(16) {
                Some(digit) => code = code * 16 + digit,
                None => return Err(self.syntax("`\\u` needs four hexadecimal digits")),
            }
        }
        Ok(code)
    }

    fn digits(&mut self) -> Result<&'a str, InvalidJson> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.unexpected("a digit"));
        }
        Ok(self.slice(start, self.at))
    }

    fn number(&mut self) -> Result<(), InvalidJson> {
        let negative = self.peek() == Some(b'-');
        if negative {
            self.at += 1;
        }
        let integer = if self.peek() == Some(b'0') {
            self.at += 1;
            "0"
        } else {
            self.digits()?
        };
        let mut fraction = "";
        if self.peek() == Some(b'.') {
            self.at += 1;
            fraction = self.digits()?;
        }
        let mut exponent = 0;
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            let sign = match self.peek() {
                Some(b'-') => -1,
                _ => 1,
            };
            if let Some(b'-' | b'+') = self.peek() {
                self.at += 1;
            }
            // What does not fit is beyond every limit anyway.
            exponent = sign * self.digits()?.parse::<i64>().unwrap_or(i64::MAX);
        }
        self.end_of_word()?;
        number::write(&mut self.out, negative, integer, fraction, exponent)
    }

    fn unexpected(&self, wanted: &str) -> InvalidJson {
        let found = match self
            .text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
        {
            Some(character) => format!("found {character:?}"),
            None => "the text ends".to_owned(),
        };
        self.syntax(&format!("{found} where {wanted} should be"))
    }

    fn syntax(&self, what: &str) -> InvalidJson {
        let before = self.text.get(..self.at).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        InvalidJson::Syntax {
            reason: format!("{what} (line {line}, column {column})"),
        }
    }
}

/// Begins the next pair of an object.
fn separate(pairs: &mut String) {
    if !pairs.is_empty() {
        pairs.push_str(", ");
    }
}

fn push_escaped(out: &mut String, character: char) {
    match character {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\0'..' ' => {
            use std::fmt::Write as _;
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        }
        other => out.push(other),
    }
}
