//! The frontier of a PostgreSQL table: how far its events are final.
//!
//! A sequence hands out positions before their transactions commit, so a
//! reader may see 7 before 6. The task here waits for writers, never for
//! clocks:
//!
//! 1. It reads the last number that the sequence has handed out: the head.
//! 2. In a later statement it reads who holds a `RowExclusiveLock` on the
//!    sequence or the table. `nextval` takes that lock on the sequence, and
//!    its transaction keeps it to its end, so whoever may still commit a
//!    position up to the head is among them.
//! 3. When all of those have ended, what can be seen up to the head is all
//!    that will ever be there.
//!
//! Rows that follow on the frontier without a hole are final in any case.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};

use super::definition::{Newest, changed};
use super::pace::rest;
use super::rolled_back::RolledBack;
use super::session::{Patience, Session};
use crate::database_url::PostgresUrl;
use crate::silence::Silence;
use crate::source::{Frontier, SourceError, SourceErrorKind};
use crate::telemetry::chain;

/// How long to wait before connecting again, at first and at most.
const BACKOFF: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Somebody who waits for a fresh look.
pub(super) struct Request {
    pub(super) answer: oneshot::Sender<Result<Frontier, SourceError>>,
    /// Whether what is known of the table seems to be wrong.
    pub(super) doubts: bool,
}

/// Looks once, and goes on looking until the last receiver is gone.
pub(super) async fn watch(
    url: PostgresUrl,
    requests: mpsc::Receiver<Request>,
    silence: Arc<Silence>,
) -> Result<(watch::Receiver<Frontier>, Arc<Newest>), SourceError> {
    let mut patience = Patience::new(Arc::clone(&silence));
    let (session, first) = loop {
        let mut session = Session::open(&url).await?;
        let looked = session.first_look(&mut patience).await;
        if looked.is_ok() || !(patience.is_growing() || session.is_outdated()) {
            break (session, looked?);
        }
    };
    let newest = Newest::new(&url, &silence, session.layout().clone())?;
    let (sender, receiver) = watch::channel(first);
    let task = Task {
        url,
        newest: Arc::clone(&newest),
        sender,
        requests,
        pending: Vec::new(),
        rolled_back: RolledBack::default(),
        patience,
    };
    tokio::spawn(task.run(session));
    Ok((receiver, newest))
}

struct Task {
    url: PostgresUrl,
    newest: Arc<Newest>,
    sender: watch::Sender<Frontier>,
    requests: mpsc::Receiver<Request>,
    pending: Vec<Request>,
    rolled_back: RolledBack,
    patience: Patience,
}

/// Why the task woke up.
enum Wake {
    Look,
    LostConnection(SourceError),
    Closed,
}

impl Task {
    async fn run(mut self, mut session: Session) {
        loop {
            let error = match self.watch(&mut session).await {
                Ok(()) => return,
                Err(error) => error,
            };
            // Transactions that end while nobody looks cannot be told from
            // those of a server that was started anew: begin afresh.
            let has_doubts = self.pending.iter().any(|request| request.doubts);
            let is_outdated = session.is_outdated() || has_doubts;
            drop(session);
            session = match self.reconnect(error, is_outdated).await {
                Some(session) => session,
                None => return,
            };
        }
    }

    /// Looks again and again; comes back when the connection is lost, or with
    /// `Ok` when nobody listens any more.
    async fn watch(&mut self, session: &mut Session) -> Result<(), SourceError> {
        loop {
            while let Ok(request) = self.requests.try_recv() {
                self.pending.push(request);
            }
            if self.pending.iter().any(|request| request.doubts) {
                return Err(changed(&self.url));
            }
            let safe = self.sender.borrow().safe;
            let explain = !self.pending.is_empty();
            let frontier = session
                .look(safe, &mut self.rolled_back, explain, &mut self.patience)
                .await?;
            self.publish(&frontier);
            for request in self.pending.drain(..) {
                // Whoever asked may have gone away.
                let _ = request.answer.send(Ok(frontier.clone()));
            }
            // After the news, which must not wait for it.
            session
                .count_rolled_back(&mut self.rolled_back, &mut self.patience)
                .await?;
            match self.wait(session).await {
                Wake::Look => {}
                Wake::LostConnection(error) => return Err(error),
                Wake::Closed => return Ok(()),
            }
        }
    }

    async fn wait(&mut self, session: &mut Session) -> Wake {
        let interval = session.interval();
        tokio::select! {
            () = self.sender.closed() => Wake::Closed,
            request = self.requests.recv() => match request {
                Some(request) => {
                    self.pending.push(request);
                    Wake::Look
                }
                // The source is gone; receivers may still be there.
                None => tokio::select! {
                    () = self.sender.closed() => Wake::Closed,
                    () = rest(interval) => Wake::Look,
                },
            },
            woken = session.woken() => match woken {
                Ok(()) => Wake::Look,
                Err(error) => Wake::LostConnection(error),
            },
            () = rest(interval) => Wake::Look,
        }
    }

    fn publish(&self, new: &Frontier) {
        self.sender.send_if_modified(|frontier| {
            let news = frontier != new;
            if news {
                frontier.clone_from(new);
            }
            news
        });
    }

    /// Connects, and takes note of the table's columns before anything is
    /// believed that was written into them.
    async fn open(&mut self) -> Result<Session, SourceError> {
        let session = Session::open(&self.url).await?;
        let layout = session.layout();
        let mut is_doubted = false;
        for request in &mut self.pending {
            is_doubted |= std::mem::take(&mut request.doubts);
        }
        if is_doubted || *layout != *self.newest.get().layout {
            self.newest.set(layout.clone())?;
        }
        Ok(session)
    }

    /// Connects again, for as long as somebody listens.
    async fn reconnect(&mut self, error: SourceError, is_outdated: bool) -> Option<Session> {
        let mut error = error;
        if is_outdated {
            tracing::info!("{}: looking at it again", chain(&error));
            match self.open().await {
                Ok(session) => return Some(session),
                Err(refused) => error = refused,
            }
        }
        let mut backoff = BACKOFF;
        loop {
            let mut frontier = self.sender.borrow().clone();
            let mut reason = chain(&error);
            if error.kind() == SourceErrorKind::Refused {
                reason += &format!("; it was read up to position {}", frontier.safe);
            }
            tracing::warn!(%reason, "cannot watch the event store, connecting again");
            frontier.out_of_reach = Some(reason.clone());
            self.publish(&frontier);
            for request in self.pending.drain(..) {
                let _ = request
                    .answer
                    .send(Err(SourceError::retry(reason.clone(), Unavailable)));
            }
            let jitter = backoff.mul_f64(rand::random_range(0.5..1.0));
            tokio::select! {
                () = self.sender.closed() => return None,
                () = tokio::time::sleep(jitter) => {}
            }
            while let Ok(request) = self.requests.try_recv() {
                self.pending.push(request);
            }
            match self.open().await {
                Ok(session) => return Some(session),
                Err(again) => error = again,
            }
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }
}

/// The cause of an answer that was asked for while there is no connection; the
/// message says the rest.
#[derive(Debug, thiserror::Error)]
#[error("connecting again")]
struct Unavailable;
