//! The statements that read and write one table.

use gnomon_model::{ColumnType, Table};

use super::tables::physical_name;
use crate::generation::GenerationId;
use crate::read_models::{identifier::column_names, identifier::conflict_clause};

/// The statements of one table, as text; the connection keeps them prepared.
pub(crate) struct Statements {
    /// For a key that has no row.
    pub(crate) insert: String,
    pub(super) upsert: String,
    pub(super) delete: String,
    pub(crate) get: String,
    /// One for each index.
    pub(super) finds: Vec<Find>,
}

pub(super) struct Find {
    pub(super) first_page: String,
    pub(super) next_page: String,
}

impl Statements {
    pub(crate) fn new(generation: GenerationId, table: &Table) -> Self {
        let name = physical_name(generation, table);
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let columns = column_names(table, &all).join(", ");
        let key = column_names(table, &table.primary_key);
        let is_key: Vec<String> = key.iter().map(|column| format!("{column} = ?")).collect();
        let is_key = is_key.join(" AND ");
        let insert = format!(
            "INSERT INTO {name} ({columns}) VALUES ({})",
            placeholders(all.len())
        );
        Self {
            upsert: format!("{insert} {}", conflict_clause(table)),
            insert,
            delete: format!("DELETE FROM {name} WHERE {is_key}"),
            get: format!("SELECT {columns} FROM {name} WHERE {is_key}"),
            finds: table
                .indexes
                .iter()
                .map(|index| {
                    // `IS` is `=` that also finds a null; both use the index.
                    let equal: Vec<String> = column_names(table, &index.columns)
                        .into_iter()
                        .map(|column| format!("{column} IS ?"))
                        .collect();
                    Find::new(
                        &format!("SELECT {columns} FROM {name} WHERE {}", equal.join(" AND ")),
                        &key,
                        table,
                    )
                })
                .collect(),
        }
    }
}

impl Find {
    fn new(select: &str, key: &[String], table: &Table) -> Self {
        let key_columns = key.join(", ");
        if sorts_by_text(table) {
            return Self {
                first_page: select.to_owned(),
                next_page: select.to_owned(),
            };
        }
        let order = format!("ORDER BY {key_columns} LIMIT ?");
        Self {
            first_page: format!("{select} {order}"),
            next_page: format!(
                "{select} AND ({key_columns}) > ({}) {order}",
                placeholders(key.len())
            ),
        }
    }
}

fn placeholders(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// Whether SQLite's order of the keys is not the order of their values: a
/// decimal is stored as text.
pub(super) fn sorts_by_text(table: &Table) -> bool {
    table
        .primary_key
        .iter()
        .filter_map(|column| table.columns.get(*column))
        .any(|column| column.column_type == ColumnType::Decimal)
}
