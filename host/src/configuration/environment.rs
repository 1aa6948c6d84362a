//! The same keys in the environment.
//!
//! `GNOMON_LIMITS_BATCH_EVENTS` is `batch-events` in `[limits]`;
//! `GNOMON_PROJECTION_ORDER_SUMMARY_ON_ERROR` is `on-error` in
//! `[projection.order_summary]`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::given::Given;
use super::keys::{self, Draft};
use super::mistake::{Mistake, Place, near, suggestion};

const PREFIX: &str = "GNOMON_";
const PROJECTION_PREFIX: &str = "GNOMON_PROJECTION_";

/// The variables that may be ours.
pub(super) fn variables(
    all: impl Iterator<Item = (OsString, OsString)>,
    mistakes: &mut Vec<Mistake>,
) -> BTreeMap<String, String> {
    let mut ours = BTreeMap::new();
    for (name, value) in all {
        let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else {
            continue;
        };
        match value.into_string() {
            Ok(value) => {
                ours.insert(name.to_owned(), value);
            }
            Err(_) if is_meant_for_us(name) => {
                mistakes.push(mistake(name, "the value is not UTF-8".to_owned()));
            }
            Err(_) => {}
        }
    }
    ours
}

/// Whether the variables give every key that has no default.
pub(super) fn gives_all_required_keys(variables: &BTreeMap<String, String>) -> bool {
    keys::common()
        .filter(|key| key.required)
        .all(|key| variables.contains_key(&key.variable()))
}

/// Sets what holds for all projections.
pub(super) fn set_common(
    variables: &BTreeMap<String, String>,
    draft: &mut Draft,
    mistakes: &mut Vec<Mistake>,
) {
    for (name, value) in variables {
        if name.starts_with(PROJECTION_PREFIX) || !is_meant_for_us(name) {
            continue;
        }
        let result = match keys::common().find(|key| key.variable() == *name) {
            Some(key) => draft.set(key, Given::Variable(value)),
            None => {
                let known: Vec<String> = keys::common().map(keys::Key::variable).collect();
                let near = suggestion(name, known.iter().map(String::as_str));
                Err(format!("there is no such key{near}"))
            }
        };
        if let Err(message) = result {
            mistakes.push(mistake(name, message));
        }
    }
}

/// Sets what holds for one projection.
pub(super) fn set_projections(
    variables: &BTreeMap<String, String>,
    draft: &mut Draft,
    mistakes: &mut Vec<Mistake>,
) {
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix(PROJECTION_PREFIX) else {
            continue;
        };
        let found = keys::of_projection().find_map(|key| {
            let projection = rest.strip_suffix(&key.variable_suffix())?;
            Some((projection, key))
        });
        let result = match found {
            Some((projection, key)) => {
                let name = projection.to_ascii_lowercase();
                if projection != name.to_ascii_uppercase()
                    || !gnomon_model::is_projection_name(&name)
                {
                    Err(
                        "between GNOMON_PROJECTION_ and the key stands the projection's name in \
                         capitals"
                            .to_owned(),
                    )
                } else {
                    draft.set_of_projection(&name, key, Given::Variable(value))
                }
            }
            None => Err(format!(
                "it ends in no key of a projection; there are {}",
                keys::of_projection()
                    .map(keys::Key::variable_suffix)
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        };
        if let Err(message) = result {
            mistakes.push(mistake(name, message));
        }
    }
}

/// Whether a variable is one of the configuration, or is misspelt so that it
/// nearly is. Others begin with `GNOMON_` too: those of a Kubernetes service of
/// that name, or of other commands.
fn is_meant_for_us(name: &str) -> bool {
    let known: Vec<String> = keys::common().map(keys::Key::variable).collect();
    let in_a_section = keys::sections().any(|section| {
        let section = section.replace('-', "_").to_ascii_uppercase();
        name.strip_prefix(PREFIX)
            .and_then(|rest| rest.strip_prefix(&section))
            .is_some_and(|rest| rest.starts_with('_'))
    });
    // Everything has the prefix in common, which says nothing.
    let unprefixed = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or_default().to_owned();
    let known: Vec<String> = known.iter().map(|name| unprefixed(name)).collect();
    in_a_section || near(&unprefixed(name), known.iter().map(String::as_str)).is_some()
}

fn mistake(name: &str, message: String) -> Mistake {
    Mistake {
        place: Place::Variable {
            name: name.to_owned(),
        },
        message,
    }
}
