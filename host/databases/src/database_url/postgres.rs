//! The URL of a PostgreSQL database, in libpq's form.
//!
//! Whoever writes `sslmode=verify-full` relies on it. So a parameter is
//! honoured, or the URL is refused: nothing in it is passed over. A refusal
//! names the parameter and never its value, which may be a password.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use url::Url;

use super::InvalidDatabaseUrl;
use super::settings::{self, Setting};
use crate::spelling::suggestion;

/// A PostgreSQL URL. Its `Display` and `Debug` hide the password.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    url: Box<Url>,
    pub(crate) given: Box<Given>,
    /// How many connections a host may keep there, if somebody said.
    pub connections_max: Option<usize>,
}

/// What a URL says. What it does not say comes from the environment, as for
/// every other client of PostgreSQL.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Given {
    /// A name, an address, or the directory of a socket.
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) ssl_mode: Option<SslMode>,
    pub(crate) ssl_root_cert: Option<String>,
    pub(crate) ssl_cert: Option<String>,
    pub(crate) ssl_key: Option<String>,
    pub(crate) application_name: Option<String>,
    pub(crate) settings: Vec<Setting>,
}

/// The modes of TLS that are honoured. `allow`, which is plain text wherever the
/// server takes it, is not one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SslMode {
    Disable,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

impl SslMode {
    const EXPECTED: &str = "disable, prefer, require, verify-ca or verify-full";

    /// Its name in URLs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for SslMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [
            Self::Disable,
            Self::Prefer,
            Self::Require,
            Self::VerifyCa,
            Self::VerifyFull,
        ]
        .into_iter()
        .find(|mode| mode.name() == text)
        .ok_or(Self::EXPECTED)
    }
}

/// The parameters that have an effect, by their libpq names.
const HONOURED: [&str; 12] = [
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "application_name",
    "options",
];

/// Parameters that ask, with one of these values, for what is done anyway.
const DONE_ANYWAY: [(&str, &[&str]); 8] = [
    ("channel_binding", &["disable", "prefer"]),
    ("client_encoding", &["UTF8", "utf8", "UTF-8", "utf-8"]),
    ("gssencmode", &["disable", "prefer"]),
    ("load_balance_hosts", &["disable"]),
    ("sslcompression", &["0"]),
    ("sslnegotiation", &["postgres"]),
    ("sslsni", &["1"]),
    ("target_session_attrs", &["any"]),
];

/// What to do instead, for parameters that people use elsewhere.
const INSTEAD: [(&str, &str); 9] = [
    (
        "channel_binding",
        "the driver has no channel binding; `sslmode=verify-full` with `sslrootcert` makes sure of \
         the server",
    ),
    (
        "connect_timeout",
        "leave it out: a connection is given up after at most 10 s, and tried again",
    ),
    (
        "fallback_application_name",
        "write `application_name`; without it the name is `gnomon`",
    ),
    (
        "gssencmode",
        "the driver has no GSSAPI; encrypt with `sslmode`",
    ),
    (
        "passfile",
        "set PGPASSFILE in the environment, or use ~/.pgpass",
    ),
    (
        "service",
        "write what the service file says into the URL itself",
    ),
    ("sslcrl", "the driver reads no revocation lists"),
    (
        "statement-cache-capacity",
        "leave it out: Gnomon keeps as many statements prepared as it needs",
    ),
    (
        "target_session_attrs",
        "name an address that always leads to the primary",
    ),
];

impl PostgresUrl {
    /// The whole URL, password included, for tests and drivers only.
    #[must_use]
    pub fn reveal(&self) -> &str {
        self.url.as_str()
    }

    /// The same place, for a host that keeps at most so many connections there.
    #[must_use]
    pub fn with_connections_max(mut self, connections: usize) -> Self {
        self.connections_max = Some(connections);
        self
    }

