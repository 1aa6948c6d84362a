//! A directory with a configuration, and commands run there.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Database, Host, READ_MODELS, System};

/// No command of a test takes longer, unless it hangs.
const COMMAND_TIME_LIMIT: Duration = Duration::from_secs(180);

/// How often a status is looked at.
const STATUS_POLL: Duration = Duration::from_millis(50);

/// What a user has: a `gnomon.toml`, a directory of modules, two databases.
pub struct Installation {
    directory: TempDir,
    /// Where the events are.
    pub events: Arc<Database>,
    /// Where the read models are; it may be the same.
    pub read_models: Arc<Database>,
    variables: Vec<(String, String)>,
    outputs: AtomicU32,
}

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Its results.
    pub stdout: String,
    /// What else it said.
    pub stderr: String,
    /// The most memory that it had while somebody looked, in bytes.
    pub memory: u64,
}

impl Installation {
    /// One on these databases, without projections.
    #[must_use]
    pub fn on(events: Arc<Database>, read_models: Arc<Database>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("projections")).unwrap();
        let configuration = format!(
            "[events]\nurl = '{}'\n[read-models]\nurl = '{}'\n",
            events.url(),
            read_models.url()
        );
        fs::write(directory.path().join("gnomon.toml"), configuration).unwrap();
        // A host reads its event store and never makes it.
        events.make_event_store();
        Self {
            directory,
            events,
            read_models,
            variables: Vec::new(),
            outputs: AtomicU32::new(0),
        }
    }

    /// One with a new database for each side.
    #[must_use]
    pub fn new(events: System, read_models: System) -> Self {
        Self::on(
            Arc::new(Database::new(events)),
            Arc::new(Database::new(read_models)),
        )
    }

    /// One with events and read models in one new database.
    #[must_use]
    pub fn in_one_database(system: System) -> Self {
        let database = Arc::new(Database::new(system));
        Self::on(Arc::clone(&database), database)
    }

    /// With the three example projections.
    #[must_use]
    pub fn with_examples(self) -> Self {
        ["order-summary", "customer-value", "daily-revenue"]
            .into_iter()
            .fold(self, Self::with_example)
    }

    /// With one of the example projections, by its folder's name.
    #[must_use]
    pub fn with_example(self, folder: &str) -> Self {
        self.with_module(&format!("{folder}.wasm"), &example(folder))
    }

    /// With a module of `tests/guests`.
    #[must_use]
    pub fn with_guest(self, name: &str) -> Self {
        self.put_module("guest.wasm", &guest(name));
        self
    }

    /// Puts a module into the directory, in the place of one of this name.
    pub fn put_module(&self, name: &str, bytes: &[u8]) {
        fs::write(self.directory.path().join("projections").join(name), bytes).unwrap();
    }

    /// With more lines in its `gnomon.toml`.
    #[must_use]
    pub fn with_configuration(self, lines: &str) -> Self {
        let path = self.path("gnomon.toml");
        let configuration = fs::read_to_string(&path).unwrap();
        fs::write(path, format!("{configuration}{lines}\n")).unwrap();
        self
    }

    /// With a module of these bytes.
    #[must_use]
    pub fn with_module(self, name: &str, bytes: &[u8]) -> Self {
        self.put_module(name, bytes);
        self
    }

    /// With a key of the configuration in the environment.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: impl ToString) -> Self {
        self.variables.push((name.to_owned(), value.to_string()));
        self
    }

    /// A file in its directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A command, not yet started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        for (name, _) in std::env::vars_os() {
            if name
                .to_str()
                .is_some_and(|name| name.starts_with("GNOMON_"))
            {
                command.env_remove(name);
            }
        }
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            // Compiled code, once for all tests.
            .env("XDG_CACHE_HOME", binary().with_file_name("test-cache"))
            .stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    ///
    /// # Panics
    /// When it hangs.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        self.run_command(self.command(arguments))
    }

    /// Runs a command of this installation to its end.
    ///
    /// # Panics
    /// When it hangs.
    pub fn run_command(&self, command: Command) -> Finished {
        let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let mut child = self.start(command);
        let started = Instant::now();
        while child.0.try_wait().unwrap().is_none() {
            child.measure();
            if started.elapsed() > COMMAND_TIME_LIMIT {
                child.0.kill().unwrap();
                panic!("gnomon {arguments:?} hangs: {:?}", child.finish());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        child.finish()
    }

    /// Runs a command that must succeed, and gives its results.
    ///
    /// # Panics
    /// When it fails.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let finished = self.run(arguments);
        assert_eq!(finished.code, Some(0), "gnomon {arguments:?}: {finished:?}");
        finished.stdout
    }

    /// Runs a command that must fail with exit code 1, saying all of this.
    ///
    /// # Panics
    /// When it succeeds, or says something else.
    pub fn fail(&self, arguments: &[&str], said: &[&str]) -> String {
        let finished = self.run(arguments);
        assert_eq!(finished.code, Some(1), "gnomon {arguments:?}: {finished:?}");
        for fragment in said {
            assert!(
                finished.stderr.contains(fragment),
                "gnomon {arguments:?} does not say `{fragment}`:\n{}",
                finished.stderr
            );
        }
        finished.stderr
    }

    /// The JSON values that a command prints, one a line.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    pub fn json_lines(&self, arguments: &[&str]) -> Vec<Value> {
        let stdout = self.succeed(&[arguments, &["--json"]].concat());
        stdout
            .lines()
            .map(|line| {
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
            })
            .collect()
    }

    /// The one JSON value that a command prints.
    ///
    /// # Panics
    /// When it fails, or prints something else.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut values = self.json_lines(arguments);
        assert_eq!(values.len(), 1, "gnomon {arguments:?}: {values:?}");
        values.remove(0)
    }

    /// Appends one event.
    pub fn append(&self, stream: &str, event_type: &str, data: &Value) -> Value {
        let data = data.to_string();
        self.json(&[
            "append", "--stream", stream, "--type", event_type, "--data", &data,
        ])
    }

    /// Starts the host.
    #[must_use]
    pub fn start_host(&self) -> Host {
        Host::new(self.spawn(&["run"]))
    }

    /// Starts another command that goes on until it is killed.
    #[must_use]
    pub fn start_command(&self, arguments: &[&str]) -> Host {
        Host::new(self.spawn(arguments))
    }

    /// Starts a host that reaches the databases in another way.
    #[must_use]
    pub fn start_host_with(&self, events: &str, read_models: &str) -> Host {
        let mut command = self.command(&["run"]);
        command
            .env("GNOMON_EVENTS_URL", events)
            .env("GNOMON_READ_MODELS_URL", read_models);
        Host::new(self.start(command))
    }

    /// Starts a host in whose way a program stands: `prefix` and then the
    /// host's own command line are what runs.
    #[must_use]
    pub fn start_host_under(&self, prefix: &[&str]) -> Host {
        let host = self.command(&["run"]);
        let mut command = Command::new(prefix[0]);
        command
            .args(&prefix[1..])
            .arg(host.get_program())
            .args(host.get_args());
        command
            .current_dir(self.directory.path())
            .stdin(Stdio::null());
        for (name, value) in host.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Host::new(self.start(command))
    }

    /// The status of a projection.
    #[must_use]
    pub fn status(&self, projection: &str) -> Value {
        self.json(&["status", projection])
    }

    /// Waits until the status of a projection is as it should be, and gives it.
    ///
    /// # Panics
    /// When that takes longer than `limit`.
    pub fn wait_for_status(
        &self,
        projection: &str,
        limit: Duration,
        is_right: impl Fn(&Value) -> bool,
    ) -> Value {
        let started = Instant::now();
        loop {
            // A new host may not have deployed it yet.
            let found = self.run(&["status", projection, "--json"]);
            let status = serde_json::from_str(&found.stdout).unwrap_or_default();
            if is_right(&status) {
                return status;
            }
            assert!(
                started.elapsed() < limit,
                "after {limit:?} the status is still {status}"
            );
            std::thread::sleep(STATUS_POLL);
        }
    }

    /// Waits until a read model holds the event at this position.
    pub fn wait_for(&self, projection: &str, position: i64) {
        let position = position.to_string();
        self.succeed(&[
            "wait",
            projection,
            "--position",
            &position,
            "--timeout",
            "60s",
        ]);
    }

    /// The position of the last event.
    #[must_use]
    pub fn head(&self) -> i64 {
        self.events
            .number("SELECT coalesce(max(global_position), 0) FROM events")
    }

    /// Panics where one of the read models is not what the events ask for.
    pub fn assert_rows_are_right(&self, when: &str) {
        for read_model in READ_MODELS {
            read_model.assert_right(&self.events, &self.read_models, when);
        }
    }

    /// Starts a command whose output goes to files, so that it never waits for
    /// somebody to read it.
    pub(super) fn spawn(&self, arguments: &[&str]) -> Running {
        self.start(self.command(arguments))
    }

    fn start(&self, mut command: Command) -> Running {
        let number = self.outputs.fetch_add(1, Ordering::Relaxed);
        let output = |name: &str| self.path(&format!("{name}.{number}"));
        let (stdout, stderr) = (output("stdout"), output("stderr"));
        let child = command
            .stdout(File::create(&stdout).unwrap())
            .stderr(File::create(&stderr).unwrap())
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "{}: {error}; `make test` builds the binary",
                    binary().display()
                )
            });
        Running(child, stdout, stderr, 0)
    }
}

