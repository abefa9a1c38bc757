//! One thing that was heard after the other: pages are handed over, questions are answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use vmm_core::migration::layered::{Phase, Progress};
use vmm_core::migration::rounds::{Round, Rounds, Step};
use vmm_core::migration::{Brake, EPOCH, PAGE_BYTES, Reason};
use xen_bindings::stream::Fault;
use xen_bindings::{DomId, GuestMemory, Next, Precopy};

use super::departure::{self, Guest, Question, Saving, Told};
use super::tap::{Heard, Packed, Release, Tap};
use crate::env::Blocking;
use crate::migrate::frames::{self, Hello, Tail};
use crate::migrate::link::PageLink;
use crate::migrate::sender::drive::Ends;
use crate::migrate::sender::flow::Flow;
use crate::migrate::sender::share::{Share, Spent};
use crate::migrate::sender::wire::{Wire, unless_cancelled};
use crate::migrate::sender::{COPIES_BYTES, FIXED, Pilot, SendError, Sending, Sent};

/// The log is taken no sooner after it was taken before: a guest whose log was taken faults on each page that it touches, and rounds of no length
/// would make every page look quiet.
pub(super) const ROUND_MIN: Duration = Duration::from_millis(200);
/// So often a guest is asked to suspend.
const ASKED_MAX: u32 = 3;

/// A migration under way.
pub(super) struct Driver<'a, L, P> {
    sending: Sending,
    wire: Wire<'a, L>,
    pilot: &'a P,
    cancel: &'a CancellationToken,
    progress: watch::Sender<Option<Progress>>,
    told_at: Option<Duration>,
    /// Taken by a step while it runs.
    tap: Option<Box<Tap>>,
    saving: Option<Saving>,
    /// Ends the save when this goes.
    ends: CancellationToken,
    share: Share,
    spent: Spent,
    rounds: Rounds,
    phase: Phase,
    /// The last that was heard of the rounds.
    at: Precopy,
    /// When the log was taken last, and what stood then.
    looked_at: Duration,
    round: Round,
    /// Of the round, what has come of it.
    came: u64,
    sent_pages: u64,
    stopped_at: Option<Duration>,
    /// From the first page on: nobody logs it.
    is_standing: bool,
}

impl<L, P> Drop for Driver<'_, L, P> {
    fn drop(&mut self) {
        self.ends.cancel();
    }
}

impl<'a, L: PageLink, P: Pilot> Driver<'a, L, P> {
    /// Changes nothing yet.
    pub(super) fn begin(sending: Sending, ends: Ends<'a, L, P>) -> Self {
        let cap = sending.bandwidth.filter(|cap| *cap > 0);
        let expected = sending.link_bytes_per_s.min(cap.unwrap_or(u64::MAX));
        Self {
            wire: Wire::new(ends.link, ends.cancel, Flow::new(expected), cap),
            pilot: ends.pilot,
            cancel: ends.cancel,
            progress: ends.progress,
            told_at: None,
            tap: None,
            saving: None,
            ends: ends.cancel.child_token(),
            share: Share::of(sending.blocking),
            spent: Spent::default(),
            rounds: Rounds::new(sending.limits, FIXED),
            phase: Phase::Log,
            at: Precopy { rounds: 0, sent_pages: 0, dirty_pages: None },
            looked_at: Duration::ZERO,
            round: Round {
                dirty_pages: 0,
                took: Duration::ZERO,
                held_pages: 0,
                page_bytes: f64::from(PAGE_BYTES),
                link_bytes_per_s: expected as f64,
            },
            came: 0,
            sent_pages: 0,
            stopped_at: None,
            is_standing: false,
            sending,
        }
    }