    pub(super) fn parse(text: &str) -> Result<Self, InvalidDatabaseUrl> {
        let text = without_empty_host(text);
        let url = Url::parse(&text).map_err(|error| match names_several_hosts(&text) {
            true => InvalidDatabaseUrl::SeveralHosts,
            false => error.into(),
        })?;
        if has_at_sign_behind_host(&url) {
            return Err(match url.has_host() {
                true => InvalidDatabaseUrl::AtSignBehindHost,
                false => InvalidDatabaseUrl::NoHost,
            });
        }
        if url.fragment().is_some() {
            return Err(InvalidDatabaseUrl::Fragment);
        }
        let mut given = Given {
            host: url.host_str().map(without_brackets).map(decoded),
            port: url.port(),
            user: Some(decoded(url.username())).filter(|user| !user.is_empty()),
            password: url.password().map(decoded),
            database: Some(decoded(url.path().trim_start_matches('/')))
                .filter(|database| !database.is_empty()),
            ..Given::default()
        };
        given.set_all(url.query().unwrap_or_default())?;
        if given.host.as_ref().is_some_and(|host| host.contains(',')) {
            return Err(InvalidDatabaseUrl::SeveralHosts);
        }
        if given.ssl_cert.is_some() != given.ssl_key.is_some() {
            return Err(InvalidDatabaseUrl::Value {
                name: "sslcert",
                expected: "it needs `sslkey`, and `sslkey` needs it",
            });
        }
        Ok(Self {
            url: Box::new(url),
            given: Box::new(given),
            connections_max: None,
        })
    }
}

impl Given {
    fn set_all(&mut self, query: &str) -> Result<(), InvalidDatabaseUrl> {
        let mut address = None;
        let mut behind_password = false;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(InvalidDatabaseUrl::NoValue);
            };
            let (name, value) = (decoded(name), decoded(value));
            if name == "hostaddr" {
                address = Some(value);
            } else {
                self.set(&name, value).map_err(|error| match error {
                    // The name may be the end of a password with an `&` in it.
                    InvalidDatabaseUrl::Parameter { .. }
                        if behind_password && !is_of_libpq(&name) =>
                    {
                        InvalidDatabaseUrl::BehindPassword
                    }
                    other => other,
                })?;
            }
            behind_password = name == "password";
        }
        if let Some(address) = address {
            if self.host.is_some() {
                return Err(InvalidDatabaseUrl::Value {
                    name: "hostaddr",
                    expected: "name the server once, by `host` or by `hostaddr`",
                });
            }
            if address.parse::<IpAddr>().is_err() {
                return Err(InvalidDatabaseUrl::Value {
                    name: "hostaddr",
                    expected: "it is not one IP address",
                });
            }
            self.host = Some(address);
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), InvalidDatabaseUrl> {
        let wrong = |name, expected| Err(InvalidDatabaseUrl::Value { name, expected });
        match name {
            "host" => self.host = Some(value),
            "port" => match value.parse() {
                Ok(port) => self.port = Some(port),
                Err(_) if value.contains(',') => return Err(InvalidDatabaseUrl::SeveralHosts),
                Err(_) => return wrong("port", "expected a number from 0 to 65535"),
            },
            "user" => self.user = Some(value),
            "password" => self.password = Some(value),
            "dbname" => self.database = Some(value),
            "sslmode" | "ssl-mode" => match value.parse() {
                Ok(mode) => self.ssl_mode = Some(mode),
                Err(expected) => return wrong("sslmode", expected),
            },
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" if value == "system" => {
                return wrong(
                    "sslrootcert",
                    "leave it out: without it the certificates of the public authorities count",
                );
            }
            "sslrootcert" | "ssl-root-cert" | "ssl-ca" => self.ssl_root_cert = Some(value),
            "sslcert" | "ssl-cert" => self.ssl_cert = Some(value),
            "sslkey" | "ssl-key" => self.ssl_key = Some(value),
            "application_name" => self.application_name = Some(value),
            "options" => match settings::of_options(&value) {
                Some(settings) => self.settings.extend(settings),
                None => return wrong("options", settings::EXPECTED),
            },
            _ => {
                if let Some(setting) = settings::of_parameter(name, &value) {
                    self.settings.push(setting);
                } else if !is_done_anyway(name, &value) {
                    return Err(unknown(name));
                }
            }
        }
        Ok(())
    }
}

fn is_done_anyway(name: &str, value: &str) -> bool {
    DONE_ANYWAY
        .iter()
        .any(|(known, values)| *known == name && values.contains(&value))
}

