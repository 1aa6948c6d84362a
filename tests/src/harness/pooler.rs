//! A real pgbouncer in front of the test server.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use url::Url;

use super::server::{give_to_server, server_user};

/// How long a pooler may take to listen.
const START_LIMIT: Duration = Duration::from_secs(30);

/// A connection pooler; it ends with this value.
pub struct Pooler {
    child: Child,
    port: u16,
    _directory: TempDir,
}

impl Pooler {
    /// Starts one in front of the server of this URL, with this `pool_mode` and
    /// nothing else that is not pgbouncer's default.
    ///
    /// # Panics
    /// When there is no pgbouncer, or it does not start.
    #[must_use]
    pub fn start(server: &Url, mode: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let configuration = format!(
            "[databases]\n* = host={} port={} user={} password={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             default_pool_size = 60\npool_mode = {mode}\n",
            server.host_str().unwrap(),
            server.port().unwrap_or(5432),
            server.username(),
            server.password().unwrap_or_default(),
        );
        let file = directory.path().join("pgbouncer.ini");
        fs::write(&file, configuration).unwrap();
        give_to_server(directory.path());
        let program = program();
        let mut command = match server_user() {
            // It refuses to run as root.
            Some((user, group)) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", &user.to_string(), "--regid", &group.to_string()])
                    .arg("--clear-groups")
                    .arg(&program);
                command
            }
            None => Command::new(&program),
        };
        let child = command
            .arg(&file)
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let mut pooler = Self {
            child,
            port,
            _directory: directory,
        };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let has_ended = pooler.child.try_wait().unwrap().is_some();
            if has_ended || started.elapsed() > START_LIMIT {
                let mut said = String::new();
                pooler.child.kill().unwrap();
                let stderr = pooler.child.stderr.as_mut().unwrap();
                stderr.read_to_string(&mut said).unwrap();
                panic!("pgbouncer does not start: {said}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        pooler
    }

    /// The way to a database of the server through the pooler.
    #[must_use]
    pub fn way_to(&self, database: &str) -> Url {
        let mut url = Url::parse(database).unwrap();
        url.set_port(Some(self.port)).unwrap();
        url
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory| directory.join("pgbouncer"))
        .find(|program| program.is_file())
        .expect(
            "this test needs pgbouncer, which is not installed; `make test` installs it where it \
             may (Debian: `apt-get install pgbouncer`)",
        )
}
