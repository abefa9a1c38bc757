//! A link between hosts that can be measured: whatever goes to one host's agent port passes here, is counted, is held to a rate,
//! listened to, and can be cut.
//!
//! Both directions have the rate each, as on Ethernet. Where there is a rate, receive buffers are small, so that what waits, waits at the sender:
//! otherwise megabytes would be under way on this machine that no real link holds. Without one they are the system's: an emulated network
//! answers so late that a small window would be the rate.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex as StdMutex, PoisonError, mpsc};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep_until};

/// Of each socket that is read from, when there is a rate.
const BUFFER_BYTES: u32 = 64 << 10;
/// Read at once; at the lowest rate that the bench uses, a few milliseconds.
const CHUNK_BYTES: usize = 16 << 10;
/// What was not used of the rate is made up for so long: a timer of a busy machine is late.
const BURST: Duration = Duration::from_millis(20);
const BACKLOG: u32 = 16;

/// A relay; its tasks end when it is dropped.
pub struct Relay {
    address: String,
    route: Arc<Route>,
    _runtime: Runtime,
}

struct Route {
    target: String,
    /// To the target, and back.
    ways: [Way; 2],
    is_whole: watch::Sender<bool>,
    /// Who listens to the next connection.
    tap: StdMutex<Option<mpsc::Sender<Vec<u8>>>>,
}

/// What goes to the target over one connection, as it passes. It ends with that connection.
pub struct Tap {
    chunks: mpsc::Receiver<Vec<u8>>,
    chunk: std::io::Cursor<Vec<u8>>,
}

/// One direction, over all connections.
struct Way {
    bytes_per_s: Option<u64>,
    bytes: AtomicU64,
    /// When the next byte may go.
    free_at: Mutex<Instant>,
}

impl Relay {
    /// Listens on a free port and passes everything on to `target`, no faster than the rate, if there is one.
    ///
    /// # Errors
    /// No port could be bound.
    pub fn start(target: &str, bytes_per_s: Option<u64>) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            let socket = TcpSocket::new_v4()?;
            if bytes_per_s.is_some() {
                socket.set_recv_buffer_size(BUFFER_BYTES)?;
            }
            socket.bind("127.0.0.1:0".parse()?)?;
            socket.listen(BACKLOG)?
        };
        let address = listener.local_addr()?.to_string();
        let way =
            || Way { bytes_per_s, bytes: AtomicU64::new(0), free_at: Mutex::new(Instant::now()) };
        let ways = [way(), way()];
        let is_whole = watch::Sender::new(true);
        let tap = StdMutex::default();
        let route = Arc::new(Route { target: target.to_owned(), ways, is_whole, tap });
        runtime.spawn(accept(listener, Arc::clone(&route)));
        Ok(Self { address, route, _runtime: runtime })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What has passed, in both directions.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.route.ways.iter().map(|way| way.bytes.load(Relaxed)).sum()
    }

    /// Listens to the next connection, instead of whoever has waited for it.
    #[must_use]
    pub fn tap(&self) -> Tap {
        let (sender, chunks) = mpsc::channel();
        *self.route.tap.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        Tap { chunks, chunk: std::io::Cursor::default() }
    }

    /// Ends all connections; new ones are ended at once until it is mended.
    pub fn cut(&self) {
        self.route.is_whole.send_replace(false);
    }

    /// New connections pass again.
    pub fn mend(&self) {
        self.route.is_whole.send_replace(true);
    }
}

async fn accept(listener: TcpListener, route: Arc<Route>) {
    while let Ok((near, _)) = listener.accept().await {
        let route = Arc::clone(&route);
        tokio::spawn(async move {
            let mut is_whole = route.is_whole.subscribe();
            tokio::select! {
                _ = is_whole.wait_for(|is_whole| !is_whole) => {}
                ended = route.join(near) => {
                    if let Err(error) = ended {
                        eprintln!("the relay to {}: {error:#}", route.target);
                    }
                }
            }
        });
    }
}

impl Route {
    async fn join(&self, near: TcpStream) -> Result<()> {
        let socket = TcpSocket::new_v4()?;
        if self.ways[1].bytes_per_s.is_some() {
            socket.set_recv_buffer_size(BUFFER_BYTES)?;
        }
        let far = socket.connect(self.target.parse()?).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let ((near_from, near_to), (far_from, far_to)) = (near.into_split(), far.into_split());
        let [there, back] = &self.ways;
        let tap = self.tap.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Each end that closes its half is passed on; the other half lives on.
        tokio::join!(there.pass(near_from, far_to, tap), back.pass(far_from, near_to, None));
        Ok(())
    }
}

impl Way {
    async fn pass(
        &self,
        mut from: tokio::net::tcp::OwnedReadHalf,
        mut to: tokio::net::tcp::OwnedWriteHalf,
        tap: Option<mpsc::Sender<Vec<u8>>>,
    ) {
        let mut buffer = vec![0; CHUNK_BYTES];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            self.wait(count).await;
            self.bytes.fetch_add(count as u64, Relaxed);
            if let Some(tap) = &tap {
                // Whoever listened has heard enough.
                let _ = tap.send(buffer[..count].to_vec());
            }
            if to.write_all(&buffer[..count]).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    }

    async fn wait(&self, count: usize) {
        let Some(bytes_per_s) = self.bytes_per_s else { return };
        let mut free_at = self.free_at.lock().await;
        let earliest = Instant::now().checked_sub(BURST).unwrap_or(*free_at);
        *free_at = (*free_at).max(earliest)
            + Duration::from_nanos(count as u64 * 1_000_000_000 / bytes_per_s.max(1));
        sleep_until(*free_at).await;
    }
}

impl Read for Tap {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match Read::read(&mut self.chunk, into)? {
                0 if !into.is_empty() => match self.chunks.recv() {
                    Ok(chunk) => self.chunk = std::io::Cursor::new(chunk),
                    Err(mpsc::RecvError) => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};
    use std::net;

    use super::*;

    /// A test that is stuck fails.
    const PATIENCE: Duration = Duration::from_secs(30);

    fn connected(relay: &Relay) -> net::TcpStream {
        let near = net::TcpStream::connect(relay.address()).unwrap();
        near.set_read_timeout(Some(PATIENCE)).unwrap();
        near
    }

    /// Ended, and not only silent.
    fn is_over(read: std::io::Result<usize>) -> bool {
        match read {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }

    #[test]
    fn what_passes_is_counted_and_a_cut_ends_it() {
        let target = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let relay = Relay::start(&target.local_addr().unwrap().to_string(), Some(1 << 20)).unwrap();
        let (unheard, tap) = (relay.tap(), relay.tap());
        let mut near = connected(&relay);
        let (mut far, _) = target.accept().unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut heard = [0; 5];
        near.write_all(b"hello").unwrap();
        far.read_exact(&mut heard).unwrap();
        far.write_all(b"yes").unwrap();
        near.read_exact(&mut heard[..3]).unwrap();
        assert_eq!((&heard, relay.bytes()), (b"yeslo", 8));
        relay.cut();
        assert!(is_over(near.read(&mut heard)));
        relay.mend();
        let mut again = connected(&relay);
        let (mut far, _) = target.accept().unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        drop(again.write_all(b"again"));
        far.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"again");
        let all = |mut tap: Tap| {
            let mut heard = Vec::new();
            Read::read_to_end(&mut tap, &mut heard).map(|_| heard).unwrap()
        };
        assert_eq!((all(unheard), all(tap)), (vec![], b"hello".to_vec()));
    }
}