/// Whether a name is no part of a password.
fn is_of_libpq(name: &str) -> bool {
    DONE_ANYWAY.iter().any(|(known, _)| *known == name)
        || INSTEAD.iter().any(|(known, _)| *known == name)
        || !suggestion(name, HONOURED).is_empty()
}

fn unknown(name: &str) -> InvalidDatabaseUrl {
    const SHOWN_CHARACTERS: usize = 60;
    let instead = INSTEAD.iter().find(|(known, _)| *known == name);
    InvalidDatabaseUrl::Parameter {
        advice: match instead {
            Some((_, advice)) => format!("; {advice}"),
            None => suggestion(name, HONOURED),
        },
        name: name
            .chars()
            .take(SHOWN_CHARACTERS)
            .flat_map(char::escape_debug)
            .collect(),
    }
}

/// Decodes `%2F`. A `+` stays one, as in libpq, and unlike in a web form.
fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn without_brackets(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// The authority of a URL, and where it begins and ends.
fn authority(text: &str) -> Option<(usize, &str, usize)> {
    let begin = text.find("://")? + "://".len();
    let rest = text.get(begin..)?;
    let length = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    Some((begin, rest.get(..length)?, begin + length))
}

/// libpq takes `postgres://user:password@/database?host=/run/postgresql`; to
/// the URL standard a user without a host is a mistake. They are the same as
/// parameters.
fn without_empty_host(text: &str) -> String {
    let rewritten = || {
        let (begin, authority, end) = authority(text)?;
        let (user, server) = authority.rsplit_once('@')?;
        let port = match server {
            "" => None,
            server => Some(server.strip_prefix(':')?),
        };
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user, None),
        };
        let parameters = [("user", Some(user)), ("password", password), ("port", port)]
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?.replace('&', "%26"))))
            .collect::<Vec<_>>()
            .join("&");
        let (scheme, behind) = (text.get(..begin)?, text.get(end..)?);
        let (path, query) = behind.split_once('?').unwrap_or((behind, ""));
        let joint = if query.is_empty() { "" } else { "&" };
        Some(format!("{scheme}{path}?{parameters}{joint}{query}"))
    };
    rewritten().unwrap_or_else(|| text.to_owned())
}

/// Whether a URL that does not parse is one with a list of hosts.
fn names_several_hosts(text: &str) -> bool {
    authority(text).is_some_and(|(_, authority, _)| {
        let (_, server) = authority.rsplit_once('@').unwrap_or(("", authority));
        server.contains(',')
    })
}

