//! A proxy before a PostgreSQL server that hangs up: it lets a client through to
//! the server's n-th word that it is ready, and then closes the connection. The
//! client's next write fails with a broken pipe, each time: it is a Unix socket,
//! and the side that reads was closed before that word was passed on.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;
use url::Url;

/// The server's word that it is ready for a query, outside of a transaction, and
/// inside of one.
const READY: [&[u8]; 2] = [b"Z\0\0\0\x05I", b"Z\0\0\0\x05T"];
const PORT: u16 = 5432;

/// A running proxy; its socket vanishes with it.
pub struct HangUp {
    directory: TempDir,
    /// How often the server may say that it is ready.
    words: Arc<AtomicUsize>,
    /// Whether it hangs up on one connection only.
    once: Arc<AtomicBool>,
}

impl HangUp {
    /// Starts one before the server of this URL.
    ///
    /// # Panics
    /// When the system refuses a socket.
    #[must_use]
    pub fn before(server: &str) -> Self {
        let upstream = Url::parse(server).unwrap().port().unwrap();
        let upstream = SocketAddr::from(([127, 0, 0, 1], upstream));
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join(format!(".s.PGSQL.{PORT}"));
        let listener = UnixListener::bind(socket).unwrap();
        let words = Arc::new(AtomicUsize::new(usize::MAX));
        let once = Arc::new(AtomicBool::new(false));
        let (allowed, is_over) = (Arc::clone(&words), Arc::clone(&once));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let words = if is_over.load(Ordering::SeqCst) {
                    allowed.swap(usize::MAX, Ordering::SeqCst)
                } else {
                    allowed.load(Ordering::SeqCst)
                };
                thread::spawn(move || serve(client, upstream, words));
            }
        });
        Self {
            directory,
            words,
            once,
        }
    }

    /// Hangs up at this word of each connection that is made from now on; the
    /// first one is that with which the handshake ends.
    pub fn at_word(&self, word: usize) {
        self.once.store(false, Ordering::SeqCst);
        self.words.store(word, Ordering::SeqCst);
    }

    /// The same for the next connection only.
    pub fn once_at_word(&self, word: usize) {
        self.once.store(true, Ordering::SeqCst);
        self.words.store(word, Ordering::SeqCst);
    }

    /// A database's URL, through this proxy.
    ///
    /// # Panics
    /// When it is not a URL.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let mut url = Url::parse(database).unwrap();
        url.set_host(Some("localhost")).unwrap();
        url.set_port(Some(PORT)).unwrap();
        let directory = self.directory.path().to_str().unwrap();
        url.query_pairs_mut().append_pair("host", directory);
        url.to_string()
    }
}

fn serve(client: UnixStream, upstream: SocketAddr, words: usize) {
    let Ok(server) = TcpStream::connect(upstream) else {
        return;
    };
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    thread::spawn(move || {
        // Whatever ends it, the other side notices it by itself.
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    pass_on(&client, server, words);
    let _ = client.shutdown(Shutdown::Both);
}

/// Passes on what the server says, up to its last word.
fn pass_on(mut client: &UnixStream, mut server: TcpStream, words: usize) {
    let mut said = 0;
    let mut buffer = [0; 64 * 1024];
    let mut rest: Vec<u8> = Vec::new();
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        rest.extend_from_slice(&buffer[..length]);
        let end = whole_messages(&rest);
        let messages: Vec<u8> = rest.drain(..end).collect();
        said += READY
            .iter()
            .map(|word| messages.windows(word.len()).filter(|at| at == word).count())
            .sum::<usize>();
        if said >= words {
            // From here on each write of the client fails.
            let _ = client.shutdown(Shutdown::Read);
        }
        if client.write_all(&messages).is_err() || said >= words {
            let _ = server.shutdown(Shutdown::Both);
            return;
        }
    }
}

/// How many of these bytes are whole messages. The one byte with which a server
/// refuses TLS is one as well.
fn whole_messages(bytes: &[u8]) -> usize {
    if bytes == b"N" {
        return 1;
    }
    let mut end = 0;
    while let Some(head) = bytes.get(end..end + 5) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let next = end + 1 + usize::try_from(length).unwrap();
        if next > bytes.len() {
            break;
        }
        end = next;
    }
    end
}
