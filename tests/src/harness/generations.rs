//! The generations of a read-model database, as its registry and its catalog
//! have them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{Database, Installation, System};

/// How long anything that is waited for may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(5);

/// A generation in the registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub id: i64,
    /// Its projection.
    pub projection: String,
    /// `building`, `ready`, `live`, `retired` or `dropped`.
    pub state: String,
    /// What is wanted of it.
    pub goal: String,
    /// Its module's version.
    pub version: u32,
    /// Where it stands.
    pub position: i64,
}

impl Database {
    /// Everything that the registry knows, by number.
    #[must_use]
    pub fn generations(&self) -> Vec<Stored> {
        let prefix = match self.system() {
            System::Sqlite => "gnomon_",
            System::Postgres => "gnomon.",
        };
        let mut found: Vec<Stored> = self
            .rows(&format!(
                "SELECT g.id, g.projection, g.state, g.goal, g.version, c.position
                 FROM {prefix}generations g JOIN {prefix}checkpoints c ON c.generation = g.id"
            ))
            .into_iter()
            .map(|row| {
                let text = |column: usize| row[column].clone().unwrap();
                Stored {
                    id: text(0).parse().unwrap(),
                    projection: text(1),
                    state: text(2),
                    goal: text(3),
                    version: text(4).parse().unwrap(),
                    position: text(5).parse().unwrap(),
                }
            })
            .collect();
        found.sort_by_key(|generation| generation.id);
        found
    }

    /// The generations that have tables or a schema, known or not.
    #[must_use]
    pub fn generations_with_tables(&self) -> BTreeSet<i64> {
        let sql = match self.system() {
            System::Sqlite => {
                "SELECT name FROM sqlite_schema WHERE name GLOB 'gnomon_[0-9]*' AND type = 'table'"
            }
            System::Postgres => {
                "SELECT nspname FROM pg_namespace WHERE nspname ~ '^gnomon_.*_[0-9]+$'"
            }
        };
        let names = self.rows(sql).into_iter().flatten().flatten();
        names
            .map(|name| {
                let number = match self.system() {
                    System::Sqlite => name.split('_').nth(1),
                    System::Postgres => name.rsplit('_').next(),
                };
                number.unwrap().parse().unwrap()
            })
            .collect()
    }

    /// The physical table of a generation of `spending`.
    #[must_use]
    pub fn physical_table(&self, generation: i64, table: &str) -> String {
        match self.system() {
            System::Sqlite => format!("gnomon_{generation}_{table}"),
            System::Postgres => format!("gnomon_spending_{generation}.{table}"),
        }
    }
}

impl Installation {
    /// The generations of `spending`.
    #[must_use]
    pub fn spending_generations(&self) -> Vec<Stored> {
        let mut found = self.read_models.generations();
        found.retain(|generation| generation.projection == "spending");
        found
    }

    /// The live generation of `spending`.
    ///
    /// # Panics
    /// When there is not exactly one.
    #[must_use]
    pub fn live(&self) -> Stored {
        let all = self.spending_generations();
        let mut live = all.iter().filter(|generation| generation.state == "live");
        match (live.next(), live.next()) {
            (Some(live), None) => live.clone(),
            _ => panic!("not one live generation: {all:?}"),
        }
    }

    /// The candidate of `spending`.
    #[must_use]
    pub fn candidate(&self) -> Option<Stored> {
        self.spending_generations().into_iter().find(|generation| {
            ["building", "ready"].contains(&generation.state.as_str())
                && generation.goal != "compare"
        })
    }

    /// Waits until the generations of `spending` are as they should be, and
    /// gives what was looked for.
    ///
    /// # Panics
    /// When that never comes.
    pub fn wait_for_generations<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&[Stored]) -> Option<T>,
    ) -> T {
        let started = Instant::now();
        loop {
            let all = self.spending_generations();
            if let Some(found) = find(&all) {
                return found;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "after {PATIENCE:?} still not {what}: {all:?}"
            );
            std::thread::sleep(POLL);
        }
    }

    /// Waits until the candidate of `spending` is ready.
    pub fn wait_until_ready(&self) -> Stored {
        self.wait_for_generations("ready", |all| {
            let ready = all.iter().find(|generation| generation.state == "ready");
            ready.cloned()
        })
    }

    /// Waits until only the generations of the registry have tables, and none
    /// is about to go.
    pub fn wait_until_tidy(&self) {
        self.wait_for_generations("tidy", |all| {
            let is_going =
                |generation: &Stored| generation.state == "dropped" || generation.goal == "compare";
            let known: BTreeSet<i64> = self
                .read_models
                .generations()
                .iter()
                .map(|generation| generation.id)
                .collect();
            let is_tidy =
                !all.iter().any(is_going) && self.read_models.generations_with_tables() == known;
            is_tidy.then_some(())
        });
    }
}
