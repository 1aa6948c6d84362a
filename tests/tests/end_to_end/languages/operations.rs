//! The operations on tables besides `put`, `merge` and `get`, in every
//! language, against a model in memory.
//!
//! # The projection `operations`, version 1
//!
//! Its modules are `operations-<language>` of `tests/guests`; that of Rust bears
//! no suffix. The table `people` has the key `name`, text, and `city`, text,
//! with an index, `age`, integer, and `note`, a text that may be null. The table
//! `answers` has the key `position`, integer, and `answer`, text.
//!
//! | event | data | what it does |
//! | --- | --- | --- |
//! | `Put` | `name`, `city`, `age` | puts the row, without a note |
//! | `Patched` | `name`, `add` | `patch`: adds to the age, sets the note to `patched` |
//! | `Clamped` | `name`, `min`, `max` | two `patch`es: the age becomes `min` at least, then `max` at most |
//! | `CityPatched` | `city`, `add` | `patch_where`: adds to the age, sets the note to null |
//! | `Removed` | `name` | `remove` |
//! | `CityRemoved` | `city` | `remove_where` |
//! | `Asked` | `city`, `limit` | `find`; the answer is the names |
//! | `AskedFor` | `names` | `get_many`; the answer is `name:age` for each, or `-` |
//!
//! Answers are put under the event's position, their parts joined by commas.

use std::collections::BTreeMap;

use gnomon_tests::harness::{Chance, Installation, Rows, System, guest};
use serde_json::{Value, json};

use super::{LANGUAGES, append, can_be_tested};

const EVENTS: u64 = 500;

/// In no order; some differ in case only, or are not ASCII.
const NAMES: [&str; 12] = [
    "Zoë", "ada", "Łucja", "Ada", "Bo", "Élise", "a b", "B", "李", "bo", "Zo", "👟",
];

const CITIES: [&str; 4] = ["Köln", "", "koln", "Oslo"];

/// In batches of this size reads meet rows of the same batch and of others.
const SETTINGS: &str = "[limits]\nbatch-events = 20";

struct Person {
    city: &'static str,
    age: i64,
    note: Option<&'static str>,
}

/// What the tables should hold.
#[derive(Default)]
struct Model {
    people: BTreeMap<&'static str, Person>,
    answers: Vec<(u64, String)>,
}

impl Model {
    /// A random event, which is applied, too.
    fn event(&mut self, position: u64, chance: &mut Chance) -> (&'static str, Value) {
        let kind = chance.number(0..16);
        let name = chosen(&NAMES, chance);
        let city = chosen(&CITIES, chance);
        let number = i64::try_from(chance.number(0..100)).unwrap() - 50;
        match kind {
            0..5 => {
                let person = Person {
                    city,
                    age: number,
                    note: None,
                };
                self.people.insert(name, person);
                ("Put", json!({"name": name, "city": city, "age": number}))
            }
            5..7 => {
                if let Some(person) = self.people.get_mut(name) {
                    person.age += number;
                    person.note = Some("patched");
                }
                ("Patched", json!({"name": name, "add": number}))
            }
            7 => {
                let (min, max) = (number, number + 20);
                if let Some(person) = self.people.get_mut(name) {
                    person.age = person.age.max(min).min(max);
                }
                ("Clamped", json!({"name": name, "min": min, "max": max}))
            }
            8..10 => {
                for person in self
                    .people
                    .values_mut()
                    .filter(|person| person.city == city)
                {
                    person.age += number;
                    person.note = None;
                }
                ("CityPatched", json!({"city": city, "add": number}))
            }
            10 => {
                self.people.remove(name);
                ("Removed", json!({"name": name}))
            }
            11 => {
                self.people.retain(|_, person| person.city != city);
                ("CityRemoved", json!({"city": city}))
            }
            12..14 => {
                let limit = chance.number(0..5);
                let of_city = self.people.iter().filter(|(_, person)| person.city == city);
                let found = of_city.map(|(name, _)| (*name).to_owned());
                let found: Vec<_> = found.take(limit.try_into().unwrap()).collect();
                self.answers.push((position, found.join(",")));
                ("Asked", json!({"city": city, "limit": limit}))
            }
            _ => {
                let count = chance.number(0..5);
                let names: Vec<_> = (0..count).map(|_| chosen(&NAMES, chance)).collect();
                let found = names.iter().map(|name| match self.people.get(name) {
                    Some(person) => format!("{name}:{}", person.age),
                    None => "-".to_owned(),
                });
                let found: Vec<_> = found.collect();
                self.answers.push((position, found.join(",")));
                ("AskedFor", json!({"names": names}))
            }
        }
    }

    fn people(&self) -> Rows {
        let row = |(name, person): (&&str, &Person)| {
            vec![
                Some((*name).to_owned()),
                Some(person.city.to_owned()),
                Some(person.age.to_string()),
                person.note.map(str::to_owned),
            ]
        };
        self.people.iter().map(row).collect()
    }

    fn answers(&self) -> Rows {
        let row = |(position, answer): &(u64, String)| {
            vec![Some(position.to_string()), Some(answer.clone())]
        };
        let mut rows: Rows = self.answers.iter().map(row).collect();
        // As the harness gives them: by their text.
        rows.sort();
        rows
    }
}

fn chosen(of: &[&'static str], chance: &mut Chance) -> &'static str {
    let place = chance.number(0..of.len().try_into().unwrap());
    of[usize::try_from(place).unwrap()]
}

#[test]
fn every_language_finds_patches_and_removes_the_same_rows() {
    let mut chance = Chance::from_seed(6);
    let mut model = Model::default();
    let events: Vec<_> = (1..=EVENTS)
        .map(|position| model.event(position, &mut chance))
        .collect();
    assert!(model.people.len() > 3, "{} people", model.people.len());
    for system in [System::Sqlite, System::Postgres] {
        for language in &LANGUAGES {
            let module = format!("operations{}", language.suffix);
            // TypeScript's are JavaScript's.
            if language.name == "typescript"
                || !can_be_tested(language.name, &module, &format!("operations on {system:?}"))
            {
                continue;
            }
            let installation = Installation::in_one_database(system)
                .with_module("operations.wasm", &guest(&module))
                .with_configuration(SETTINGS);
            append(&installation, &events);
            installation.succeed(&["run", "--until-caught-up"]);
            for (table, expected) in [("people", model.people()), ("answers", model.answers())] {
                let rows = installation.rows_of("operations", table);
                for (expected, found) in expected.iter().zip(&rows) {
                    assert_eq!(found, expected, "{table}, {} on {system:?}", language.name);
                }
                assert_eq!(rows.len(), expected.len(), "{table}, {}", language.name);
            }
        }
    }
}
