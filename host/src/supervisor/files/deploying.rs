//! Deploying the files that are loaded, several at a time: a directory may hold
//! hundreds, and each is some transactions of the registry.

use std::collections::BTreeSet;
use std::time::SystemTime;

use futures_util::stream::{self, StreamExt as _};

use super::{Files, LoadedFile, PATIENCE_WITH_OTHERS, Stage, Watched};
use crate::deployment::{DeployError, deploy};
use crate::generation::{Goal, Module, ModuleHash};
use crate::registry::Registry;
use crate::storage_error::{StorageError, StorageErrorKind, in_time};
use crate::supervisor::refusal::Refusal;

/// How many are deployed at a time: one that makes a generation has the registry
/// to itself, and what comes before and after it takes as long.
const DEPLOYED_AT_ONCE: usize = 8;

/// What became of deploying a file.
enum Deployment {
    /// The registry has this module of it.
    Done(ModuleHash),
    /// It was deployed before.
    Known(News),
    /// Another file holds a projection of the same name.
    SameName(Refusal),
    /// It is not deployed.
    Refused(Refusal),
    /// The registry was out of reach.
    Later,
}

/// When a file was written.
struct Written {
    at: SystemTime,
    under_this_host: bool,
}

/// What a file tells whose bytes were deployed before.
enum News {
    /// Nothing: its projection is there.
    Deployed,
    /// Nothing: its projection was dropped, and the file has only stayed.
    Dropped,
    /// It was written after its projection was dropped.
    PutBack,
}

async fn is_news(
    registry: &dyn Registry,
    projection: &str,
    written: Written,
) -> Result<News, StorageError> {
    let dropped = in_time(registry.dropped_at(projection)).await?;
    let at = written.at.duration_since(SystemTime::UNIX_EPOCH);
    let at = at.unwrap_or_default().as_micros();
    let is_later = dropped
        .and_then(|dropped| u128::try_from(dropped).ok())
        .is_some_and(|dropped| at > dropped);
    Ok(if written.under_this_host || is_later {
        News::PutBack
    } else {
        News::Dropped
    })
}

impl Files {
    /// Deploys what is loaded. Says whether something has to be looked at
    /// again soon.
    pub(super) async fn deploy_loaded(&mut self) -> bool {
        let others_are_coming = self
            .files
            .values()
            .any(|watched| matches!(watched.stage, Stage::Settling | Stage::Loading));
        let mut is_waiting = false;
        let mut ready = Vec::new();
        for (name, watched) in &self.files {
            match &watched.stage {
                Stage::Loaded(loaded)
                    if others_are_coming && loaded.since.elapsed() < PATIENCE_WITH_OTHERS =>
                {
                    is_waiting = true;
                }
                Stage::Loaded(loaded) => ready.push((name.clone(), watched, &**loaded)),
                _ => {}
            }
        }
        let projections = match self.projections_where_asked(&ready).await {
            Ok(projections) => projections,
            Err(error) => {
                tracing::debug!("the files are looked at later: {error}");
                return true;
            }
        };
        let mut deploying = Vec::with_capacity(ready.len());
        for (name, watched, loaded) in ready {
            deploying.push(self.deploy(name, watched, loaded, &projections));
        }
        let deployments: Vec<(String, Deployment)> = stream::iter(deploying)
            .buffered(DEPLOYED_AT_ONCE)
            .collect()
            .await;
        let has_deployed = deployments
            .iter()
            .any(|(_, deployment)| matches!(deployment, Deployment::Done(_)));
        for (name, deployment) in deployments {
            is_waiting |= !self.settle(&name, deployment);
        }
        if has_deployed && let Err(error) = self.shared.controls.refresh().await {
            tracing::debug!("the controls were not read: {error}");
        }
        is_waiting
    }

    /// The projections of the registry, where a file is known and it has to be
    /// looked whether its projection is still there.
    async fn projections_where_asked(
        &self,
        ready: &[(String, &Watched, &LoadedFile)],
    ) -> Result<BTreeSet<String>, StorageError> {
        if !ready.iter().any(|(_, _, loaded)| loaded.is_known) {
            return Ok(BTreeSet::new());
        }
        let generations = in_time(self.shared.parts.storage.registry.generations()).await?;
        let names = generations
            .into_iter()
            .map(|generation| generation.projection);
        Ok(names.collect())
    }

