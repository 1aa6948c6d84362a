//! Writes down every note it is given, and refuses those that ask for it.

mod notes;

use gnomon_sdk::prelude::*;
use notes::{Fault, NoteEvent, Seen, StreamSeen};

/// The projection.
pub struct Picky;

impl Projection for Picky {
    const NAME: &'static str = "picky";
    const VERSION: u32 = 1;
    type Event = NoteEvent;
    type Tables = (Seen, StreamSeen);

    fn apply(event: NoteEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
        let NoteEvent::Noted { fault, .. } = &event;
        match fault {
            None => {}
            Some(Fault::Reject) => reject!("the note asks to be rejected"),
            Some(Fault::Panic) => assert!(fault.is_none(), "the note asks for a panic"),
            Some(Fault::Unwritable) => notes::write_unwritable(context, tables),
        }
        notes::write(&event, context, tables)
    }
}

gnomon_sdk::export!(Picky);
