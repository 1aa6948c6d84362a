//! The statements of a source, made once from the layout of its table.

use std::sync::Arc;

use super::checks::{DRAWN, hides_rows};
use super::definition::{fingerprint, has_schema_version, is_same_table};
use crate::table::Layout;
use crate::table::postgres::{Care, Columns, event_columns, time};

/// What the frontier's task asks.
pub(super) struct Watching {
    /// The head, the end of the rows without a hole, and whether the table is the
    /// same.
    pub(super) look: Arc<str>,
    /// The head, the last event, and the event at a position.
    pub(super) guard: Arc<str>,
    /// The rows behind holes of a stretch.
    pub(super) holes: Arc<str>,
    /// The first position that has an event, of those in holes.
    pub(super) first_filled: Arc<str>,
    /// The positions of a hole that have an event.
    pub(super) filled: Arc<str>,
    /// How many events there are in a stretch.
    pub(super) count: Arc<str>,
}

impl Watching {
    /// With the sequence, quoted, and a condition for rows that would never be
    /// delivered.
    pub(super) fn new(layout: &Layout, sequence: &str, unruly: &str) -> Self {
        let (from, position, id) = (layout.from(), layout.position.sql(), layout.id.sql());
        let look = format!(
            "SELECT {DRAWN}, (SELECT max(position) FROM (\
               SELECT {position}::bigint AS position, \
                 row_number() OVER (ORDER BY {position}) AS place FROM {from} \
               WHERE {position} > $2 \
                 AND EXISTS (SELECT 1 FROM {from} WHERE {position} = $2 + 1) \
               ORDER BY {position} LIMIT $3) AS r WHERE position = $2 + place), \
               {same} AND {has_schema_version} = $7 AND ($6::text IS NULL OR ({fingerprint} = $6 \
                 AND NOT {unruly} AND NOT {hides_rows} \
                 AND (SELECT s.xmin FROM pg_sequence AS s WHERE s.seqrelid = $1::bigint::oid) \
                   = $8::text::xid)) \
             FROM {sequence}",
            same = is_same_table(&layout.table),
            has_schema_version = has_schema_version(layout),
            fingerprint = fingerprint(&layout.table),
            hides_rows = hides_rows(&layout.table),
        );
        let guard = format!(
            "SELECT {DRAWN}, n.position, n.id, \
               (SELECT {id}::text FROM {from} WHERE {position} = $2 LIMIT 1) \
             FROM {sequence} LEFT JOIN (SELECT {position}::bigint AS position, {id}::text AS id \
               FROM {from} WHERE {position} IS NOT NULL ORDER BY {position} DESC LIMIT 1) AS n \
               ON true"
        );
        let holes = format!(
            "SELECT before, position FROM (\
               SELECT position, lag(position, 1, $1) OVER w AS before, \
                 lead(position) OVER w AS following \
               FROM (SELECT {position}::bigint AS position FROM {from} \
                 WHERE {position} > $1 AND {position} <= $2 \
                 ORDER BY {position} LIMIT $3) AS r WINDOW w AS (ORDER BY position)) AS r \
             WHERE position > before + 1 OR following IS NULL ORDER BY position"
        );
        let first_filled = format!(
            "SELECT min(r.position) FROM unnest($1::bigint[], $2::bigint[]) AS h (first, last) \
             CROSS JOIN LATERAL (SELECT {position}::bigint AS position FROM {from} \
               WHERE {position} >= h.first AND {position} <= h.last \
               ORDER BY {position} LIMIT 1) AS r"
        );
        let filled = format!(
            "SELECT {position}::bigint FROM {from} \
             WHERE {position} >= $1 AND {position} <= $2 ORDER BY {position} LIMIT $3"
        );
        let count = format!(
            "SELECT count(*), max(position) FROM (\
               SELECT {position}::bigint AS position FROM {from} \
               WHERE {position} > $1 AND {position} <= $2 \
               ORDER BY {position} LIMIT $3) AS counted"
        );
        Self {
            look: look.into(),
            guard: guard.into(),
            holes: holes.into(),
            first_filled: first_filled.into(),
            filled: filled.into(),
            count: count.into(),
        }
    }
}

/// What readers ask.
pub(super) struct Reading {
    /// Events of a few positions, by whether metadata is wanted, and by care.
    few: [[Arc<str>; 4]; 2],
    /// Events of many, up to the conditions, in the same order.
    many: [[Arc<str>; 4]; 2],
    /// The name of the columns in conditions.
    pub(super) position: String,
    pub(super) event_type: String,
    pub(super) category: String,
    /// The id of the event at a position.
    pub(super) id_at: Arc<str>,
    /// How many events a position has.
    pub(super) occurrences: Arc<str>,
    /// The first position behind one, up to another, that has an event.
    pub(super) next_position: Arc<str>,
    /// The last event up to a position.
    pub(super) last_event: Arc<str>,
    /// When the first event behind a position was recorded.
    pub(super) recorded_after: Arc<str>,
    /// The position of the last event that was recorded up to a time.
    pub(super) position_at: Arc<str>,
}

const CARES: [Care; 4] = [Care::None, Care::Checked, Care::One, Care::Keys];

