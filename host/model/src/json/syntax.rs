//! Whether a text is JSON, without taking it in.

use super::InvalidJson;

/// Checks that a text is one JSON document, nested however deep.
///
/// # Errors
/// [`InvalidJson::Syntax`].
pub fn check(text: &str) -> Result<(), InvalidJson> {
    let mut walk = Walk {
        bytes: text.as_bytes(),
        at: 0,
    };
    // Of each array or object that is open, how it ends.
    let mut open = Vec::new();
    'value: loop {
        walk.skip_space();
        match walk.next() {
            Some(b'{') if walk.is_next(b'}') => {}
            Some(b'{') => {
                walk.key()?;
                open.push(b'}');
                continue;
            }
            Some(b'[') if walk.is_next(b']') => {}
            Some(b'[') => {
                open.push(b']');
                continue;
            }
            Some(b'"') => walk.string()?,
            Some(b't') => walk.word(b"rue")?,
            Some(b'f') => walk.word(b"alse")?,
            Some(b'n') => walk.word(b"ull")?,
            Some(b'-') => {
                let first = walk.next();
                walk.number(first)?;
            }
            first => walk.number(first)?,
        }
        loop {
            walk.skip_space();
            let Some(end) = open.last() else {
                return match walk.next() {
                    None => Ok(()),
                    Some(_) => Err(walk.unexpected()),
                };
            };
            match walk.next() {
                Some(b',') => {
                    if *end == b'}' {
                        walk.skip_space();
                        walk.key()?;
                    }
                    continue 'value;
                }
                Some(byte) if byte == *end => {
                    open.pop();
                }
                _ => return Err(walk.unexpected()),
            }
        }
    }
}

struct Walk<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Walk<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek();
        self.at += 1;
        byte
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    /// Behind spaces, takes this byte if it comes.
    fn is_next(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn key(&mut self) -> Result<(), InvalidJson> {
        if self.next() != Some(b'"') {
            return Err(self.unexpected());
        }
        self.string()?;
        if self.is_next(b':') {
            return Ok(());
        }
        self.at += 1;
        Err(self.unexpected())
    }

    /// What follows on the quote.
    fn string(&mut self) -> Result<(), InvalidJson> {
        loop {
            match self.next() {
                Some(b'"') => return Ok(()),
                Some(b'\\') => match self.next() {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                    Some(b'u') => {
                        for _ in 0..4 {
                            if !self.next().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                                return Err(self.unexpected());
                            }
                        }
                    }
                    _ => return Err(self.unexpected()),
                },
                Some(0x20..) => {}
                _ => return Err(self.unexpected()),
            }
        }
    }

    fn word(&mut self, rest: &[u8]) -> Result<(), InvalidJson> {
        for byte in rest {
            if self.next() != Some(*byte) {
                return Err(self.unexpected());
            }
        }
        Ok(())
    }

    fn number(&mut self, first: Option<u8>) -> Result<(), InvalidJson> {
        match first {
            Some(b'0') => {}
            Some(b'1'..=b'9') => self.skip_digits(),
            _ => return Err(self.unexpected()),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), InvalidJson> {
        if self.next().is_some_and(|byte| byte.is_ascii_digit()) {
            self.skip_digits();
            return Ok(());
        }
        Err(self.unexpected())
    }

    fn skip_digits(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    /// The byte that was taken last does not belong there.
    fn unexpected(&self) -> InvalidJson {
        InvalidJson::Syntax {
            reason: match self.bytes.get(self.at - 1) {
                Some(_) => format!("byte {} does not belong there", self.at),
                None => "it ends too early".to_owned(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::*;

    #[test]
    fn it_takes_what_is_json_and_nothing_else() {
        let documents = [
            r#"{"a": [1, -0, 0.5, 1e5, 1E-5, 12.25e+3], "b": {"c": null, "": true}, "d": []}"#,
            r#" [ { } , [ ] , "x\"\\\/\b\f\n\r\t\u00e9" , false ] "#,
            "\"ä€🦀\"",
            "0",
        ];
        let (mut right, mut wrong) = (0, 0);
        for document in documents {
            assert_eq!(check(document), Ok(()));
            let characters: Vec<char> = document.chars().collect();
            for at in 0..=characters.len() {
                for change in "{}[]\",:\\u0.e-+1tn \u{1}x".chars().map(Some).chain([None]) {
                    for leaves_out in [0, 1, 2] {
                        let (head, tail) = characters.split_at(at);
                        let tail = tail.iter().skip(leaves_out);
                        let text: String = head.iter().chain(&change).chain(tail).collect();
                        let expected = serde_json::from_str::<IgnoredAny>(&text).is_ok();
                        assert_eq!(check(&text).is_ok(), expected, "{text}");
                        *(if expected { &mut right } else { &mut wrong }) += 1;
                    }
                }
            }
        }
        assert!(right > 500 && wrong > 500, "{right} {wrong}");
    }

    #[test]
    fn depth_costs_no_stack() {
        let depth = 1_000_000;
        let text = "[".repeat(depth) + &"]".repeat(depth);
        assert_eq!(check(&text), Ok(()));
        assert!(check(&text[1..]).is_err());
    }
}
