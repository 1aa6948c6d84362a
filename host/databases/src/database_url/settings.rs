//! Settings of the server that a URL asks for: `options=-c name=value`.
//!
//! They are made by statements after connecting. As parameters of the startup,
//! which is what libpq does, connection poolers refuse or ignore them.

/// The name of a setting and its value.
pub(crate) type Setting = (String, String);

pub(super) const EXPECTED: &str =
    "expected settings in the form `-c name=value`, with `\\ ` for a space in a value";

/// The settings in the parameter `options`; `None` where it has something else.
pub(super) fn of_options(text: &str) -> Option<Vec<Setting>> {
    let mut words = split(text).into_iter();
    let mut settings = Vec::new();
    while let Some(word) = words.next() {
        let setting = if let Some(long) = word.strip_prefix("--") {
            long.to_owned()
        } else {
            match word.strip_prefix("-c")? {
                "" => words.next()?,
                joined => joined.to_owned(),
            }
        };
        let (name, value) = setting.split_once('=')?;
        settings.push((known_name(&name.replace('-', "_"))?, value.to_owned()));
    }
    Some(settings)
}

/// The setting in a parameter of the form `options[name]=value`.
pub(super) fn of_parameter(parameter: &str, value: &str) -> Option<Setting> {
    let name = parameter.strip_prefix("options[")?.strip_suffix(']')?;
    Some((known_name(name)?, value.to_owned()))
}

/// A statement that makes settings, in the server's own reading of their values.
pub(crate) fn statement(settings: &[Setting]) -> Option<String> {
    if settings.is_empty() {
        return None;
    }
    let literal = |text: &str| format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
    let calls: Vec<String> = settings
        .iter()
        .map(|(name, value)| {
            format!(
                "pg_catalog.set_config({}, {}, false)",
                literal(name),
                literal(value)
            )
        })
        .collect();
    Some(format!("SELECT {}", calls.join(", ")))
}

fn known_name(name: &str) -> Option<String> {
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    is_name.then(|| name.to_owned())
}

/// Splits at spaces, as the server does; a backslash takes the next character
/// as it is.
fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            c if c.is_ascii_whitespace() => words.extend(word.take()),
            '\\' => word.get_or_insert_default().extend(characters.next()),
            c => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_the_server_reads_them() {
        let setting = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            of_options("-c search_path=sales,public  -cwork_mem=64MB --lock-timeout=3s").unwrap(),
            [
                setting("search_path", "sales,public"),
                setting("work_mem", "64MB"),
                setting("lock_timeout", "3s"),
            ]
        );
        assert_eq!(
            of_options(r"-c search_path=a,\ b\\c").unwrap(),
            [setting("search_path", r"a, b\c")]
        );
        assert_eq!(of_options("").unwrap(), []);
        for wrong in ["-B 5", "work_mem=1", "-c", "-c work_mem", "-c a'b=1"] {
            assert_eq!(of_options(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_value_cannot_leave_its_place() {
        let hostile = [("a".to_owned(), r"x\'); DROP TABLE events; --".to_owned())];
        assert_eq!(
            statement(&hostile).unwrap(),
            r"SELECT pg_catalog.set_config(E'a', E'x\\''); DROP TABLE events; --', false)"
        );
    }
}