impl Reading {
    pub(super) fn new(columns: &Columns) -> Self {
        let layout = &columns.layout;
        let (from, position, id) = (layout.from(), layout.position.sql(), layout.id.sql());
        let event_type = layout.event_type.sql();
        // The part of a stream's id before its first `-`.
        let category = format!("split_part({}, '-', 1)", layout.stream.sql());
        let for_each = |statement: &dyn Fn(String) -> String| {
            [false, true].map(|metadata| {
                CARES.map(|care| statement(event_columns(columns, metadata, care)).into())
            })
        };
        let few = for_each(&|selected| {
            format!(
                "SELECT {selected} FROM {from} WHERE {position} > $1 AND {position} <= $2 \
                 AND (cardinality($3::text[]) = 0 OR {event_type} = ANY ($3)) \
                 AND (cardinality($4::text[]) = 0 OR {category} = ANY ($4)) \
                 ORDER BY {position} LIMIT $5"
            )
        });
        let many = for_each(&|selected| format!("SELECT {selected} FROM {from}"));
        let id_at = format!("SELECT {id}::text FROM {from} WHERE {position} = $1");
        let occurrences = format!("SELECT count(*) FROM {from} WHERE {position} = $1");
        let next_position = format!(
            "SELECT {position}::bigint FROM {from} \
             WHERE {position} > $1 AND {position} <= $2 ORDER BY {position} LIMIT 1"
        );
        let last_event = format!(
            "SELECT {position}::bigint, {id}::text FROM {from} \
             WHERE {position} <= $1 ORDER BY {position} DESC LIMIT 1"
        );
        let recorded_after = format!(
            "SELECT {time} FROM {from} WHERE {position} > $1 ORDER BY {position} LIMIT 1",
            time = time(columns),
        );
        let position_at = format!(
            "SELECT {position}::bigint FROM {from} \
             WHERE {recorded_at} <= to_timestamp($1::numeric / 1000000) \
             ORDER BY {position} DESC LIMIT 1",
            recorded_at = layout.recorded_at.sql(),
        );
        Self {
            few,
            many,
            position: position.to_owned(),
            event_type: event_type.to_owned(),
            category,
            id_at: id_at.into(),
            occurrences: occurrences.into(),
            next_position: next_position.into(),
            last_event: last_event.into(),
            recorded_after: recorded_after.into(),
            position_at: position_at.into(),
        }
    }

    pub(super) fn few(&self, metadata: bool, care: Care) -> &Arc<str> {
        of(&self.few, metadata, care)
    }

    pub(super) fn many(&self, metadata: bool, care: Care) -> &Arc<str> {
        of(&self.many, metadata, care)
    }
}

fn of(statements: &[[Arc<str>; 4]; 2], metadata: bool, care: Care) -> &Arc<str> {
    let [without, with] = statements;
    let [none, checked, one, keys] = match metadata {
        true => with,
        false => without,
    };
    match care {
        Care::None => none,
        Care::Checked => checked,
        Care::One => one,
        Care::Keys => keys,
    }
}

#[cfg(test)]
mod tests {
    use gnomon_databases::database_url::DatabaseUrl;
    use sqlx::AssertSqlSafe;

    use super::super::{ALONG_THE_INDEX, checks};
    use super::*;
    use crate::store;
    use crate::test_database::{connect, postgres, run};

    /// How many parameters a statement has.
    fn parameters(statement: &str) -> usize {
        let numbers = statement.split('$').skip(1);
        let number = numbers.filter_map(|rest| rest.chars().next()?.to_digit(10));
        number.max().unwrap_or_default() as usize
    }

    /// The smallest table is read along its index: a larger one is then, too.
    #[tokio::test(flavor = "multi_thread")]
    async fn every_statement_goes_along_the_index() {
        let url = postgres().await;
        store::open(&url).await.unwrap();
        let DatabaseUrl::Postgres(server) = &url else {
            panic!("{url} is not a PostgreSQL database");
        };
        let mut connection = connect(&url).await;
        let layout = Arc::new(Layout::built_in());
        let watched = checks::watched(&mut connection, server, &layout)
            .await
            .unwrap();
        let (watching, reading) = (&watched.statements, Reading::new(&watched.columns));
        let mut statements = vec![
            &watching.look,
            &watching.guard,
            &watching.holes,
            &watching.first_filled,
            &watching.filled,
            &watching.count,
            &reading.id_at,
            &reading.occurrences,
            &reading.next_position,
            &reading.last_event,
            &reading.recorded_after,
            &reading.position_at,
        ];
        statements.extend(reading.few.iter().flatten());
        let conditions = " WHERE e.\"global_position\" > 7 AND e.\"global_position\" <= 9 \
                          ORDER BY e.\"global_position\" LIMIT 9";
        let many: Vec<Arc<str>> = (reading.many.iter().flatten())
            .map(|statement| format!("{statement}{conditions}").into())
            .collect();
        statements.extend(&many);
        for (name, value) in ALONG_THE_INDEX {
            run(&mut connection, &format!("SET {name} = {value}")).await;
        }
        for (number, statement) in statements.into_iter().enumerate() {
            run(
                &mut connection,
                &format!("PREPARE s{number} AS {statement}"),
            )
            .await;
            let nulls = vec!["NULL"; parameters(statement)].join(", ");
            let arguments = match nulls.as_str() {
                "" => String::new(),
                nulls => format!("({nulls})"),
            };
            let explain = format!("EXPLAIN EXECUTE s{number}{arguments}");
            let plan: Vec<String> = sqlx::query_scalar(AssertSqlSafe(explain))
                .fetch_all(&mut connection)
                .await
                .unwrap();
            let plan = plan.join("\n");
            let scans = plan.lines().filter(|line| line.contains(" on events e"));
            for scan in scans {
                assert!(
                    scan.contains("using events_global_position"),
                    "{statement}\n{plan}"
                );
            }
            assert!(plan.contains(" on events e"), "{statement}\n{plan}");
            assert!(!plan.contains("Sort Key: e."), "{statement}\n{plan}");
        }
    }
}
