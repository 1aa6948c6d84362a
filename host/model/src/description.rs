//! What a projection says of itself, and the check of it.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use crate::event::{EventRef, category};
use crate::schema::{Column, Index, Table};
use crate::value::ColumnType;

const PROJECTION_NAME_BYTES_MAX: usize = 40;
/// What PostgreSQL keeps of an identifier.
const IDENTIFIER_BYTES_MAX: usize = 63;
const TABLES_MAX: usize = 100;
/// PostgreSQL's limit is 1,600, but a row must also fit into one page.
const COLUMNS_MAX: usize = 500;
const INDEXES_MAX: usize = 50;
/// PostgreSQL's limit for one index.
const INDEX_COLUMNS_MAX: usize = 32;
const SUBSCRIPTION_ENTRIES_MAX: usize = 10_000;
/// What the event store allows for types and streams.
const SUBSCRIPTION_ENTRY_CHARACTERS_MAX: usize = 255;
/// A message with more would help nobody.
const PROBLEMS_SHOWN: usize = 20;
/// A hostile description has millions of mistakes.
const PROBLEMS_KEPT: usize = 1_000;
/// Longer lists are searched by a table of hashes.
const ENTRIES_SEARCHED: usize = 32;

/// Which events the host feeds to a projection. An empty list restricts
/// nothing; an event must pass both lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Types of events.
    pub event_types: Vec<String>,
    /// Categories of streams: `Order` for `Order-abc123`.
    pub categories: Vec<String>,
    /// Whether metadata is wanted.
    pub metadata: bool,
}

impl Subscription {
    /// Whether the projection wants this event.
    #[must_use]
    pub fn wants<'a>(&self, event: impl Into<EventRef<'a>>) -> bool {
        let event = event.into();
        self.wants_type(event.event_type) && self.wants_stream(event.stream_id)
    }

    /// Whether it wants events of this type, if it wants their stream.
    #[must_use]
    pub fn wants_type(&self, event_type: &str) -> bool {
        self.event_types.is_empty() || self.event_types.iter().any(|wanted| wanted == event_type)
    }

    /// Whether it wants events of this stream, if it wants their type.
    #[must_use]
    pub fn wants_stream(&self, stream_id: &str) -> bool {
        let names = |category: &str| self.categories.iter().any(|wanted| wanted == category);
        self.categories.is_empty() || names(category(stream_id))
    }

    /// A subscription that wants whatever one of the two wants, and perhaps
    /// more.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let union = |these: &[String], those: &[String]| match (these, those) {
            ([], _) | (_, []) => Vec::new(),
            _ => {
                let known = Names::of(these);
                let more = those.iter().filter(|name| !known.contain(name));
                let union: Vec<String> = these.iter().chain(more).cloned().collect();
                // Beyond that a query would be dearer than what it leaves out.
                match union.len() {
                    ..=SUBSCRIPTION_ENTRIES_MAX => union,
                    _ => Vec::new(),
                }
            }
        };
        Self {
            event_types: union(&self.event_types, &other.event_types),
            categories: union(&self.categories, &other.categories),
            metadata: self.metadata || other.metadata,
        }
    }

    /// Whether it wants all that the other one wants.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let covers = |these: &[String], those: &[String]| {
            let known = Names::of(these);
            these.is_empty() || !those.is_empty() && those.iter().all(|name| known.contain(name))
        };
        covers(&self.event_types, &other.event_types)
            && covers(&self.categories, &other.categories)
            && (self.metadata || !other.metadata)
    }
}

/// A list of names that others are looked up in.
enum Names<'a> {
    Few(&'a [String]),
    Many(HashSet<&'a str>),
}

impl<'a> Names<'a> {
    fn of(names: &'a [String]) -> Self {
        match names.len() {
            ..=ENTRIES_SEARCHED => Self::Few(names),
            _ => Self::Many(names.iter().map(String::as_str).collect()),
        }
    }

    fn contain(&self, name: &str) -> bool {
        match self {
            Self::Few(names) => names.iter().any(|known| known == name),
            Self::Many(names) => names.contains(name),
        }
    }
}

/// A projection's name, version, subscription and tables, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// `[a-z][a-z0-9_]*`, at most 40 bytes.
    pub name: String,
    /// Raised whenever history would project differently.
    pub version: u32,
    /// Which events it wants.
    pub subscription: Subscription,
    /// The tables that it writes.
    pub tables: Vec<Table>,
}

/// Everything that is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDescription {
    /// One sentence fragment for each mistake; never empty.
    pub problems: Vec<String>,
}

