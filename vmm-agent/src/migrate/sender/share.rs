//! What a migration takes of dom0's time, and where that went.

use std::time::Duration;

use tokio::time::Instant;

use crate::env::Blocking;

/// More would take from the guests what a migration does not gain.
const ENCODERS_MAX: usize = 4;
/// A batch that took longer was waiting, not working.
const REST_MAX: Duration = Duration::from_millis(500);

/// Half of dom0's processors. The other half serves the guests' disks and networks, and whoever asks after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Pages that are packed at once.
    pub(super) encoders: u32,
    /// There is one processor: it rests for as long as it worked.
    rests: bool,
}

impl Share {
    /// Where nothing runs beside, one encoder.
    pub(super) fn of(blocking: Blocking) -> Self {
        match blocking {
            Blocking::Pool => {
                Self::of_processors(std::thread::available_parallelism().map_or(1, Into::into))
            }
            Blocking::Inline => Self { encoders: 1, rests: false },
        }
    }

    fn of_processors(there: usize) -> Self {
        let encoders = u32::try_from((there / 2).clamp(1, ENCODERS_MAX)).unwrap_or(1);
        Self { encoders, rests: there == 1 }
    }

    /// For so long after so much work; nothing where there is a processor beside.
    pub(super) fn rest(self, worked: Duration) -> Option<Duration> {
        self.rests.then(|| worked.min(REST_MAX))
    }
}

/// Where a sender's time went. The rest it waited for the link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// For the log of writes.
    pub(crate) looking: Duration,
    /// Mapping, copying, packing.
    pub(crate) encoding: Duration,
    /// Leaving dom0 to others.
    pub(crate) resting: Duration,
    /// Of that, while the guest stood still.
    pub(crate) standing: Standing,
}

/// Where the time went while the guest stood still.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    /// For the log's last word.
    pub(crate) looking: Duration,
    /// For frames that no log tells of.
    pub(crate) frames: Duration,
    pub(crate) encoding: Duration,
    /// For the machine's own state.
    pub(crate) machine: Duration,
}

/// Adds what the work took.
pub(super) async fn timed<T>(spent: &mut Duration, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = work.await;
    *spent += began.elapsed();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_processors_and_of_one_its_half_time() {
        let of = |there| Share::of_processors(there);
        assert_eq!([1, 2, 3, 4, 8, 64].map(|there| of(there).encoders), [1, 1, 1, 2, 4, 4]);
        let (second, long) = (Duration::from_millis(80), Duration::from_secs(9));
        assert_eq!(of(1).rest(second), Some(second));
        assert_eq!(of(1).rest(long), Some(REST_MAX));
        assert_eq!([2, 4].map(|there| of(there).rest(second)), [None, None]);
        assert_eq!(Share::of(Blocking::Inline).rest(second), None);
    }
}
