//! Reading what is final, a page at a time.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt as _, TryStreamExt as _};
use gnomon_model::{PayloadRef, Position, Subscription};
use sqlx::{AssertSqlSafe, Executor as _};

use super::copied::Copied;
use super::definition::Access;
use crate::source::batch::Filling;
use crate::table::postgres::{
    Attempts, Care, Cells, Length, Scratch, read_event, read_keys, withheld,
};
use crate::table::{Layout, sql_limit};

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
/// How long a server may work on a single event. Shorter than such a statement is
/// waited for, so that the server says what it was.
const SINGLE_EVENT_TIME: Duration = Duration::from_secs(6);
/// The place of the data among the columns.
const DATA: usize = 6;

/// What is asked for.
struct Question<'a> {
    access: &'a Access,
    after: Position,
    end: Position,
    subscription: &'a Subscription,
    care: Care,
    /// Why an event is one that cannot be read, where only its keys are asked for.
    reason: String,
    /// A position that more than one event has.
    repeated: Option<Position>,
}

/// Fills a page with what is wanted behind the first position, up to the
/// second, and says how far it got: a position that more than one event has is in
/// a page of its own.
pub(super) async fn read(
    access: &Access,
    range: (Position, Position),
    subscription: &Subscription,
    attempts: &Attempts,
    filling: &mut Filling,
) -> sqlx::Result<Position> {
    let (after, end) = range;
    let Some(subscription) = access.possible(subscription).await? else {
        return Ok(end);
    };
    let mut question = Question {
        access,
        after,
        end,
        subscription: subscription.as_ref(),
        care: attempts.begin(),
        reason: String::new(),
        repeated: None,
    };
    loop {
        filling.begin_again();
        let more = match question.ask(filling).await {
            Ok(Length::Fits) => None,
            Ok(_) => attempts.too_long(question.care),
            Err(error) => match attempts.after(question.care, &error) {
                None => return Err(error),
                more => {
                    tracing::debug!(%after, %end, %error, "reading again with more care");
                    question.reason = withheld(&error);
                    more
                }
            },
        };
        if let Some(more) = more {
            question.care = more;
            continue;
        }
        let Some(position) = question.repeated_position(filling).await? else {
            break;
        };
        let before = Position::new(position.get().saturating_sub(1)).unwrap_or(after);
        if before > after && filling.first().is_some_and(|first| first < position) {
            question.end = before;
        } else {
            question.end = position;
            question.care = Care::Keys;
            question.reason = repeated(position, &access.columns.layout);
        }
    }
    if question.care.is_single() && !filling.is_empty() {
        filling.end();
    }
    Ok(question.end)
}

impl Question<'_> {
    /// A position that more than one event has, among those that were read or, at
    /// the end of a full page, with the next one.
    async fn repeated_position(&mut self, filling: &Filling) -> sqlx::Result<Option<Position>> {
        if let Some(position) = self.repeated.take() {
            return Ok(Some(position));
        }
        if self.access.columns.has_unique_positions || self.care == Care::Keys {
            return Ok(None);
        }
        let is_full = filling.is_full() || self.care.is_single();
        let Some(last) = filling.last().filter(|_| is_full) else {
            return Ok(None);
        };
        let count: i64 = sqlx::query_scalar(self.access.statement(|all| &all.occurrences))
            .bind(last.to_sql())
            .fetch_one(&self.access.pool)
            .await?;
        Ok((count > 1).then_some(last))
    }

    async fn ask(&mut self, filling: &mut Filling) -> sqlx::Result<Length> {
        let is_few = self.end.get() - self.after.get() <= FEW_POSITIONS;
        match is_few || self.care.is_single() {
            true => read_few(self, filling).await,
            false => read_many(self, filling).await,
        }
    }

    fn limit(&self, filling: &Filling) -> i64 {
        sql_limit(self.care.limit(filling.wanted()))
    }

    /// Adds the event of a row, and says whether there is room for another one.
    fn add(
        &mut self,
        filling: &mut Filling,
        row: &impl Cells,
        scratch: &mut Scratch,
    ) -> sqlx::Result<(bool, Length)> {
        let columns = &self.access.columns;
        let event = match self.care {
            Care::Keys => read_keys(row, columns, scratch, self.reason.clone())?,
            _ => read_event(row, columns, scratch)?,
        };
        let is_readable = !matches!(event.data, PayloadRef::Unreadable(_));
        if filling.last() == Some(event.position) {
            self.repeated = Some(event.position);
            return Ok((false, Length::Fits));
        }
        let has_room = filling.add(event);
        let length = match is_readable {
            true => Length::Fits,
            false => Length::of(row, columns)?,
        };
        if length == Length::Sent {
            // What is behind it may be as long, and is sent as well.
            filling.end();
        }
        Ok((has_room && length != Length::Sent, length))
    }
}