impl std::fmt::Display for InvalidDescription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (shown, more) = self
            .problems
            .split_at(self.problems.len().min(PROBLEMS_SHOWN));
        formatter.write_str(&shown.join("; "))?;
        match more.len() {
            0 => Ok(()),
            more => write!(formatter, "; and {more} more"),
        }
    }
}

impl std::error::Error for InvalidDescription {}

/// A table as a guest declares it: key and indexes by column name.
#[derive(Clone, Debug, Default)]
pub struct DeclaredTable {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Names of the key's columns.
    pub primary_key: Vec<String>,
    /// Names of the columns of each index.
    pub indexes: Vec<Vec<String>>,
}

impl Description {
    /// Checks what a guest declared. All mistakes are reported at once.
    ///
    /// # Errors
    /// [`InvalidDescription`] with one entry for each mistake.
    pub fn check(
        name: String,
        version: u32,
        subscription: Subscription,
        tables: Vec<DeclaredTable>,
    ) -> Result<Self, InvalidDescription> {
        let mut problems = Problems::default();
        check_name(
            "projection name",
            &name,
            PROJECTION_NAME_BYTES_MAX,
            &mut problems,
        );
        check_subscription(&subscription, &mut problems);
        if tables.is_empty() {
            problems.push("it declares no table".to_owned());
        }
        check_count("tables", tables.len(), TABLES_MAX, &mut problems);
        let mut names = HashSet::new();
        let mut checked = Vec::new();
        for table in tables.into_iter().take(TABLES_MAX) {
            if !names.insert(table.name.clone()) {
                problems.push(format!("table `{}` is declared twice", shown(&table.name)));
            }
            checked.push(check_table(table, &mut problems));
        }
        if !problems.0.is_empty() {
            return Err(InvalidDescription {
                problems: problems.0,
            });
        }
        Ok(Self {
            name,
            version,
            subscription,
            tables: checked,
        })
    }

    /// The number of a declared table.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<usize> {
        self.tables.iter().position(|table| table.name == name)
    }
}

/// The mistakes that were found, as many as anybody needs.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn push(&mut self, problem: String) {
        if self.0.len() < PROBLEMS_KEPT {
            self.0.push(problem);
        }
    }
}

fn check_subscription(subscription: &Subscription, problems: &mut Problems) {
    for (what, list) in [
        ("event types", &subscription.event_types),
        ("categories", &subscription.categories),
    ] {
        check_count(what, list.len(), SUBSCRIPTION_ENTRIES_MAX, problems);
        if list.iter().any(String::is_empty) {
            problems.push(format!("the subscription's {what} have an empty entry"));
        }
        if let Some(entry) = list
            .iter()
            .find(|entry| entry.chars().count() > SUBSCRIPTION_ENTRY_CHARACTERS_MAX)
        {
            problems.push(format!(
                "the subscription's {what} have `{}…`, which is longer than {SUBSCRIPTION_ENTRY_CHARACTERS_MAX} characters, so no event has it",
                shown(entry)
            ));
        }
        if list.iter().any(|entry| entry.contains('\0')) {
            problems.push(format!("the subscription's {what} have U+0000 in an entry"));
        }
    }
    for category in &subscription.categories {
        if category.contains('-') {
            problems.push(format!(
                "category `{}` has a `-`, so no stream is in it: a category ends before the first `-`",
                shown(category)
            ));
        }
    }
}

fn check_table(declared: DeclaredTable, problems: &mut Problems) -> Table {
    let table = format!("table `{}`", shown(&declared.name));
    check_name("table name", &declared.name, IDENTIFIER_BYTES_MAX, problems);
    check_count(
        &format!("columns of {table}"),
        declared.columns.len(),
        COLUMNS_MAX,
        problems,
    );
    check_count(
        &format!("indexes of {table}"),
        declared.indexes.len(),
        INDEXES_MAX,
        problems,
    );
    if declared.columns.is_empty() {
        problems.push(format!("{table} has no columns"));
    }
    let mut names = HashSet::new();
    for column in declared.columns.iter().take(COLUMNS_MAX) {
        check_name(
            &format!("{table}: column name"),
            &column.name,
            IDENTIFIER_BYTES_MAX,
            problems,
        );
        if !names.insert(column.name.as_str()) {
            problems.push(format!(
                "{table}: column `{}` is declared twice",
                shown(&column.name)
            ));
        }
    }
    if declared.primary_key.is_empty() {
        problems.push(format!("{table} has no primary key"));
    }
    let what = format!("{table}: the primary key");
    let primary_key = resolve(&what, &declared.primary_key, &declared.columns, problems);
    for column in primary_key
        .iter()
        .filter_map(|number| declared.columns.get(*number))
    {
        if column.nullable {
            problems.push(format!(
                "{what} has the nullable column `{}`",
                shown(&column.name)
            ));
        }
    }
    let mut indexes: Vec<Index> = Vec::new();
    for columns in declared.indexes.iter().take(INDEXES_MAX) {
        let names = columns.get(..INDEX_COLUMNS_MAX).unwrap_or(columns);
        let what = format!("{table}: the index on ({})", shown(&names.join(", ")));
        if columns.is_empty() {
            problems.push(format!("{table} has an index on no columns"));
        }
        let index = Index {
            columns: resolve(&what, columns, &declared.columns, problems),
        };
        if indexes.contains(&index) {
            problems.push(format!("{what} is declared twice"));
        }
        indexes.push(index);
    }
    Table {
        name: declared.name,
        columns: declared.columns,
        primary_key,
        indexes,
    }
}

