//! Reading what is final, a page at a time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, TryStreamExt as _};
use gnomon_model::{EventRef, Position, Subscription};
use sqlx::AssertSqlSafe;

use super::copied::Copied;
use super::definition::Access;
use crate::event_store::postgres::{
    Cells, Scratch, checked_event_columns, event_columns, read_event, sql_limit,
};
use crate::source::batch::Filling;

/// Up to so many positions are read by a prepared statement: to plan a `COPY`
/// takes longer than they do.
const FEW_POSITIONS: u64 = 200;

/// How long a `COPY` is left alone before what has come is taken, and how many
/// events must be missing: more than a server sends in that time.
const GULP_TIME: Duration = Duration::from_millis(1);
const GULP_EVENTS: usize = 800;

/// What is still read behind a full page, so that the connection can be used
/// again. Where events are large, a new connection costs less than the rest.
const UNWANTED_BYTES_MAX: usize = 16 << 20;
/// The place of the data among the columns.
const DATA: usize = 6;

/// The part of a stream's id before its first `-`.
const CATEGORY: &str = "split_part(stream_id, '-', 1)";

/// Fills a page with what is wanted behind the first position, up to the
/// second.
pub(super) async fn read(
    access: &Access,
    range: (Position, Position),
    subscription: &Subscription,
    filling: &mut Filling,
) -> sqlx::Result<()> {
    let (after, end) = range;
    let Some(subscription) = access.possible(subscription).await? else {
        return Ok(());
    };
    let subscription = subscription.as_ref();
    let is_few = end.get() - after.get() <= FEW_POSITIONS;
    let mut columns = event_columns(&access.layout, subscription.metadata);
    loop {
        let read = match is_few {
            true => read_few(access, range, subscription, filling, &columns).await,
            false => read_many(access, range, subscription, filling, &columns).await,
        };
        let checked = checked_event_columns(&access.layout, subscription.metadata);
        match read {
            Err(error) if is_beyond_the_server(&error) && columns != checked => {
                filling.begin_again();
                columns = checked;
            }
            read => break read?,
        }
    }
    if access.layout.has_unique_positions {
        return Ok(());
    }
    refuse_repeated_end(access, filling).await
}

/// Whether the server cannot build what it was asked for in its memory.
fn is_beyond_the_server(error: &sqlx::Error) -> bool {
    const PROGRAM_LIMIT_EXCEEDED: &str = "54000";
    const OUT_OF_MEMORY: &str = "53200";
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(
        code.as_deref(),
        Some(PROGRAM_LIMIT_EXCEEDED | OUT_OF_MEMORY)
    )
}

/// Adds an event, unless its position is that of the one before.
fn add(filling: &mut Filling, event: EventRef<'_>) -> sqlx::Result<bool> {
    if filling.last() == Some(event.position) {
        return Err(repeated(event.position));
    }
    Ok(filling.add(event))
}

/// Refuses a full page whose last position may stand in the next one as well:
/// that event would be passed.
async fn refuse_repeated_end(access: &Access, filling: &Filling) -> sqlx::Result<()> {
    let Some(last) = filling.last().filter(|_| filling.is_full()) else {
        return Ok(());
    };
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM events WHERE global_position = $1")
        .bind(last.to_sql())
        .fetch_one(&access.pool)
        .await?;
    if count > 1 {
        Err(repeated(last))
    } else {
        Ok(())
    }
}

fn repeated(position: Position) -> sqlx::Error {
    sqlx::Error::Decode(
        format!(
            "position {position} occurs more than once, so events could be skipped; give the \
             column `global_position` unique numbers and a unique index"
        )
        .into(),
    )
}

/// The first position behind one and up to another that has an event.
pub(super) async fn next_position(
    access: &Access,
    after: Position,
    end: Position,
) -> sqlx::Result<Option<Position>> {
    let next: Option<i64> = sqlx::query_scalar(
        "SELECT global_position::bigint FROM events \
         WHERE global_position > $1 AND global_position <= $2 ORDER BY global_position LIMIT 1",
    )
    .bind(after.to_sql())
    .bind(end.to_sql())
    .fetch_optional(&access.pool)
    .await?;
    Ok(next.and_then(Position::from_sql))
}

