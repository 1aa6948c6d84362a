use gnomon_sdk::prelude::*;

/// A row, and with it the table: a field for each column.
#[derive(Row)]
#[row(table = "{{projection}}")]
pub struct Entry {
    #[key]
    pub id: String,
}

/// The events that are wanted: a variant for each type, with what is wanted of
/// its data.
#[derive(Events)]
pub enum Event {
    SomethingHappened { id: String },
}

pub struct Entries;

impl Projection for Entries {
    const NAME: &'static str = "{{projection}}";
    /// Increase this whenever the same events should produce different rows.
    const VERSION: u32 = 1;
    type Event = Event;
    type Tables = (Entry,);

    fn apply(event: Event, _: &EventContext, tables: &mut Tables) -> Result<()> {
        match event {
            Event::SomethingHappened { id } => tables.put(Entry { id }),
        }
        Ok(())
    }
}

gnomon_sdk::export!(Entries);