/// Column numbers for the names of a key or an index.
fn resolve(
    what: &str,
    names: &[String],
    columns: &[Column],
    problems: &mut Problems,
) -> Vec<usize> {
    check_count(
        &format!("columns of {what}"),
        names.len(),
        INDEX_COLUMNS_MAX,
        problems,
    );
    let mut numbers = Vec::new();
    for name in names.iter().take(INDEX_COLUMNS_MAX) {
        let Some((number, column)) = columns
            .iter()
            .enumerate()
            .find(|(_, column)| column.name == *name)
        else {
            problems.push(format!("{what} names an unknown column `{}`", shown(name)));
            continue;
        };
        if column.column_type == ColumnType::Json {
            problems.push(format!(
                "{what} has the column `{}`, and JSON has no order that both databases share",
                shown(name)
            ));
        }
        if numbers.contains(&number) {
            problems.push(format!("{what} names column `{}` twice", shown(name)));
        }
        numbers.push(number);
    }
    numbers
}

fn check_count(what: &str, count: usize, limit: usize, problems: &mut Problems) {
    if count > limit {
        problems.push(format!("{count} {what}, at most {limit} are allowed"));
    }
}

fn check_name(what: &str, name: &str, bytes_max: usize, problems: &mut Problems) {
    if !is_identifier(name) {
        problems.push(format!(
            "{what} `{}` is not of the form [a-z][a-z0-9_]*",
            shown(name)
        ));
    } else if name.len() > bytes_max {
        problems.push(format!(
            "{what} `{}` has {} bytes, at most {bytes_max} are allowed",
            shown(name),
            name.len()
        ));
    }
}

/// Whether a projection may have this name: `[a-z][a-z0-9_]*`, at most 40
/// bytes.
#[must_use]
pub fn is_projection_name(name: &str) -> bool {
    is_identifier(name) && name.len() <= PROJECTION_NAME_BYTES_MAX
}

