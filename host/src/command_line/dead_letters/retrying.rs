//! `gnomon dead-letters retry`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::json;

use super::super::waiting::{Own, POLL};
use super::super::{Context, output};
use super::{order_advice, shown};
use crate::generation::Generation;
use crate::target::Target;

/// How long a command waits for its request to be carried out.
const REQUEST_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Applies them again, with the code of today
///
/// A stream whose event fails again goes on waiting from there. What waited is
/// applied behind later events of other streams, out of the global order; where
/// a projection brings streams together its rows may then differ from those of
/// a rebuild. `gnomon rebuild` gives the order back.
#[derive(Debug, clap::Args)]
pub(in super::super) struct Retry {
    /// The projection
    name: String,
    /// Only the events of this stream
    #[arg(long, value_name = "S")]
    stream: Option<String>,
}

impl Retry {
    pub(super) async fn run(
        self,
        context: &Context,
        target: &dyn Target,
    ) -> anyhow::Result<ExitCode> {
        let name = &self.name;
        let own = Own::read(target, name).await?;
        let before = shown(&own, name)?;
        target
            .request_retry(before.id, self.stream.as_deref())
            .await?;
        let is_done = wait_until(target, name, async |_| {
            let controls = target.controls().await?;
            let waits = controls
                .iter()
                .any(|control| control.projection == *name && control.requests > 0);
            Ok(!waits)
        })
        .await?;
        let own = Own::read(target, name).await?;
        let after = shown(&own, name)?;
        let late = late_since(before, after);
        let mut stdout = output::stdout();
        if context.json {
            let shown = json!({
                "name": name,
                "action": "retry",
                "stream": self.stream,
                "done": is_done,
                "dead_letters": after.dead_letters,
                "applied_late": late,
            });
            writeln!(stdout, "{shown}")?;
            return Ok(ExitCode::SUCCESS);
        }
        if !is_done {
            writeln!(
                stdout,
                "{name}: recorded; the host that runs the projection will do it"
            )?;
            return Ok(ExitCode::SUCCESS);
        }
        writeln!(
            stdout,
            "{name}: {} of {} dead letters still wait",
            after.dead_letters, before.dead_letters
        )?;
        if late > 0 {
            writeln!(stdout, "{name}: {}", order_advice(name, late))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// How many events were applied late meanwhile.
pub(super) fn late_since(before: &Generation, after: &Generation) -> u64 {
    let earlier = match before.id == after.id {
        true => before.applied_late,
        false => 0,
    };
    after.applied_late.saturating_sub(earlier)
}

/// Waits until the hosts of a projection have done something; says whether they
/// have. Where it has no host there is nobody to wait for.
pub(super) async fn wait_until(
    target: &dyn Target,
    name: &str,
    is_done: impl AsyncFn(&Own) -> anyhow::Result<bool>,
) -> anyhow::Result<bool> {
    let started = Instant::now();
    loop {
        let own = Own::read(target, name).await?;
        if is_done(&own).await? {
            return Ok(true);
        }
        let has_host = own.all.iter().any(|generation| generation.host.is_some());
        if !has_host || started.elapsed() >= REQUEST_TIME_LIMIT {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}
