//! How a server is reached: what the URL says, what the environment says, and
//! what is set on every connection.
//!
//! The environment has the variables of libpq. Those that ask for something
//! that would not be done are refused, as parameters of URLs are.

use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use url::form_urlencoded;

use super::room::{Address, Room, is_full};
use super::sessions::Session;
use crate::database_url::{Given, PostgresUrl, SslMode, settings};

/// The name of every connection that nobody named.
const APPLICATION_NAME: &str = "gnomon";

/// How long a server may take to say why it refuses.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// Floats as text that reads back the same, whatever the role's settings say.
const FLOATS: &str = "SET extra_float_digits = 1";

/// Variables that ask for more than is done, unless they have one of these
/// values.
const NOT_HONOURED: [(&str, &[&str]); 14] = [
    ("PGCHANNELBINDING", &["disable", "prefer"]),
    ("PGGSSENCMODE", &["disable", "prefer"]),
    ("PGLOADBALANCEHOSTS", &["disable"]),
    ("PGREQUIREAUTH", &[]),
    ("PGREQUIREPEER", &[]),
    ("PGREQUIRESSL", &["0"]),
    ("PGSERVICE", &[]),
    ("PGSSLCERTMODE", &["allow"]),
    ("PGSSLCRL", &[]),
    ("PGSSLCRLDIR", &[]),
    ("PGSSLMAXPROTOCOLVERSION", &["TLSv1.3"]),
    ("PGSSLMINPROTOCOLVERSION", &["TLSv1", "TLSv1.1", "TLSv1.2"]),
    ("PGSSLNEGOTIATION", &["postgres"]),
    ("PGTARGETSESSIONATTRS", &["any"]),
];

/// Why URL and environment together name no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnusableServer {
    /// A variable of the environment that asks for what is not offered.
    #[error(
        "the environment variable {0} would not be honoured; unset it, and see docs/how-to/postgresql.md \
         for what the URL can say instead"
    )]
    Variable(&'static str),
    /// A variable of the environment with a value that it cannot have.
    #[error("the environment variable {name}: {expected}")]
    Value {
        /// The variable.
        name: &'static str,
        /// What it may be.
        expected: &'static str,
    },
    /// There is a root certificate, and nothing that it would verify.
    #[error(
        "`sslrootcert` or PGSSLROOTCERT names whom to trust, but `sslmode` does not ask to verify \
         the server; add `sslmode=verify-full` to the URL"
    )]
    NothingIsVerified,
    /// What the driver refuses.
    #[error("the driver does not take it: {0}")]
    Driver(String),
}

/// A server, and how each connection to it is made.
#[derive(Clone)]
pub struct Server {
    options: PgConnectOptions,
    settings: Arc<str>,
}

