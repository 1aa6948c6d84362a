//! A loopback TCP proxy before a PostgreSQL server. It cuts, stalls and delays
//! connections, and does so at named points of a commit.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
/// How a client's `COPY` begins.
const COPY: &[u8] = b"COPY ";
/// How a client's `ANALYZE` begins.
const ANALYZE: &[u8] = b"ANALYZE ";
/// A client's `COMMIT` as a message of the simple protocol.
const COMMIT: &[u8] = b"Q\0\0\0\x0bCOMMIT\0";
/// The server's answer to it.
const COMMITTED: &[u8] = b"C\0\0\0\x0bCOMMIT\0";
/// How the text of a commit in one statement begins, which is prepared once on
/// each connection.
const AT_ONCE: &[u8] = b"WITH moved AS (UPDATE gnomon.checkpoints";
/// How the names of prepared statements begin.
const STATEMENT: &[u8] = b"sqlx_s_";
/// The server's answer to such a commit.
const DONE_AT_ONCE: &[u8] = b"C\0\0\0\x0dSELECT 1\0";
const BUFFER_BYTES: usize = 64 * 1024;

/// A point in the life of a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A transaction begins, and the server does not hear it. Nothing is cut
    /// there: from then on the proxy stalls.
    Begin,
    /// The server waits for the rows of a `COPY`.
    Copy,
    /// The server has heard an `ANALYZE`, with which a build ends.
    Analyze,
    /// The client has said `COMMIT`, or sent a commit that is one statement, and
    /// the server does not hear it.
    BeforeCommit,
    /// The server has committed, and the client does not hear it.
    BeforeAcknowledgement,
    /// The client has heard that it is committed.
    AfterAcknowledgement,
}

/// What happens at the point, before the connection meets its fate.
type Action = Box<dyn FnOnce() + Send>;

/// What becomes of a connection at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Both sides see its end.
    Cut,
    /// It is held back, as all others are from then on.
    Stalled,
    /// Neither side hears of the other any more.
    Silent,
}

/// A running proxy; its connections end with it.
pub struct Proxy {
    address: SocketAddr,
    control: Arc<Control>,
    _runtime: Runtime,
}

struct Control {
    weather: watch::Sender<Weather>,
    armed: Mutex<Option<(Point, Fate, Action)>>,
    strikes: watch::Sender<u64>,
    connections: AtomicU64,
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
    /// The connection that was struck last.
    struck: Option<u64>,
    /// A stall holds back all connections but that one.
    spares_struck: bool,
    delay: Duration,
}

