//! Connections to PostgreSQL that fall silent: packets vanish, and neither an
//! answer nor an error ever comes. Nobody can tell that from a slow server, so
//! whoever waits here gives up early, tries again on another connection, and
//! then waits twice as long.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Error};

/// How long an answer is waited for, at first and at most.
const ANSWER_TIME: Duration = Duration::from_secs(2);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(16);
/// How long a connection may take to say that it lives.
const PING_TIME: Duration = Duration::from_secs(2);

/// When a connection of a pool was last found silent.
#[derive(Debug, Default)]
pub struct Silence(Mutex<Option<Instant>>);

impl Silence {
    /// One of the connections is silent. Those that rest at this moment are
    /// likely to be as well, and asking each of them takes long: they are
    /// replaced.
    pub fn notice(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Whether a silence was noticed in the last `time`.
    pub fn was_noticed_in(&self, time: Duration) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_some_and(|noticed| noticed.elapsed() < time)
    }

    /// Whether a connection answers. One that does not is a silence.
    pub async fn is_alive(&self, connection: &mut PgConnection) -> sqlx::Result<bool> {
        if let Ok(answer) = tokio::time::timeout(PING_TIME, connection.ping()).await {
            return answer.map(|()| true);
        }
        self.notice();
        Ok(false)
    }

    /// Carries out what may be done twice, and again where no answer comes.
    pub async fn retry<T, F>(&self, mut ask: impl FnMut() -> F) -> sqlx::Result<T>
    where
        F: Future<Output = sqlx::Result<T>>,
    {
        let mut time = AnswerTime::default();
        loop {
            match time.wait(ask()).await {
                Ok(answer) => return answer,
                Err(silent) if silent.is_final() => return Err(silent.into()),
                Err(_) => self.notice(),
            }
        }
    }
}

/// No answer came within this time.
#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", .0.as_secs())]
pub struct Silent(Duration);

impl Silent {
    /// Whether a longer time makes no sense.
    pub fn is_final(&self) -> bool {
        self.0 >= ANSWER_TIME_MAX
    }
}

impl From<Silent> for Error {
    fn from(silent: Silent) -> Self {
        Self::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, silent))
    }
}

/// How long the next answer is waited for.
#[derive(Debug)]
pub struct AnswerTime(Duration);

impl Default for AnswerTime {
    fn default() -> Self {
        Self(ANSWER_TIME)
    }
}

impl AnswerTime {
    /// Waits for an answer; after one that does not come, twice as long for
    /// the next.
    pub async fn wait<T>(&mut self, answer: impl Future<Output = T>) -> Result<T, Silent> {
        let limit = self.0;
        let answered = tokio::time::timeout(limit, answer).await;
        self.0 = match answered {
            Ok(_) => ANSWER_TIME,
            Err(_) => (limit * 2).min(ANSWER_TIME_MAX),
        };
        answered.map_err(|_| Silent(limit))
    }
}
