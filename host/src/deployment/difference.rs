//! What differs between two descriptions of one version, if it matters to the
//! rows.
//!
//! Tables, indexes, event types and categories are sets: the order in which a
//! module lists them says nothing. The columns of a table, of its key and of an
//! index are lists: rows, keys and searches give their values in that order.

use std::collections::BTreeSet;

use gnomon_model::{Column, Description, Subscription, Table};

/// How many differences a message names.
const SHOWN: usize = 5;

/// The differences as the beginning of a sentence about a module; `None` where
/// it could take the other one's place.
pub(super) fn difference(old: &Description, new: &Description) -> Option<String> {
    let mut found = Vec::new();
    subscriptions(&old.subscription, &new.subscription, &mut found);
    for table in &new.tables {
        match old.tables.iter().find(|other| other.name == table.name) {
            None => found.push(format!("it declares a new table `{}`", table.name)),
            Some(other) => tables(other, table, &mut found),
        }
    }
    let gone = old.tables.iter().filter(|table| {
        let name = &table.name;
        new.table(name).is_none()
    });
    found.extend(gone.map(|table| format!("it no longer declares the table `{}`", table.name)));
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

fn subscriptions(old: &Subscription, new: &Subscription, found: &mut Vec<String>) {
    for (old, new, one, all) in [
        (&old.event_types, &new.event_types, "type", "event types"),
        (&old.categories, &new.categories, "category", "categories"),
    ] {
        // An empty list restricts nothing.
        match (old.is_empty(), new.is_empty()) {
            (true, true) => {}
            (true, false) => found.push(format!("it no longer subscribes to all {all}")),
            (false, true) => found.push(format!("it now subscribes to all {all}")),
            (false, false) => {
                let [old, new] = [old, new].map(|list| list.iter().collect::<BTreeSet<_>>());
                let added = new.difference(&old);
                found.extend(added.map(|name| format!("it now subscribes to {one} `{name}`")));
                let gone = old.difference(&new);
                found.extend(gone.map(|name| format!("it no longer subscribes to {one} `{name}`")));
            }
        }
    }
    match (old.metadata, new.metadata) {
        (false, true) => found.push("it now asks for metadata".to_owned()),
        (true, false) => found.push("it no longer asks for metadata".to_owned()),
        _ => {}
    }
}

fn tables(old: &Table, new: &Table, found: &mut Vec<String>) {
    let table = format!("its table `{}`", new.name);
    let named = |table: &'_ Table, name: &str| {
        let columns = table.columns.iter();
        columns.clone().find(|column| column.name == name).cloned()
    };
    let before = found.len();
    for column in &new.columns {
        match named(old, &column.name) {
            None => found.push(format!("{table} has a new column `{}`", column.name)),
            Some(other) => columns(&table, &other, column, found),
        }
    }
    let gone = old.columns.iter();
    let gone = gone.filter(|column| named(new, &column.name).is_none());
    found.extend(gone.map(|column| format!("{table} no longer has the column `{}`", column.name)));
    let order = |table: &Table| -> Vec<String> {
        let columns = table.columns.iter();
        columns.map(|column| column.name.clone()).collect()
    };
    if found.len() == before && order(old) != order(new) {
        found.push(format!("{table} lists its columns in another order"));
    }
    let [old_key, new_key] = [old, new].map(|table| names(table, &table.primary_key));
    if old_key != new_key {
        found.push(format!(
            "the primary key of {table} was ({old_key}) and is ({new_key}) now"
        ));
    }
    let indexes = |table: &Table| -> BTreeSet<String> {
        let indexes = table.indexes.iter();
        indexes.map(|index| names(table, &index.columns)).collect()
    };
    let [old, new] = [indexes(old), indexes(new)];
    let added = new.difference(&old);
    found.extend(added.map(|index| format!("{table} has a new index on ({index})")));
    let gone = old.difference(&new);
    found.extend(gone.map(|index| format!("{table} no longer has the index on ({index})")));
}

