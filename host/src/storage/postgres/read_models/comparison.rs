//! Two generations, compared in one snapshot by the database.

use futures_util::TryStreamExt as _;
use gnomon_model::{Description, PAGE_BYTES, Position, Table};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, Row as _};

use self::statements::Pair;
use super::tables::physical_schema;
use crate::generation::GenerationId;
use crate::json_text::JsonRow;
use crate::read_models::identifier::quoted;
use crate::read_models::{
    ColumnDifference, Compared, Comparison, Difference, RowDifference, TableComparison,
};
use crate::registry::named;
use crate::registry::{read_description, unknown_generation};
use crate::storage::postgres::failure::Failure;
use crate::storage_error::{StorageError, StorageErrorKind};

mod statements;

/// Times as everywhere else, whatever the session's zone is.
const SNAPSHOT: &str =
    "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL TimeZone = 'UTC'";

/// One side of a comparison.
struct Side {
    generation: GenerationId,
    position: i64,
    description: Description,
}

/// Needs a connection whose planner is free to scan and hash.
pub(crate) async fn compare(
    connection: &mut PgConnection,
    left: GenerationId,
    right: GenerationId,
    samples: usize,
) -> Result<Compared, Failure> {
    let mut snapshot = connection.begin_with(SNAPSHOT).await?;
    let left = side(&mut snapshot, left).await?;
    let right = side(&mut snapshot, right).await?;
    let (left_at, right_at) = (left.position()?, right.position()?);
    if left_at != right_at {
        return Ok(Compared::Apart {
            left: left_at,
            right: right_at,
        });
    }
    let mut names: Vec<&str> = [&left, &right]
        .iter()
        .flat_map(|side| &side.description.tables)
        .map(|table| table.name.as_str())
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut tables = Vec::with_capacity(names.len());
    for name in names {
        tables.push(compare_table(&mut snapshot, &left, &right, name, samples).await?);
    }
    Ok(Compared::Together(Comparison {
        position: left_at,
        tables,
    }))
}

async fn side(connection: &mut PgConnection, generation: GenerationId) -> Result<Side, Failure> {
    let found: Option<(String, String, i64)> = sqlx::query_as(
        "SELECT g.projection, g.description, c.position
         FROM gnomon.generations g
         JOIN gnomon.checkpoints c ON c.generation = g.id
         WHERE g.id = $1 AND g.state <> 'dropped'",
    )
    .bind(generation.to_sql())
    .fetch_optional(connection)
    .await?;
    let (projection, description, position) =
        found.ok_or_else(|| unknown_generation(generation))?;
    Ok(Side {
        generation,
        position,
        description: named(read_description(&description)?, &projection),
    })
}

impl Side {
    fn position(&self) -> Result<Position, StorageError> {
        Position::from_sql(self.position).ok_or_else(|| {
            StorageError::new(
                StorageErrorKind::Refused,
                format!(
                    "generation {} has an unreadable position in the registry",
                    self.generation
                ),
            )
        })
    }

    fn table(&self, name: &str) -> Option<&Table> {
        let tables = &self.description.tables;
        tables.iter().find(|table| table.name == name)
    }

    fn qualified(&self, table: &str) -> String {
        let schema = physical_schema(&self.description.name, self.generation);
        format!("{schema}.{}", quoted(table))
    }
}

async fn compare_table(
    connection: &mut PgConnection,
    left: &Side,
    right: &Side,
    name: &str,
    samples: usize,
) -> Result<TableComparison, Failure> {
    let mut compared = TableComparison {
        table: name.to_owned(),
        incomparable: None,
        only_left_columns: vec![],
        only_right_columns: vec![],
        left_rows: 0,
        right_rows: 0,
        only_left: 0,
        only_right: 0,
        different: 0,
        different_columns: vec![],
        samples: vec![],
    };
    let both = left.table(name).zip(right.table(name));
    compared.incomparable = match both {
        None if left.table(name).is_some() => {
            Some(format!("only generation {} has it", left.generation))
        }
        None => Some(format!("only generation {} has it", right.generation)),
        Some((l, r)) if key(l) != key(r) => Some(format!(
            "its key is ({}) in generation {} and ({}) in generation {}",
            shown_key(l),
            left.generation,
            shown_key(r),
            right.generation
        )),
        Some(_) => None,
    };
    let Some((l, r)) = both.filter(|_| compared.incomparable.is_none()) else {
        if left.table(name).is_some() {
            compared.left_rows = count(connection, &left.qualified(name)).await?;
        }
        if right.table(name).is_some() {
            compared.right_rows = count(connection, &right.qualified(name)).await?;
        }
        return Ok(compared);
    };
    compared.only_left_columns = missing(l, r);
    compared.only_right_columns = missing(r, l);
    let pair = Pair::new((&left.qualified(name), l), (&right.qualified(name), r));
    read_counts(connection, &pair, &mut compared).await?;
    if samples > 0 && compared.only_left + compared.only_right + compared.different > 0 {
        compared.samples = read_samples(connection, &pair, samples).await?;
    }
    Ok(compared)
}