    /// Sends the guest.
    pub(super) async fn run(&mut self) -> Result<Sent, SendError> {
        let pilot = self.pilot;
        unless_cancelled(self.cancel, pilot.pin()).await??;
        if self.is_logged().await? {
            self.open(Guest::Runs).await?;
        } else {
            self.stand().boxed().await?;
            self.open(Guest::Stands).await?;
            self.tap().stop();
        }
        loop {
            self.wait_for_room().await?;
            self.check_time()?;
            self.tell(false);
            match self.listen().await? {
                Heard::Pages(packed) => self.hand_over(packed).await?,
                Heard::Asked(Question::Next(at)) => self.answer(at).boxed().await?,
                Heard::Asked(Question::Suspend) => self.suspend().boxed().await?,
                Heard::End => return self.commit().boxed().await,
            }
        }
    }

    /// After the end, however it came: the save is over, and nobody logs. A stream that broke says less than the save whose it was.
    pub(super) async fn tidy(
        &mut self,
        outcome: Result<Sent, SendError>,
    ) -> Result<Sent, SendError> {
        self.ends.cancel();
        self.tap = None;
        let saved = match self.saving.take() {
            Some(saving) => {
                let wait =
                    move || saving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                self.sending.blocking.run(wait).await
            }
            None => Ok(()),
        };
        if saved.is_err() {
            let Sending { backend, blocking, domid, .. } = &self.sending;
            end_log(backend.xen.guest_memory.clone(), *blocking, *domid).await;
        }
        if outcome.is_err() {
            self.pilot.unpin().await;
        }
        match (outcome, saved) {
            (Err(SendError::State(_)), _) if self.cancel.is_cancelled() => {
                Err(SendError::Cancelled)
            }
            (Err(SendError::State(error)), Err(why)) if error.fault == Fault::Truncated => {
                Err(why.into())
            }
            (outcome, _) => outcome,
        }
    }

    // ---- a guest that nobody logs

    /// Whether Xen tells what it writes.
    async fn is_logged(&mut self) -> Result<bool, SendError> {
        let Sending { backend, blocking, .. } = &self.sending;
        let host = backend.xen.host.clone();
        Ok(blocking.run(move || host.physinfo()).await?.shadow)
    }

    /// Stops it before anything is sent, if it may stand still for all of it.
    async fn stand(&mut self) -> Result<(), SendError> {
        let Sending { backend, blocking, domid, .. } = &self.sending;
        let (control, domid) = (backend.xen.control.clone(), *domid);
        let info = blocking.run(move || control.info(domid)).await?.ok_or(SendError::NoDomain)?;
        self.round.dirty_pages = info.pages.0;
        self.rounds.may_stand(Duration::ZERO, &self.round)?;
        self.phase = Phase::Stopping;
        self.tell(true);
        self.stop().await?;
        self.is_standing = true;
        Ok(())
    }

    // ---- the save

    /// Begins it, and tells the receiver what comes.
    async fn open(&mut self, guest: Guest) -> Result<(), SendError> {
        let Sending { backend, blocking, domid, options, seed, .. } = &self.sending;
        let begun = departure::begin(backend.xen.image.clone(), (*domid, guest), self.ends.clone());
        let (stream, questions, saving) = begun.map_err(SendError::pipe)?;
        self.saving = Some(saving);
        let (options, draw) = (options.clone(), (*seed, self.share.encoders));
        let open = move || Tap::open((stream, questions), &options, draw);
        let tap = Box::new(blocking.run(open).await?);
        let copies_max = COPIES_BYTES / vmm_core::migration::codec::PAGE;
        let copies_max = u32::try_from(copies_max).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        let hello = Hello { pfn_end: tap.end().0, copies_max, prologue: tap.prologue() };
        frames::hello(&hello, &mut bytes);
        self.tap = Some(tap);
        self.wire.ask(bytes, 0).await
    }

