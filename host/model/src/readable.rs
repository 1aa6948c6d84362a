//! Text that others wrote, made safe to show: guests, foreign writers of events,
//! databases, names of files.
//!
//! Whatever a process prints goes through [`Readable`], so nothing of it can
//! clear a screen, move the cursor or turn the direction of writing. What a line
//! break would forge, such as a cell of a table or a name within a sentence, is
//! also put on [`one_line`] where it is quoted.

use std::borrow::Cow;
use std::io::{self, Write};

/// The longest name that a message shows.
const NAME_CHARACTERS_MAX: usize = 255;
/// The styles that our own output has. A text of others that says one of them
/// can be coloured, and not more.
const STYLES: [&str; 12] = [
    "0", "1", "2", "3", "31", "32", "33", "34", "35", "36", "1;31", "1;32",
];

/// A text for logs, status and tables: of bounded length, and without
/// characters that steer a terminal, that change the order in which the others
/// are read, or that a database cannot hold.
pub fn readable(text: &str, characters_max: usize) -> String {
    text.chars()
        .take(characters_max)
        .map(|character| match character {
            '\n' | '\t' => character,
            character if steers(character) => char::REPLACEMENT_CHARACTER,
            character => character,
        })
        .collect()
}

/// The same, without line breaks.
pub fn one_line(text: &str, characters_max: usize) -> String {
    readable(text, characters_max).replace(['\n', '\t'], "\u{fffd}")
}

/// A name, as a message or a table quotes it.
pub fn name(text: &str) -> String {
    one_line(text, NAME_CHARACTERS_MAX)
}

/// Control characters, line separators, and what turns the direction of
/// writing.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{61c}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'
                | '\u{2029}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}'
        )
}

/// Whether a byte may belong to a character that [`steers`].
const fn is_suspicious(byte: u8) -> bool {
    matches!(byte, 0..0x20 | 0x7f | 0xc2 | 0xd8 | 0xe2) && !matches!(byte, b'\n' | b'\t')
}

/// Writes text, with what steers a terminal as the escapes that JSON has for
/// it: `\u001b`. In JSON such characters stand in strings only, so what is
/// printed says the same.
#[derive(Debug)]
pub struct Readable<W> {
    writer: W,
    /// The beginning of a character whose end has not come yet.
    partial: Vec<u8>,
}

impl<W: Write> Readable<W> {
    /// What is written to it goes to `writer`, made safe.
    pub const fn new(writer: W) -> Self {
        Self {
            writer,
            partial: Vec::new(),
        }
    }
}

impl<W: Write> Write for Readable<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut joined = std::mem::take(&mut self.partial);
        let given = match joined.is_empty() {
            true => bytes,
            false => {
                joined.extend_from_slice(bytes);
                &joined
            }
        };
        let (whole, partial) = given.split_at(whole_characters(given));
        let partial = partial.to_vec();
        self.writer.write_all(&escaped(whole))?;
        self.partial = partial;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// How many bytes there are before a character that is not complete.
fn whole_characters(bytes: &[u8]) -> usize {
    const CHARACTER_BYTES_MAX: usize = 4;
    let end = bytes.len();
    let tail = bytes.iter().rev().take(CHARACTER_BYTES_MAX).enumerate();
    for (behind, byte) in tail {
        let length = match byte {
            0x80..0xc0 => continue,
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => 1,
        };
        return if length > behind + 1 {
            end - behind - 1
        } else {
            end
        };
    }
    end
}

fn escaped(bytes: &[u8]) -> Cow<'_, [u8]> {
    if !bytes.iter().copied().any(is_suspicious) {
        return Cow::Borrowed(bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text.as_ref();
    while let Some(place) =
        rest.find(|character| steers(character) && !matches!(character, '\n' | '\t'))
    {
        let (plain, from) = rest.split_at(place);
        shown.push_str(plain);
        let mut characters = from.chars();
        if let Some(style) = own_style(from) {
            shown.push_str(style);
            rest = from.get(style.len()..).unwrap_or_default();
            continue;
        }
        if let Some(character) = characters.next() {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        }
        rest = characters.as_str();
    }
    shown.push_str(rest);
    Cow::Owned(shown.into_bytes())
}

/// The style with which a text begins, if it is one of ours.
fn own_style(text: &str) -> Option<&str> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let (parameters, _) = parameters.split_once('m')?;
    let is_ours = STYLES.contains(&parameters);
    is_ours.then(|| text.get(..parameters.len() + 3)).flatten()
}

/// A text of several lines in a log: its second line must not look like one of
/// the host's own.
pub fn indented(text: &str) -> Cow<'_, str> {
    let (body, end) = match text.strip_suffix('\n') {
        Some(body) => (body, "\n"),
        None => (text, ""),
    };
    if !body.contains('\n') {
        return Cow::Borrowed(text);
    }
    let lines = body
        .split('\n')
        .enumerate()
        .map(|(number, line)| match number {
            0 => line.to_owned(),
            _ if line.starts_with("    ") => format!("\n{line}"),
            _ => format!("\n    {line}"),
        });
    Cow::Owned(lines.collect::<String>() + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pieces: &[&[u8]]) -> String {
        let mut out = Readable::new(Vec::new());
        for piece in pieces {
            out.write_all(piece).unwrap();
        }
        out.flush().unwrap();
        String::from_utf8(out.writer).unwrap()
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_printed() {
        for (given, shown) in [
            ("a\u{1b}[2Jb", "a\\u001b[2Jb"),
            ("\u{1b}]0;title\u{7}", "\\u001b]0;title\\u0007"),
            ("\r\u{8}\0\u{7f}", "\\u000d\\u0008\\u0000\\u007f"),
            ("\u{9b}2J\u{85}", "\\u009b2J\\u0085"),
            (
                "\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}",
                "\\u202e\\u2066\\u200f\\u061c\\u2028",
            ),
            // Conceals what follows.
            ("\u{1b}[8mx\u{1b}[0m", "\\u001b[8mx\u{1b}[0m"),
            ("\u{1b}", "\\u001b"),
        ] {
            assert_eq!(written(&[given.as_bytes()]), shown);
        }
    }

    #[test]
    fn everything_else_is_printed_as_it_is() {
        let text = "é € … 😀 ° \u{a0}\n\ttab {\"a\": \"\\u001b\"} \u{1b}[1;31merror\u{1b}[0m\n";
        assert_eq!(written(&[text.as_bytes()]), text);
    }

    #[test]
    fn a_character_may_come_in_pieces() {
        let text = "ä\u{9b}€\u{202e}😀\u{61c}z";
        let expected = "ä\\u009b€\\u202e😀\\u061cz";
        for piece in 1..text.len() {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
            assert_eq!(written(&pieces), expected, "{piece} bytes at a time");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(
            name("Order-1\n2000-01-01 ERROR\u{9b}"),
            "Order-1\u{fffd}2000-01-01 ERROR\u{fffd}"
        );
        assert_eq!(name(&"x".repeat(1_000)).len(), NAME_CHARACTERS_MAX);
    }

    #[test]
    fn only_the_first_line_of_a_text_begins_a_line_of_the_log() {
        assert_eq!(indented("one\n"), "one\n");
        assert_eq!(
            indented("one\ntwo\n    three\n"),
            "one\n    two\n    three\n"
        );
    }
}