fn columns(table: &str, old: &Column, new: &Column, found: &mut Vec<String>) {
    let name = &new.name;
    if old.column_type != new.column_type {
        found.push(format!(
            "column `{name}` of {table} was {} and is {} now",
            old.column_type.name(),
            new.column_type.name()
        ));
    }
    match (old.nullable, new.nullable) {
        (false, true) => found.push(format!("column `{name}` of {table} may be null now")),
        (true, false) => found.push(format!("column `{name}` of {table} may no longer be null")),
        _ => {}
    }
}

/// The names of these columns of a table, in their order.
fn names(table: &Table, columns: &[usize]) -> String {
    let columns = columns.iter();
    let names: Vec<&str> = columns
        .filter_map(|column| table.columns.get(*column))
        .map(|column| column.name.as_str())
        .collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use gnomon_model::{ColumnType, DeclaredTable};
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    use super::*;

    const TYPES: [ColumnType; 3] = [ColumnType::Integer, ColumnType::Text, ColumnType::Uuid];

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count)
            .map(|number| format!("{prefix}{number}"))
            .collect()
    }

    /// A table of up to five columns, the first ones of which are its key, with
    /// up to four indexes.
    fn table(name: String) -> impl Strategy<Value = DeclaredTable> {
        let columns = proptest::collection::vec((0..TYPES.len(), any::<bool>()), 3..6);
        (columns, 1..3_usize, 0..5_usize).prop_map(move |(columns, key, indexes)| {
            let columns: Vec<Column> = columns
                .into_iter()
                .enumerate()
                .map(|(number, (column_type, nullable))| Column {
                    name: format!("c{number}"),
                    column_type: TYPES[column_type],
                    nullable: nullable && number >= key,
                })
                .collect();
            let name_of = |number: usize| columns[number].name.clone();
            let all = [vec![1], vec![2], vec![1, 2], vec![2, 1]];
            DeclaredTable {
                name: name.clone(),
                primary_key: (0..key).map(name_of).collect(),
                indexes: all[..indexes.min(all.len())]
                    .iter()
                    .map(|index| index.iter().copied().map(name_of).collect())
                    .collect(),
                columns: columns.clone(),
            }
        })
    }

    type Parts = (Subscription, Vec<DeclaredTable>);

    fn parts() -> impl Strategy<Value = Parts> {
        let tables = (1..5_usize)
            .prop_flat_map(|count| names("t", count).into_iter().map(table).collect::<Vec<_>>());
        let types = subsequence(names("Type", 5), 0..=5);
        let categories = subsequence(names("Category", 3), 0..=3);
        (types, categories, any::<bool>(), tables).prop_map(
            |(event_types, categories, metadata, tables)| {
                let subscription = Subscription {
                    event_types,
                    categories,
                    metadata,
                };
                (subscription, tables)
            },
        )
    }

    /// The same, with everything that is a set in another order.
    fn shuffled((subscription, tables): Parts) -> impl Strategy<Value = Parts> {
        let types = Just(subscription.event_types).prop_shuffle();
        let categories = Just(subscription.categories).prop_shuffle();
        let indexes: Vec<_> = tables
            .iter()
            .map(|table| Just(table.indexes.clone()).prop_shuffle())
            .collect();
        let tables = indexes
            .prop_map(move |indexes| {
                let tables = tables.clone().into_iter().zip(indexes);
                tables
                    .map(|(table, indexes)| DeclaredTable { indexes, ..table })
                    .collect::<Vec<_>>()
            })
            .prop_shuffle();
        let metadata = subscription.metadata;
        (types, categories, tables).prop_map(move |(event_types, categories, tables)| {
            let subscription = Subscription {
                event_types,
                categories,
                metadata,
            };
            (subscription, tables)
        })
    }

    fn description((subscription, tables): Parts) -> Description {
        Description::check("p".to_owned(), 1, subscription, tables).unwrap()
    }

    /// What the second says of itself beside the first.
    fn found(old: &Parts, change: impl FnOnce(&mut Parts)) -> String {
        let mut new = old.clone();
        change(&mut new);
        let both = [old.clone(), new].map(description);
        difference(&both[0], &both[1]).unwrap_or_default()
    }

    proptest! {
        #[test]
        fn the_order_of_what_is_a_set_is_no_difference(
            (first, second) in parts()
                .prop_flat_map(|parts| (Just(parts.clone()), shuffled(parts)))
        ) {
            let both = [first, second].map(description);
            prop_assert_eq!(difference(&both[0], &both[1]), None);
        }
    }

    fn sample() -> Parts {
        let text = |name: &str| Column {
            name: name.to_owned(),
            column_type: ColumnType::Text,
            nullable: false,
        };
        let table = DeclaredTable {
            name: "orders".to_owned(),
            columns: vec![text("shop"), text("id"), text("note")],
            primary_key: vec!["shop".to_owned(), "id".to_owned()],
            indexes: vec![vec!["id".to_owned(), "note".to_owned()]],
        };
        let subscription = Subscription {
            event_types: names("Type", 2),
            ..Subscription::default()
        };
        (subscription, vec![table])
    }

    #[test]
    fn every_difference_is_named() {
        type Change = fn(&mut Parts);
        let changes: [(Change, &str); 14] = [
            (
                |new| new.0.event_types.push("New".to_owned()),
                "it now subscribes to type `New`",
            ),
            (
                |new| new.0.event_types.truncate(1),
                "it no longer subscribes to type `Type1`",
            ),
            (
                |new| new.0.event_types.clear(),
                "it now subscribes to all event types",
            ),
            (
                |new| new.0.categories.push("Order".to_owned()),
                "it no longer subscribes to all categories",
            ),
            (|new| new.0.metadata = true, "it now asks for metadata"),
            (
                |new| new.1[0].columns.swap(0, 1),
                "its table `orders` lists its columns in another order",
            ),
            (
                |new| new.1[0].primary_key.reverse(),
                "the primary key of its table `orders` was (shop, id) and is (id, shop) now",
            ),
            (
                |new| new.1[0].indexes[0].reverse(),
                "its table `orders` has a new index on (note, id); its table `orders` no longer has \
                 the index on (id, note)",
            ),
            (
                |new| new.1[0].columns[2].column_type = ColumnType::Integer,
                "column `note` of its table `orders` was text and is integer now",
            ),
            (
                |new| new.1[0].columns[2].nullable = true,
                "column `note` of its table `orders` may be null now",
            ),
            (
                |new| {
                    new.1[0].indexes.clear();
                    new.1[0].columns.pop();
                },
                "its table `orders` no longer has the column `note`; its table `orders` no longer \
                 has the index on (id, note)",
            ),
            (
                |new| {
                    let mut column = new.1[0].columns[2].clone();
                    column.name = "more".to_owned();
                    new.1[0].columns.insert(0, column);
                },
                "its table `orders` has a new column `more`",
            ),
            (
                |new| {
                    let mut table = new.1[0].clone();
                    table.name = "labels".to_owned();
                    new.1.insert(0, table);
                },
                "it declares a new table `labels`",
            ),
            (
                |new| new.1[0].name = "bills".to_owned(),
                "it declares a new table `bills`; it no longer declares the table `orders`",
            ),
        ];
        for (change, expected) in changes {
            assert_eq!(found(&sample(), change), expected);
        }
    }

    #[test]
    fn a_message_names_so_many_differences_and_counts_the_rest() {
        let said = found(&sample(), |new| {
            new.0.event_types = (0..20).map(|number| format!("New{number}")).collect();
        });
        assert!(said.ends_with("; and 17 more"), "{said}");
    }
}
