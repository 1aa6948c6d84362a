//! The read models of the example projections, and the plain SQL over the
//! events that must give the same rows.

use super::{Database, Rows, System};

/// The table of a projection.
#[derive(Debug)]
pub struct ReadModel {
    /// The projection.
    pub projection: &'static str,
    /// Its table.
    pub table: &'static str,
    /// Its rows by SQL over the events; `{day}` stands for the UTC day of an
    /// event, `{quantity}` for the sum of an order's quantities.
    expected: &'static str,
}

/// All three.
pub const READ_MODELS: [&ReadModel; 3] = [&ORDER_SUMMARY, &CUSTOMER_VALUE, &DAILY_REVENUE];

/// `order_summary`.
pub const ORDER_SUMMARY: ReadModel = ReadModel {
    projection: "order_summary",
    table: "order_summaries",
    expected: "
        SELECT placed.event_data->>'order_id',
               placed.event_data->>'customer_id',
               CAST(placed.event_data->>'total_cents' AS BIGINT),
               CASE last.event_type
                   WHEN 'OrderPlaced' THEN 'placed'
                   WHEN 'PaymentReceived' THEN 'paid'
                   WHEN 'OrderPacked' THEN 'packed'
                   WHEN 'OrderShipped' THEN 'shipped'
                   WHEN 'OrderDelivered' THEN 'delivered'
                   WHEN 'OrderCancelled' THEN 'cancelled'
               END,
               placed.created_at,
               last.created_at,
               {quantity}
        FROM (SELECT stream_id, max(version) AS version FROM events GROUP BY stream_id) AS stream
        JOIN events AS placed ON placed.stream_id = stream.stream_id AND placed.version = 1
            AND placed.event_type = 'OrderPlaced'
        JOIN events AS last ON last.stream_id = stream.stream_id AND last.version = stream.version",
};

/// `customer_value`.
pub const CUSTOMER_VALUE: ReadModel = ReadModel {
    projection: "customer_value",
    table: "customer_value",
    expected: "
        SELECT event_data->>'customer_id',
               count(*) FILTER (WHERE event_type = 'OrderPlaced'),
               CAST(coalesce(sum(CAST(event_data->>'amount_cents' AS BIGINT))
                   FILTER (WHERE event_type = 'PaymentReceived'), 0) AS BIGINT),
               count(*) FILTER (WHERE event_type = 'OrderCancelled'),
               max(created_at) FILTER (WHERE event_type = 'OrderPlaced')
        FROM events
        WHERE event_type IN ('OrderPlaced', 'PaymentReceived', 'OrderCancelled')
        GROUP BY event_data->>'customer_id'",
};

/// `daily_revenue`.
pub const DAILY_REVENUE: ReadModel = ReadModel {
    projection: "daily_revenue",
    table: "daily_revenue",
    expected: "
        SELECT {day}, CAST(sum(CAST(event_data->>'amount_cents' AS BIGINT)) AS BIGINT), count(*)
        FROM events
        WHERE event_type = 'PaymentReceived'
        GROUP BY {day}",
};

impl ReadModel {
    /// The rows that readers see.
    #[must_use]
    pub fn rows(&self, read_models: &Database) -> Rows {
        let table = match read_models.system() {
            System::Sqlite => self.table.to_owned(),
            System::Postgres => format!("{}.{}", self.projection, self.table),
        };
        read_models.rows(&format!("SELECT * FROM {table}"))
    }

    /// The rows that the events ask for.
    #[must_use]
    pub fn expected(&self, events: &Database) -> Rows {
        let (day, quantity) = match events.system() {
            System::Sqlite => (
                "substr(created_at, 1, 10)",
                "(SELECT sum(item.value->>'qty') FROM json_each(placed.event_data, '$.items') AS item)",
            ),
            System::Postgres => (
                "CAST(created_at AT TIME ZONE 'UTC' AS date)",
                "(SELECT CAST(sum(CAST(item->>'qty' AS BIGINT)) AS BIGINT)
                  FROM jsonb_array_elements(placed.event_data->'items') AS item)",
            ),
        };
        let sql = self
            .expected
            .replace("{day}", day)
            .replace("{quantity}", quantity);
        events.rows(&sql)
    }

    /// Panics where readers see other rows than the events ask for.
    ///
    /// # Panics
    /// With the first row that differs.
    pub fn assert_right(&self, events: &Database, read_models: &Database, when: &str) {
        let what = format!("{}, {when}", self.table);
        assert_same(&what, &self.expected(events), &self.rows(read_models));
    }
}

/// Panics where rows are not those that were expected, or none were.
pub(super) fn assert_same(what: &str, expected: &Rows, found: &Rows) {
    assert!(!expected.is_empty(), "the events ask for no row of {what}");
    if let Some((expected, found)) = expected
        .iter()
        .zip(found)
        .find(|(left, right)| left != right)
    {
        panic!("{what}: first difference\nexpected {expected:?}\nfound    {found:?}");
    }
    assert_eq!(found.len(), expected.len(), "rows of {what}");
}
