//! How it looks on a terminal what an operation tells while it runs.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::{output, progress};
use crate::operations::{Moving, Progress, Watcher};

/// Nothing is drawn about what is over by then.
const DRAWN_AFTER: Duration = Duration::from_secs(1);
/// How often it is said at most why a generation stands still.
const SAY_EVERY: Duration = Duration::from_secs(5);

/// Draws a bar for what is on its way, and says what keeps it.
pub(super) fn watcher() -> Watcher {
    let shown = Mutex::new(Shown::default());
    Watcher::new(move |progress| {
        let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.show(progress);
    })
}

/// What stands on the terminal.
#[derive(Default)]
struct Shown {
    /// Since when something is on its way.
    since: Option<Instant>,
    bar: Option<ProgressBar>,
    /// The last cause that was told, and when.
    said: Option<(String, Instant)>,
}

impl Shown {
    fn show(&mut self, progress: Progress) {
        match progress {
            Progress::Moving(moving) => self.draw(moving),
            Progress::Arrived { .. } => {
                self.since = None;
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
            }
            Progress::NoHost => output::say(
                "no host is running, so nothing happens yet; start one with `gnomon run`",
            ),
            Progress::Undeployed { name, file } => output::say(&format!(
                "there is no projection `{name}` yet; waiting for a host to deploy {file}"
            )),
            Progress::OutOfReach { cause } => output::say(&format!(
                "the database is out of reach, trying again: {cause}"
            )),
        }
    }

    fn draw(&mut self, moving: Moving) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() <= DRAWN_AFTER {
            return;
        }
        self.bar
            .get_or_insert_with(|| progress::bar(&moving.name, moving.goal.get()))
            .set_position(moving.position.get());
        let is_news = |cause: &String| {
            self.said
                .as_ref()
                .is_none_or(|(said, when)| said != cause && when.elapsed() > SAY_EVERY)
        };
        if let Some(cause) = moving.standstill.filter(is_news) {
            output::say(&format!("{}: {cause}", moving.name));
            self.said = Some((cause, Instant::now()));
        }
    }
}
