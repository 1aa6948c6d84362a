//! The modules of the watched directory: each file is read when it has come to
//! rest, loaded in the background, and deployed.
//!
//! ```text
//! new or changed ──> Settling ──> Loading ──> Loaded ──> Done
//!                       ↑            │           │      (deployed, known, refused)
//!                       └── changed ─┴───────────┘
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use gnomon_guest::Guest;
use tokio::sync::{mpsc, watch};

use super::Shared;
use super::directory::DirectoryWatch;
use super::loading::load;
use super::refusal::Refusal;
use crate::generation::ModuleHash;
use crate::module_file;
use crate::storage_error::in_time;

mod deploying;

/// A file that has not changed for this long is complete.
const SETTLED_AFTER: Duration = Duration::from_millis(200);
/// How long a file that is loaded waits for others that are still being read:
/// one of them may bear its name.
const PATIENCE_WITH_OTHERS: Duration = Duration::from_secs(1);
/// How long a deployment waits after the database was out of reach.
const RETRY: Duration = Duration::from_millis(500);

/// What the system says of a file, to notice that it is another one.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Fingerprint {
    bytes: u64,
    modified: SystemTime,
    inode: u64,
}

struct Watched {
    fingerprint: Fingerprint,
    since: Instant,
    stage: Stage,
    /// What it held when it was last deployed.
    deployed: Option<ModuleHash>,
    /// The projection that it held last.
    projection: Option<String>,
    /// Whether it was written since this host began to look.
    is_rewritten: bool,
}

enum Stage {
    Settling,
    Loading,
    Loaded(Box<LoadedFile>),
    Done,
}

struct LoadedFile {
    bytes: Vec<u8>,
    guest: Guest,
    since: Instant,
    /// Whether these bytes of this file were deployed before.
    is_known: bool,
}

/// What became of loading a file.
struct Outcome {
    name: String,
    fingerprint: Fingerprint,
    result: Result<Box<LoadedFile>, Refusal>,
}

/// Looks after the directory until the host stops. `has_settled` becomes true
/// when everything that was there at the start has been dealt with.
pub(super) async fn watch(shared: Arc<Shared>, has_settled: watch::Sender<bool>) {
    let directory = shared.parts.configuration.projections_directory.clone();
    let mut changes = DirectoryWatch::start(&directory);
    let (sender, mut outcomes) = mpsc::channel(16);
    let mut files = Files {
        directory,
        files: BTreeMap::new(),
        noted: BTreeMap::new(),
        outcomes: sender,
        shared: Arc::clone(&shared),
        is_first_look: true,
    };
    files.read_notes().await;
    loop {
        files.look();
        files.load_settled();
        let is_waiting = files.deploy_loaded().await;
        if files.are_at_rest() && !has_settled.send_replace(true) {
            files.warn_of_sections().await;
        }
        tokio::select! {
            () = shared.shutdown.begun() => return,
            () = changes.changed() => {}
            Some(outcome) = outcomes.recv() => files.take(outcome),
            () = tokio::time::sleep(SETTLED_AFTER), if files.are_settling() => {}
            () = tokio::time::sleep(RETRY), if is_waiting => {}
        }
    }
}

struct Files {
    directory: PathBuf,
    files: BTreeMap<String, Watched>,
    /// What files held when they were last deployed by a host before this one.
    noted: BTreeMap<String, ModuleHash>,
    outcomes: mpsc::Sender<Outcome>,
    shared: Arc<Shared>,
    is_first_look: bool,
}

impl Files {
    async fn read_notes(&mut self) {
        match in_time(self.shared.parts.storage.registry.noted_files()).await {
            Ok(noted) => self.noted = noted.into_iter().collect(),
            // Deploying what runs already does nothing.
            Err(error) => tracing::debug!("the notes on files were not read: {error}"),
        }
    }

