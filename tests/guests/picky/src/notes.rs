//! The tables, and what is written for every note. An event that is lost,
//! applied twice or out of order leaves a mark in them.

use gnomon_sdk::prelude::*;

/// One row for each event.
#[derive(Row, Debug, PartialEq)]
#[row(table = "seen")]
pub struct Seen {
    /// Its position.
    #[key]
    pub position: i64,
    /// Its stream.
    pub stream_id: String,
    /// Its place there.
    pub version: i64,
    /// What it says.
    pub note: String,
}

/// One row for each stream.
#[derive(Row, Debug, PartialEq)]
#[row(table = "streams")]
pub struct StreamSeen {
    /// The stream.
    #[key]
    pub stream_id: String,
    /// How many of its events were applied.
    pub events: i64,
    /// The last of them.
    pub last_version: i64,
    /// How many did not follow on the one before.
    pub out_of_order: i64,
    /// A number that depends on all notes and on their order.
    pub digest: i64,
}

/// What the projection reads.
#[derive(Events)]
pub enum NoteEvent {
    /// Somebody noted something.
    Noted {
        /// What.
        note: String,
        /// What the note asks `picky` to do.
        #[serde(default)]
        fault: Option<Fault>,
    },
}

/// A way not to apply an event.
#[derive(serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Reject it by name.
    Reject,
    /// Trap.
    Panic,
    /// Write a key that no index of PostgreSQL holds.
    Unwritable,
}

/// Writes down a note.
pub(crate) fn write(event: &NoteEvent, context: &EventContext, tables: &mut Tables) -> Result<()> {
    let NoteEvent::Noted { note, .. } = event;
    let position = i64::try_from(context.position)?;
    let version = i64::try_from(context.version)?;
    tables.put(Seen {
        position,
        stream_id: context.stream_id.clone(),
        version,
        note: note.clone(),
    });
    let before: Option<StreamSeen> = tables.get(context.stream_id.clone())?;
    let (last_version, digest) = before.map_or((0, 0), |row| (row.last_version, row.digest));
    tables.merge(
        context.stream_id.clone(),
        [
            StreamSeen::events.add(1),
            StreamSeen::last_version.set(version),
            StreamSeen::out_of_order.add(i64::from(version != last_version + 1)),
            StreamSeen::digest.set(digested(digest, note)),
        ],
    );
    Ok(())
}

/// Writes a row whose key is longer than an index of either database may hold.
pub(crate) fn write_unwritable(context: &EventContext, tables: &mut Tables) {
    let mut state = context.position | 1;
    let key = (0..6_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'!' + (state % 90) as u8)
        })
        .collect::<String>();
    tables.merge(key, [StreamSeen::events.add(1)]);
}

fn digested(digest: i64, note: &str) -> i64 {
    note.bytes().fold(digest, |digest, byte| {
        (digest.wrapping_mul(31).wrapping_add(i64::from(byte))) & 0xffff_ffff_ffff
    })
}
