//! Counts the events of each stream in several tables.

mod listed;

listed::listed! {
    tables: (One, Hundred, Last),
    indexes: (index(colour), index(size)),
    events: {
        Painted { colour: String },
        Grown { size: i64 },
        Faulty {},
    },
    faulty: Err(Error::new("the event asks for it")),
}
