//! Room for connections on a server that takes no more of them.
//!
//! A role, a database and a server each have a limit, and nobody can ask how
//! much of it is left. So whoever is refused asks the pools of this process for
//! room: what rests is closed, and what is given back is closed instead of lent
//! again. Every pool comes to its turn in this way, however few connections
//! there are for all of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use futures_util::future::BoxFuture;
use sqlx::Error;

/// Closes what a pool has at rest.
pub type Release = Box<dyn Fn() -> BoxFuture<'static, ()> + Send + Sync>;

/// A host, or the directory of a socket, and a port.
pub type Address = (String, u16);

/// What the pools of this process to one server have in common.
#[derive(Default)]
pub struct Room {
    /// Connections that are to be closed for somebody who waits.
    wanted: AtomicUsize,
    /// Whether two connections at a time were seen to have two sessions.
    keeps_apart: AtomicBool,
    pools: Mutex<Vec<Weak<Release>>>,
}

static ROOMS: LazyLock<Mutex<HashMap<Address, Arc<Room>>>> = LazyLock::new(Mutex::default);

impl Room {
    /// The room on the server at this address.
    pub fn at(address: Address) -> Arc<Self> {
        let mut rooms = ROOMS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(rooms.entry(address).or_default())
    }

    /// Whether two connections at a time have two sessions.
    pub fn keeps_sessions_apart(&self) -> bool {
        self.keeps_apart.load(Ordering::Relaxed)
    }

    /// Remembers that they have.
    pub fn sessions_are_kept_apart(&self) {
        self.keeps_apart.store(true, Ordering::Relaxed);
    }

    /// Takes part, as long as the caller keeps the value.
    pub fn join(&self, release: Release) -> Arc<Release> {
        let release = Arc::new(release);
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.retain(|pool| pool.strong_count() > 0);
        pools.push(Arc::downgrade(&release));
        release
    }

    /// Asks for room for one connection.
    pub async fn ask(&self) {
        // One that nobody gives back soon must not be asked for twice.
        self.wanted.store(1, Ordering::Relaxed);
        let pools: Vec<Arc<Release>> = {
            let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.iter().filter_map(Weak::upgrade).collect()
        };
        for release in pools {
            release().await;
        }
    }

    /// Whether a connection that could be lent again is to be closed.
    pub fn takes(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0 && self.wanted.swap(0, Ordering::Relaxed) > 0
    }
}

/// Whether the server takes no more connections.
pub fn is_full(error: &Error) -> bool {
    const TOO_MANY_CONNECTIONS: &str = "53300";
    error
        .as_database_error()
        .and_then(|error| error.code())
        .is_some_and(|state| state == TOO_MANY_CONNECTIONS)
}
