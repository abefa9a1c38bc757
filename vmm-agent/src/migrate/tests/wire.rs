//! A link in memory: of a pace, with a delay, and with an end when a test wants one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use xen_bindings::{BuiltGuest, Shell};

use crate::migrate::arrival::{Arrived, Failed};
use crate::migrate::{Arrival, LinkError, PageLink};

/// How a link is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) bytes_per_s: f64,
    pub(super) round_trip: Duration,
    /// It breaks once so many bytes were handed over.
    pub(super) breaks_at: Option<u64>,
    /// It takes everything and says nothing from then on.
    pub(super) is_deaf: bool,
}

impl Default for Kind {
    fn default() -> Self {
        let round_trip = Duration::from_micros(500);
        Self { bytes_per_s: 117e6, round_trip, breaks_at: None, is_deaf: false }
    }
}

/// What came of an arrival.
pub(super) type Outcome = Result<(BuiltGuest, Shell, Arrived), Failed>;

/// The sender's end.
pub(super) struct Wire {
    to: mpsc::Sender<Vec<u8>>,
    acked: watch::Receiver<u64>,
    handed: u64,
    breaks_at: Option<u64>,
    /// All that was handed over, if somebody wants to know.
    pub(super) record: Option<Vec<u8>>,
}

impl PageLink for Wire {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let room = self.breaks_at.map_or(u64::MAX, |end| end.saturating_sub(self.handed));
        let whole = usize::try_from(room).unwrap_or(usize::MAX) >= bytes.len();
        let taken = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        self.handed += taken as u64;
        if let Some(record) = &mut self.record {
            record.extend(&bytes[..taken]);
        }
        let sent = self.to.send(bytes[..taken].to_vec()).await;
        match whole && sent.is_ok() {
            true => Ok(()),
            false => Err(LinkError::new("the wire was cut")),
        }
    }

    fn acknowledged(&self) -> u64 {
        *self.acked.borrow()
    }

    async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<(), LinkError> {
        let more = self.acked.wait_for(|acked| *acked > bytes).await;
        more.map(|_| ()).map_err(|_| LinkError::new("the wire was cut"))
    }
}

/// A wire to an arrival, which ends when the wire does.
pub(super) fn wire(kind: Kind, arrival: Arrival) -> (Wire, JoinHandle<Outcome>) {
    let (to, from) = mpsc::channel(2);
    let (tell, acked) = watch::channel(0);
    let receiving = tokio::spawn(receive(kind, from, arrival, Arc::new(tell)));
    let breaks_at = kind.breaks_at;
    (Wire { to, acked, handed: 0, breaks_at, record: None }, receiving)
}

async fn receive(
    kind: Kind,
    mut from: mpsc::Receiver<Vec<u8>>,
    mut arrival: Arrival,
    tell: Arc<watch::Sender<u64>>,
) -> Outcome {
    let came = Arc::new(AtomicU64::new(0));
    while let Some(bytes) = from.recv().await {
        sleep(Duration::from_secs_f64(bytes.len() as f64 / kind.bytes_per_s)).await;
        came.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        if let Err(error) = arrival.take(&bytes).await {
            return Err(Failed { error, shell: arrival.abandon().await });
        }
        if arrival.is_acknowledgement_due() && !kind.is_deaf {
            let (upto, tell) = (came.load(Ordering::Relaxed), tell.clone());
            tokio::spawn(async move {
                sleep(kind.round_trip).await;
                tell.send_if_modified(|told| {
                    let is_more = upto > *told;
                    *told = upto.max(*told);
                    is_more
                });
            });
        }
    }
    arrival.finish().await
}
