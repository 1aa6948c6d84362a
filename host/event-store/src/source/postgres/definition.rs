//! What the table of events was when it was looked at, and whether it still is.
//!
//! Somebody may change the table under a running host: add a column, change
//! a type, exchange the table or its sequence. What was learnt before is then
//! wrong, and so is what would be read by it. Three questions find that out in
//! time. Each is asked inside a statement that is sent anyway.
//!
//! - At each look: is it the same table, with the same row in the catalog
//!   ([`is_same_table`])? The snapshot that shows an event shows what was done
//!   to the table before, so no event is read by the columns of yesterday.
//! - Whenever a hole is passed: is the sequence as it was
//!   ([`IS_SAME_SEQUENCE`])? It is asked after the head was read, so every
//!   number up to that head was drawn by the rules that were checked. A session
//!   that draws numbers in advance keeps no lock on them.
//! - Once a second: is everything as it was ([`fingerprint`], and the sequence)?

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use gnomon_databases::connections::{Connections, Lent};
use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::postgres::error::{UNTRANSLATABLE_CHARACTER, has_state};
use gnomon_databases::silence::Silence;
use gnomon_model::Subscription;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Row as _};

use super::statements::Reading;
use super::{ALONG_THE_INDEX, CONNECTIONS_MAX};
use crate::source::{Alarm, History, SourceError};
use crate::table::postgres::{Caution, Columns, literal, pool, regclass};
use crate::table::{Layout, Relation, TableError};

#[cfg(test)]
mod tests;

/// How often everything is compared.
pub(super) const COMPARE_EVERY: Duration = Duration::from_secs(1);

/// Whether this is the table with the id `$4`, and the transaction `$5` was the
/// last to write its row in the catalog, as new columns, other types and another
/// file do.
pub(super) fn is_same_table(table: &Relation) -> String {
    format!(
        "coalesce((SELECT c.oid::bigint = $4 AND c.xmin = $5::text::xid \
         FROM pg_class AS c WHERE c.oid = {}), false)",
        regclass(table)
    )
}

/// Whether there is a column without which events have the schema version 1. To
/// rename one does not write the table's row, and would be seen a second later.
pub(super) fn has_schema_version(layout: &Layout) -> String {
    format!(
        "EXISTS (SELECT 1 FROM pg_attribute WHERE attrelid = {} AND attname = {})",
        regclass(&layout.table),
        literal(layout.schema_version.name())
    )
}

/// Whether the transaction `$3` was the last to write the row `s` of
/// `pg_sequence`.
pub(super) const IS_SAME_SEQUENCE: &str = "s.xmin = $3::text::xid";

/// Everything that reading depends on, but for the settings of the sequence.
pub(super) fn fingerprint(table: &Relation) -> String {
    format!(
        "(SELECT concat_ws(' ', {table}::oid, \
         (SELECT c.xmin FROM pg_class AS c WHERE c.oid = {table}), \
         (SELECT string_agg(a.attname || ' ' || a.xmin, ' ' ORDER BY a.attnum) \
           FROM pg_attribute AS a WHERE a.attrelid = {table} AND a.attnum > 0), \
         (SELECT string_agg(d.oid || ' ' || d.xmin, ' ' ORDER BY d.oid) \
           FROM pg_attrdef AS d WHERE d.adrelid = {table}), \
         (SELECT string_agg(i.indexrelid || ' ' || i.xmin, ' ' ORDER BY i.indexrelid) \
           FROM pg_index AS i WHERE i.indrelid = {table}), \
         (SELECT string_agg(h.inhrelid || ' ' || h.xmin, ' ' ORDER BY h.inhrelid) \
           FROM pg_inherits AS h WHERE h.inhparent = {table})))",
        table = regclass(table)
    )
}

/// The table as it was when it was looked at.
pub(super) struct Definition {
    pub(super) table_id: i64,
    pub(super) has_schema_version: bool,
    /// The transaction that wrote the table's row in the catalog.
    pub(super) written_by: String,
    pub(super) fingerprint: String,
}

impl Definition {
    /// Reads it. What is learnt of the table in later statements is never
    /// older.
    pub(super) async fn read(
        connection: &mut PgConnection,
        layout: &Layout,
    ) -> sqlx::Result<Option<Self>> {
        let query = format!(
            "SELECT c.oid::bigint, c.xmin::text, {}, {} FROM pg_class AS c WHERE c.oid = {}",
            fingerprint(&layout.table),
            has_schema_version(layout),
            regclass(&layout.table)
        );
        let row = sqlx::query(AssertSqlSafe(query))
            .fetch_optional(connection)
            .await?;
        row.map(|row| {
            Ok(Self {
                table_id: row.try_get(0)?,
                written_by: row.try_get(1)?,
                fingerprint: row.try_get(2)?,
                has_schema_version: row.try_get(3)?,
            })
        })
        .transpose()
    }
}

/// How the table is read: its columns, and connections that know of no others.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) pool: Connections,
    pub(super) columns: Arc<Columns>,
    pub(super) statements: Arc<Reading>,
    history: Arc<History>,
    /// Which names the server's encoding has, as far as somebody asked.
    names: Arc<Mutex<HashMap<String, bool>>>,
}

