//! Quoted SQL identifiers.

use gnomon_model::Table;

/// An identifier in double quotes. Both databases read it the same way, and
/// nothing inside can end it.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The quoted names of these columns.
pub(crate) fn column_names(table: &Table, columns: &[usize]) -> Vec<String> {
    columns
        .iter()
        .filter_map(|column| table.columns.get(*column))
        .map(|column| quoted(&column.name))
        .collect()
}

/// The numbers of the columns that are not part of the key.
pub(crate) fn columns_beside_key(table: &Table) -> Vec<usize> {
    (0..table.columns.len())
        .filter(|column| !table.primary_key.contains(column))
        .collect()
}

/// What an upsert does with a row whose key is there: `column = excluded.column`
/// for all other columns, or nothing where there are none.
pub(crate) fn conflict_clause(table: &Table) -> String {
    let key = column_names(table, &table.primary_key).join(", ");
    let replaced: Vec<String> = column_names(table, &columns_beside_key(table))
        .into_iter()
        .map(|column| format!("{column} = excluded.{column}"))
        .collect();
    if replaced.is_empty() {
        format!("ON CONFLICT ({key}) DO NOTHING")
    } else {
        format!("ON CONFLICT ({key}) DO UPDATE SET {}", replaced.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_name_ends_it() {
        assert_eq!(quoted("orders"), "\"orders\"");
        assert_eq!(
            quoted("a\"; DROP TABLE b; --"),
            "\"a\"\"; DROP TABLE b; --\""
        );
    }
}
