//! What commands have to do with databases and hosts.

use std::time::Duration;

use super::{Context, watching};
use crate::configuration::{InvalidConfiguration, Limits};
use crate::operations::{Operations, Patience};

/// Operations on the registry of the read models, for commands that do not wait.
/// They create nothing, wherever a mistyped URL leads.
pub(super) async fn operations(context: &Context) -> anyhow::Result<Operations> {
    patient_operations(context, Patience::none()).await
}

/// The same for commands that wait: what is out of reach is waited for.
pub(super) async fn patient_operations(
    context: &Context,
    patience: Patience,
) -> anyhow::Result<Operations> {
    Ok(Operations::open(context.configuration()?, patience).await?)
}

/// The patience of a command that waits until something has happened; it shows
/// how far that is.
pub(super) fn patience(limit: Option<Duration>) -> Patience {
    Patience::new(limit).watched_by(watching::watcher())
}

/// The same, where waiting was not asked for.
pub(super) fn patience_if(waits: bool, limit: Option<Duration>) -> Patience {
    if waits {
        patience(limit)
    } else {
        Patience::none()
    }
}

/// The limits under which modules are loaded: the configured ones, or the usual
/// ones where there is no configuration, as in the folder of an author.
pub(super) fn loading_limits(context: &Context) -> anyhow::Result<Limits> {
    match context.configuration() {
        Ok(configuration) => Ok(configuration.limits_of_loading()),
        Err(error) => match error.downcast_ref() {
            Some(InvalidConfiguration::Missing { .. }) => Ok(Limits::default()),
            _ => Err(error),
        },
    }
}