/// Why an event at a position that others have too is one that cannot be read.
fn repeated(position: Position, layout: &Layout) -> String {
    format!(
        "it cannot be read: position {position} occurs more than once in the table `{}`, so \
         nobody can tell the order of these events, or which of them were applied; give each a \
         `{}` of its own",
        layout.table, layout.position
    )
}

/// The first position behind one and up to another that has an event.
pub(super) async fn next_position(
    access: &Access,
    after: Position,
    end: Position,
) -> sqlx::Result<Option<Position>> {
    let next: Option<i64> = sqlx::query_scalar(access.statement(|all| &all.next_position))
        .bind(after.to_sql())
        .bind(end.to_sql())
        .fetch_optional(&access.pool)
        .await?;
    Ok(next.and_then(Position::from_sql))
}

/// Reads what was prepared on this connection before: the best for few
/// events, which come one by one.
async fn read_few(question: &mut Question<'_>, filling: &mut Filling) -> sqlx::Result<Length> {
    let (metadata, care) = (question.subscription.metadata, question.care);
    let statement = question.access.statement(|all| all.few(metadata, care));
    let mut lent = question.access.lend().await?;
    let is_single = question.care.is_single();
    if is_single {
        let limit = format!("SET statement_timeout = {}", SINGLE_EVENT_TIME.as_millis());
        lent.execute(AssertSqlSafe(limit)).await?;
    }
    let mut rows = sqlx::query(statement)
        .bind(question.after.to_sql())
        .bind(question.end.to_sql())
        .bind(&question.subscription.event_types)
        .bind(&question.subscription.categories)
        .bind(question.limit(filling))
        .fetch(&mut *lent);
    let (mut scratch, mut has_room, mut unwanted) = (Scratch::default(), true, 0);
    let mut longest = Length::Fits;
    while let Some(row) = rows.try_next().await? {
        if has_room {
            let length;
            (has_room, length) = question.add(filling, &row, &mut scratch)?;
            longest = longest.max(length);
            if longest != Length::Sent {
                continue;
            }
        }
        unwanted += Cells::cell(&row, DATA)?.map_or(0, <[u8]>::len);
        if longest == Length::Sent || unwanted > UNWANTED_BYTES_MAX {
            return Ok(longest);
        }
    }
    drop(rows);
    if !is_single {
        lent.end();
    }
    Ok(longest)
}

/// Reads by a `COPY`, which sends rows with less ado than a query; it has no
/// parameters and cannot be prepared.
async fn read_many(question: &mut Question<'_>, filling: &mut Filling) -> sqlx::Result<Length> {
    let statements = &question.access.statements;
    let position = &statements.position;
    let mut statement = format!(
        "COPY ({} WHERE {position} > {} AND {position} <= {}",
        statements.many(question.subscription.metadata, question.care),
        question.after.to_sql(),
        question.end.to_sql()
    );
    for (column, names) in [
        (&statements.event_type, &question.subscription.event_types),
        (&statements.category, &question.subscription.categories),
    ] {
        if !names.is_empty() {
            let names: Vec<String> = names.iter().map(|name| literal(name)).collect();
            statement += &format!(" AND {column} = ANY (ARRAY[{}])", names.join(", "));
        }
    }
    statement += &format!(
        " ORDER BY {position} LIMIT {}) TO STDOUT (FORMAT BINARY)",
        question.limit(filling)
    );
    let mut lent = question.access.lend().await?;
    let mut messages = lent.copy_out_raw(&statement).await?;
    let (mut copied, mut cells) = (Copied::default(), Vec::new());
    let (mut scratch, mut has_room, mut unwanted) = (Scratch::default(), true, 0);
    let mut longest = Length::Fits;
    while let Some(message) = next(&mut messages, filling.missing()).await? {
        if !has_room {
            unwanted += message.len();
            if longest == Length::Sent || unwanted > UNWANTED_BYTES_MAX {
                return Ok(longest);
            }
        }
        copied.push(message);
        while let Some(row) = copied.next(&mut cells).map_err(sqlx::Error::Decode)? {
            if has_room {
                let length;
                (has_room, length) = question.add(filling, &row, &mut scratch)?;
                longest = longest.max(length);
            }
        }
    }
    drop(messages);
    copied.check_end().map_err(sqlx::Error::Decode)?;
    lent.end();
    Ok(longest)
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
