//! The statements of one table: whole sets of rows in one round trip.
//!
//! Parameters are one array for each column, so that a statement's text does
//! not depend on the number of rows and stays prepared. What is written as each
//! event comes is one row mostly, and has a statement without arrays.
//!
//! A plan is made once and kept while the table grows. Made for a small table,
//! it would read all of it and look each row up among the keys, even along an
//! index. So the rows of keys are looked up in a subquery that depends on one
//! key and, by its `OFFSET`, cannot be turned into a join.

use std::collections::HashMap;
use std::sync::Arc;

use gnomon_model::{Table, Value};

use super::copy::Filling;
use crate::read_models::{
    identifier::column_names, identifier::conflict_clause, identifier::quoted,
};
use crate::storage::postgres::binary::sql_type;

/// The statements that write one table; the connections keep them prepared.
pub(super) struct Writes {
    pub(super) upsert: Arc<str>,
    pub(super) delete: Arc<str>,
    pub(super) filling: Filling,
}

impl Writes {
    /// The statements of a table in a quoted schema.
    pub(crate) fn new(schema: &str, number: usize, table: &Table) -> Self {
        Self {
            upsert: upsert(schema, table, Within::NOTHING).into(),
            delete: delete(schema, table, Within::NOTHING).into(),
            filling: Filling::new(schema, number, table),
        }
    }
}

/// What is around a statement that is part of another one.
#[derive(Clone, Copy)]
pub(super) struct Within<'a> {
    /// How many parameters come before its own.
    pub(super) parameters: usize,
    /// A relation; nothing is written where it has no row.
    pub(super) condition: Option<&'a str>,
}

impl Within<'_> {
    const NOTHING: Self = Self {
        parameters: 0,
        condition: None,
    };

    fn condition(self) -> String {
        self.condition
            .map_or_else(String::new, |relation| format!("{relation}, "))
    }
}

/// Inserts rows, or replaces those under their keys. Its parameters are the
/// table's columns, as arrays.
pub(super) fn upsert(schema: &str, table: &Table, within: Within<'_>) -> String {
    let arrays = arrays(table, &all_columns(table), within.parameters);
    let rows = format!("r.* FROM {}unnest({arrays}) AS r", within.condition());
    upsert_selected(schema, table, &rows)
}

/// The same for one row. It spares the server the arrays and a function that
/// takes them apart.
pub(super) fn upsert_one(schema: &str, table: &Table, within: Within<'_>) -> String {
    let mut row = parameters(table, &all_columns(table), within.parameters, "");
    if let Some(condition) = within.condition {
        row.push_str(" FROM ");
        row.push_str(condition);
    }
    upsert_selected(schema, table, &row)
}

fn upsert_selected(schema: &str, table: &Table, selected: &str) -> String {
    format!(
        "INSERT INTO {schema}.{} ({}) SELECT {selected} {}",
        quoted(&table.name),
        column_names(table, &all_columns(table)).join(", "),
        conflict_clause(table),
    )
}

fn all_columns(table: &Table) -> Vec<usize> {
    (0..table.columns.len()).collect()
}

/// Deletes the rows under keys, whose columns are its parameters.
pub(super) fn delete(schema: &str, table: &Table, within: Within<'_>) -> String {
    let name = format!("{schema}.{}", quoted(&table.name));
    let (keys, is_key) = key_match(table);
    format!(
        "DELETE FROM {name} WHERE ctid = ANY (ARRAY(SELECT r.ctid \
         FROM {}unnest({}) AS k ({keys}) \
         CROSS JOIN LATERAL (SELECT t.ctid FROM {name} AS t WHERE {is_key} OFFSET 0) AS r))",
        within.condition(),
        arrays(table, &table.primary_key, within.parameters),
    )
}

/// Names for the columns of a key `k`, and that a row `t` has this key.
fn key_match(table: &Table) -> (String, String) {
    let names: Vec<String> = (0..table.primary_key.len())
        .map(|place| format!("k{place}"))
        .collect();
    let matches: Vec<String> = column_names(table, &table.primary_key)
        .iter()
        .zip(&names)
        .map(|(column, name)| format!("t.{column} = k.{name}"))
        .collect();
    (names.join(", "), matches.join(" AND "))
}

