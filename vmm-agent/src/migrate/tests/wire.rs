//! A link in memory, of one connection or of lanes: of a pace, with a delay, and with an end when a test wants one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use xen_bindings::{BuiltGuest, Shell};

use crate::migrate::arrival::{Arrived, Failed};
use crate::migrate::lanes::tests::{MemoryStream, Way, lane};
use crate::migrate::lanes::{Inbound, LANES_MAX, Lanes};
use crate::migrate::{Arrival, ArrivalError, LinkError, PageLink};

/// How a link is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    pub(super) bytes_per_s: f64,
    pub(super) round_trip: Duration,
    /// It breaks once so many bytes were handed over.
    pub(super) breaks_at: Option<u64>,
    /// It takes everything and says nothing from then on.
    pub(super) is_deaf: bool,
    /// Over so many lanes, which share its pace; 0: over none, as on one connection before there were any.
    pub(super) lanes: u32,
}

impl Default for Kind {
    fn default() -> Self {
        let round_trip = Duration::from_micros(500);
        Self { bytes_per_s: 117e6, round_trip, breaks_at: None, is_deaf: false, lanes: 0 }
    }
}

/// What came of an arrival.
pub(super) type Outcome = Result<(BuiltGuest, Shell, Arrived), Failed>;

/// The sender's end.
pub(super) struct Wire {
    to: To,
    handed: u64,
    breaks_at: Option<u64>,
    /// All that was handed over, if somebody wants to know.
    pub(super) record: Option<Vec<u8>>,
}

enum To {
    One { to: mpsc::Sender<Vec<u8>>, acked: watch::Receiver<u64> },
    Lanes(Lanes),
}

impl Wire {
    /// That was all, and it is well; anything else is a link that is dropped.
    pub(super) async fn finish(self) {
        if let To::Lanes(lanes) = self.to {
            // The arrival says what came of it.
            let _ = lanes.finish().await;
        }
    }
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
        let is_sent = match &mut self.to {
            To::One { to, .. } => to.send(bytes[..taken].to_vec()).await.is_ok(),
            To::Lanes(lanes) => lanes.send(&bytes[..taken]).await.is_ok(),
        };
        match whole && is_sent {
            true => Ok(()),
            false => Err(LinkError::new("the wire was cut")),
        }
    }

    fn acknowledged(&self) -> u64 {
        match &self.to {
            To::One { acked, .. } => *acked.borrow(),
            To::Lanes(lanes) => lanes.acknowledged(),
        }
    }

    async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<(), LinkError> {
        match &mut self.to {
            To::One { acked, .. } => {
                let more = acked.wait_for(|acked| *acked > bytes).await;
                more.map(|_| ()).map_err(|_| LinkError::new("the wire was cut"))
            }
            To::Lanes(lanes) => lanes.acknowledged_beyond(bytes).await,
        }
    }
}

/// A wire to an arrival, which ends when the wire does.
pub(super) fn wire(kind: Kind, arrival: Arrival) -> (Wire, JoinHandle<Outcome>) {
    let breaks_at = kind.breaks_at;
    let (to, receiving) = if kind.lanes == 0 {
        let (to, from) = mpsc::channel(2);
        let (tell, acked) = watch::channel(0);
        let receiving = tokio::spawn(receive(kind, from, arrival, Arc::new(tell)));
        (To::One { to, acked }, receiving)
    } else {
        let (lanes, inbound) = lanes(kind);
        (To::Lanes(lanes), tokio::spawn(receive_lanes(kind, inbound, arrival)))
    };
    (Wire { to, handed: 0, breaks_at, record: None }, receiving)
}

/// Both ends of lanes, which share the pace.
fn lanes(kind: Kind) -> (Lanes, Inbound<MemoryStream>) {
    let bytes_per_s = kind.bytes_per_s / f64::from(kind.lanes);
    let (give, streams) = mpsc::channel(LANES_MAX);
    let ends = (0..kind.lanes).map(|number| {
        // Not all are heard of at the same time.
        let delay = kind.round_trip * (1 + number % 3);
        let (near, far) = lane(number, Way { bytes_per_s, delay, ..Way::default() });
        assert!(give.try_send(far).is_ok());
        near
    });
    (Lanes::over(ends.collect()).unwrap(), Inbound::new(streams))
}

/// As an agent does it.
async fn receive_lanes(
    kind: Kind,
    mut inbound: Inbound<MemoryStream>,
    mut arrival: Arrival,
) -> Outcome {
    let pumped = async {
        inbound.first().await.map_err(|_| ArrivalError::Truncated)?;
        while let Some(bytes) = inbound.next().await.map_err(|_| ArrivalError::Truncated)? {
            arrival.take(bytes).await?;
            if arrival.is_acknowledgement_due() && !kind.is_deaf {
                inbound.acknowledge().await.map_err(|_| ArrivalError::Truncated)?;
            }
        }
        Ok(())
    };
    if let Err(error) = pumped.await {
        inbound.end().await;
        return Err(Failed { error, shell: arrival.abandon().await });
    }
    let outcome = arrival.finish().await?;
    inbound.finish().await.unwrap();
    Ok(outcome)
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
        if let Err(error) = arrival.take(bytes).await {
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
