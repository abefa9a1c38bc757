//! The sender's half: bytes into pieces, each to the lane that has least waiting.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::format::{self, Preamble};
use super::ledger::Ledger;
use super::{LANES_MAX, Lane, LinkError, PIECE_BYTES_MAX, PageLink, WAITING_PIECES_MAX};

/// What a lane is to send.
struct Job {
    bytes: Vec<u8>,
    is_end: bool,
}

/// What the tasks of the lanes tell.
#[derive(Debug)]
struct Told {
    /// The offset of each lane that was acknowledged.
    acknowledged: Vec<u64>,
    waiting: Vec<Waiting>,
    /// Why it is over, as the first lane said.
    failed: Option<LinkError>,
}

/// What was given to a lane and is not written yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    bytes: usize,
    pieces: usize,
}

impl Waiting {
    fn has_room(self) -> bool {
        self.pieces < WAITING_PIECES_MAX
    }
}

impl Told {
    fn check(&self) -> Result<(), LinkError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn has_room(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.has_room())
    }
}

/// Several lanes as one link. Each is driven by a task of its own, which ends with this.
pub(crate) struct Lanes {
    queues: Vec<mpsc::Sender<Job>>,
    tasks: JoinSet<()>,
    ledger: Ledger,
    tell: Arc<watch::Sender<Told>>,
    told: watch::Receiver<Told>,
    /// The lane that is looked at first: they take turns where none has less waiting.
    turn: usize,
}

impl Lanes {
    /// Over these, which are told which they are; at most [`LANES_MAX`], at least one. Call it in a runtime.
    ///
    /// # Errors
    /// There are too few or too many.
    pub(crate) fn over<L: Lane>(lanes: Vec<L>) -> Result<Self, LinkError> {
        let count = lanes.len();
        let number = u8::try_from(count).ok().filter(|_| (1..=LANES_MAX).contains(&count));
        let wrong = || LinkError::new(format!("{count} lanes: give 1 to {LANES_MAX}"));
        let number = number.ok_or_else(wrong)?;
        let (acknowledged, waiting) = (vec![0; count], vec![Waiting::default(); count]);
        let (tell, told) = watch::channel(Told { acknowledged, waiting, failed: None });
        let (tell, mut tasks) = (Arc::new(tell), JoinSet::new());
        let queues = lanes.into_iter().zip(0..).map(|(link, lane)| {
            // One more than wait: the end.
            let (queue, jobs) = mpsc::channel(WAITING_PIECES_MAX + 1);
            let preamble = Preamble { lanes: number, lane };
            let driver = Driver { link, lane: lane.into(), tell: tell.clone() };
            tasks.spawn(driver.run(preamble, jobs));
            queue
        });
        let queues = queues.collect();
        Ok(Self { queues, tasks, ledger: Ledger::new(count), tell, told, turn: 0 })
    }

    /// That was all: waits until every lane was told that the receiver has done with it what it should.
    ///
    /// # Errors
    /// [`LinkError`], of the lane that failed first.
    pub(crate) async fn finish(mut self) -> Result<(), LinkError> {
        let end = format::end(self.ledger.handed());
        for queue in &self.queues {
            // One that has ended has said why.
            let _ = queue.send(Job { bytes: end.clone(), is_end: true }).await;
        }
        while let Some(joined) = self.tasks.join_next().await {
            joined.map_err(cut_off)?;
            self.told.borrow().check()?;
        }
        Ok(())
    }

    /// Waits for a lane with room: the one with least waiting.
    async fn free(&mut self) -> Result<usize, LinkError> {
        let told = self.told.wait_for(|told| told.failed.is_some() || told.has_room()).await;
        let told = told.map_err(|_| ended())?;
        told.check()?;
        let count = self.queues.len();
        let from_turn = (0..count).map(|lane| (self.turn + lane) % count);
        let with_room = from_turn.filter(|lane| told.waiting[*lane].has_room());
        let lane = with_room.min_by_key(|lane| told.waiting[*lane]).ok_or_else(ended)?;
        drop(told);
        self.turn = (lane + 1) % count;
        Ok(lane)
    }
}

impl PageLink for Lanes {
    async fn send(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        self.ledger.forget(&self.told.borrow().acknowledged);
        for part in bytes.chunks(PIECE_BYTES_MAX) {
            let lane = self.free().await?;
            let position = self.ledger.put(lane, part.len());
            let bytes = format::piece(position, part);
            self.tell.send_modify(|told| {
                let waiting = &mut told.waiting[lane];
                (waiting.bytes, waiting.pieces) = (waiting.bytes + bytes.len(), waiting.pieces + 1);
            });
            let given = self.queues[lane].try_send(Job { bytes, is_end: false });
            if given.is_err() {
                // Its task has ended, and said why.
                self.told.borrow().check()?;
                return Err(ended());
            }
        }
        Ok(())
    }

    fn acknowledged(&self) -> u64 {
        self.ledger.arrived(&self.told.borrow().acknowledged)
    }

    async fn acknowledged_beyond(&mut self, bytes: u64) -> Result<(), LinkError> {
        let ledger = &self.ledger;
        let is_beyond = |told: &Told| ledger.arrived(&told.acknowledged) > bytes;
        let told = self.told.wait_for(|told| is_beyond(told) || told.failed.is_some()).await;
        let told = told.map_err(|_| ended())?;
        if is_beyond(&told) { Ok(()) } else { told.check() }
    }
}

fn ended() -> LinkError {
    LinkError::new("a lane of the migration ended")
}

fn cut_off(error: JoinError) -> LinkError {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => LinkError::new(error),
    }
}

/// What writes one lane, and hears what was acknowledged of it.
struct Driver<L> {
    link: L,
    lane: usize,
    tell: Arc<watch::Sender<Told>>,
}

impl<L: Lane> Driver<L> {
    async fn run(self, preamble: Preamble, jobs: mpsc::Receiver<Job>) {
        let (lane, tell) = (self.lane, self.tell.clone());
        if let Err(LinkError { reason }) = self.drive(preamble, jobs).await {
            let error = LinkError::new(format!("lane {lane}: {reason}"));
            tell.send_modify(|told| told.failed = told.failed.take().or(Some(error)));
        }
    }

    async fn drive(
        mut self,
        preamble: Preamble,
        mut jobs: mpsc::Receiver<Job>,
    ) -> Result<(), LinkError> {
        self.link.send(&preamble.write()).await?;
        let mut heard = 0;
        loop {
            let job = tokio::select! {
                biased;
                job = jobs.recv() => job,
                // A lane that breaks while nothing is to be sent is heard of here.
                more = self.link.acknowledged_beyond(heard) => {
                    more?;
                    heard = self.hear(heard);
                    continue;
                }
            };
            // Nobody is left who could give more.
            let Some(Job { bytes, is_end }) = job else { return Ok(()) };
            self.link.send(&bytes).await?;
            if is_end {
                return self.link.finish().await;
            }
            self.tell.send_modify(|told| {
                let waiting = &mut told.waiting[self.lane];
                (waiting.bytes, waiting.pieces) = (waiting.bytes - bytes.len(), waiting.pieces - 1);
            });
            heard = self.hear(heard);
        }
    }

    /// Tells what more was acknowledged.
    fn hear(&self, heard: u64) -> u64 {
        let now = self.link.acknowledged().max(heard);
        if now > heard {
            self.tell.send_modify(|told| told.acknowledged[self.lane] = now);
        }
        now
    }
}
