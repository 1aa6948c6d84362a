//! What becomes of a module that arrives: the comparison with the generation
//! that its projection has.

use gnomon_model::Description;

use crate::generation::{Generation, GenerationId, GenerationState, ModuleHash};

/// What to do with a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The same bytes run already.
    Nothing,
    /// The next batch runs the new code; checkpoint and tables stay.
    HotReload(GenerationId),
    /// A new generation, built from the first event.
    Build,
    /// The module cannot be deployed; the sentence says why and what to do.
    Refused(String),
}

/// Compares a module with the generations of its projection.
#[must_use]
pub fn decide(
    description: &Description,
    hash: &ModuleHash,
    generations: &[Generation],
) -> Decision {
    let newest = generations
        .iter()
        .filter(|generation| generation.projection == description.name)
        .filter(|generation| {
            matches!(
                generation.state,
                GenerationState::Building | GenerationState::Ready | GenerationState::Live
            )
        })
        .max_by_key(|generation| (generation.description.version, generation.id));
    let Some(newest) = newest else {
        return Decision::Build;
    };
    let (old, new) = (newest.description.version, description.version);
    if newest.module == *hash {
        return Decision::Nothing;
    }
    if new > old {
        return Decision::Build;
    }
    if new < old {
        return Decision::Refused(format!(
            "its version is {new}, and version {old} is deployed; to go back, use `gnomon rollback {}`",
            description.name
        ));
    }
    match difference(&newest.description, description) {
        None => Decision::HotReload(newest.id),
        Some(difference) => Decision::Refused(format!(
            "{difference}, but its version is still {new}; raise the version, so that a new \
             generation is built"
        )),
    }
}

/// What differs between two descriptions of one version, if it matters to the
/// rows.
fn difference(old: &Description, new: &Description) -> Option<String> {
    if old.subscription != new.subscription {
        return Some("its subscription has changed".to_owned());
    }
    for table in &new.tables {
        match old.tables.iter().find(|other| other.name == table.name) {
            None => return Some(format!("it declares a new table `{}`", table.name)),
            Some(other) if other != table => {
                return Some(format!("its table `{}` has changed", table.name));
            }
            Some(_) => {}
        }
    }
    old.tables
        .iter()
        .find(|table| new.table(&table.name).is_none())
        .map(|table| format!("it no longer declares the table `{}`", table.name))
}

#[cfg(test)]
mod tests {
    use gnomon_model::{Column, ColumnType, DeclaredTable, Position, Subscription};

    use super::*;
    use crate::source::Checkpoint;

    fn description(version: u32, columns: &[&str]) -> Description {
        let table = DeclaredTable {
            name: "orders".to_owned(),
            columns: columns
                .iter()
                .map(|name| Column {
                    name: (*name).to_owned(),
                    column_type: ColumnType::Text,
                    nullable: false,
                })
                .collect(),
            primary_key: vec!["id".to_owned()],
            indexes: vec![],
        };
        Description::check(
            "p".to_owned(),
            version,
            Subscription::default(),
            vec![table],
        )
        .unwrap()
    }

    fn generation(state: GenerationState, description: Description, bytes: &[u8]) -> Generation {
        Generation {
            id: GenerationId::from_sql(1),
            projection: "p".to_owned(),
            module: ModuleHash::of(bytes),
            description,
            state,
            checkpoint: Checkpoint::from_stored("0".to_owned()),
            position: Position::START,
            report: None,
            dead_letters: 0,
            host: None,
        }
    }

    fn decided(version: u32, columns: &[&str], bytes: &[u8]) -> Decision {
        let live = generation(GenerationState::Live, description(2, &["id"]), b"old");
        decide(
            &description(version, columns),
            &ModuleHash::of(bytes),
            &[live],
        )
    }

    #[test]
    fn the_first_module_is_built() {
        let hash = ModuleHash::of(b"new");
        assert_eq!(
            decide(&description(1, &["id"]), &hash, &[]),
            Decision::Build
        );
    }

    #[test]
    fn the_same_bytes_change_nothing() {
        assert_eq!(decided(2, &["id"], b"old"), Decision::Nothing);
    }

    #[test]
    fn the_same_version_and_tables_are_reloaded() {
        let reload = Decision::HotReload(GenerationId::from_sql(1));
        assert_eq!(decided(2, &["id"], b"new"), reload);
    }

    #[test]
    fn a_higher_version_is_built() {
        assert_eq!(decided(3, &["id", "name"], b"new"), Decision::Build);
    }

    #[test]
    fn the_same_version_with_other_tables_is_refused_by_name() {
        let Decision::Refused(reason) = decided(2, &["id", "name"], b"new") else {
            panic!("it was not refused")
        };
        assert!(
            reason.contains("`orders`") && reason.contains("raise the version"),
            "{reason}"
        );
    }

    #[test]
    fn a_lower_version_is_refused_naming_rollback() {
        let Decision::Refused(reason) = decided(1, &["id"], b"new") else {
            panic!("it was not refused")
        };
        assert!(reason.contains("gnomon rollback p"), "{reason}");
    }

    #[test]
    fn retired_and_dropped_generations_do_not_count() {
        let retired = generation(GenerationState::Retired, description(9, &["id"]), b"old");
        let decision = decide(
            &description(1, &["id"]),
            &ModuleHash::of(b"new"),
            &[retired],
        );
        assert_eq!(decision, Decision::Build);
    }
}
