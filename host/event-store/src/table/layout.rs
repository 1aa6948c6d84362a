//! Where a table has what makes an event.

use std::fmt;

/// A table, as it is called in SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    /// `None` for the first table of that name on the search path.
    schema: Option<String>,
    name: String,
}

impl Relation {
    /// The first table of this name on the search path.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            schema: None,
            name: name.to_owned(),
        }
    }

    /// The name alone.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// It in a statement.
    pub(crate) fn sql(&self) -> String {
        let name = quoted(&self.name);
        match &self.schema {
            Some(schema) => format!("{}.{name}", quoted(schema)),
            None => name,
        }
    }
}

/// As a message names it, and as people can write it into a statement.
impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(schema) = &self.schema {
            write!(formatter, "{}.", quoted_if_needed(schema))?;
        }
        formatter.write_str(&quoted_if_needed(&self.name))
    }
}

/// A column that has one fact of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    name: String,
    sql: String,
}

impl Fact {
    fn column(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            sql: format!("{ALIAS}.{}", quoted(name)),
        }
    }

    /// As people know it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// It in a query [`from`](Layout::from) the table.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }
}

/// As people can write it into a statement.
impl fmt::Display for Fact {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&quoted_if_needed(&self.name))
    }
}

/// The alias of the table in queries. Every column is qualified with it, because
/// SQLite takes a quoted name that no column has for a string.
const ALIAS: &str = "e";

/// Where a table has what makes an event: all that source and store know of its
/// names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The table into which writers insert.
    pub(crate) table: Relation,
    /// A column of it, by which rows can be found.
    pub(crate) position: Fact,
    pub(crate) id: Fact,
    pub(crate) stream: Fact,
    pub(crate) event_type: Fact,
    pub(crate) version: Fact,
    /// A table without it has events of schema version 1.
    pub(crate) schema_version: Fact,
    pub(crate) data: Fact,
    pub(crate) metadata: Fact,
    pub(crate) recorded_at: Fact,
    /// Where the table has this column, the store writes the category of the stream
    /// there. Readers take it from the stream.
    pub(crate) category: Fact,
    /// The channel on which PostgreSQL tells of new events.
    pub(crate) channel: &'static str,
}

impl Layout {
    /// That of the built-in event store.
    pub(crate) fn built_in() -> Self {
        Self {
            table: Relation::named("events"),
            position: Fact::column("global_position"),
            id: Fact::column("id"),
            stream: Fact::column("stream_id"),
            event_type: Fact::column("event_type"),
            version: Fact::column("version"),
            schema_version: Fact::column("schema_version"),
            data: Fact::column("event_data"),
            metadata: Fact::column("metadata"),
            recorded_at: Fact::column("created_at"),
            category: Fact::column("stream_type"),
            channel: "gnomon_events",
        }
    }

    /// What queries read from.
    pub(crate) fn from(&self) -> String {
        format!("{} AS {ALIAS}", self.table.sql())
    }

    /// The facts in the order in which rows are read.
    pub(crate) const fn facts(&self) -> [&Fact; 9] {
        [
            &self.position,
            &self.id,
            &self.stream,
            &self.event_type,
            &self.version,
            &self.schema_version,
            &self.data,
            &self.metadata,
            &self.recorded_at,
        ]
    }

    /// Those without which a table is no table of events.
    pub(crate) fn required(&self) -> impl Iterator<Item = &Fact> {
        let optional = &self.schema_version;
        self.facts()
            .into_iter()
            .filter(move |fact| *fact != optional)
    }

    /// The name of the fact at a place of [`facts`](Self::facts).
    pub(crate) fn name(&self, place: usize) -> &str {
        self.facts().get(place).map_or("", |fact| fact.name())
    }
}

/// Any name, quoted for SQL.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn quoted_if_needed(name: &str) -> String {
    let is_plain = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && (name.chars()).all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    match is_plain {
        true => name.to_owned(),
        false => quoted(name),
    }
}

/// Any text as a string literal of SQL.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    impl Layout {
        /// One that has no name in common with the built-in, nor a name that needs
        /// no quotes.
        pub(crate) fn strange(schema: Option<&str>) -> Self {
            Self {
                table: Relation {
                    schema: schema.map(str::to_owned),
                    name: "The \"Log\"".to_owned(),
                },
                position: Fact::column("No"),
                id: Fact::column("select"),
                stream: Fact::column("Stream's name"),
                event_type: Fact::column("Type"),
                version: Fact::column("in stream"),
                schema_version: Fact::column("v"),
                data: Fact::column("Payload"),
                metadata: Fact::column("Meta"),
                recorded_at: Fact::column("At"),
                category: Fact::column("Kind"),
                channel: "the log",
            }
        }
    }

    #[test]
    fn names_are_quoted_whatever_they_are() {
        let layout = Layout::strange(Some("Message Store"));
        assert_eq!(layout.from(), r#""Message Store"."The ""Log""" AS e"#);
        assert_eq!(layout.table.to_string(), r#""Message Store"."The ""Log""""#);
        assert_eq!(layout.stream.sql(), r#"e."Stream's name""#);
        assert_eq!(literal("o'clock"), "'o''clock'");
    }

    #[test]
    fn messages_name_the_built_in_table_as_people_do() {
        let layout = Layout::built_in();
        assert_eq!(layout.table.to_string(), "events");
        assert_eq!(layout.position.to_string(), "global_position");
    }
}
