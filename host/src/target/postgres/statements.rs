//! The statements of one table: whole sets of rows in one round trip.
//!
//! Parameters are one array for each column, so that a statement's text does
//! not depend on the number of rows and stays prepared.

use std::collections::HashMap;
use std::sync::Arc;

use gnomon_model::{Table, Value};

use super::binary::sql_type;
use super::copy;
use crate::target::identifier::{column_names, conflict_clause, quoted};

/// The statements of one table, as text; the connections keep them prepared.
pub(super) struct Statements {
    pub(super) upsert: Arc<str>,
    pub(super) delete: Arc<str>,
    /// Takes rows in the form of [`super::copy`].
    pub(super) copy: String,
    /// Gives the number of a key, from 1, and then the row's columns.
    pub(super) get: Arc<str>,
    select: String,
    finds: HashMap<FindShape, Arc<str>>,
}

/// What the text of a find depends on. A null is searched by `IS NULL`: only
/// that and `=` use an index.
#[derive(PartialEq, Eq, Hash)]
struct FindShape {
    index: usize,
    is_null: Vec<bool>,
    is_next_page: bool,
}

impl Statements {
    /// The statements of a table in a quoted schema.
    pub(super) fn new(schema: &str, table: &Table) -> Self {
        let name = format!("{schema}.{}", quoted(&table.name));
        let all: Vec<usize> = (0..table.columns.len()).collect();
        let columns = column_names(table, &all);
        let qualified: Vec<String> = columns.iter().map(|column| format!("t.{column}")).collect();
        let keys: Vec<String> = (0..table.primary_key.len())
            .map(|place| format!("k{place}"))
            .collect();
        let is_key: Vec<String> = column_names(table, &table.primary_key)
            .iter()
            .zip(&keys)
            .map(|(column, key)| format!("t.{column} = k.{key}"))
            .collect();
        let (keys, is_key) = (keys.join(", "), is_key.join(" AND "));
        let key_arrays = arrays(table, &table.primary_key);
        Self {
            upsert: format!(
                "INSERT INTO {name} ({}) SELECT * FROM unnest({}) {}",
                columns.join(", "),
                arrays(table, &all),
                conflict_clause(table),
            )
            .into(),
            delete: format!(
                "DELETE FROM {name} AS t USING unnest({key_arrays}) AS k ({keys}) WHERE {is_key}"
            )
            .into(),
            copy: copy::statement(schema, table),
            get: format!(
                "SELECT k.n, {} FROM unnest({key_arrays}) WITH ORDINALITY AS k ({keys}, n) \
                 JOIN {name} AS t ON {is_key}",
                qualified.join(", "),
            )
            .into(),
            select: format!("SELECT {} FROM {name} AS t", qualified.join(", ")),
            finds: HashMap::new(),
        }
    }

    /// The statement that finds rows by an index. Its parameters are the
    /// values that are not null, the key after which the page begins, if it
    /// is not the first, and the limit.
    pub(super) fn find(
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

/// `$1::text[], $2::bigint[]` for these columns.
fn arrays(table: &Table, columns: &[usize]) -> String {
    let arrays: Vec<String> = columns
        .iter()
        .filter_map(|column| table.columns.get(*column))
        .zip(1..)
        .map(|(column, number)| format!("${number}::{}[]", sql_type(column.column_type)))
        .collect();
    arrays.join(", ")
}