/// Whether an `@` stands where a database has no use for it. In
/// `postgres://user:1/secret@host/db` the host is `user`, and the password would
/// be shown as a path. A parameter that holds a user or a password may have one.
fn has_at_sign_behind_host(url: &Url) -> bool {
    let parameters = url.query().unwrap_or_default().split('&');
    let mut astray = parameters.filter(|pair| {
        let (name, _) = pair.split_once('=').unwrap_or_default();
        !["user", "password"].contains(&name)
    });
    url.path().contains('@')
        || astray.any(|pair| pair.contains('@'))
        || url.fragment().unwrap_or_default().contains('@')
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = Url::clone(&self.url);
        if shown.password().is_some() {
            // Fails only for URLs without a host, which have no password.
            let _ = shown.set_password(Some("***"));
        }
        let is_shown = |pair: &&str| {
            let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
            !pair.is_empty() && decoded(name) != "password"
        };
        let kept: Vec<&str> = self
            .url
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(is_shown)
            .collect();
        let kept = kept.join("&");
        shown.set_query(Some(kept.as_str()).filter(|kept| !kept.is_empty()));
        shown.fmt(formatter)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PostgresUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::super::DatabaseUrl;
    use super::*;

    fn given(text: &str) -> Given {
        match text.parse() {
            Ok(DatabaseUrl::Postgres(url)) => *url.given,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn refusal(text: &str) -> String {
        match text.parse::<DatabaseUrl>() {
            Ok(url) => panic!("{url} is not refused"),
            Err(error) => format!("{error} {error:?}"),
        }
    }

    #[test]
    fn every_part_of_a_url_is_taken() {
        let all = given(
            "postgres://me%40home:p%2Fw@db.example:6432/shop%20floor?sslmode=verify-full&\
             sslrootcert=/etc/ca.pem&sslcert=/etc/me.pem&sslkey=/etc/me.key&application_name=a+b&\
             options=-c%20search_path%3Dsales,public%20--work-mem%3D64MB&options[jit]=off",
        );
        assert_eq!(all.host.as_deref(), Some("db.example"));
        assert_eq!(all.port, Some(6432));
        assert_eq!(all.user.as_deref(), Some("me@home"));
        assert_eq!(all.password.as_deref(), Some("p/w"));
        assert_eq!(all.database.as_deref(), Some("shop floor"));
        assert_eq!(all.ssl_mode, Some(SslMode::VerifyFull));
        assert_eq!(all.ssl_root_cert.as_deref(), Some("/etc/ca.pem"));
        assert_eq!(all.ssl_cert.as_deref(), Some("/etc/me.pem"));
        assert_eq!(all.ssl_key.as_deref(), Some("/etc/me.key"));
        assert_eq!(all.application_name.as_deref(), Some("a+b"));
    }

    #[test]
    fn a_server_is_named_in_every_way_that_libpq_knows() {
        for (text, host, port) in [
            ("postgres://u@[::1]:5433/x", "::1", Some(5433)),
            ("postgres://u@[2001:db8::7]/x", "2001:db8::7", None),
            (
                "postgres://u@%2Frun%2Fpostgresql/x",
                "/run/postgresql",
                None,
            ),
            (
                "postgres:///x?host=/run/postgresql",
                "/run/postgresql",
                None,
            ),
            ("postgres://u:p@/x?host=/run/pg", "/run/pg", None),
            ("postgres://u:p@:5433/x?host=/run/pg", "/run/pg", Some(5433)),
            ("postgres://u@/x?host=db&port=5433", "db", Some(5433)),
            ("postgres:///x?hostaddr=::1", "::1", None),
            ("postgresql://127.0.0.1", "127.0.0.1", None),
        ] {
            let given = given(text);
            assert_eq!(given.host.as_deref(), Some(host), "{text}");
            assert_eq!(given.port, port, "{text}");
        }
        let with_password = given("postgres://u:s%263@/x?host=/run/pg");
        assert_eq!(with_password.user.as_deref(), Some("u"));
        assert_eq!(with_password.password.as_deref(), Some("s&3"));
    }

    #[test]
    fn what_is_not_honoured_is_refused_by_its_name() {
        for (text, said) in [
            ("?sslmod=verify-full", "did you mean `sslmode`"),
            ("?pasword=s3cret", "did you mean `password`"),
            ("?channel_binding=require", "`channel_binding`"),
            ("?target_session_attrs=read-write", "primary"),
            ("?connect_timeout=s3cret", "`connect_timeout`"),
            ("?require_auth=s3cret", "`require_auth`"),
            ("?sslpassword=s3cret", "`sslpassword`"),
            ("?sslmode=s3cret", "verify-full"),
            ("?sslmode=allow", "verify-full"),
            ("?sslrootcert=system", "leave it out"),
            ("?sslcert=me.pem", "`sslkey`"),
            ("?port=s3cret", "number"),
            ("?host=a,b", "one host"),
            ("?port=1,2", "one host"),
            ("?hostaddr=1.2.3.4", "once"),
            ("?options=s3cret", "-c name=value"),
            ("?s3cret", "no value"),
            ("?password=a&s3cret=b", "%26"),
            ("#s3cret", "%23"),
        ] {
            let refusal = refusal(&format!("postgres://localhost/events{text}"));
            assert!(refusal.contains(said), "{text}: {refusal}");
            assert!(!refusal.contains("s3cret"), "{text}: {refusal}");
        }
        for several in ["postgres://a:1,b:2/x", "postgres://u:s3cret@a,b/x"] {
            let refusal = refusal(several);
            assert!(refusal.contains("one host"), "{several}: {refusal}");
        }
    }

    #[test]
    fn what_is_done_anyway_may_be_asked_for() {
        let plain = given("postgres://localhost/events");
        let asking = given(
            "postgres://localhost/events?channel_binding=prefer&target_session_attrs=any&\
             gssencmode=disable&client_encoding=UTF8",
        );
        assert!(plain == asking);
    }
}