/// Reads what was prepared on this connection before: the best for few
/// events, which come one by one.
async fn read_few(
    access: &Access,
    (after, end): (Position, Position),
    subscription: &Subscription,
    filling: &mut Filling,
    columns: &str,
) -> sqlx::Result<()> {
    let statement = format!(
        "SELECT {columns} FROM events WHERE global_position > $1 AND global_position <= $2 \
             AND (cardinality($3::text[]) = 0 OR event_type = ANY ($3)) \
             AND (cardinality($4::text[]) = 0 OR {CATEGORY} = ANY ($4)) \
             ORDER BY global_position LIMIT $5"
    );
    let mut lent = access.lend().await?;
    let mut rows = sqlx::query(AssertSqlSafe(statement))
        .bind(after.to_sql())
        .bind(end.to_sql())
        .bind(&subscription.event_types)
        .bind(&subscription.categories)
        .bind(sql_limit(filling.wanted()))
        .fetch(&mut *lent);
    let (mut scratch, mut has_room, mut unwanted) = (Scratch::default(), true, 0);
    while let Some(row) = rows.try_next().await? {
        if has_room {
            let event = read_event(&row, &access.layout, &mut scratch)?;
            has_room = add(filling, event)?;
            continue;
        }
        unwanted += Cells::cell(&row, DATA)?.map_or(0, <[u8]>::len);
        if unwanted > UNWANTED_BYTES_MAX {
            return Ok(());
        }
    }
    drop(rows);
    lent.end();
    Ok(())
}

/// Reads by a `COPY`, which sends rows with less ado than a query; it has no
/// parameters and cannot be prepared.
async fn read_many(
    access: &Access,
    (after, end): (Position, Position),
    subscription: &Subscription,
    filling: &mut Filling,
    columns: &str,
) -> sqlx::Result<()> {
    let mut conditions = format!(
        "global_position > {} AND global_position <= {}",
        after.to_sql(),
        end.to_sql()
    );
    for (column, names) in [
        ("event_type", &subscription.event_types),
        (CATEGORY, &subscription.categories),
    ] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
            conditions += &format!(" AND {column} = ANY (ARRAY[{}])", names.join(", "));
        }
    }
    let statement = format!(
        "COPY (SELECT {columns} FROM events WHERE {conditions} \
         ORDER BY global_position LIMIT {}) TO STDOUT (FORMAT BINARY)",
        sql_limit(filling.wanted()),
    );
    let mut lent = access.lend().await?;
    let mut messages = lent.copy_out_raw(&statement).await?;
    let (mut copied, mut cells) = (Copied::default(), Vec::new());
    let (mut scratch, mut has_room, mut unwanted) = (Scratch::default(), true, 0);
    while let Some(message) = next(&mut messages, filling.missing()).await? {
        if !has_room {
            unwanted += message.len();
            if unwanted > UNWANTED_BYTES_MAX {
                return Ok(());
            }
        }
        copied.push(message);
        while let Some(row) = copied.next(&mut cells).map_err(sqlx::Error::Decode)? {
            if has_room {
                let event = read_event(&row, &access.layout, &mut scratch)?;
                has_room = add(filling, event)?;
            }
        }
    }
    drop(messages);
    copied.check_end().map_err(sqlx::Error::Decode)?;
    lent.end();
    Ok(())
}

/// The next message of a `COPY` that still lacks so many events. While that are
/// many, more than one message is waited for: a server sends 8 KiB at a time,
/// and to wake for each of them costs both sides more than to take it.
async fn next(
    messages: &mut BoxStream<'_, sqlx::Result<Bytes>>,
    missing: usize,
) -> sqlx::Result<Option<Bytes>> {
    if let Some(message) = messages.try_next().now_or_never() {
        return message;
    }
    if missing > GULP_EVENTS {
        tokio::time::sleep(GULP_TIME).await;
    }
    messages.try_next().await
}

/// A text as a constant that no setting of the server reads differently, and
/// nothing inside can end. An expression would be evaluated for each row.
fn literal(text: &str) -> String {
    let mut literal = "E'".to_owned();
    for character in text.chars() {
        match character {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' | '.' => literal.push(character),
            _ => literal += &format!("\\U{:08x}", u32::from(character)),
        }
    }
    literal + "'"
}
