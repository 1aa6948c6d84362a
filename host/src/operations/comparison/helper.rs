//! A host in this process that does what a comparison needs, if no other host is
//! there.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::generation::GenerationId;
use crate::operations::times::{COMPARED_FOR, HELP_LOOK, HOST_STARTS};
use crate::operations::{MayPass as _, OperationError, Operations};
use crate::registry::Registry as _;
use crate::shutdown::Shutdown;
use crate::supervisor::{Parts, Scope, Supervisor};

/// Runs two generations, and nothing else.
pub(super) struct Helper {
    supervisor: Supervisor,
}

impl Helper {
    /// `None` if a host is there.
    pub(super) async fn start_if_needed(
        operations: &Operations,
        generations: &[GenerationId],
    ) -> Result<Option<Self>, OperationError> {
        let started = Instant::now();
        let mut refused_since = None;
        loop {
            if operations.has_host().await? {
                // A host that was killed seems to be there for some seconds, and
                // then nothing would move.
                let known = operations.registry().generations().await?;
                let is_held = known
                    .iter()
                    .any(|known| generations.contains(&known.id) && known.host.is_some());
                if is_held || started.elapsed() > COMPARED_FOR {
                    return Ok(None);
                }
            } else {
                match Self::start(operations, generations).await {
                    Ok(helper) => return Ok(Some(helper)),
                    Err(error) if error.may_pass() => {
                        if !operations.patience().has_another_try(&error).await {
                            return Err(error);
                        }
                    }
                    // Perhaps a host has come in between.
                    Err(error) => {
                        let since = *refused_since.get_or_insert_with(Instant::now);
                        if since.elapsed() > HOST_STARTS {
                            return Err(error);
                        }
                    }
                }
            }
            tokio::time::sleep(HELP_LOOK).await;
        }
    }

    async fn start(
        operations: &Operations,
        generations: &[GenerationId],
    ) -> Result<Self, OperationError> {
        let source = operations.source_once().await?;
        let storage = operations.storage().clone();
        let parts = Parts::new(operations.configuration.clone(), source, storage)?;
        let ours: BTreeSet<GenerationId> = generations.iter().copied().collect();
        let supervisor =
            Supervisor::start(parts, Scope::Generations(ours), Shutdown::default()).await?;
        Ok(Self { supervisor })
    }

    pub(super) async fn stop(helper: Option<Self>) {
        if let Some(helper) = helper {
            helper.supervisor.stop().await;
        }
    }
}
