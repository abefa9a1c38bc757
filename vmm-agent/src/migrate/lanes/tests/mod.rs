//! Lanes in memory: of any speed, that acknowledge when they like, and break when a test wants it.

mod ends;
mod hostile;
mod whole;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

use super::{Lane, LaneAcks, LaneReader, LinkError, PageLink, Stream};

/// How a lane is.
#[derive(Clone, Copy, Debug)]
pub(in crate::migrate) struct Way {
    pub(in crate::migrate) bytes_per_s: f64,
    /// From an acknowledgement until it is heard.
    pub(in crate::migrate) delay: Duration,
    /// What is read at once, at most.
    pub(in crate::migrate) cut: usize,
    /// It breaks once so many bytes were read.
    pub(in crate::migrate) breaks_at: Option<usize>,
}

impl Default for Way {
    fn default() -> Self {
        Self { bytes_per_s: 1e9, delay: Duration::ZERO, cut: usize::MAX, breaks_at: None }
    }
}

/// What travels.
#[derive(Debug)]
pub(super) enum Sent {
    Bytes(Vec<u8>),
    End,
}

/// What was acknowledged, and whether that was all.
type Told = (u64, bool);

/// The sender's end.
pub(in crate::migrate) struct MemoryLane {
    to: mpsc::Sender<Sent>,
    told: watch::Receiver<Told>,
}

/// The receiver's end, before it was accepted.
pub(in crate::migrate) struct MemoryStream {
    number: u32,
    way: Way,
    from: mpsc::Receiver<Sent>,
    tell: Arc<watch::Sender<Told>>,
}

pub(in crate::migrate) struct MemoryReader {
    way: Way,
    from: mpsc::Receiver<Sent>,
    bytes: Vec<u8>,
    read: usize,
    total: usize,
}

pub(in crate::migrate) struct MemoryAcks {
    delay: Duration,
    tell: Arc<watch::Sender<Told>>,
}

/// Both ends of a lane.
pub(in crate::migrate) fn lane(number: u32, way: Way) -> (MemoryLane, MemoryStream) {
    let (to, from) = mpsc::channel(2);
    let (tell, told) = watch::channel((0, false));
    (MemoryLane { to, told }, MemoryStream { number, way, from, tell: Arc::new(tell) })
}

/// As [`lane`], of which the test writes the bytes.
pub(super) fn raw(number: u32, way: Way) -> (mpsc::Sender<Sent>, MemoryStream) {
    let (lane, stream) = lane(number, way);
    (lane.to, stream)
}

fn cut() -> LinkError {
    LinkError::new("the lane was cut")
}

impl PageLink for MemoryLane {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.to.send(Sent::Bytes(bytes.to_vec())).await.map_err(|_| cut())
    }

    fn acknowledged(&self) -> u64 {
        self.told.borrow().0
    }

    async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<(), LinkError> {
        let told = self.told.wait_for(|told| told.0 > bytes).await;
        told.map(drop).map_err(|_| cut())
    }
}

impl Lane for MemoryLane {
    async fn finish(mut self) -> Result<(), LinkError> {
        self.to.send(Sent::End).await.map_err(|_| cut())?;
        self.told.wait_for(|told| told.1).await.map(drop).map_err(|_| cut())
    }
}

impl Stream for MemoryStream {
    type Reader = MemoryReader;
    type Acks = MemoryAcks;

    fn number(&self) -> u32 {
        self.number
    }

    async fn accept(self) -> Result<(MemoryReader, MemoryAcks), LinkError> {
        let Self { way, from, tell, .. } = self;
        let reader = MemoryReader { way, from, bytes: Vec::new(), read: 0, total: 0 };
        Ok((reader, MemoryAcks { delay: way.delay, tell }))
    }
}

impl LaneReader for MemoryReader {
    async fn receive(&mut self) -> Result<Option<&[u8]>, LinkError> {
        if self.read == self.bytes.len() {
            match self.from.recv().await {
                Some(Sent::Bytes(bytes)) => (self.bytes, self.read) = (bytes, 0),
                Some(Sent::End) => return Ok(None),
                None => return Err(cut()),
            }
        }
        let until = self.bytes.len().min(self.read.saturating_add(self.way.cut));
        let bytes = &self.bytes[self.read..until];
        self.total += bytes.len();
        sleep(Duration::from_secs_f64(bytes.len() as f64 / self.way.bytes_per_s)).await;
        if self.way.breaks_at.is_some_and(|end| self.total > end) {
            return Err(cut());
        }
        self.read = until;
        Ok(Some(bytes))
    }
}

impl MemoryAcks {
    fn tell(&self, more: Told) {
        let (delay, tell) = (self.delay, self.tell.clone());
        let say = move || {
            tell.send_if_modified(|told| {
                let is_news = more > *told;
                *told = more.max(*told);
                is_news
            });
        };
        if delay.is_zero() {
            say();
            return;
        }
        tokio::spawn(async move {
            sleep(delay).await;
            say();
        });
    }
}

impl LaneAcks<MemoryReader> for MemoryAcks {
    async fn acknowledge(&mut self, offset: u64) -> Result<(), LinkError> {
        self.tell((offset, false));
        Ok(())
    }

    async fn finish(self, reader: MemoryReader) -> Result<(), LinkError> {
        self.tell((reader.total as u64, true));
        Ok(())
    }
}

/// On a paused clock, on one thread: the same each time.
fn paused<T>(work: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(work)
}

/// Tasks that have not ended.
pub(in crate::migrate) fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
