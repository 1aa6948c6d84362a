//! Files of the projections directory that hosts have not deployed.

use std::path::{Path, PathBuf};

use super::{OperationError, Operations, unknown};
use crate::configuration::Configuration;
use crate::generation::{Generation, ModuleHash};
use crate::registry::{RefusedFile, Registry as _};

/// The files of the projections directory; none where it cannot be read, as
/// that of another machine.
pub(super) fn files(configuration: &Configuration) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(&configuration.projections_directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "wasm")
        })
        // A pipe or a device is no module, and reading it may never end.
        .filter(|path| path.is_file())
}

/// What hosts have made of the projections directory.
pub(super) struct Undeployed {
    /// What the hosts that are there have refused.
    refused: Vec<RefusedFile>,
    /// What those had refused that were there last, if none is.
    last_refused: Vec<RefusedFile>,
    /// A file that no host has dealt with yet.
    new_file: Option<String>,
}

impl Undeployed {
    pub(super) async fn look(operations: &Operations) -> Result<Self, OperationError> {
        let registry = operations.registry();
        let hosts = registry.hosts().await?;
        let last_refused = if hosts.is_empty() {
            let notes = registry.last_notes().await?.into_iter();
            notes.flat_map(|notes| notes.refused).collect()
        } else {
            Vec::new()
        };
        let refused: Vec<RefusedFile> = hosts
            .into_iter()
            .flat_map(|host| host.notes.refused)
            .collect();
        let noted = registry.noted_files().await?;
        let is_refused = |name: &str| {
            refused
                .iter()
                .map(|refused| Path::new(&refused.place))
                .any(|place| place.file_name().is_some_and(|file| file == name))
        };
        let is_dealt_with = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            let (Some(name), Ok(bytes)) = (name, std::fs::read(path)) else {
                return true;
            };
            let hash = ModuleHash::of(&bytes);
            is_refused(name)
                || noted
                    .iter()
                    .any(|(file, known)| file == name && *known == hash)
        };
        let new_file = files(&operations.configuration)
            .find(|path| !is_dealt_with(path))
            .map(|path| path.display().to_string());
        Ok(Self {
            refused,
            last_refused,
            new_file,
        })
    }

    /// The file that may bring a projection that nobody knows, with what the
    /// last host had against it.
    ///
    /// # Errors
    /// When it will not come by itself, with the reason.
    pub(super) fn may_bring(
        &self,
        name: &str,
        known: &[Generation],
    ) -> Result<String, OperationError> {
        if let Some(refused) = refusal_of(name, &self.refused) {
            let reason = &refused.reason;
            let sentence = format!("there is no projection `{name}`: {reason}");
            return Err(OperationError::NotFound(sentence));
        }
        let Some(file) = &self.new_file else {
            let known = known.iter().map(|generation| &*generation.projection);
            return Err(OperationError::NotFound(unknown(name, known)));
        };
        Ok(match refusal_of(name, &self.last_refused) {
            Some(refused) => format!("{file}; the last one did not: {}", refused.reason),
            None => file.clone(),
        })
    }
}

/// What was refused that is this projection, or has its name.
fn refusal_of<'a>(name: &str, refused: &'a [RefusedFile]) -> Option<&'a RefusedFile> {
    refused.iter().find(|refused| {
        let file = Path::new(&refused.place).file_stem();
        let file = file.and_then(|file| file.to_str());
        match &refused.projection {
            Some(projection) => projection == name,
            None => file.is_some_and(|file| file.replace('-', "_") == name),
        }
    })
}