    /// Deploys a loaded file, unless it brings nothing new.
    async fn deploy(
        &self,
        name: String,
        watched: &Watched,
        loaded: &LoadedFile,
        projections: &BTreeSet<String>,
    ) -> (String, Deployment) {
        let deployment = self.try_deploy(&name, watched, loaded, projections).await;
        (name, deployment)
    }

    async fn try_deploy(
        &self,
        name: &str,
        watched: &Watched,
        loaded: &LoadedFile,
        projections: &BTreeSet<String>,
    ) -> Deployment {
        let place = self.place(name);
        let file = self.path(name);
        let description = loaded.guest.description();
        let registry = &*self.shared.parts.storage.registry;
        if loaded.is_known {
            let written = Written {
                at: watched.fingerprint.modified,
                under_this_host: watched.is_rewritten,
            };
            if projections.contains(&description.name) {
                return Deployment::Known(News::Deployed);
            }
            return match is_news(registry, &description.name, written).await {
                Ok(news) => Deployment::Known(news),
                Err(error) => {
                    tracing::debug!("{place} is looked at later: {error}");
                    Deployment::Later
                }
            };
        }
        if let Some(other) = self.other_of_this_name(name) {
            return Deployment::SameName(Refusal::SameName {
                name: description.name.clone(),
                first: self.directory.join(other),
                second: file,
            });
        }
        let module = Module {
            hash: loaded.guest.hash().clone(),
            bytes: loaded.bytes.clone(),
            description: (**description).clone(),
        };
        let start = self.shared.parts.source.start();
        let refusal = match deploy(registry, &module, &start, Goal::Promote).await {
            Ok(deployed) => {
                tracing::debug!("{place}: {deployed:?}");
                if let Err(error) = in_time(registry.note_file(name, &module.hash)).await {
                    // It will be news after a restart, and do nothing then.
                    tracing::debug!("{place} was not noted: {error}");
                }
                return Deployment::Done(module.hash);
            }
            Err(DeployError::Refused(reason)) => Refusal::Deployment {
                file,
                projection: module.description.name.clone(),
                reason,
            },
            Err(DeployError::Target(reason)) if reason.kind() == StorageErrorKind::Retry => {
                tracing::debug!("{place} is deployed later: {reason}");
                return Deployment::Later;
            }
            Err(DeployError::Target(reason)) => Refusal::Target {
                file,
                projection: module.description.name.clone(),
                reason,
            },
        };
        Deployment::Refused(refusal)
    }

    /// Takes in what became of deploying a file; says whether that is settled, one
    /// way or the other.
    fn settle(&mut self, name: &str, deployment: Deployment) -> bool {
        let place = self.place(name);
        let Some(watched) = self.files.get_mut(name) else {
            return true;
        };
        let shared = &self.shared;
        match deployment {
            Deployment::Later => return false,
            Deployment::Known(News::PutBack) => {
                shared.leftovers.remove(&place);
                watched.deployed = None;
                if let Stage::Loaded(loaded) = &mut watched.stage {
                    loaded.is_known = false;
                }
                // It is news like any other.
                return false;
            }
            // It stays loaded: the other one may go.
            Deployment::SameName(refusal) => {
                shared.refusals.add(place, &refusal);
                return true;
            }
            Deployment::Known(News::Deployed) => {
                shared.leftovers.remove(&place);
                shared.refusals.remove(&place);
            }
            Deployment::Known(News::Dropped) => {
                let projection = watched.projection.as_deref().unwrap_or_default();
                let sentence = format!(
                    "{place} is not deployed, as `{projection}` was dropped after it was written; \
                     `gnomon deploy {place}` builds it again, and so does writing the file anew"
                );
                shared.leftovers.add(place.clone(), sentence);
                shared.refusals.remove(&place);
            }
            Deployment::Refused(refusal) => shared.refusals.add(place, &refusal),
            Deployment::Done(module) => {
                shared.refusals.remove(&place);
                watched.deployed = Some(module);
            }
        }
        watched.stage = Stage::Done;
        true
    }
}
