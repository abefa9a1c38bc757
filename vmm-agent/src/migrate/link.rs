//! What frames travel over, and a cap on its bandwidth.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What a cap lets through at once: so much time's worth of it.
const BURST: Duration = Duration::from_millis(BURST_MS);
const BURST_MS: u64 = 20;
/// Below this a burst is not worth a timer.
const BURST_BYTES_MIN: u64 = 16 << 10;

/// The link ended. The guest must be sent from the beginning, over another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct LinkError {
    /// In words, with what to do.
    pub(crate) reason: String,
}

impl LinkError {
    pub(crate) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// Bytes in order to one receiver. Futures may be dropped before they are done; then the link is of no further use.
pub(crate) trait PageLink: Send {
    /// Hands over; waits while the receiver takes no more.
    ///
    /// # Errors
    /// [`LinkError`].
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), LinkError>> + Send;

    /// How many of all bytes that were handed over the receiver has said that it has.
    fn acknowledged(&self) -> u64;

    /// Waits until it has said so of more than `bytes`.
    ///
    /// # Errors
    /// [`LinkError`] when it never will.
    fn acknowledged_beyond(
        &mut self,
        bytes: u64,
    ) -> impl Future<Output = Result<(), LinkError>> + Send;
}

impl<L: PageLink> PageLink for &mut L {
    fn send(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), LinkError>> + Send {
        (**self).send(bytes)
    }

    fn acknowledged(&self) -> u64 {
        (**self).acknowledged()
    }

    fn acknowledged_beyond(
        &mut self,
        bytes: u64,
    ) -> impl Future<Output = Result<(), LinkError>> + Send {
        (**self).acknowledged_beyond(bytes)
    }
}

/// A link that carries no more than so many bytes a second: a bucket of tokens, which holds [`BURST`].
pub(crate) struct Capped<L> {
    link: L,
    bucket: Option<Bucket>,
}

struct Bucket {
    bytes_per_s: u64,
    /// When all that was handed over has had its time.
    paid_until: Instant,
}

impl Bucket {
    fn burst_bytes(&self) -> usize {
        let burst = self.bytes_per_s.saturating_mul(BURST_MS) / 1000;
        usize::try_from(burst.max(BURST_BYTES_MIN)).unwrap_or(usize::MAX)
    }

    /// Pays for a part. When it may go.
    fn pay(&mut self, bytes: usize, now: Instant) -> Instant {
        let price = Duration::from_secs_f64(bytes as f64 / self.bytes_per_s as f64);
        let from = self.paid_until.max(now.checked_sub(BURST).unwrap_or(now));
        self.paid_until = from + price;
        from
    }
}

impl<L> Capped<L> {
    /// `None` and 0: as fast as it goes.
    pub(crate) fn new(link: L, bytes_per_s: Option<u64>) -> Self {
        let bytes_per_s = bytes_per_s.filter(|rate| *rate > 0);
        let bucket =
            bytes_per_s.map(|bytes_per_s| Bucket { bytes_per_s, paid_until: Instant::now() });
        Self { link, bucket }
    }
}

impl<L: PageLink> PageLink for Capped<L> {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let Some(bucket) = &mut self.bucket else { return self.link.send(bytes).await };
        for part in bytes.chunks(bucket.burst_bytes()) {
            let at = bucket.pay(part.len(), Instant::now());
            sleep_until(at).await;
            self.link.send(part).await?;
        }
        Ok(())
    }

    fn acknowledged(&self) -> u64 {
        self.link.acknowledged()
    }

    async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<(), LinkError> {
        self.link.acknowledged_beyond(bytes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes everything at once.
    #[derive(Default)]
    struct Open {
        sent: u64,
    }

    impl PageLink for Open {
        async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
            self.sent += bytes.len() as u64;
            Ok(())
        }

        fn acknowledged(&self) -> u64 {
            self.sent
        }

        async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<(), LinkError> {
            if self.sent > bytes { Ok(()) } else { Err(LinkError::new("nothing is under way")) }
        }
    }

    /// Milliseconds of tokio's clock that so many bytes take in pieces.
    async fn takes(cap: Option<u64>, pieces: &[usize]) -> u128 {
        let (mut link, began) = (Capped::new(Open::default(), cap), Instant::now());
        for piece in pieces {
            link.send(&vec![0; *piece]).await.unwrap();
        }
        assert_eq!(link.acknowledged(), pieces.iter().map(|piece| *piece as u64).sum::<u64>());
        began.elapsed().as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_holds_over_any_pieces_and_none_costs_nothing() {
        const MB: usize = 1_000_000;
        for pieces in [&[10 * MB][..], &[MB; 10], &[100_000; 100]] {
            assert_eq!(takes(None, pieces).await, 0);
            assert_eq!(takes(Some(0), pieces).await, 0);
            let capped = takes(Some(10 * MB as u64), pieces).await;
            assert!((900..=1010).contains(&capped), "{capped} ms for {} pieces", pieces.len());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_not_used_is_not_saved_up_beyond_a_burst() {
        let mut link = Capped::new(Open::default(), Some(1_000_000));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let began = Instant::now();
        link.send(&vec![0; 1_000_000]).await.unwrap();
        assert!(began.elapsed() >= Duration::from_millis(900), "{:?}", began.elapsed());
    }
}
