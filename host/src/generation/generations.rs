//! The generations of one projection, and which of them is what.

use std::collections::BTreeMap;

use super::{Generation, GenerationId, GenerationState, Goal};

/// The generations of one projection that are not dropped.
///
/// ```text
/// live        readers see it
/// candidate   it is being built to become the live one
/// shown       it stands for the projection: the live one, or else the candidate
/// retired     a rollback goes back to it
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Generations {
    projection: String,
    all: Vec<Generation>,
}

impl Generations {
    /// Those of a projection among all that there are.
    #[must_use]
    pub fn of(projection: &str, all: &[Generation]) -> Self {
        let own = all
            .iter()
            .filter(|generation| generation.projection == projection);
        Self {
            projection: projection.to_owned(),
            all: own.cloned().collect(),
        }
    }

    /// Those of every projection, by its name.
    #[must_use]
    pub fn by_projection(all: Vec<Generation>) -> Vec<Self> {
        let mut found: BTreeMap<String, Vec<Generation>> = BTreeMap::new();
        for generation in all {
            let own = found.entry(generation.projection.clone()).or_default();
            own.push(generation);
        }
        found
            .into_iter()
            .map(|(projection, all)| Self { projection, all })
            .collect()
    }

    /// The projection.
    #[must_use]
    pub fn projection(&self) -> &str {
        &self.projection
    }

    /// All of them, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Generation> + Clone {
        self.all.iter()
    }

    /// Whether the projection has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The one with this number.
    #[must_use]
    pub fn get(&self, id: GenerationId) -> Option<&Generation> {
        self.iter().find(|generation| generation.id == id)
    }

    /// The number of the newest one.
    #[must_use]
    pub fn newest(&self) -> Option<GenerationId> {
        self.iter().map(|generation| generation.id).max()
    }

    /// The one that readers see.
    #[must_use]
    pub fn live(&self) -> Option<&Generation> {
        self.iter()
            .find(|generation| generation.state == GenerationState::Live)
    }

    /// The newest one that is being built to become the live one.
    #[must_use]
    pub fn candidate(&self) -> Option<&Generation> {
        self.iter()
            .filter(|generation| generation.is_candidate())
            .max_by_key(|generation| generation.id)
    }

    /// The one that stands for the projection: the live one; before there is
    /// one, the candidate.
    #[must_use]
    pub fn shown(&self) -> Option<&Generation> {
        self.live().or_else(|| self.candidate())
    }

    /// The candidate that is being built beside the one that is shown.
    #[must_use]
    pub fn beside_live(&self) -> Option<&Generation> {
        self.live().and_then(|_| self.candidate())
    }

    /// The one that a rollback goes back to: it was retired last.
    #[must_use]
    pub fn retired(&self) -> Option<&Generation> {
        self.iter()
            .filter(|generation| generation.state == GenerationState::Retired)
            .max_by_key(|generation| (generation.retired_at, generation.id))
    }

    /// Those that readers are to go back to, and have not yet.
    pub fn rollbacks(&self) -> impl Iterator<Item = &Generation> {
        self.iter().filter(|generation| generation.is_rollback())
    }

    /// The projection that this one is a copy of.
    #[must_use]
    pub fn copy_of(&self) -> Option<&str> {
        self.iter()
            .find_map(|generation| generation.copy_of.as_deref())
    }

    /// Whether the projection was removed, and its tables are only kept.
    #[must_use]
    pub fn is_removed(&self) -> bool {
        self.iter().any(|generation| generation.is_removed)
    }
}

impl Generation {
    /// Whether it was live before, and readers are to go back to it.
    #[must_use]
    pub const fn is_rollback(&self) -> bool {
        matches!(self.state, GenerationState::Retired) && self.goal.is_promotion()
    }

    /// Whether it is built beside the live generation, or before there is one,
    /// to take its place.
    #[must_use]
    pub const fn is_candidate(&self) -> bool {
        matches!(
            self.state,
            GenerationState::Building | GenerationState::Ready
        ) && !matches!(self.goal, Goal::Compare)
    }
}