    /// Says which sections of the configuration are of no projection that is
    /// there. One may arrive later, so this is no mistake.
    async fn warn_of_sections(&self) {
        let parts = &self.shared.parts;
        let Ok(generations) = in_time(parts.storage.registry.generations()).await else {
            return;
        };
        let deployed = generations.iter().map(|generation| &generation.projection);
        let in_files = self
            .files
            .values()
            .filter_map(|file| file.projection.as_ref());
        let known: Vec<&str> = deployed.chain(in_files).map(String::as_str).collect();
        for sentence in parts.configuration.sections_of_nobody(&known) {
            tracing::warn!("{sentence}");
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn place(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Takes in what is in the directory now.
    fn look(&mut self) {
        let found = match modules_in(&self.directory) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!("{} cannot be read: {error}", self.directory.display());
                return;
            }
        };
        let gone: Vec<String> = self
            .files
            .keys()
            .filter(|name| !found.contains_key(*name))
            .cloned()
            .collect();
        for name in gone {
            // What it brought stays deployed.
            self.files.remove(&name);
            self.shared.refusals.remove(&self.place(&name));
        }
        for (name, fingerprint) in found {
            match self.files.get_mut(&name) {
                Some(known) if known.fingerprint == fingerprint => {}
                Some(known) => {
                    known.fingerprint = fingerprint;
                    known.since = Instant::now();
                    known.is_rewritten = true;
                    known.stage = Stage::Settling;
                }
                None => {
                    let age = fingerprint.modified.elapsed().unwrap_or_default();
                    // One that was there before the host is not being copied.
                    let rested = if self.is_first_look {
                        age
                    } else {
                        Duration::ZERO
                    };
                    let since = Instant::now().checked_sub(rested.min(SETTLED_AFTER));
                    let watched = Watched {
                        fingerprint,
                        since: since.unwrap_or_else(Instant::now),
                        stage: Stage::Settling,
                        deployed: self.noted.remove(&name),
                        projection: None,
                        is_rewritten: !self.is_first_look,
                    };
                    self.files.insert(name, watched);
                }
            }
        }
        self.is_first_look = false;
    }

    /// Loads, in the background, the files that have come to rest.
    fn load_settled(&mut self) {
        for (name, watched) in &mut self.files {
            if !matches!(watched.stage, Stage::Settling) || watched.since.elapsed() < SETTLED_AFTER
            {
                continue;
            }
            watched.stage = Stage::Loading;
            tokio::spawn(load_file(
                Arc::clone(&self.shared),
                self.directory.join(name),
                name.clone(),
                watched.fingerprint,
                self.outcomes.clone(),
            ));
        }
    }

    /// Takes in what became of loading a file, if it is still the same file.
    fn take(&mut self, outcome: Outcome) {
        let place = self.place(&outcome.name);
        let Some(watched) = self.files.get_mut(&outcome.name) else {
            return;
        };
        if watched.fingerprint != outcome.fingerprint {
            return;
        }
        match outcome.result {
            Ok(mut loaded) => {
                self.shared.guests.add(loaded.guest.clone());
                watched.projection = Some(loaded.guest.description().name.clone());
                loaded.is_known = watched.deployed.as_ref() == Some(loaded.guest.hash());
                watched.stage = Stage::Loaded(loaded);
            }
            Err(refusal) => {
                watched.stage = Stage::Done;
                self.shared.refusals.add(place, &refusal);
            }
        }
    }

    /// Another file that holds a projection of the same name.
    fn other_of_this_name(&self, name: &str) -> Option<String> {
        let projection = self.files.get(name)?.projection.as_ref()?;
        self.files
            .iter()
            .find(|(other, watched)| {
                other.as_str() != name && watched.projection.as_ref() == Some(projection)
            })
            .map(|(other, _)| other.clone())
    }

    fn are_settling(&self) -> bool {
        self.files
            .values()
            .any(|watched| matches!(watched.stage, Stage::Settling))
    }

    /// Whether nothing is left to do that could be done now.
    fn are_at_rest(&self) -> bool {
        self.files
            .iter()
            .all(|(name, watched)| match watched.stage {
                Stage::Done => true,
                Stage::Loaded(_) => self.other_of_this_name(name).is_some(),
                Stage::Settling | Stage::Loading => false,
            })
    }
}

/// Reads and loads a file.
async fn load_file(
    shared: Arc<Shared>,
    file: PathBuf,
    name: String,
    fingerprint: Fingerprint,
    outcomes: mpsc::Sender<Outcome>,
) {
    let path = file.clone();
    let read = tokio::task::spawn_blocking(move || module_file::read(&path)).await;
    let result = match read {
        // The runtime ends.
        Err(_) => return,
        Ok(Err(error)) => Err(Refusal::File(error)),
        Ok(Ok(bytes)) => {
            let (bytes, loaded) = load(&shared.parts, bytes).await;
            match loaded {
                Ok(guest) => Ok(Box::new(LoadedFile {
                    bytes,
                    guest,
                    since: Instant::now(),
                    is_known: false,
                })),
                Err(reason) => Err(Refusal::Module { file, reason }),
            }
        }
    };
    // Nobody listens when the host is stopping.
    let _ = outcomes
        .send(Outcome {
            name,
            fingerprint,
            result,
        })
        .await;
}

/// The `*.wasm` files of a directory. One that vanishes meanwhile, or a link
/// to nowhere, is left out.
fn modules_in(directory: &Path) -> io::Result<BTreeMap<String, Fingerprint>> {
    use std::os::unix::fs::MetadataExt as _;
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if path.extension().is_none_or(|extension| extension != "wasm") {
            continue;
        }
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        let fingerprint = Fingerprint {
            bytes: metadata.len(),
            modified: metadata.modified()?,
            inode: metadata.ino(),
        };
        files.insert(name.to_owned(), fingerprint);
    }
    Ok(files)
}
