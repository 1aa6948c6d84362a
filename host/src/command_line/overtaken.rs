//! How a command says what its request ended.

use crate::operations::Overtaken;

/// One sentence each.
pub(super) fn sentences(name: &str, overtaken: &Overtaken) -> Vec<String> {
    let mut said: Vec<String> = overtaken
        .rollbacks
        .iter()
        .map(|id| format!("{name}: the rollback to generation {id} is cancelled"))
        .collect();
    if let Some(held) = &overtaken.held {
        said.push(format!(
            "{name}: generation {} (version {}) is held now; `gnomon promote {name}` promotes it \
             after all",
            held.generation, held.version
        ));
    }
    if let Some(dropped) = &overtaken.dropped {
        let was = if dropped.was_held {
            "held"
        } else {
            "on its way"
        };
        said.push(format!(
            "{name}: generation {} (version {}), which was {was}, is dropped for it",
            dropped.generation, dropped.version
        ));
    }
    said
}

/// What a command adds where no host does what it requested.
pub(super) const fn later(has_host: bool) -> &'static str {
    if has_host {
        ""
    } else {
        "; no host is running, so start one with `gnomon run`"
    }
}
