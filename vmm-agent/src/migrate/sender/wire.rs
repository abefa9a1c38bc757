//! The link as a driver uses it: what is on its way, and who has stopped listening.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::SendError;
use super::flow::{Acknowledged, Flow};
use crate::migrate::frames;
use crate::migrate::link::PageLink;

/// So long the receiver may take nothing, or say nothing: a busy dom0 is not a dead one, and the guest runs on meanwhile.
const STALL: Duration = Duration::from_secs(30);
/// So long while the guest stands still, unless it may stand still for longer.
const STALL_STOPPED: Duration = Duration::from_secs(10);
/// Handed over at once: the limit is counted for each.
const PIECE_BYTES: usize = 256 << 10;
/// No wait is longer than this without another look.
pub(super) const LOOK: Duration = Duration::from_secs(1);
/// The shortest wait: a timer's tick.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// The link.
pub(super) struct Wire<'a, L> {
    link: L,
    cancel: &'a CancellationToken,
    pub(super) flow: Flow,
    began: Instant,
    marks: u64,
    /// What the link said last: of several lanes some may have been heard of and not all, so it may lie between two marks.
    heard_bytes: u64,
    /// When the receiver last had what it was asked about.
    heard_at: Duration,
    stall: Duration,
    /// Slower than this it cannot be because of the cap.
    cap_bytes_per_s: Option<u64>,
}

impl<'a, L: PageLink> Wire<'a, L> {
    /// Its clock begins now.
    pub(super) fn new(
        link: L,
        cancel: &'a CancellationToken,
        flow: Flow,
        cap_bytes_per_s: Option<u64>,
    ) -> Self {
        let (began, heard_at) = (Instant::now(), Duration::ZERO);
        let (marks, heard_bytes, stall) = (0, 0, STALL);
        Self { link, cancel, flow, began, marks, heard_bytes, heard_at, stall, cap_bytes_per_s }
    }

    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The guest stands still from now on, and may for so long.
    pub(super) fn be_stopped(&mut self, downtime_max: Duration) {
        self.stall = downtime_max.clamp(STALL_STOPPED, STALL);
        self.heard_at = self.now();
    }

    /// Hands over frames that carry out so many of the policy's actions, with a mark behind them, so that the receiver says when it has
    /// them.
    pub(super) async fn ask(&mut self, mut bytes: Vec<u8>, sends: u32) -> Result<(), SendError> {
        frames::mark(self.marks, &mut bytes);
        self.marks += 1;
        self.transmit(&bytes, sends).await
    }

    /// Hands over bytes.
    pub(super) async fn transmit(&mut self, bytes: &[u8], sends: u32) -> Result<(), SendError> {
        if self.flow.is_empty() {
            self.heard_at = self.now();
        }
        self.flow.hand(bytes.len(), sends, self.now());
        for piece in bytes.chunks(PIECE_BYTES) {
            let limit =
                self.stall + self.cap_bytes_per_s.map_or(Duration::ZERO, |cap| paid(piece, cap));
            let (cancel, sent) = (self.cancel, self.link.send(piece));
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Err(SendError::Cancelled),
                sent = timeout(limit, sent) => sent.map_err(|_| stalled(limit))??,
            }
        }
        Ok(())
    }

    /// Waits until then, or until the receiver has more.
    pub(super) async fn wait(&mut self, until: Duration) -> Result<(), SendError> {
        let now = self.now();
        let until = self.began + until.clamp(now + TICK, now + LOOK);
        let (heard, is_flying) = (self.heard_bytes, !self.flow.is_empty());
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => return Err(SendError::Cancelled),
            more = self.link.acknowledged_beyond(heard), if is_flying => more?,
            () = sleep_until(until) => {}
        }
        Ok(())
    }

    /// What the receiver has by now and had not before.
    ///
    /// # Errors
    /// Cancelled, or the receiver has said nothing for too long.
    pub(super) fn hear(&mut self) -> Result<Option<Acknowledged>, SendError> {
        if self.cancel.is_cancelled() {
            return Err(SendError::Cancelled);
        }
        let now = self.now();
        self.heard_bytes = self.link.acknowledged();
        let heard = self.flow.acknowledge(self.heard_bytes, now);
        if heard.is_some() {
            self.heard_at = now;
        }
        let cap = self.cap_bytes_per_s.unwrap_or(u64::MAX);
        let flying = self.flow.handed_bytes() - self.flow.acked_bytes();
        let limit = self.stall + Duration::from_secs(flying / cap);
        let is_stalled = !self.flow.is_empty() && now > self.heard_at + limit;
        if is_stalled { Err(stalled(limit)) } else { Ok(heard) }
    }

    /// When that is, on this wire's clock.
    pub(super) fn at(&self, time: Duration) -> Instant {
        self.began + time
    }
}

/// Does it, unless the migration is cancelled first.
pub(super) async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> Result<T, SendError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(SendError::Cancelled),
        done = work => Ok(done),
    }
}

fn stalled(limit: Duration) -> SendError {
    SendError::Stalled { seconds: limit.as_secs() }
}

/// What a piece takes under a cap, twice.
fn paid(piece: &[u8], cap_bytes_per_s: u64) -> Duration {
    Duration::from_secs_f64(2.0 * piece.len() as f64 / cap_bytes_per_s as f64)
}
