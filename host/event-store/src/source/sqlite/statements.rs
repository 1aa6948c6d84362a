//! The statements of a source, made once from the layout of its table.

use gnomon_model::Subscription;

use crate::table::Layout;
use crate::table::sqlite::{Columns, event_columns};

/// Statements that do not depend on the optional columns.
pub(super) struct Watching {
    /// The highest position.
    pub(super) head: String,
    /// The last event up to a position.
    pub(super) last_event: String,
}

impl Watching {
    pub(super) fn new(layout: &Layout) -> Self {
        let (from, position, id) = (layout.from(), layout.position.sql(), layout.id.sql());
        Self {
            head: format!("SELECT coalesce(max({position}), 0) FROM {from}"),
            last_event: format!(
                "SELECT {position}, substr(CAST({id} AS TEXT), 1, 65536) FROM {from} \
                 WHERE {position} <= ?1 ORDER BY {position} DESC LIMIT 1"
            ),
        }
    }
}

/// What readers ask.
pub(super) struct Reading {
    /// Events of a range, up to the conditions: without metadata, and with it.
    events: [String; 2],
    /// The name of the columns in conditions.
    event_type: String,
    category: String,
    /// The order of events, and their number.
    end: String,
    /// The first position behind one, up to another, that has an event.
    pub(super) next_position: String,
    /// The first event behind a position.
    pub(super) first_behind: String,
    /// All events, the last one first.
    pub(super) backwards: String,
}

impl Reading {
    pub(super) fn new(columns: &Columns) -> Self {
        let layout = &columns.layout;
        let (from, position) = (layout.from(), layout.position.sql());
        let (without, with) = (event_columns(columns, false), event_columns(columns, true));
        let events = |selected: &str| {
            format!("SELECT {selected} FROM {from} WHERE {position} > ? AND {position} <= ?")
        };
        let stream = layout.stream.sql();
        Self {
            events: [events(&without), events(&with)],
            // The sign keeps SQLite from walking along the index by type, which
            // would have to be sorted by position.
            event_type: format!("+{}", layout.event_type.sql()),
            category: format!(
                "CASE instr({stream}, '-') WHEN 0 THEN {stream} \
                 ELSE substr({stream}, 1, instr({stream}, '-') - 1) END"
            ),
            end: format!(" ORDER BY {position} LIMIT ?"),
            next_position: format!(
                "SELECT min({position}) FROM {from} WHERE {position} > ?1 AND {position} <= ?2"
            ),
            first_behind: format!(
                "SELECT {without} FROM {from} WHERE {position} > ?1 ORDER BY {position} LIMIT 1"
            ),
            backwards: format!("SELECT {without} FROM {from} ORDER BY {position} DESC"),
        }
    }

    /// The events of a range that a subscription wants, and the strings that are
    /// compared.
    pub(super) fn events(&self, subscription: &Subscription) -> (String, Vec<String>) {
        let [without, with] = &self.events;
        let mut query = match subscription.metadata {
            true => with.clone(),
            false => without.clone(),
        };
        let mut texts = Vec::new();
        for (column, wanted) in [
            (&self.event_type, &subscription.event_types),
            (&self.category, &subscription.categories),
        ] {
            if !wanted.is_empty() {
                query.push_str(" AND ");
                query.push_str(column);
                query.push_str(" IN (");
                query.push_str(&vec!["?"; wanted.len()].join(", "));
                query.push(')');
                texts.extend(wanted.iter().cloned());
            }
        }
        query.push_str(&self.end);
        (query, texts)
    }
}
