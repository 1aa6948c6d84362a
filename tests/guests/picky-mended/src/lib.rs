//! `picky` after its author has mended it: it refuses nothing.

#[path = "../../picky/src/notes.rs"]
#[expect(dead_code, reason = "what it no longer does")]
mod notes;

use gnomon_sdk::prelude::*;
use notes::{NoteEvent, Seen, StreamSeen};

/// The projection.
pub struct Picky;

impl Projection for Picky {
    const NAME: &'static str = "picky";
    const VERSION: u32 = 1;
    type Event = NoteEvent;
    type Tables = (Seen, StreamSeen);

    fn apply(event: NoteEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
        notes::write(&event, context, tables)
    }
}

gnomon_sdk::export!(Picky);
