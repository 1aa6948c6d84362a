//! The comparison of a module with the generations that its projection has.

use gnomon_model::Description;

use super::difference::difference;
use crate::generation::{Generation, GenerationId, Generations, ModuleHash};

/// What to do with a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The same bytes run already.
    Nothing,
    /// The next batch of these runs the new code; checkpoints and tables stay.
    HotReload(Vec<GenerationId>),
    /// A new generation, built from the first event.
    Build,
    /// The module cannot be deployed; the sentence says why and what to do.
    Refused(String),
}

/// Compares a module with the generations of its projection: the live one,
/// and the candidate that may be on its way.
#[must_use]
pub fn decide(
    description: &Description,
    hash: &ModuleHash,
    generations: &[Generation],
) -> Decision {
    let name = &description.name;
    let own = Generations::of(name, generations);
    if let Some(original) = own.copy_of() {
        return Decision::Refused(format!(
            "`{name}` is a copy of `{original}` that was made by `gnomon rebuild --as`; give the \
             module another name, or remove the copy with `gnomon remove {name} --drop`"
        ));
    }
    let (live, candidate) = (own.live(), own.candidate());
    let new = description.version;
    let of_version: Vec<&Generation> = candidate
        .into_iter()
        .chain(live)
        .filter(|generation| generation.description.version == new)
        .collect();
    if !of_version.is_empty() {
        let stale: Vec<GenerationId> = of_version
            .iter()
            .filter(|generation| generation.module != *hash)
            .map(|generation| generation.id)
            .collect();
        let differs = of_version
            .iter()
            .find_map(|known| difference(&known.description, description));
        return match differs {
            _ if stale.is_empty() => Decision::Nothing,
            None => Decision::HotReload(stale),
            Some(difference) => Decision::Refused(format!(
                "{difference}, but its version is still {new}; raise the version, so that a new \
                 generation is built"
            )),
        };
    }
    if let Some(live) = live.map(|live| live.description.version)
        && new < live
    {
        return Decision::Refused(format!(
            "its version is {new}, and version {live} is deployed; to go back, use `gnomon rollback {name}`"
        ));
    }
    if let Some(candidate) = candidate.map(|candidate| candidate.description.version)
        && new < candidate
    {
        return Decision::Refused(format!(
            "its version is {new}, and version {candidate} is being built; to build this one \
             instead, use `gnomon remove {name} --candidate` first"
        ));
    }
    Decision::Build
}

#[cfg(test)]
mod tests {
    use gnomon_model::{Column, ColumnType, DeclaredTable, Position, Subscription};

    use super::*;
    use crate::generation::{GenerationState, Goal};
    use gnomon_event_store::source::Checkpoint;

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
            copy_of: None,
            module: ModuleHash::of(bytes),
            description,
            state,
            goal: match state {
                GenerationState::Building | GenerationState::Ready => Goal::Promote,
                _ => Goal::Rest,
            },
            until: None,
            obstacle: None,
            is_removed: false,
            rate: None,
            retired_at: None,
            checkpoint: Checkpoint::from_stored("0".to_owned()),
            position: Position::START,
            report: None,
            dead_letters: 0,
            applied_late: 0,
            changed_skips: 0,
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
        let reload = Decision::HotReload(vec![GenerationId::from_sql(1)]);
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

    fn candidate(version: u32, bytes: &[u8]) -> Generation {
        let mut candidate = generation(
            GenerationState::Building,
            description(version, &["id"]),
            bytes,
        );
        candidate.id = GenerationId::from_sql(2);
        candidate
    }

    fn decided_beside(candidate: Generation, version: u32, bytes: &[u8]) -> Decision {
        let live = generation(GenerationState::Live, description(2, &["id"]), b"old");
        decide(
            &description(version, &["id"]),
            &ModuleHash::of(bytes),
            &[live, candidate],
        )
    }

    #[test]
    fn a_reload_reaches_the_live_generation_and_a_rebuild_of_its_version() {
        let both = [2, 1].map(GenerationId::from_sql).to_vec();
        assert_eq!(
            decided_beside(candidate(2, b"old"), 2, b"new"),
            Decision::HotReload(both)
        );
    }

    #[test]
    fn the_live_version_is_reloaded_beside_a_higher_candidate() {
        let live = vec![GenerationId::from_sql(1)];
        assert_eq!(
            decided_beside(candidate(4, b"next"), 2, b"new"),
            Decision::HotReload(live)
        );
    }

    #[test]
    fn a_candidate_gives_way_to_a_higher_version_only() {
        assert_eq!(
            decided_beside(candidate(4, b"next"), 5, b"new"),
            Decision::Build
        );
        let Decision::Refused(reason) = decided_beside(candidate(4, b"next"), 3, b"new") else {
            panic!("it was not refused")
        };
        assert!(reason.contains("gnomon remove p --candidate"), "{reason}");
    }

    #[test]
    fn nothing_is_deployed_over_a_copy() {
        let mut copy = generation(GenerationState::Live, description(2, &["id"]), b"old");
        copy.copy_of = Some("q".to_owned());
        let decision = decide(&description(9, &["id"]), &ModuleHash::of(b"new"), &[copy]);
        assert!(matches!(decision, Decision::Refused(reason) if reason.contains("a copy of `q`")));
    }
}