impl Server {
    /// The server behind a URL.
    pub fn at(url: &PostgresUrl) -> Result<Self, UnusableServer> {
        Self::given(&url.given, &|name| {
            std::env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    fn given(
        given: &Given,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, UnusableServer> {
        let given = completed(given, variable)?;
        let options = PgConnectOptions::from_str(&driver_url(&given))
            .map_err(|error| UnusableServer::Driver(error.to_string()))?
            // A parameter of the startup, which poolers refuse.
            .extra_float_digits(None)
            .disable_statement_logging();
        let asked = settings::statement(&given.settings).unwrap_or_default();
        Ok(Self {
            options,
            settings: Arc::from(asked),
        }
        .with_settings(FLOATS))
    }

    /// With more statements that are carried out on each new connection.
    pub fn with_settings(mut self, statements: &str) -> Self {
        let before = match self.settings.trim() {
            "" => String::new(),
            before => format!("{};\n", before.trim_end_matches(';')),
        };
        self.settings = format!("{before}{statements}").into();
        self
    }

    /// With so many statements that a connection keeps prepared.
    pub fn with_prepared_statements(mut self, statements: usize) -> Self {
        self.options = self.options.statement_cache_capacity(statements);
        self
    }

    /// What everybody in this process who connects to it shares.
    pub fn room(&self) -> Arc<Room> {
        Room::at(self.address())
    }

    fn address(&self) -> Address {
        let socket = self
            .options
            .get_socket()
            .map(|path| path.display().to_string());
        let host = socket.unwrap_or_else(|| self.options.get_host().to_owned());
        (host, self.options.get_port())
    }

    /// Makes one connection.
    pub async fn connect(&self) -> sqlx::Result<Connection> {
        let mut connection = self.options.connect().await?;
        let session = self.settle(&mut connection).await?;
        Ok(Connection {
            session,
            connection,
        })
    }

    /// Makes one connection that listens. It lasts as long as the session.
    pub async fn listener(&self) -> sqlx::Result<(Session, PgListener)> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        // A silent reconnect would have other settings.
        listener.eager_reconnect(false);
        let session = self
            .settle(sqlx::Acquire::acquire(&mut listener).await?)
            .await?;
        Ok((session, listener))
    }

    /// Why no connection can be made just now, if the server says so soon. Where
    /// it takes no more of them, the pools of this process are asked for room.
    pub async fn refusal(&self) -> Option<sqlx::Error> {
        let connected = tokio::time::timeout(REFUSAL_TIME, self.connect()).await;
        let refusal = connected.ok()?.err()?;
        if is_full(&refusal) {
            self.room().ask().await;
        }
        Some(refusal)
    }

    /// Refuses a pooler that mixes sessions, before anything is set in one of
    /// them: the caller holds another connection.
    async fn compare_sessions(&self) -> sqlx::Result<()> {
        // Where there is no room for a second one, later ones are compared.
        let Ok(mut second) = self.options.connect().await else {
            return Ok(());
        };
        drop(Session::of(&mut second).await?);
        let _ = second.close().await;
        self.room().sessions_are_kept_apart();
        Ok(())
    }

    async fn settle(&self, connection: &mut PgConnection) -> sqlx::Result<Session> {
        let session = Session::of(connection).await?;
        if !self.room().keeps_sessions_apart() {
            self.compare_sessions().await?;
        }
        connection
            .execute(AssertSqlSafe(self.settings.to_string()))
            .await?;
        Ok(session)
    }
}

/// A connection whose session is ours alone.
pub struct Connection {
    session: Session,
    connection: PgConnection,
}

impl Connection {
    /// The number of the server's process for it.
    pub const fn process(&self) -> i32 {
        self.session.process()
    }

    /// Closes it; the server notices one that ends without a word, too.
    pub async fn close(self) -> sqlx::Result<()> {
        drop(self.session);
        self.connection.close().await
    }
}

impl Deref for Connection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.connection
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.connection
    }
}

/// What the URL does not say, from the environment.
fn completed(
    given: &Given,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Given, UnusableServer> {
    for (name, harmless) in NOT_HONOURED {
        if variable(name).is_some_and(|value| !harmless.contains(&value.as_str())) {
            return Err(UnusableServer::Variable(name));
        }
    }
    let mut given = given.clone();
    let wrong = |name, expected| Err(UnusableServer::Value { name, expected });
    if given.host.is_none() {
        given.host = variable("PGHOSTADDR").or_else(|| variable("PGHOST"));
        if given.host.as_ref().is_some_and(|host| host.contains(',')) {
            return wrong("PGHOST", "name one host, the primary's");
        }
    }
    if given.port.is_none()
        && let Some(port) = variable("PGPORT")
    {
        match port.parse() {
            Ok(port) => given.port = Some(port),
            Err(_) => return wrong("PGPORT", "expected a number from 0 to 65535"),
        }
    }
    if given.ssl_mode.is_none()
        && let Some(mode) = variable("PGSSLMODE")
    {
        match mode.parse() {
            Ok(mode) => given.ssl_mode = Some(mode),
            Err(expected) => return wrong("PGSSLMODE", expected),
        }
    }
    given.application_name = given
        .application_name
        .or_else(|| variable("PGAPPNAME"))
        .or_else(|| Some(APPLICATION_NAME.to_owned()));
    if given.ssl_root_cert.is_some() || variable("PGSSLROOTCERT").is_some() {
        given.ssl_mode = Some(match given.ssl_mode {
            Some(SslMode::VerifyFull) => SslMode::VerifyFull,
            // As libpq does.
            Some(SslMode::VerifyCa | SslMode::Require) => SslMode::VerifyCa,
            Some(SslMode::Disable) if given.ssl_root_cert.is_none() => SslMode::Disable,
            Some(SslMode::Disable | SslMode::Prefer) | None => {
                return Err(UnusableServer::NothingIsVerified);
            }
        });
    }
    Ok(given)
}

/// The same in the driver's own form. The driver adds a password from PGPASSWORD
/// or the password file, and the user's name.
fn driver_url(given: &Given) -> String {
    let port = given.port.map(|port| port.to_string());
    let parameters = [
        ("host", given.host.as_deref()),
        ("port", port.as_deref()),
        ("user", given.user.as_deref()),
        ("password", given.password.as_deref()),
        ("dbname", given.database.as_deref()),
        ("sslmode", given.ssl_mode.map(SslMode::name)),
        ("sslrootcert", given.ssl_root_cert.as_deref()),
        ("sslcert", given.ssl_cert.as_deref()),
        ("sslkey", given.ssl_key.as_deref()),
        ("application_name", given.application_name.as_deref()),
    ];
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    format!("postgres:///?{}", query.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database_url::DatabaseUrl;
    use crate::test_database::postgres;

    fn given(url: &str) -> Given {
        match url.parse().unwrap() {
            DatabaseUrl::Postgres(url) => *url.given,
            other => panic!("{other}"),
        }
    }

    fn server(url: &str, variables: &[(&str, &str)]) -> Result<Server, UnusableServer> {
        Server::given(&given(url), &|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_environment_says_what_the_url_leaves_out() {
        let variables = [("PGHOST", "db"), ("PGPORT", "6432"), ("PGAPPNAME", "shop")];
        let from_environment = server("postgres:///x", &variables).unwrap();
        assert_eq!(from_environment.address(), ("db".to_owned(), 6432));
        let name = from_environment.options.get_application_name();
        assert_eq!(name, Some("shop"));
        let from_url = server("postgres://[::1]:5433/x", &variables).unwrap();
        assert_eq!(from_url.address(), ("::1".to_owned(), 5433));
        let socket = server("postgres://u@/x?host=/run/postgresql", &[]).unwrap();
        assert_eq!(socket.address(), ("/run/postgresql".to_owned(), 5432));
    }

    #[test]
    fn what_the_environment_asks_in_vain_is_refused_by_its_name() {
        for (name, value) in [
            ("PGCHANNELBINDING", "require"),
            ("PGSERVICE", "shop"),
            ("PGTARGETSESSIONATTRS", "primary"),
            ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
            ("PGSSLMODE", "verify_full"),
            ("PGSSLMODE", "allow"),
            ("PGPORT", "s3cret"),
            ("PGHOST", "a,b"),
        ] {
            let refusal = match server("postgres:///x", &[(name, value)]) {
                Ok(_) => panic!("{name}={value} is not refused"),
                Err(error) => error.to_string(),
            };
            assert!(refusal.contains(name), "{refusal}");
            assert!(!refusal.contains(value), "{refusal}");
        }
        for (name, value) in [("PGCHANNELBINDING", "prefer"), ("PGCONNECT_TIMEOUT", "5")] {
            assert!(server("postgres:///x", &[(name, value)]).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_root_certificate_is_never_in_vain() {
        let mode = |url: &str| server(url, &[]).map(|server| server.options.get_ssl_mode());
        let with = |mode: &str| format!("postgres://db/x?sslrootcert=/ca.pem&sslmode={mode}");
        for weak in ["disable", "prefer"] {
            assert_eq!(
                mode(&with(weak)).unwrap_err(),
                UnusableServer::NothingIsVerified
            );
        }
        let verifying = format!("{:?}", mode(&with("require")).unwrap());
        assert_eq!(verifying, "VerifyCa");
        let refused = server("postgres://db/x", &[("PGSSLROOTCERT", "/ca.pem")]);
        assert!(refused.is_err());
    }

    #[tokio::test]
    async fn the_settings_of_a_url_are_made() {
        let url = postgres().await;
        let DatabaseUrl::Postgres(plain) = &url else {
            panic!("{url}");
        };
        let asking = format!(
            "{}?options=-c%20search_path%3Dsales,public%20--lock-timeout%3D7s",
            plain.reveal()
        );
        let DatabaseUrl::Postgres(asking) = asking.parse().unwrap() else {
            panic!("{asking}");
        };
        let server = Server::at(&asking).unwrap().with_settings("SET jit = off;");
        let mut connection = server.connect().await.unwrap();
        for (setting, value) in [
            ("search_path", "sales,public"),
            ("lock_timeout", "7s"),
            ("jit", "off"),
            ("extra_float_digits", "1"),
        ] {
            let found: String = sqlx::query_scalar(AssertSqlSafe(format!("SHOW {setting}")))
                .fetch_one(&mut *connection)
                .await
                .unwrap();
            assert_eq!(found, value, "{setting}");
        }
    }
}