/// The statements that read one table.
pub(crate) struct Reads {
    /// Gives the number of a key, from 1, and then the row's columns.
    pub(crate) get: Arc<str>,
    select: String,
    finds: HashMap<FindShape, Arc<str>>,
    /// How many rows fill a page, where they are large.
    pub(super) page_rows: usize,
}

/// What the text of a find depends on. A null is searched by `IS NULL`: only
/// that and `=` use an index.
#[derive(PartialEq, Eq, Hash)]
struct FindShape {
    index: usize,
    is_null: Vec<bool>,
    is_next_page: bool,
}

impl Reads {
    /// The statements of a table in a quoted schema.
    pub(crate) fn new(schema: &str, table: &Table) -> Self {
        let name = format!("{schema}.{}", quoted(&table.name));
        let columns: Vec<String> = column_names(table, &all_columns(table))
            .iter()
            .map(|column| format!("t.{column}"))
            .collect();
        let columns = columns.join(", ");
        let (keys, is_key) = key_match(table);
        let key_arrays = arrays(table, &table.primary_key, 0);
        Self {
            get: format!(
                "SELECT k.n, r.* FROM unnest({key_arrays}) WITH ORDINALITY AS k ({keys}, n) \
                 CROSS JOIN LATERAL (SELECT {columns} FROM {name} AS t WHERE {is_key} OFFSET 0) AS r",
            )
            .into(),
            select: format!("SELECT {columns} FROM {name} AS t"),
            finds: HashMap::new(),
            page_rows: usize::MAX,
        }
    }

    /// The statement that finds rows by an index. Its parameters are the
    /// values that are not null, the key after which the page begins, if it
    /// is not the first, and the limit.
    pub(crate) fn find(
        &mut self,
        table: &Table,
        index: usize,
        values: &[Value],
        is_next_page: bool,
    ) -> Arc<str> {
        let shape = FindShape {
            index,
            is_null: values.iter().map(|value| *value == Value::Null).collect(),
            is_next_page,
        };
        let select = &self.select;
        Arc::clone(
            self.finds
                .entry(shape)
                .or_insert_with_key(|shape| find(select, table, shape).into()),
        )
    }
}

fn find(select: &str, table: &Table, shape: &FindShape) -> String {
    let mut parameters = (1..).map(|number| format!("${number}"));
    let mut next = || parameters.next().unwrap_or_default();
    let columns = table
        .indexes
        .get(shape.index)
        .map_or(&[][..], |index| &index.columns);
    let mut conditions: Vec<String> = column_names(table, columns)
        .iter()
        .zip(&shape.is_null)
        .map(|(column, is_null)| match is_null {
            true => format!("t.{column} IS NULL"),
            false => format!("t.{column} = {}", next()),
        })
        .collect();
    let key: Vec<String> = column_names(table, &table.primary_key)
        .iter()
        .map(|column| format!("t.{column}"))
        .collect();
    if shape.is_next_page {
        let after: Vec<String> = key.iter().map(|_| next()).collect();
        conditions.push(format!("({}) > ({})", key.join(", "), after.join(", ")));
    }
    // All of these are null in the rows that are found. Naming them tells the
    // planner that the index has the order; for `=` it knows by itself.
    let nulls = column_names(table, columns)
        .into_iter()
        .zip(&shape.is_null)
        .filter(|(_, is_null)| **is_null)
        .map(|(column, _)| format!("t.{column}"));
    let order: Vec<String> = nulls.chain(key).collect();
    format!(
        "{select} WHERE {} ORDER BY {} LIMIT {}",
        conditions.join(" AND "),
        order.join(", "),
        next(),
    )
}

/// `$1::text[], $2::bigint[]` for these columns, after other parameters.
fn arrays(table: &Table, columns: &[usize], before: usize) -> String {
    parameters(table, columns, before, "[]")
}

/// Parameters of these columns' types, of which the suffix makes others.
fn parameters(table: &Table, columns: &[usize], before: usize, suffix: &str) -> String {
    let parameters: Vec<String> = columns
        .iter()
        .filter_map(|column| table.columns.get(*column))
        .zip(before + 1..)
        .map(|(column, number)| format!("${number}::{}{suffix}", sql_type(column.column_type)))
        .collect();
    parameters.join(", ")
}
