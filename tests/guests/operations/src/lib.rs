//! Does the operations on tables that most projections can do without.
//! `tests/tests/end_to_end/languages/operations.rs` defines it, for all languages.

use gnomon_sdk::prelude::*;

/// Somebody who lives somewhere.
#[derive(Row, Debug, PartialEq)]
#[row(table = "people", index(city))]
pub struct Person {
    /// What the events call them.
    #[key]
    pub name: String,
    /// Where they live.
    pub city: String,
    /// Their age.
    pub age: i64,
    /// What was done last.
    pub note: Option<String>,
}

/// What a read gave.
#[derive(Row, Debug, PartialEq)]
#[row(table = "answers")]
pub struct Answer {
    /// The position of the event that asked.
    #[key]
    pub position: i64,
    /// The rows that were found, in their order.
    pub answer: String,
}

/// What the projection reads.
#[derive(Events)]
#[expect(missing_docs, reason = "operations.rs says it")]
pub enum OperationEvent {
    Put {
        name: String,
        city: String,
        age: i64,
    },
    Patched {
        name: String,
        add: i64,
    },
    Clamped {
        name: String,
        min: i64,
        max: i64,
    },
    CityPatched {
        city: String,
        add: i64,
    },
    Removed {
        name: String,
    },
    CityRemoved {
        city: String,
    },
    Asked {
        city: String,
        limit: u32,
    },
    AskedFor {
        names: Vec<String>,
    },
}

fn answer(tables: &mut Tables, context: &EventContext, found: &[String]) -> Result<()> {
    tables.put(Answer {
        position: i64::try_from(context.position)?,
        answer: found.join(","),
    });
    Ok(())
}

/// The projection.
pub struct Operations;

impl Projection for Operations {
    const NAME: &'static str = "operations";
    const VERSION: u32 = 1;
    type Event = OperationEvent;
    type Tables = (Person, Answer);

    fn apply(event: OperationEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
        match event {
            OperationEvent::Put { name, city, age } => tables.put(Person {
                name,
                city,
                age,
                note: None,
            }),
            OperationEvent::Patched { name, add } => {
                tables.patch(name, [Person::age.add(add), Person::note.set("patched")]);
            }
            OperationEvent::Clamped { name, min, max } => {
                tables.patch(name.as_str(), [Person::age.max(min)]);
                tables.patch(name, [Person::age.min(max)]);
            }
            OperationEvent::CityPatched { city, add } => tables.patch_where(
                Person::by_city(city),
                [Person::age.add(add), Person::note.set(None)],
            ),
            OperationEvent::Removed { name } => tables.remove::<Person>(name),
            OperationEvent::CityRemoved { city } => tables.remove_where(Person::by_city(city)),
            OperationEvent::Asked { city, limit } => {
                let found = tables.find(Person::by_city(city), limit)?;
                let names: Vec<_> = found.into_iter().map(|person| person.name).collect();
                answer(tables, context, &names)?;
            }
            OperationEvent::AskedFor { names } => {
                let found: Vec<_> = tables
                    .get_many::<Person, _>(names)?
                    .into_iter()
                    .map(|person| match person {
                        Some(Person { name, age, .. }) => format!("{name}:{age}"),
                        None => "-".to_owned(),
                    })
                    .collect();
                answer(tables, context, &found)?;
            }
        }
        Ok(())
    }
}

gnomon_sdk::export!(Operations);
