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
//!
//! What that rests on cannot all be seen beforehand, so the task also watches
//! the store itself ([`guard`](super::guard)) and the holes that it has passed
//! ([`tripwire`](super::tripwire)).

use std::sync::Arc;
use std::time::Duration;

use gnomon_databases::database_url::PostgresUrl;
use gnomon_databases::error_chain::chain;
use gnomon_databases::silence::Silence;
use gnomon_model::Position;
use tokio::sync::{mpsc, oneshot, watch};

use super::definition::{Newest, changed};
use super::guard::{Found, Guard};
use super::pace::rest;
use super::rolled_back::RolledBack;
use super::session::{Patience, Session};
use crate::source::{Alarm, Frontier, History, SourceError, SourceErrorKind};
use crate::table::Layout;

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
    layout: Arc<Layout>,
    requests: mpsc::Receiver<Request>,
    silence: Arc<Silence>,
    history: Arc<History>,
) -> Result<(watch::Receiver<Frontier>, Arc<Newest>), SourceError> {
    let mut patience = Patience::new(Arc::clone(&silence));
    let (session, first) = loop {
        let mut session = Session::open(&url, &layout).await?;
        let looked = session.first_look(&mut patience).await;
        if looked.is_ok() || !(patience.is_growing() || session.is_outdated()) {
            break (session, looked?);
        }
    };
    let newest = Newest::new(&url, &silence, &history, session.columns().clone())?;
    let mut rolled_back = RolledBack::default();
    rolled_back.tripwire.begins_behind(first.safe);
    let (sender, receiver) = watch::channel(first);
    let task = Task {
        url,
        layout,
        newest: Arc::clone(&newest),
        sender,
        requests,
        pending: Vec::new(),
        rolled_back,
        patience,
        guard: Guard::new(Arc::clone(&history)),
        history,
        begins_afresh: false,
    };
    tokio::spawn(task.run(session));
    Ok((receiver, newest))
}

struct Task {
    url: PostgresUrl,
    layout: Arc<Layout>,
    newest: Arc<Newest>,
    sender: watch::Sender<Frontier>,
    requests: mpsc::Receiver<Request>,
    pending: Vec<Request>,
    rolled_back: RolledBack,
    patience: Patience,
    guard: Guard,
    history: Arc<History>,
    /// Whether nothing is known yet of the store: it took another's place.
    begins_afresh: bool,
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
            self.guard.hasten();
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
                return Err(changed(&self.url, &self.layout.table));
            }
            let frontier = match self.look(session).await? {
                Some(frontier) => frontier,
                None => continue,
            };
            self.publish(&frontier);
            // After the news, which must not wait for them. Whoever asked may have
            // seen an event that came to a hole: the alarm is raised before the
            // answer.
            let tripwire = &mut self.rolled_back.tripwire;
            if self.guard.has_news() || !self.pending.is_empty() {
                tripwire.hasten();
            }
            while let Some(late) = session.filled(tripwire, &mut self.patience).await? {
                tracing::error!(
                    "an event was committed at position {}, which had been passed as final: some \
                     writer takes its positions outside of the transaction that inserts the \
                     events, or a store that was set back gets its events again; every projection \
                     that has passed the position without its event halts",
                    late.position
                );
                self.history.raise(Alarm::Late(late));
                tripwire.hasten();
            }
            self.guard.note_news();
            for request in self.pending.drain(..) {
                // Whoever asked may have gone away.
                let _ = request.answer.send(Ok(frontier.clone()));
            }
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

    /// One look; `None` if there has to be another one.
    async fn look(&mut self, session: &mut Session) -> Result<Option<Frontier>, SourceError> {
        let known = self.sender.borrow().clone();
        if self.guard.is_due() {
            match session.guard(&mut self.guard, &mut self.patience).await? {
                Found::OtherStore(event) => {
                    return Err(self.begin_afresh(&format!(
                        "event {} is no longer at position {}",
                        event.id, event.position
                    )));
                }
                Found::BeyondSequence { row, drawn } => {
                    // Another sequence may hand out the positions now.
                    session.compare(known.safe, &mut self.patience).await?;
                    let stopped = session.stopped(&known, row, drawn);
                    if known.waiting_for != stopped.waiting_for
                        && let Some(reason) = &stopped.waiting_for
                    {
                        tracing::error!("{reason}");
                    }
                    self.guard.hasten();
                    return Ok(Some(stopped));
                }
                Found::Well(head) => {
                    let is_asked = !self.pending.is_empty();
                    let is_at_rest = session.is_at_rest(head, known.safe);
                    let has_nothing_to_say =
                        known.out_of_reach.is_none() && known.waiting_for.is_none();
                    if is_at_rest && !is_asked && has_nothing_to_say {
                        return Ok(Some(known));
                    }
                }
            }
        }
        let explain = !self.pending.is_empty();
        let (safe, patience) = (known.safe, &mut self.patience);
        if self.begins_afresh {
            let frontier = session.first_look(patience).await?;
            self.begins_afresh = false;
            self.rolled_back.tripwire.begins_behind(frontier.safe);
            return Ok(Some(frontier));
        }
        let rolled_back = &mut self.rolled_back;
        let frontier = session.look(safe, rolled_back, explain, patience).await?;
        if frontier.head >= safe {
            return Ok(Some(frontier));
        }
        // Either the last event that was shown is gone, or the sequence was set
        // behind rows, both of which the guard finds. Or only numbers are gone
        // that had no event.
        self.guard.hasten();
        match session.guard(&mut self.guard, &mut self.patience).await? {
            Found::Well(head) if head < safe => {
                self.history.raise(Alarm::SetBack);
                Err(self.begin_afresh(&format!(
                    "its positions end at {head}, and position {safe} was read already"
                )))
            }
            Found::OtherStore(event) => Err(self.begin_afresh(&format!(
                "event {} is no longer at position {}",
                event.id, event.position
            ))),
            Found::Well(_) => Ok(None),
            Found::BeyondSequence { row, drawn } => {
                session.compare(safe, &mut self.patience).await?;
                self.guard.hasten();
                Ok(Some(session.stopped(&known, row, drawn)))
            }
        }
    }

    /// Forgets what is known of the store, which is not the one that it was. The
    /// projections decide for themselves what that means for them.
    fn begin_afresh(&mut self, reason: &str) -> SourceError {
        self.begins_afresh = true;
        self.rolled_back.tripwire.clear();
        let mut frontier = self.sender.borrow().clone();
        frontier.safe = Position::START;
        frontier.head = Position::START;
        self.publish(&frontier);
        tracing::error!(
            "the event store is not what it was: {reason}; it was restored, failed over, emptied or \
             exchanged"
        );
        SourceError::retry("the event store is not what it was", reason.to_owned())
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
        let session = Session::open(&self.url, &self.layout).await?;
        let columns = session.columns();
        let mut is_doubted = false;
        for request in &mut self.pending {
            is_doubted |= std::mem::take(&mut request.doubts);
        }
        if is_doubted || *columns != *self.newest.get().columns {
            self.newest.set(columns.clone())?;
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
