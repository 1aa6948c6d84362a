//! `listed` after its author has sorted its declarations in another way, and let
//! faults pass.

#[path = "../../listed/src/listed.rs"]
mod listed;

listed::listed! {
    tables: (Last, Hundred, One),
    indexes: (index(size), index(colour)),
    events: {
        Faulty {},
        Grown { size: i64 },
        Painted { colour: String },
    },
    faulty: Ok(()),
}
