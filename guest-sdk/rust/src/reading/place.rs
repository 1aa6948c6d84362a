//! The member of a document at which an error arose.

/// The beginning of a value or a path, as a message shows it.
const SHOWN_CHARACTERS_MAX: usize = 40;

/// The path to the value to which these steps lead, each the number of a member
/// or an element, and the beginning of the value if it is no list and no
/// object. The document is JSON up to there.
pub(super) fn of(text: &str, steps: impl Iterator<Item = usize>) -> (String, Option<String>) {
    let mut cursor = Cursor(text);
    let mut path = String::new();
    for number in steps {
        let is_object = cursor.next() == "{";
        let mut name = "";
        for before in 0..=number {
            if before > 0 {
                cursor.skip_value();
                // The comma.
                cursor.next();
            }
            if is_object {
                name = cursor.next();
                // The colon.
                cursor.next();
            }
            if cursor.0.is_empty() {
                return (shown(&path), None);
            }
        }
        if !is_object {
            path.push_str(&format!("[{number}]"));
            continue;
        }
        if !path.is_empty() {
            path.push('.');
        }
        let name = name.strip_prefix('"').unwrap_or(name);
        path.push_str(name.strip_suffix('"').unwrap_or(name));
    }
    let value = Some(cursor.next()).filter(|value| !matches!(*value, "" | "{" | "["));
    (shown(&path), value.map(shown))
}

/// What is left of a document.
struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    /// Takes a word, a text or a sign; the empty text at the end.
    fn next(&mut self) -> &'a str {
        let rest = self.0.trim_start_matches([' ', '\t', '\n', '\r']);
        let token = token(rest);
        self.0 = rest.get(token.len()..).unwrap_or_default();
        token
    }

    fn skip_value(&mut self) {
        let mut depth = 0_usize;
        loop {
            match self.next() {
                "" => return,
                "{" | "[" => depth += 1,
                "}" | "]" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

/// What stands at the beginning of a text.
fn token(text: &str) -> &str {
    let mut bytes = text.bytes().enumerate();
    let end = match bytes.next() {
        Some((_, b'"')) => {
            let mut is_escaped = false;
            bytes
                .find(|(_, byte)| {
                    let is_end = *byte == b'"' && !is_escaped;
                    is_escaped = *byte == b'\\' && !is_escaped;
                    is_end
                })
                .map(|(at, _)| at + 1)
        }
        Some((_, byte)) if is_part_of_word(byte) => bytes
            .find(|(_, byte)| !is_part_of_word(*byte))
            .map(|(at, _)| at),
        Some(_) => text.chars().next().map(char::len_utf8),
        None => None,
    };
    end.and_then(|end| text.get(..end)).unwrap_or(text)
}

const fn is_part_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
