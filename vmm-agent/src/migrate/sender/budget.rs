//! The brake's budget, kept by a timer.

use std::pin::pin;

use tokio::time::{Instant, timeout_at};
use vmm_core::migration::Brake;

use super::Pilot;

/// Does it. A brake that has cost its budget meanwhile is taken off, and true: a policy that is asked only between two steps would be late.
pub(super) async fn within_budget<P: Pilot, T>(
    pilot: &P,
    spent_at: Option<Instant>,
    work: impl Future<Output = T>,
) -> (T, bool) {
    let Some(spent_at) = spent_at else { return (work.await, false) };
    let mut work = pin!(work);
    if let Ok(done) = timeout_at(spent_at, &mut work).await {
        return (done, false);
    }
    if let Err(error) = pilot.brake(Brake::OFF).await {
        tracing::warn!(%error, "a guest is braked longer than it should be");
    }
    (work.await, true)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::time::sleep;
    use vmm_core::migration::BalloonReading;
    use vmm_core::units::Kib;

    use super::*;
    use crate::migrate::PilotError;

    /// When the brake was taken off.
    #[derive(Default)]
    struct Clock(Mutex<Vec<Instant>>);

    impl Pilot for Clock {
        async fn balloon(&self, _: Kib) -> Result<(), PilotError> {
            Ok(())
        }

        async fn reading(&self) -> Result<BalloonReading, PilotError> {
            Err(PilotError::new("nobody asks"))
        }

        async fn pin(&self) -> Result<(), PilotError> {
            Ok(())
        }

        async fn unpin(&self) {}

        async fn brake(&self, brake: Brake) -> Result<(), PilotError> {
            assert_eq!(brake, Brake::OFF);
            self.0.lock().unwrap().push(Instant::now());
            Ok(())
        }

        async fn suspend(&self) -> Result<bool, PilotError> {
            Ok(false)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_that_takes_longer_than_the_budget_is_not_braked_to_its_end() {
        for (spent_s, work_s, expect) in
            [(Some(2), 9, Some(2)), (Some(9), 2, None), (None, 9, None)]
        {
            let (pilot, began) = (Clock::default(), Instant::now());
            let at = |seconds| began + Duration::from_secs(seconds);
            let work = sleep(Duration::from_secs(work_s));
            let ((), is_spent) = within_budget(&pilot, spent_s.map(at), work).await;
            assert!(Instant::now() >= at(work_s), "it is done all the same");
            assert_eq!(is_spent, expect.is_some());
            let taken_off = pilot.0.lock().unwrap().clone();
            let expect: Vec<Instant> = expect.map(at).into_iter().collect();
            assert_eq!(taken_off.len(), expect.len());
            assert!(
                taken_off
                    .iter()
                    .zip(&expect)
                    .all(|(at, expect)| *at - *expect < Duration::from_millis(5))
            );
        }
    }
}