fn is_identifier(name: &str) -> bool {
    let mut characters = name.bytes();
    characters
        .next()
        .is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// A guest's text, safe for a terminal and of bounded length.
fn shown(text: &str) -> String {
    const SHOWN_CHARACTERS: usize = 80;
    text.chars()
        .take(SHOWN_CHARACTERS)
        .flat_map(char::escape_debug)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            column_type: ColumnType::Text,
            nullable: false,
        }
    }

    fn orders() -> DeclaredTable {
        DeclaredTable {
            name: "orders".to_owned(),
            columns: vec![column("id"), column("customer")],
            primary_key: vec!["id".to_owned()],
            indexes: vec![vec!["customer".to_owned()]],
        }
    }

    fn problems(name: &str, tables: Vec<DeclaredTable>) -> Vec<String> {
        Description::check(name.to_owned(), 1, Subscription::default(), tables)
            .err()
            .map(|invalid| invalid.problems)
            .unwrap_or_default()
    }

    #[test]
    fn a_sane_description_passes() {
        assert_eq!(
            problems("order_summary", vec![orders()]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let mut broken = orders();
        broken.columns.push(column("id"));
        broken.columns.push(column("Upper"));
        broken.primary_key = vec!["nobody".to_owned()];
        broken.indexes.push(vec![]);
        let problems = problems("Order; DROP TABLE x", vec![broken, orders()]);
        for expected in [
            "projection name `Order; DROP TABLE x` is not of the form",
            "column `id` is declared twice",
            "column name `Upper` is not of the form",
            "the primary key names an unknown column `nobody`",
            "an index on no columns",
            "table `orders` is declared twice",
        ] {
            assert!(
                problems.iter().any(|problem| problem.contains(expected)),
                "`{expected}` is missing in {problems:#?}"
            );
        }
    }

    #[test]
    fn a_description_of_millions_of_mistakes_is_refused_in_few_words() {
        let table = DeclaredTable {
            indexes: vec![vec!["nobody".to_owned(); 1_000]; 100],
            columns: vec![column("Upper"); 1_000],
            ..orders()
        };
        let subscription = Subscription {
            categories: vec!["a-b".to_owned(); 100_000],
            ..Subscription::default()
        };
        let tables = vec![table; 10];
        let invalid = Description::check("orders".to_owned(), 1, subscription, tables);
        let invalid = invalid.unwrap_err();
        assert_eq!(invalid.problems.len(), PROBLEMS_KEPT);
        assert!(invalid.to_string().len() < 10_000, "{invalid}");
    }

    #[test]
    fn long_subscriptions_are_compared_as_short_ones_are() {
        let names = |numbers: std::ops::Range<usize>| Subscription {
            event_types: numbers.map(|number| format!("T{number}")).collect(),
            ..Subscription::default()
        };
        for (few, many) in [(3, 20), (2_000, SUBSCRIPTION_ENTRIES_MAX)] {
            let (few, many) = (names(0..few), names(0..many));
            assert!(many.covers(&few) && !few.covers(&many));
            assert_eq!(few.union(&many).event_types.len(), many.event_types.len());
        }
        let (first, second) = (names(0..6_000), names(6_000..12_000));
        let union = first.union(&second);
        assert!(union.covers(&first) && union.covers(&second));
        assert!(union.event_types.is_empty(), "no query takes so many");
    }

    #[test]
    fn there_may_be_so_many_of_each_and_no_more() {
        let names = |count: usize| -> Vec<String> {
            (0..count).map(|number| format!("n{number}")).collect()
        };
        let wide = |columns: usize| DeclaredTable {
            columns: names(columns).iter().map(|name| column(name)).collect(),
            primary_key: names(1),
            indexes: vec![],
            ..orders()
        };
        let tables = |count: usize| {
            let table = |name| DeclaredTable { name, ..orders() };
            names(count).into_iter().map(table).collect()
        };
        let indexed = |count: usize| DeclaredTable {
            indexes: names(count).into_iter().map(|name| vec![name]).collect(),
            ..wide(100)
        };
        let keyed = |count: usize| DeclaredTable {
            primary_key: names(count),
            ..wide(100)
        };
        let combined = |count: usize| DeclaredTable {
            indexes: vec![names(count)],
            ..wide(100)
        };
        type Make<'a> = &'a dyn Fn(usize) -> Vec<DeclaredTable>;
        let of: [(&str, usize, Make<'_>); 5] = [
            ("tables", 100, &tables),
            ("columns", 500, &|count| vec![wide(count)]),
            ("indexes", 50, &|count| vec![indexed(count)]),
            ("columns", 32, &|count| vec![keyed(count)]),
            ("columns", 32, &|count| vec![combined(count)]),
        ];
        for (what, limit, make) in of {
            assert_eq!(problems("p", make(limit)), [""; 0], "{limit} {what}");
            let found = problems("p", make(limit + 1)).join("; ");
            let said = format!("at most {limit} are allowed");
            assert!(found.contains(what) && found.contains(&said), "{found}");
        }
        let subscribed = |event_types: usize, categories: usize| {
            let subscription = Subscription {
                event_types: names(event_types),
                categories: names(categories),
                metadata: false,
            };
            Description::check("p".to_owned(), 1, subscription, vec![orders()])
        };
        assert!(subscribed(10_000, 10_000).is_ok());
        for (event_types, categories) in [(10_001, 0), (0, 10_001)] {
            let refused = subscribed(event_types, categories).unwrap_err();
            assert!(refused.to_string().contains("at most 10000"), "{refused}");
        }
        let named = |length: usize| vec![column(&"c".repeat(length)), column("id")];
        for (length, is_refused) in [(63, false), (64, true)] {
            let of_column = DeclaredTable {
                columns: named(length),
                primary_key: vec!["id".to_owned()],
                indexes: vec![],
                name: "t".repeat(length),
            };
            let found = problems("p", vec![of_column]);
            assert_eq!(found.len(), if is_refused { 2 } else { 0 }, "{found:?}");
        }
    }

    #[test]
    fn names_have_a_longest_length() {
        assert!(problems(&"a".repeat(40), vec![orders()]).is_empty());
        assert_eq!(problems(&"a".repeat(41), vec![orders()]).len(), 1);
    }
}
