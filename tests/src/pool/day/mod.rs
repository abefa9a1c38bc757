//! A random day of a pool: operators at work, and everything that can break breaking under them.
//!
//! ```text
//!   Day ─ pool, randomness of the seed, report
//!    ├─ small   one operator, who waits for each of his tasks; one fault at a time
//!    ├─ large   many at once: bulk operations, single changes side by side, cancellations; several faults at a time
//!    └─ evening all is healed and comes to rest, is compared, and is cleared
//! ```
//!
//! While anything is under way, VM1 and CAP1 are asserted twice a second over what the machines hold. In the evening the pool must come to
//! rest with nothing left over, the manager must believe just what is true, and when every VM is destroyed nothing may remain. Whoever
//! followed the events of a large day must know then what the lists say.

mod deeds;
mod evening;
mod follower;
mod large;
mod small;
mod specs;

use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{Pool, Size};

/// How often invariants are asserted while something is under way.
const TICK: Duration = Duration::from_millis(500);

/// What a day was like.
#[derive(Clone, Debug, Default)]
pub struct DayReport {
    /// One line a step; the same seed gives the same lines.
    pub lines: Vec<String>,
    /// What was done by operators and by fate.
    pub deeds: usize,
    /// Machines without power, killed processes, pulled cables, crashed guests.
    pub faults: usize,
    /// Requests that were fulfilled; each VM of a bulk operation counts as one.
    pub fulfilled: usize,
    /// Requests that were refused, cancelled or failed, with a typed fault.
    pub refused: usize,
    /// VMs that moved to another host while they ran; among the fulfilled. Only large days move them.
    pub moved: usize,
}

impl DayReport {
    /// Counts another day's figures in.
    pub fn add(&mut self, other: &Self) {
        self.deeds += other.deeds;
        self.faults += other.faults;
        self.fulfilled += other.fulfilled;
        self.refused += other.refused;
        self.moved += other.moved;
    }
}

/// A day under way.
pub struct Day {
    size: Size,
    pool: Pool,
    rng: StdRng,
    start: tokio::time::Instant,
    report: DayReport,
    vms_named: usize,
}

impl Day {
    /// Runs the day of a seed, on a clock that only this day uses.
    ///
    /// # Errors
    /// The invariant that broke, with the day until then.
    pub fn run(seed: u64, size: Size) -> Result<DayReport> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()?;
        runtime.block_on(async {
            let pool = Pool::start(seed, size).await?;
            let rng = StdRng::seed_from_u64(seed);
            let start = tokio::time::Instant::now();
            let report = DayReport::default();
            let mut day = Day { size, pool, rng, start, report, vms_named: 0 };
            let outcome =
                if size.is_large() { large::live(&mut day).await } else { day.live().await };
            let so_far = day.report.lines.join("\n");
            outcome.with_context(|| format!("seed {seed}, the day until then:\n{so_far}"))?;
            Ok(day.report)
        })
    }

    fn note(&mut self, line: &str) {
        self.report.lines.push(format!("{:>9.3} {line}", self.start.elapsed().as_secs_f64()));
    }

    /// Sleeps, and asserts what must hold at every instant.
    async fn rest_for(&self, time: Duration) -> Result<()> {
        let end = tokio::time::Instant::now() + time;
        while tokio::time::Instant::now() < end {
            self.pool.check(false)?;
            tokio::time::sleep(TICK.min(end - tokio::time::Instant::now())).await;
        }
        self.pool.check(false)
    }

    async fn watched<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(TICK) => self.pool.check(false)?,
            }
        }
    }
}
