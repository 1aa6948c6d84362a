//! Modules on their way into an installation, and what became of them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Installation, Rows, System};

/// How long a test waits for what must happen; only a failed one takes that
/// long.
pub const PATIENCE: Duration = Duration::from_secs(120);

impl Installation {
    /// A file in the directory of modules.
    #[must_use]
    pub fn module_file(&self, name: &str) -> PathBuf {
        self.path("projections").join(name)
    }

    /// Puts a module into the directory at once, as a copy that is renamed.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn swap_module(&self, name: &str, bytes: &[u8]) {
        let beside = self.path(&format!("{name}.new"));
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, self.module_file(name)).unwrap();
    }

    /// Takes a module out of the directory.
    ///
    /// # Panics
    /// When it is not there.
    pub fn take_module_away(&self, name: &str) {
        fs::remove_file(self.module_file(name)).unwrap();
    }

    /// Writes a module to a file that no host watches, and gives its name.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn module_apart(&self, bytes: &[u8]) -> &'static str {
        const NAME: &str = "apart.wasm";
        fs::write(self.path(NAME), bytes).unwrap();
        NAME
    }

    /// What `gnomon deploy` says of a module that it takes.
    pub fn deploy(&self, bytes: &[u8], options: &[&str]) -> Value {
        let file = self.module_apart(bytes);
        self.json(&[&["deploy", file], options].concat())
    }

    /// The hash of a module, as `status` shows it.
    #[must_use]
    pub fn hash_of(&self, bytes: &[u8]) -> Value {
        let file = self.module_apart(bytes);
        self.json(&["inspect", file])["module"].take()
    }

    /// Waits until readers see what this version of a projection writes.
    pub fn wait_until_live(&self, projection: &str, version: u32) -> Value {
        self.wait_for_status(projection, PATIENCE, |status| {
            status["version"] == version && status["generation_state"] == "live"
        })
    }

    /// Waits until a host runs this module.
    pub fn wait_for_module(&self, projection: &str, hash: &Value) -> Value {
        self.wait_for_status(projection, PATIENCE, |status| {
            status["module"] == *hash && status["host"].is_string()
        })
    }

    /// Waits until some file or module is refused with all of these words, and
    /// gives the whole reason.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_for_refusal(&self, said: &[&str]) -> String {
        let started = Instant::now();
        loop {
            let reasons = self.refusals();
            let found = reasons
                .iter()
                .find(|reason| said.iter().all(|fragment| reason.contains(fragment)));
            if let Some(reason) = found {
                return reason.clone();
            }
            assert!(
                started.elapsed() < PATIENCE,
                "nothing is refused with {said:?}: {reasons:?}"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until nothing is refused.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_until_nothing_is_refused(&self) {
        let started = Instant::now();
        while !self.refusals().is_empty() {
            assert!(started.elapsed() < PATIENCE, "{:?}", self.refusals());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Why modules are refused, according to `status`.
    fn refusals(&self) -> Vec<String> {
        // A host that has only been started may not have made the registry yet.
        let found = self.run(&["status", "--json"]);
        let lines = found.stdout.lines();
        let statuses: Vec<Value> = lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        statuses
            .iter()
            .filter_map(|status| status["refused"].as_array())
            .flatten()
            .filter_map(|refused| Some(refused["reason"].as_str()?.to_owned()))
            .collect()
    }

    /// The public name of a table, in SQL.
    #[must_use]
    pub fn public_name(&self, projection: &str, table: &str) -> String {
        match self.read_models.system() {
            System::Sqlite => table.to_owned(),
            System::Postgres => format!("{projection}.{table}"),
        }
    }

    /// The rows that readers of a table see.
    #[must_use]
    pub fn rows_of(&self, projection: &str, table: &str) -> Rows {
        let name = self.public_name(projection, table);
        self.read_models.rows(&format!("SELECT * FROM {name}"))
    }
}