/// A process, where its output goes, and the most memory that it had.
pub(super) struct Running(pub(super) Child, PathBuf, PathBuf, u64);

impl Running {
    /// Looks at the process's memory; the system remembers the most.
    pub(super) fn measure(&mut self) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id()));
        let kilobytes = status.ok().and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        self.3 = self.3.max(kilobytes.unwrap_or(0) * 1024);
    }

    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.2).unwrap()).into_owned()
    }

    pub(super) fn finish(&mut self) -> Finished {
        let status = self.0.wait().unwrap();
        let read = |file: &Path| String::from_utf8_lossy(&fs::read(file).unwrap()).into_owned();
        Finished {
            code: status.code(),
            stdout: read(&self.1),
            stderr: read(&self.2),
            memory: self.3,
        }
    }
}

/// `target/<profile>`, in which the test executable is.
fn profile_directory() -> PathBuf {
    let executable = std::env::current_exe().unwrap();
    executable.ancestors().nth(2).unwrap().to_owned()
}

pub(super) fn binary() -> PathBuf {
    std::env::var_os("GNOMON_TEST_BINARY")
        .map_or_else(|| profile_directory().join("gnomon"), PathBuf::from)
}

/// Where a module of `tests/guests` is, if it was built.
fn guest_file(name: &str) -> PathBuf {
    let directory = std::env::var_os("GNOMON_TEST_GUESTS").map_or_else(
        || profile_directory().with_file_name("tests").join("guests"),
        PathBuf::from,
    );
    directory.join(name).with_extension("wasm")
}

/// Whether a module of `tests/guests` was built.
#[must_use]
pub fn has_guest(name: &str) -> bool {
    guest_file(name).is_file()
}

/// The bytes of a module of `tests/guests`.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn guest(name: &str) -> Vec<u8> {
    let file = guest_file(name);
    fs::read(&file).unwrap_or_else(|error| {
        panic!("{}: {error}; `make test` builds the guests", file.display())
    })
}

/// The bytes of an example projection.
///
/// # Panics
/// When it was not built.
#[must_use]
pub fn example(folder: &str) -> Vec<u8> {
    let directory = std::env::var_os("GNOMON_TEST_PROJECTIONS").map_or_else(
        || profile_directory().with_file_name("projections"),
        PathBuf::from,
    );
    let file = directory.join(folder).with_extension("wasm");
    fs::read(&file).unwrap_or_else(|error| {
        panic!(
            "{}: {error}; `make test` builds the modules",
            file.display()
        )
    })
}