/// The newest [`Access`], which the frontier's task and the readers share.
pub(super) struct Newest {
    url: PostgresUrl,
    silence: Arc<Silence>,
    history: Arc<History>,
    caution: Arc<Caution>,
    access: RwLock<Access>,
}

impl Newest {
    pub(super) fn new(
        url: &PostgresUrl,
        silence: &Arc<Silence>,
        history: &Arc<History>,
        columns: Columns,
    ) -> Result<Arc<Self>, TableError> {
        Ok(Arc::new(Self {
            url: url.clone(),
            silence: Arc::clone(silence),
            history: Arc::clone(history),
            caution: Arc::default(),
            access: RwLock::new(Access::new(url, silence, history, columns)?),
        }))
    }

    pub(super) const fn caution(&self) -> &Arc<Caution> {
        &self.caution
    }

    pub(super) fn get(&self) -> Access {
        let access = self.access.read();
        access.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of the columns as they are now. Connections that were made
    /// before have prepared statements for others.
    pub(super) fn set(&self, columns: Columns) -> Result<(), TableError> {
        let access = Access::new(&self.url, &self.silence, &self.history, columns)?;
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
        Ok(())
    }
}

impl Access {
    fn new(
        url: &PostgresUrl,
        silence: &Arc<Silence>,
        history: &Arc<History>,
        columns: Columns,
    ) -> Result<Self, TableError> {
        // One watches, the others read.
        let readers = url
            .connections_max
            .map_or(CONNECTIONS_MAX, |connections| connections.saturating_sub(1));
        Ok(Self {
            pool: pool(url, &columns, readers.max(1), &ALONG_THE_INDEX, silence)?,
            statements: Arc::new(Reading::new(&columns)),
            columns: Arc::new(columns),
            history: Arc::clone(history),
            names: Arc::default(),
        })
    }

    /// One of the statements, as a query takes it.
    pub(super) fn statement(
        &self,
        one: impl FnOnce(&Reading) -> &Arc<str>,
    ) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(Arc::clone(one(&self.statements)))
    }

    /// A connection to the store that was read before: a new one may lead
    /// elsewhere.
    pub(super) async fn lend(&self) -> sqlx::Result<Lent> {
        let mut lent = self.pool.lend().await?;
        let known = self.history.newest().filter(|_| lent.is_new());
        if let Some(known) = known {
            let id: Option<String> = sqlx::query_scalar(self.statement(|all| &all.id_at))
                .bind(known.position.to_sql())
                .fetch_optional(&mut *lent)
                .await?;
            if id.as_ref() != Some(&known.id) {
                self.history.raise(Alarm::Gone(known));
                let reason = "a new connection leads to another event store";
                return Err(sqlx::Error::Io(std::io::Error::other(reason)));
            }
        }
        Ok(lent)
    }

    /// What a subscription asks for, without the names that no event can have
    /// because the server cannot hold their characters: to ask for them is an
    /// error. `None` if no event at all can be wanted.
    pub(super) async fn possible<'a>(
        &self,
        subscription: &'a Subscription,
    ) -> sqlx::Result<Option<Cow<'a, Subscription>>> {
        let takes_all = matches!(self.columns.encoding.as_str(), "UTF8" | "SQL_ASCII");
        let is_doubtful = |name: &String| name.contains('\0') || !(takes_all || name.is_ascii());
        let names = || (subscription.event_types.iter()).chain(&subscription.categories);
        if !names().any(is_doubtful) {
            return Ok(Some(Cow::Borrowed(subscription)));
        }
        let mut impossible = HashSet::new();
        for name in names().filter(|name| is_doubtful(name)) {
            if name.contains('\0') || !self.has_characters(name).await? {
                impossible.insert(name);
            }
        }
        let possible = |names: &Vec<String>| {
            let left = names.iter().filter(|name| !impossible.contains(name));
            let left: Vec<String> = left.cloned().collect();
            (names.is_empty() || !left.is_empty()).then_some(left)
        };
        let (types, categories) = (
            possible(&subscription.event_types),
            possible(&subscription.categories),
        );
        let (Some(event_types), Some(categories)) = (types, categories) else {
            return Ok(None);
        };
        Ok(Some(Cow::Owned(Subscription {
            event_types,
            categories,
            metadata: subscription.metadata,
        })))
    }

    async fn has_characters(&self, name: &str) -> sqlx::Result<bool> {
        let names = || self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names().get(name) {
            return Ok(*known);
        }
        let asked = sqlx::query("SELECT $1::text").bind(name);
        let is_possible = match asked.fetch_one(&self.pool).await {
            Ok(_) => true,
            Err(error) if has_state(&error, UNTRANSLATABLE_CHARACTER) => {
                tracing::warn!(
                    name,
                    encoding = self.columns.encoding,
                    "no event can have this type or category: the server's encoding lacks it"
                );
                false
            }
            Err(error) => return Err(error),
        };
        names().insert(name.to_owned(), is_possible);
        Ok(is_possible)
    }
}

/// The error of a look that finds the table changed: the session ends, and the
/// next one learns what is there now.
pub(super) fn changed(url: &PostgresUrl, table: &Relation) -> SourceError {
    SourceError::retry(
        format!("the table `{table}` of {url} is no longer what it was"),
        "its definition, or that of its sequence, has changed",
    )
}