#[cfg(test)]
mod tests {
    use gnomon_model::{Column, ColumnType, DeclaredTable, Description, Position, Subscription};

    use super::*;
    use crate::generation::ModuleHash;
    use gnomon_event_store::source::Checkpoint;

    use GenerationState::{Building, Live, Ready, Retired};

    fn generation(id: i64, state: GenerationState, goal: Goal) -> Generation {
        let column = Column {
            name: "id".to_owned(),
            column_type: ColumnType::Integer,
            nullable: false,
        };
        let table = DeclaredTable {
            name: "t".to_owned(),
            columns: vec![column],
            primary_key: vec!["id".to_owned()],
            indexes: vec![],
        };
        let subscription = Subscription::default();
        Generation {
            id: GenerationId::from_sql(id),
            projection: "p".to_owned(),
            copy_of: None,
            module: ModuleHash::of(b"module"),
            description: Description::check("p".to_owned(), 1, subscription, vec![table]).unwrap(),
            state,
            goal,
            until: None,
            obstacle: None,
            is_removed: false,
            checkpoint: Checkpoint::behind(Position::START),
            position: Position::START,
            rate: None,
            retired_at: None,
            report: None,
            dead_letters: 0,
            applied_late: 0,
            changed_skips: 0,
            host: None,
        }
    }

    /// The numbers of those that are live, candidate, shown, beside the live one
    /// and retired.
    fn roles(all: Vec<Generation>) -> [Option<i64>; 5] {
        let own = Generations::of("p", &all);
        [
            own.live(),
            own.candidate(),
            own.shown(),
            own.beside_live(),
            own.retired(),
        ]
        .map(|found| found.map(|generation| generation.id.to_sql()))
    }

    #[test]
    fn before_there_is_a_live_one_the_candidate_is_shown() {
        let all = vec![
            generation(1, Building, Goal::Promote),
            generation(2, Ready, Goal::Hold),
        ];
        assert_eq!(roles(all), [None, Some(2), Some(2), None, None]);
    }

    #[test]
    fn a_candidate_is_built_beside_the_live_one_and_a_comparison_is_none() {
        let all = vec![
            generation(1, Live, Goal::Rest),
            generation(2, Building, Goal::Promote),
            generation(3, Building, Goal::Compare),
        ];
        assert_eq!(roles(all), [Some(1), Some(2), Some(1), Some(2), None]);
        let all = vec![
            generation(1, Live, Goal::Rest),
            generation(3, Ready, Goal::Compare),
        ];
        assert_eq!(roles(all), [Some(1), None, Some(1), None, None]);
    }

    #[test]
    fn a_rollback_goes_back_to_the_one_that_was_retired_last() {
        let mut first = generation(1, Retired, Goal::Promote);
        first.retired_at = Some(20);
        let mut second = generation(2, Retired, Goal::Rest);
        second.retired_at = Some(10);
        let own = Generations::of("p", &[first, second, generation(3, Live, Goal::Rest)]);
        assert_eq!(own.retired().map(|found| found.id.to_sql()), Some(1));
        let rollbacks: Vec<i64> = own.rollbacks().map(|found| found.id.to_sql()).collect();
        assert_eq!(rollbacks, [1]);
        assert_eq!(own.newest(), Some(GenerationId::from_sql(3)));
    }

    #[test]
    fn the_generations_of_others_are_left_out() {
        let mut other = generation(2, Live, Goal::Rest);
        other.projection = "q".to_owned();
        let all = [generation(1, Live, Goal::Rest), other];
        let own = Generations::of("p", &all);
        assert_eq!(own.iter().count(), 1);
        let names: Vec<String> = Generations::by_projection(all.to_vec())
            .iter()
            .map(|own| own.projection().to_owned())
            .collect();
        assert_eq!(names, ["p", "q"]);
    }
}
