//! Texts of events, which may hold what no text of PostgreSQL can: U+0000. An
//! event store in SQLite can have it in any of them.
//!
//! They are stored with an escape that gives them back as they were, so two texts
//! are the same in the database if they are the same, and a text without U+0000
//! stands there as it is.

use std::borrow::Cow;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

/// The control character that stands for one that cannot be represented.
const SUBSTITUTE: char = '\u{1a}';
/// What follows it where it stands for U+0000, and where it stands for itself.
const NUL: char = '0';
const ITSELF: char = '1';

/// The text as it is stored.
pub(super) fn stored(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', SUBSTITUTE]) {
        return Cow::Borrowed(text);
    }
    let mut stored = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            '\0' => stored.extend([SUBSTITUTE, NUL]),
            SUBSTITUTE => stored.extend([SUBSTITUTE, ITSELF]),
            character => stored.push(character),
        }
    }
    Cow::Owned(stored)
}

/// All of them.
pub(super) fn all_stored<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<Cow<'a, str>> {
    texts.map(stored).collect()
}

/// The text that was stored.
pub(super) fn read(stored: String) -> String {
    if !stored.contains(SUBSTITUTE) {
        return stored;
    }
    let mut text = String::with_capacity(stored.len());
    let mut characters = stored.chars().peekable();
    while let Some(character) = characters.next() {
        let meant = match (character, characters.peek()) {
            (SUBSTITUTE, Some(&NUL)) => Some('\0'),
            (SUBSTITUTE, Some(&ITSELF)) => Some(SUBSTITUTE),
            _ => None,
        };
        if meant.is_some() {
            characters.next();
        }
        text.push(meant.unwrap_or(character));
    }
    text
}

/// The text in a column.
pub(super) fn column(row: &PgRow, name: &str) -> sqlx::Result<String> {
    row.try_get(name).map(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_comes_back_and_has_a_form_of_its_own(
            texts in prop::collection::vec("[\0\u{1a}01aü]{0,6}", 2)
        ) {
            for text in &texts {
                prop_assert!(!stored(text).contains('\0'));
                prop_assert_eq!(&read(stored(text).into_owned()), text);
            }
            prop_assert_eq!(stored(&texts[0]) == stored(&texts[1]), texts[0] == texts[1]);
        }
    }

    #[test]
    fn most_texts_stand_there_as_they_are() {
        assert!(matches!(stored("Order-1 \u{1b}0 ü"), Cow::Borrowed(_)));
        assert_eq!(stored("a\0b\u{1a}"), "a\u{1a}0b\u{1a}1");
    }
}