impl Weather {
    /// Whether it lets a connection through.
    fn opens(&self, line: &Line) -> bool {
        let is_spared = self.spares_struck && self.struck == Some(line.number);
        (!self.stalls || is_spared) && self.silences == line.born.silences
    }
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
            connections: AtomicU64::new(0),
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
        self.change(|weather| {
            weather.stalls = stalls;
            weather.spares_struck = false;
        });
    }

    /// Holds everything back but the connection that was struck last.
    pub fn stall_all_but_struck(&self) {
        self.change(|weather| {
            weather.stalls = true;
            weather.spares_struck = true;
        });
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
    /// its connection, or stalls.
    pub fn arm(&self, point: Point, action: impl FnOnce() + Send + 'static) {
        let fate = match point {
            Point::Begin => Fate::Stalled,
            _ => Fate::Cut,
        };
        *self.control.armed() = Some((point, fate, Box::new(action)));
    }

    /// Makes the connection of the next transaction silent for good at this
    /// point, and no other one.
    pub fn arm_silence(&self, point: Point) {
        *self.control.armed() = Some((point, Fate::Silent, Box::new(|| {})));
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
    fn armed(&self) -> MutexGuard<'_, Option<(Point, Fate, Action)>> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is to happen at this point.
    fn trigger(&self, point: Point) -> Option<(Fate, Action)> {
        let mut armed = self.armed();
        match &*armed {
            Some((at, ..)) if *at == point => armed.take().map(|(_, fate, action)| (fate, action)),
            _ => None,
        }
    }

    /// Does what was to be done. A silent connection does not come back from
    /// this.
    async fn strike(&self, line: &Line, (fate, action): (Fate, Action)) {
        action();
        if fate == Fate::Silent {
            line.silent.store(true, Ordering::Relaxed);
        }
        self.weather.send_modify(|weather| {
            weather.struck = Some(line.number);
            weather.stalls |= fate == Fate::Stalled;
        });
        self.strikes.send_modify(|strikes| *strikes += 1);
        line.wait_while_silent().await;
    }
}

/// A connection, as both directions know it.
struct Line {
    number: u64,
    /// The weather in which it was made.
    born: Weather,
    silent: AtomicBool,
    at_once: Mutex<AtOnce>,
}

/// What is known of the commits in one statement on a connection.
#[derive(Default)]
struct AtOnce {
    /// The statements that make one.
    statements: Vec<Vec<u8>>,
    /// Whether the client waits for the answer to one.
    is_asked: bool,
}

impl AtOnce {
    /// Whether the client carries one out with these bytes.
    fn is_sent_in(&mut self, bytes: &[u8]) -> bool {
        // Only to prepare a statement its text is sent, and its name before it.
        if let Some(text) = position(bytes, AT_ONCE) {
            let before = &bytes[..text];
            let name = before
                .windows(STATEMENT.len())
                .rposition(|window| window == STATEMENT);
            if let Some(name) = name {
                self.statements.push(before[name..].to_vec());
            }
            return false;
        }
        // To carry one out, it is bound to the portal without a name.
        self.is_asked = (self.statements.iter())
            .any(|name| contains(bytes, &[b"\0", name.as_slice()].concat()));
        self.is_asked
    }

    fn is_answered_in(&mut self, bytes: &[u8]) -> bool {
        let is_answered = self.is_asked && contains(bytes, DONE_AT_ONCE);
        self.is_asked &= !is_answered;
        is_answered
    }
}

impl Line {
    fn at_once(&self) -> MutexGuard<'_, AtOnce> {
        self.at_once.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn wait_while_silent(&self) {
        if self.silent.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
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
    let line = Line {
        number: control.connections.fetch_add(1, Ordering::Relaxed),
        born: *weather.borrow(),
        silent: AtomicBool::new(false),
        at_once: Mutex::default(),
    };
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
        () = pump(from_client, to_server, Way::Up, &line, &control) => {}
        () = pump(from_server, to_client, Way::Down, &line, &control) => {}
        _ = weather.wait_for(|now| now.cuts != line.born.cuts) => {}
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
    line: &Line,
    control: &Control,
) {
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut weather = control.weather.subscribe();
    let opens = |now: &Weather| now.opens(line);
    loop {
        let read = from.read(&mut buffer).await;
        let delay = weather.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        // The end of a connection is something to hear, too.
        line.wait_while_silent().await;
        if weather.wait_for(opens).await.is_err() {
            return;
        }
        let Ok(length @ 1..) = read else {
            return;
        };
        let bytes = &buffer[..length];
        let is_commit = way == Way::Up && line.at_once().is_sent_in(bytes);
        if way == Way::Up
            && (is_commit || contains(bytes, BEGIN))
            && let Some(action) = control.trigger(Point::Begin)
        {
            control.strike(line, action).await;
            if weather.wait_for(opens).await.is_err() {
                return;
            }
        }
        if way == Way::Up
            && (is_commit || contains(bytes, COMMIT))
            && let Some(action) = control.trigger(Point::BeforeCommit)
        {
            return control.strike(line, action).await;
        }
        let is_committed = way == Way::Down
            && (contains(bytes, COMMITTED) || line.at_once().is_answered_in(bytes));
        if is_committed && let Some(action) = control.trigger(Point::BeforeAcknowledgement) {
            return control.strike(line, action).await;
        }
        if to.write_all(bytes).await.is_err() {
            return;
        }
        for (message, point) in [(COPY, Point::Copy), (ANALYZE, Point::Analyze)] {
            if way == Way::Up
                && contains(bytes, message)
                && let Some(action) = control.trigger(point)
            {
                return control.strike(line, action).await;
            }
        }
        if is_committed && let Some(action) = control.trigger(Point::AfterAcknowledgement) {
            return control.strike(line, action).await;
        }
    }
}

fn contains(bytes: &[u8], message: &[u8]) -> bool {
    position(bytes, message).is_some()
}

fn position(bytes: &[u8], message: &[u8]) -> Option<usize> {
    bytes
        .windows(message.len())
        .position(|window| window == message)
}
