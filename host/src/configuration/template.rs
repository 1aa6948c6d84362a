//! The configuration file that `gnomon init` writes.

use super::keys::{self, Key, PROJECTION};

/// The width of a line of comments.
const LINE_CHARACTERS: usize = 90;

/// A `gnomon.toml` with the defaults, each key with what it is for.
#[must_use]
pub fn template() -> String {
    let mut text = "# Every key can also be given in the environment, which wins: \
                    GNOMON_LIMITS_MEMORY=128MiB.\n\
                    # Relative paths are relative to the directory of this file.\n"
        .to_owned();
    for section in keys::sections().filter(|section| *section != PROJECTION) {
        text.push('\n');
        if section == "limits" {
            text.push_str("# What one batch of one projection may use.\n");
        }
        text.push_str(&format!("[{section}]\n"));
        for key in keys::common().filter(|key| key.section == section) {
            // A default that is written down stays when the next version has a
            // better one.
            let commented_out = section == "limits" || key.name == "max-connections";
            push_key(&mut text, key, commented_out);
        }
    }
    text.push_str("\n# One projection may have settings of its own, limits too.\n");
    text.push_str(&format!("# [{PROJECTION}.order_summary]\n"));
    for key in keys::of_projection().filter(|key| key.section == PROJECTION) {
        push_key(&mut text, key, true);
    }
    text
}

fn push_key(text: &mut String, key: &Key, commented_out: bool) {
    let mut line = "#".to_owned();
    for word in key.purpose.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > LINE_CHARACTERS {
            text.push_str(&line);
            text.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    let mark = if commented_out { "# " } else { "" };
    text.push_str(&format!("{line}\n{mark}{} = {}\n", key.name, key.usual));
}
