//! A PostgreSQL server of a test's own, which can be stopped and started.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;
use url::Url;

/// How a server is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ends all sessions and then itself.
    Fast,
    /// It ends at once, as in a crash, and recovers at the next start.
    Immediate,
}

impl Stop {
    const fn mode(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// A server; it ends with this value.
pub struct Server {
    binaries: PathBuf,
    directory: TempDir,
    port: u16,
}

impl Server {
    /// Makes and starts one.
    ///
    /// # Panics
    /// When there is no PostgreSQL, or it does not start.
    #[must_use]
    pub fn start_new() -> Self {
        let binaries = std::env::var_os("GNOMON_TEST_POSTGRES_BINARIES")
            .filter(|binaries| !binaries.is_empty())
            .expect(
                "this test starts a PostgreSQL server of its own, and its programs were not \
                 found; install them (Debian: `apt-get install postgresql`) and run `make test`",
            );
        let directory = tempfile::tempdir().unwrap();
        give_to_server(directory.path());
        let port = free_port();
        let server = Self {
            binaries: PathBuf::from(binaries),
            directory,
            port,
        };
        server.must(
            "initdb",
            &[
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
                "--no-sync",
            ],
        );
        server.start();
        server
    }

    /// Makes and starts a standby of it, which follows it asynchronously.
    ///
    /// # Panics
    /// When it cannot be made, or does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        let directory = tempfile::tempdir().unwrap();
        give_to_server(directory.path());
        let standby = Self {
            binaries: self.binaries.clone(),
            directory,
            port: free_port(),
        };
        let primary = format!(
            "host=127.0.0.1 port={} user=postgres dbname=postgres",
            self.port
        );
        let options = ["--write-recovery-conf", "--wal-method=stream", "--no-sync"];
        let connection = ["--checkpoint=fast", "-d", &primary];
        standby.must("pg_basebackup", &[&options[..], &connection].concat());
        standby.start();
        standby
    }

    /// Makes a standby the primary, at the address of the one that it followed,
    /// which has stopped, as a failover does.
    ///
    /// # Panics
    /// When it does not start there.
    pub fn take_over(&mut self, primary: &Self) {
        self.port = primary.port;
        self.start();
        self.must("pg_ctl", &["-w", "promote"]);
    }

    /// Starts it again.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{}' -c fsync=off",
            self.port,
            self.directory.path().display()
        );
        let log = self.data().join("log");
        let log = log.to_str().unwrap();
        self.must("pg_ctl", &["-w", "-l", log, "-o", &options, "start"]);
    }

    /// Stops it.
    ///
    /// # Panics
    /// When it does not stop.
    pub fn stop(&self, how: Stop) {
        self.must("pg_ctl", &["-w", "-m", how.mode(), "stop"]);
    }

    /// The URL of its first database.
    #[must_use]
    pub fn url(&self) -> Url {
        let url = format!("postgres://postgres:none@127.0.0.1:{}/postgres", self.port);
        Url::parse(&url).unwrap()
    }

    /// A URL of this server's, through its Unix socket.
    ///
    /// # Panics
    /// When it is not one.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let mut url = Url::parse(database).unwrap();
        url.set_host(Some("localhost")).unwrap();
        let directory = self.directory.path().to_str().unwrap();
        url.query_pairs_mut().append_pair("host", directory);
        url.to_string()
    }

    /// Makes a directory in which it may write.
    ///
    /// # Panics
    /// When the system refuses it.
    pub fn make_directory(&self, path: &Path) {
        std::fs::create_dir(path).unwrap();
        give_to_server(path);
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    fn must(&self, program: &str, arguments: &[&str]) {
        let status = self.command(program, arguments).status().unwrap();
        assert!(
            status.success(),
            "{program} {arguments:?}: {status}; the server said:\n{}",
            std::fs::read_to_string(self.data().join("log")).unwrap_or_default()
        );
    }

    /// The server refuses to run as root.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let path = self.binaries.join(program);
        let mut command = match server_user() {
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", &user.to_string(), "--regid", &group.to_string()])
                    .arg("--clear-groups")
                    .arg(path);
                command
            }
            None => Command::new(path),
        };
        command
            .arg("-D")
            .arg(self.data())
            .args(arguments)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may be stopped already.
        let _ = self
            .command("pg_ctl", &["-w", "-m", "immediate", "stop"])
            .stderr(Stdio::null())
            .status();
    }
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .unwrap()
        .port()
}

pub(super) fn give_to_server(path: &Path) {
    if let Some((user, group)) = server_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Whom the server runs as: nobody special, unless this is root.
pub(super) fn server_user() -> Option<(u32, u32)> {
    let id = |key: &str| -> u32 {
        let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    if id("Uid:") != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    ["postgres:", "nobody:"].iter().find_map(|name| {
        let line = users.lines().find(|line| line.starts_with(name))?;
        let mut fields = line.split(':').skip(2);
        let mut id = || fields.next()?.parse().ok();
        Some((id()?, id()?))
    })
}
