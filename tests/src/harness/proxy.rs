//! A loopback TCP proxy before a PostgreSQL server. It cuts, stalls and delays
//! connections, and does so at named points of a commit.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;
use url::Url;

/// A client's `BEGIN`.
const BEGIN: &[u8] = b"Q\0\0\0\x0aBEGIN\0";
/// A client's `COMMIT` as a message of the simple protocol.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// The server's answer to it.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
const BUFFER_BYTES: usize = 64 * 1024;

/// A point in the life of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A transaction begins. The connection is not cut there.
    Begin,
    /// The client has said `COMMIT`, and the server does not hear it.
    BeforeCommit,
    /// The server has committed, and the client does not hear it.
    BeforeAcknowledgement,
    /// The client has heard that it is committed.
    AfterAcknowledgement,
}

/// What happens at the point, before the connection is cut.
type Action = Box<dyn FnOnce() + Send>;

/// A running proxy; its connections end with it.
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    _runtime: Runtime,
}

struct Control {
    weather: watch::Sender<Weather>,
    armed: Mutex<Option<(Point, Action)>>,
    strikes: watch::Sender<u64>,
}

/// How the network is.
#[derive(Clone, Copy, Default)]
struct Weather {
    /// Connections that were made at a lower number are cut.
    cuts: u64,
    /// Connections that were made at a lower number are silent for good.
    silences: u64,
    refuses: bool,
    stalls: bool,
    delay: Duration,
}

impl Proxy {
    /// Starts one before the server of this URL.
    ///
    /// # Panics
    /// When there is no free port.
    #[must_use]
    pub fn before(server: &str) -> Self {
        let server = Url::parse(server).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let upstream = SocketAddr::from(([127, 0, 0, 1], server.port().unwrap()));
        let listener = runtime
            .block_on(TcpListener::bind(("127.0.0.1", 0)))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let control = Arc::new(Control {
            weather: watch::channel(Weather::default()).0,
            armed: Mutex::new(None),
            strikes: watch::channel(0).0,
        });
        runtime.spawn(serve(listener, upstream, Arc::clone(&control)));
        Self {
            address,
            control,
            _runtime: runtime,
        }
    }

    /// A database's URL, through this proxy.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let mut url = Url::parse(database).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.to_string()
    }

    /// Cuts every connection; new ones are let through.
    pub fn cut(&self) {
        self.change(|weather| weather.cuts += 1);
    }

    /// Cuts every connection and every new one, or ceases to.
    pub fn refuse(&self, refuses: bool) {
        self.change(|weather| {
            weather.refuses = refuses;
            weather.cuts += u64::from(refuses);
        });
    }

    /// Holds everything back, or lets it through again.
    pub fn stall(&self, stalls: bool) {
        self.change(|weather| weather.stalls = stalls);
    }

    /// From now on all connections that are open now are silent for good: they
    /// neither end nor bring anything.
    pub fn silence(&self) {
        self.change(|weather| weather.silences += 1);
    }

    /// Lets everything through that much later.
    pub fn delay(&self, delay: Duration) {
        self.change(|weather| weather.delay = delay);
    }

    /// Does something when the next transaction is at this point, and then cuts
    /// its connection.
    pub fn arm(&self, point: Point, action: impl FnOnce() + Send + 'static) {
        *self.control.armed() = Some((point, Box::new(action)));
    }

    /// Forgets what it was armed with; says whether that had not happened yet.
    #[must_use]
    pub fn disarm(&self) -> bool {
        self.control.armed().take().is_some()
    }

    /// How often something was done at a named point.
    #[must_use]
    pub fn strikes(&self) -> u64 {
        *self.control.strikes.borrow()
    }

    fn change(&self, change: impl FnOnce(&mut Weather)) {
        self.control.weather.send_modify(change);
    }
}

impl Control {
    fn armed(&self) -> MutexGuard<'_, Option<(Point, Action)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is to happen at this point.
    fn trigger(&self, point: Point) -> Option<Action> {
        let mut armed = self.armed();
        match &*armed {
            Some((at, _)) if *at == point => armed.take().map(|(_, action)| action),
            _ => None,
        }
    }

    fn strike(&self, action: Action) {
        action();
        self.strikes.send_modify(|strikes| *strikes += 1);
    }
}

async fn serve(listener: TcpListener, upstream: SocketAddr, control: Arc<Control>) {
    loop {
        let Ok((client, _)) = listener.accept().await else {
            continue;
        };
        if control.weather.borrow().refuses {
            continue;
        }
        tokio::spawn(connection(client, upstream, Arc::clone(&control)));
    }
}

async fn connection(client: TcpStream, upstream: SocketAddr, control: Arc<Control>) {
    let mut weather = control.weather.subscribe();
    let born = *weather.borrow();
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    // Small messages go back and forth.
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, Way::Up, born, &control) => {}
        () = pump(from_server, to_client, Way::Down, born, &control) => {}
        _ = weather.wait_for(|now| now.cuts != born.cuts) => {}
    }
}

/// A direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// To the server.
    Up,
    /// To the client.
    Down,
}

/// Copies one direction until it ends or a named point is reached.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: Way,
    born: Weather,
    control: &Control,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let bytes = &buffer[..length];
        let now = *control.weather.borrow();
        if !now.delay.is_zero() {
            tokio::time::sleep(now.delay).await;
        }
        let mut weather = control.weather.subscribe();
        let opens = |now: &Weather| !now.stalls && now.silences == born.silences;
        if weather.wait_for(opens).await.is_err() {
            return;
        }
        if way == Way::Up
            && contains(bytes, BEGIN)
            && let Some(action) = control.trigger(Point::Begin)
        {
            control.strike(action);
        }
        if way == Way::Up
            && contains(bytes, COMMIT)
            && let Some(action) = control.trigger(Point::BeforeCommit)
        {
            return control.strike(action);
        }
        let is_committed = way == Way::Down && contains(bytes, COMMITTED);
        if is_committed && let Some(action) = control.trigger(Point::BeforeAcknowledgement) {
            return control.strike(action);
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
        if is_committed && let Some(action) = control.trigger(Point::AfterAcknowledgement) {
            return control.strike(action);
        }
    }
}

fn contains(bytes: &[u8], message: &[u8]) -> bool {
    bytes.windows(message.len()).any(|window| window == message)
}
