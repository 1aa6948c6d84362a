//! The four versions of the projection `spending`, and the plain SQL over the
//! events that must give the rows of each.

use std::fs;

use super::read_model::assert_same;
use super::{Database, Installation, Rows, System, guest};

/// A version of `spending`, under the name that readers see it by.
///
/// ```text
/// 1 ──a column more──> 2 ──only whole euros count──> 3 ──back──> 4
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Spending {
    /// 1 to 4.
    pub version: u32,
    /// The projection, or a copy of it.
    name: &'static str,
    /// The last event that counts.
    until: i64,
}

/// The tables of all versions, and what groups the events for them.
const TABLES: [(&str, &str); 2] = [
    ("spending", "event_data->>'customer_id'"),
    ("spending_total", "'all'"),
];

impl Spending {
    /// A version.
    #[must_use]
    pub const fn version(version: u32) -> Self {
        Self {
            version,
            name: "spending",
            until: i64::MAX,
        }
    }

    /// A copy of it as it stood after an event.
    #[must_use]
    pub const fn copied(self, name: &'static str, until: i64) -> Self {
        Self {
            name,
            until,
            ..self
        }
    }

    /// Its module.
    ///
    /// # Panics
    /// When it was not built.
    #[must_use]
    pub fn module(self) -> Vec<u8> {
        match self.version {
            1 => guest("spending"),
            version => guest(&format!("spending-{version}")),
        }
    }

    /// Runs `gnomon deploy` on its module, which must succeed.
    ///
    /// # Panics
    /// When it fails.
    pub fn deploy(self, installation: &Installation, arguments: &[&str]) -> String {
        let file = format!("spending-{}.wasm", self.version);
        fs::write(installation.path(&file), self.module()).unwrap();
        installation.succeed(&[&["deploy", &file], arguments].concat())
    }

    /// The public name of one of its tables.
    fn public_name(self, table: &str, system: System) -> String {
        match system {
            System::Postgres => format!("{}.{table}", self.name),
            System::Sqlite if self.name == "spending" => table.to_owned(),
            System::Sqlite => format!("{}_{table}", self.name),
        }
    }

    /// The rows that readers see in one of its tables.
    #[must_use]
    pub fn rows(self, table: &str, read_models: &Database) -> Rows {
        let name = self.public_name(table, read_models.system());
        read_models.rows(&format!("SELECT * FROM {name}"))
    }

    /// Panics where readers see other rows than the events ask for.
    ///
    /// # Panics
    /// With the first row that differs.
    pub fn assert_right(self, installation: &Installation, when: &str) {
        for (table, group) in TABLES {
            let what = format!("{table} of {self:?}, {when}");
            assert_same(
                &what,
                &installation.events.rows(&self.group_by(group)),
                &self.rows(table, &installation.read_models),
            );
        }
    }

    fn group_by(self, group: &str) -> String {
        const AMOUNT: &str = "CAST(event_data->>'amount_cents' AS BIGINT)";
        let amount = match self.version {
            3 => format!("{AMOUNT} / 100 * 100"),
            _ => AMOUNT.to_owned(),
        };
        let (types, orders) = match self.version {
            2 | 3 => (
                "'PaymentReceived', 'OrderPlaced'",
                ", count(*) FILTER (WHERE event_type = 'OrderPlaced')",
            ),
            _ => ("'PaymentReceived'", ""),
        };
        format!(
            "SELECT {group}, count(*) FILTER (WHERE event_type = 'PaymentReceived'),
                 CAST(coalesce(sum({amount}) FILTER (WHERE event_type = 'PaymentReceived'), 0)
                     AS BIGINT)
                 {orders}
             FROM events WHERE event_type IN ({types}) AND global_position <= {until}
             GROUP BY 1",
            until = self.until
        )
    }
}