    async fn with_tap<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Tap) -> T + Send + 'static,
    ) -> T {
        let mut tap = self.tap.take().expect("one step at a time");
        let (done, tap) = self.sending.blocking.run(move || (work(&mut tap), tap)).await;
        self.tap = Some(tap);
        done
    }

    fn tap(&mut self) -> &mut Tap {
        self.tap.as_mut().expect("no step is under way")
    }

    async fn listen(&mut self) -> Result<Heard, SendError> {
        let link = self.wire.flow.bytes_per_s();
        let began = Instant::now();
        let heard = self.with_tap(move |tap| tap.listen(link)).await?;
        let worked = began.elapsed();
        if let Heard::Pages(_) = &heard {
            self.spent.encoding += worked;
            // A guest that stands still gains nothing by it.
            if let Some(rest) = self.share.rest(worked).filter(|_| self.stopped_at.is_none()) {
                self.spent.resting += rest;
                unless_cancelled(self.cancel, sleep(rest)).await?;
            }
        }
        Ok(heard)
    }

    /// Sends what was kept and is not any more.
    async fn release(&mut self, which: Release) -> Result<(), SendError> {
        let link = self.wire.flow.bytes_per_s();
        let packed = self.with_tap(move |tap| tap.release(which, link)).await;
        self.hand_over(packed).await
    }

    async fn answer(&mut self, at: Precopy) -> Result<(), SendError> {
        self.at = at;
        let next = match at.dirty_pages {
            None => self.between().await?,
            Some(dirty_pages) => self.before(dirty_pages)?,
        };
        self.tap().tell(Told::Next(next));
        Ok(())
    }

    /// A round is sent: what has come to rest follows, and the log is taken once the link is empty.
    async fn between(&mut self) -> Result<Next, SendError> {
        self.phase = Phase::Sprint;
        self.release(Release::Quiet).await?;
        self.drain().await?;
        let until = self.looked_at + ROUND_MIN;
        while self.wire.now() < until {
            self.wire.wait(until).await?;
            self.hear()?;
        }
        self.round.took = self.wire.now().saturating_sub(self.looked_at);
        self.looked_at = self.wire.now();
        Ok(Next::Round)
    }

    /// A round is to be sent.
    fn before(&mut self, dirty_pages: u64) -> Result<Next, SendError> {
        self.round.dirty_pages = dirty_pages;
        self.came = 0;
        if self.at.rounds == 0 {
            (self.phase, self.looked_at) = (Phase::FirstPass, self.wire.now());
            return Ok(Next::Round);
        }
        self.round.held_pages = self.tap().hold.len() as u64;
        self.round.link_bytes_per_s = self.wire.flow.bytes_per_s();
        let now = self.wire.now();
        match self.rounds.decide(now, &self.round) {
            Step::Round => Ok(Next::Round),
            Step::Stop => {
                self.phase = Phase::Stopping;
                Ok(Next::Stop)
            }
            Step::Abort(reason) => Err(reason.into()),
        }
    }

    async fn suspend(&mut self) -> Result<(), SendError> {
        self.release(Release::Quiet).await?;
        self.drain().await?;
        self.tell(true);
        self.stop().await?;
        self.tap().stop();
        self.tap().tell(Told::Suspended(true));
        Ok(())
    }

    async fn stop(&mut self) -> Result<(), SendError> {
        for _ in 0..ASKED_MAX {
            let pilot = self.pilot;
            if unless_cancelled(self.cancel, pilot.suspend()).await?? {
                self.phase = Phase::Rest;
                self.stopped_at = Some(self.wire.now());
                self.wire.be_stopped(self.sending.limits.downtime_max);
                return Ok(());
            }
        }
        Err(Reason::WouldNotSuspend { asked: ASKED_MAX }.into())
    }

    // ---- the link

    async fn hand_over(&mut self, packed: Packed) -> Result<(), SendError> {
        let Packed { frames, pages, bytes, came } = packed;
        self.came += came;
        self.sent_pages += pages;
        if pages > 0 {
            // Pages that are written again and again are not what the others were.
            let mean = bytes as f64 / pages as f64;
            let weight = if self.phase == Phase::FirstPass { 0.1 } else { 0.5 };
            self.round.page_bytes += weight * (mean - self.round.page_bytes);
        }
        for frame in frames {
            self.wait_for_room().await?;
            self.wire.ask(frame, 1).await?;
        }
        Ok(())
    }

    async fn wait_for_room(&mut self) -> Result<(), SendError> {
        self.hear()?;
        while self.wire.flow.is_full() {
            self.wire.wait(Duration::MAX).await?;
            self.hear()?;
        }
        Ok(())
    }

    /// Waits until the receiver has everything.
    async fn drain(&mut self) -> Result<(), SendError> {
        self.hear()?;
        while !self.wire.flow.is_empty() {
            self.wire.wait(Duration::MAX).await?;
            self.hear()?;
        }
        Ok(())
    }

    fn hear(&mut self) -> Result<(), SendError> {
        self.wire.hear().map(drop)
    }

    // ---- what it looks like

    fn left_bytes(&self) -> u64 {
        let held = self.tap.as_ref().map_or(0, |tap| tap.hold.len() as u64);
        let pages = self.round.dirty_pages.saturating_sub(self.came) + held;
        whole(pages as f64 * self.round.page_bytes)
    }

    /// It is given up when it lasts too long: while it runs by the deadline, and while it stands for all of it by what is left.
    fn check_time(&self) -> Result<(), SendError> {
        let now = self.wire.now();
        let Some(stopped_at) = self.stopped_at else {
            return Ok(self.rounds.is_too_late(now, self.left_bytes()).map_or(Ok(()), Err)?);
        };
        if self.is_standing {
            let dirty_pages = self.round.dirty_pages.saturating_sub(self.came);
            let link_bytes_per_s = self.wire.flow.bytes_per_s();
            let left = Round { dirty_pages, link_bytes_per_s, ..self.round };
            self.rounds.may_stand(now.saturating_sub(stopped_at), &left)?;
        }
        Ok(())
    }

    fn tell(&mut self, at_once: bool) {
        let now = self.wire.now();
        if at_once || self.told_at.is_none_or(|told| now >= told + EPOCH) {
            self.told_at = Some(now);
            self.progress.send_replace(Some(self.where_it_stands()));
        }
    }

    fn where_it_stands(&self) -> Progress {
        let (left_bytes, link) = (self.left_bytes(), self.wire.flow.bytes_per_s().max(1.0));
        let took = self.round.took.as_secs_f64();
        let dirty = self.round.dirty_pages as f64 * self.round.page_bytes;
        Progress {
            phase: self.phase,
            harvests: self.at.rounds,
            sent_pages: self.sent_pages,
            sent_bytes: self.wire.flow.handed_bytes(),
            left_bytes,
            dirty_bytes_per_s: if took > 0.0 { whole(dirty / took) } else { 0 },
            downtime: self.round.outlook(FIXED).downtime,
            left: Duration::try_from_secs_f64(left_bytes as f64 / link).unwrap_or(Duration::MAX),
            brake: Brake::OFF,
            lost: Duration::ZERO,
        }
    }

    // ---- the end

    /// What is still kept, and the machine's state.
    async fn commit(&mut self) -> Result<Sent, SendError> {
        self.release(Release::Rest).await?;
        self.round.dirty_pages = 0;
        self.phase = Phase::Over;
        let tap = self.tap();
        let (frames, encodings) = (tap.encoder.sent.len(), tap.encoder.counts);
        let mut bytes = Vec::new();
        frames::tail(&Tail { frames, gone: 0, epilogue: tap.epilogue() }, &mut bytes);
        self.wire.transmit(&bytes, 0).await?;
        self.tell(true);
        let elapsed = self.wire.now();
        Ok(Sent {
            ram_bytes: frames * u64::from(PAGE_BYTES),
            sent_bytes: self.wire.flow.handed_bytes(),
            rounds: self.at.rounds,
            elapsed,
            stopped_at: self.stopped_at.unwrap_or(elapsed),
            lost: Duration::ZERO,
            spent: self.spent,
            encodings,
        })
    }
}

/// A save that died has left it on.
async fn end_log(memory: Arc<dyn GuestMemory>, blocking: Blocking, domid: DomId) {
    if let Err(error) = blocking.run(move || memory.end_log(domid)).await {
        tracing::warn!(%domid, %error, "a guest's writes may still be logged");
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast to an integer saturates"
)]
fn whole(bytes: f64) -> u64 {
    bytes as u64
}