/// The columns of a key with their types, whatever their order.
fn key(table: &Table) -> Vec<(&str, gnomon_model::ColumnType)> {
    let columns = table.primary_key.iter();
    let mut key: Vec<_> = columns
        .filter_map(|column| table.columns.get(*column))
        .map(|column| (column.name.as_str(), column.column_type))
        .collect();
    key.sort_unstable_by_key(|(name, _)| *name);
    key
}

fn shown_key(table: &Table) -> String {
    let columns: Vec<String> = key(table)
        .iter()
        .map(|(name, column_type)| {
            format!(
                "{name} {}",
                crate::storage::postgres::binary::sql_type(*column_type)
            )
        })
        .collect();
    columns.join(", ")
}

/// The columns that only the first table has, or has with another type.
fn missing(table: &Table, other: &Table) -> Vec<String> {
    let columns = table.columns.iter();
    columns
        .filter(|column| !statements::has_column(other, column))
        .map(|column| column.name.clone())
        .collect()
}

async fn count(connection: &mut PgConnection, table: &str) -> sqlx::Result<u64> {
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(format!("SELECT count(*) FROM {table}")))
        .fetch_one(connection)
        .await?;
    Ok(count.unsigned_abs())
}

async fn read_counts(
    connection: &mut PgConnection,
    pair: &Pair,
    compared: &mut TableComparison,
) -> sqlx::Result<()> {
    let row = connection.fetch_one(AssertSqlSafe(pair.counts())).await?;
    let number = |name: &str| row.try_get::<i64, _>(name).map(i64::unsigned_abs);
    compared.left_rows = number("left_rows")?;
    compared.right_rows = number("right_rows")?;
    compared.only_left = number("only_left")?;
    compared.only_right = number("only_right")?;
    compared.different = number("different")?;
    let columns: Vec<i64> = row.try_get("different_columns")?;
    compared.different_columns = pair
        .values
        .iter()
        .zip(columns)
        .filter(|(_, rows)| *rows > 0)
        .map(|(column, rows)| ColumnDifference {
            column: column.name.clone(),
            rows: rows.unsigned_abs(),
        })
        .collect();
    Ok(())
}

async fn read_samples(
    connection: &mut PgConnection,
    pair: &Pair,
    samples: usize,
) -> sqlx::Result<Vec<RowDifference>> {
    let mut rows = sqlx::query(AssertSqlSafe(pair.samples()))
        .bind(i64::try_from(samples).unwrap_or(i64::MAX))
        .fetch(connection);
    let (mut read, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.try_next().await? {
        // The rest is counted only.
        if bytes >= PAGE_BYTES {
            continue;
        }
        let cells = |name: &str| -> sqlx::Result<Option<JsonRow>> {
            let text: Option<&str> = row.try_get(name)?;
            let read = |text: &str| serde_json::from_str(text);
            let cells = text.map(read).transpose();
            cells.map_err(|error| sqlx::Error::ColumnDecode {
                index: name.to_owned(),
                source: error.into(),
            })
        };
        let (mut left, mut right) = (cells("left_row")?, cells("right_row")?);
        let difference = match (&left, &right) {
            (_, None) => Difference::OnlyLeft,
            (None, _) => Difference::OnlyRight,
            _ => Difference::Different,
        };
        if difference == Difference::Different {
            let flags: Vec<bool> = row.try_get("differs")?;
            let columns = pair.values.iter().zip(flags);
            let columns: Vec<&str> = columns
                .filter(|(_, differs)| *differs)
                .map(|(column, _)| column.name.as_str())
                .collect();
            for side in [&mut left, &mut right].into_iter().flatten() {
                side.retain(|column, _| columns.contains(&column.as_str()));
            }
        }
        for side in ["left_row", "right_row"] {
            bytes += row.try_get::<Option<&str>, _>(side)?.map_or(0, str::len);
        }
        read.push(RowDifference {
            difference,
            key: cells("key")?.unwrap_or_default(),
            left,
            right,
        });
    }
    Ok(read)
}
