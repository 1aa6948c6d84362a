//! The same keys, given by a program.

use std::path::Path;

use super::given::Given;
use super::keys::{self, Draft, PROJECTION};
use super::mistake::{Mistake, Place, suggestion};
use super::{Configuration, InvalidConfiguration};

/// What takes the place of the file where a key is missing.
const SETTINGS: &str = "settings";

impl Configuration {
    /// A configuration of keys as in `gnomon.toml`, with their sections, and values
    /// as strings: `limits.memory` and `128MiB`, `projection.orders.on-error` and
    /// `park`. Neither a file nor the environment is read, and relative paths are
    /// relative to the working directory. Of a key that is given twice, the second
    /// value counts.
    ///
    /// # Errors
    /// [`InvalidConfiguration`] with every mistake that is in them.
    pub fn from_settings(settings: &[(String, String)]) -> Result<Self, InvalidConfiguration> {
        let mut draft = Draft::new(Path::new(""));
        let mut mistakes = Vec::new();
        // A projection begins with the common limits, so these come first.
        let (of_projections, common): (Vec<_>, Vec<_>) = settings
            .iter()
            .partition(|(key, _)| key.split('.').next() == Some(PROJECTION));
        for (key, value) in common.into_iter().chain(of_projections) {
            if let Err(message) = set(&mut draft, key, Given::Variable(value)) {
                let place = Place::Setting { key: key.clone() };
                mistakes.push(Mistake { place, message });
            }
        }
        draft.finish(Path::new(SETTINGS), true, mistakes)
    }
}

fn set(draft: &mut Draft, path: &str, given: Given<'_>) -> Result<(), String> {
    if let Some(key) = keys::common().find(|key| key.path() == path) {
        return draft.set(key, given);
    }
    let of_projection = path
        .strip_prefix(PROJECTION)
        .and_then(|rest| rest.strip_prefix('.'))
        .and_then(|rest| rest.split_once('.'));
    let Some((projection, name)) = of_projection else {
        let known: Vec<String> = keys::common().map(keys::Key::path).collect();
        let near = suggestion(path, known.iter().map(String::as_str));
        return Err(format!("there is no such key{near}"));
    };
    if !gnomon_model::is_projection_name(projection) {
        return Err(
            "a projection's name has the form [a-z][a-z0-9_]*, at most 40 bytes".to_owned(),
        );
    }
    match keys::of_projection().find(|key| key.name == name) {
        Some(key) => draft.set_of_projection(projection, key, given),
        None => Err(format!(
            "there is no such key{}",
            suggestion(name, keys::of_projection().map(|key| key.name))
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::configuration::OnError;

    fn read(settings: &[(&str, &str)]) -> Result<Configuration, InvalidConfiguration> {
        let urls = [
            ("events.url", "sqlite:/e.db"),
            ("read-models.url", "sqlite:/r.db"),
        ];
        let all: Vec<(String, String)> = urls
            .iter()
            .chain(settings)
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect();
        Configuration::from_settings(&all)
    }

    #[test]
    fn a_projection_has_the_common_limits_in_any_order() {
        let configuration = read(&[
            ("projection.orders.on-error", "park"),
            ("limits.memory", "128MiB"),
            ("limits.batch-events", "10"),
        ])
        .unwrap();
        assert_eq!(configuration.limits_of("orders").memory, 128 << 20);
        assert_eq!(configuration.limits_of("others").batch_events, 10);
        assert_eq!(configuration.on_error("orders"), OnError::Park);
        assert_eq!(configuration.on_error("others"), OnError::Halt);
    }

    #[test]
    fn mistakes_are_told_all_at_once_and_without_the_values() {
        let error = read(&[
            ("limits.memry", "1GiB"),
            ("limits.batch-events", "secret"),
            ("projection.orders.on-eror", "park"),
            ("projection.Orders.on-error", "park"),
        ])
        .unwrap_err()
        .to_string();
        for part in [
            "limits.memry",
            "limits.memory",
            "limits.batch-events",
            "on-error",
            "[a-z]",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!error.contains("secret"), "{error}");
        let missing = Configuration::from_settings(&[]).unwrap_err().to_string();
        assert!(missing.contains("`url` is missing"), "{missing}");
    }
}
