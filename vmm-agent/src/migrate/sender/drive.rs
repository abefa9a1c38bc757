//! One action of the policy after the other.

use std::pin::pin;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use vmm_core::migration::layered::{Phase, Progress};
use vmm_core::migration::{
    Action, Batch, Bitmap, Brake, EPOCH, Event, Guest, Layered, Pfn, Policy as _,
};
use vmm_core::units::Kib;
use xen_bindings::{Gfn, GfnSet};

use super::budget::within_budget;
use super::encode::Encoder;
use super::flow::Flow;
use super::share::{Share, Spent, timed};
use super::source::{Frames, Look, Source};
use super::wire::{LOOK, TICK, Wire, unless_cancelled};
use super::{COPIES_BYTES, FIXED, Pilot, SendError, Sending, Sent};
use crate::migrate::frames::{self, Hello, Run, Tail};
use crate::migrate::link::PageLink;

/// All frames are looked at again after so many times what the last look took.
const LOOK_REST: u32 = 20;

/// Who a driver talks to.
pub(super) struct Ends<'a, L, P> {
    pub(super) link: L,
    pub(super) pilot: &'a P,
    pub(super) progress: watch::Sender<Option<Progress>>,
    pub(super) cancel: &'a CancellationToken,
}

/// A migration under way.
pub(super) struct Driver<'a, L, P> {
    wire: Wire<'a, L>,
    pilot: &'a P,
    cancel: &'a CancellationToken,
    progress: watch::Sender<Option<Progress>>,
    told_at: Option<Duration>,
    source: Source,
    policy: Layered,
    encoder: Option<Box<Encoder>>,
    share: Share,
    spent: Spent,
    /// The frame of a batch, to be handed over while the next one is encoded.
    ready: Option<Vec<u8>>,
    /// Numbers of pages that the policy knows.
    pages: u32,
    prologue: Vec<u8>,
    /// Those that there are, as far as we know.
    frames: Frames,
    stopped_at: Option<Duration>,
    /// What the guest was last denied of its time, or was to be.
    brake: Brake,
    /// What it may lose by that, and when it will have.
    budget: Duration,
    /// What the guest may stand still.
    downtime_max: Duration,
    /// What a look at all frames may take of that.
    look_max: Duration,
    /// When the last one ended, and what it took.
    looked: (Duration, Duration),
    spent_at: Option<Instant>,
}

impl<'a, L: PageLink, P: Pilot> Driver<'a, L, P> {
    /// Looks at the guest. Nothing is changed yet.
    pub(super) async fn begin(sending: Sending, ends: Ends<'a, L, P>) -> Result<Self, SendError> {
        let mut source = Source::new(&sending.backend, sending.blocking, sending.domid);
        let end = source.end().await?;
        let pages = u32::try_from(end.0).map_err(|_| SendError::TooLarge { end: end.0 })?;
        let held = Kib(source.pages().await?.kib());
        let cap = sending.bandwidth.filter(|cap| *cap > 0);
        let expected = sending.link_bytes_per_s.min(cap.unwrap_or(u64::MAX));
        let share = Share::of(sending.blocking);
        let guest = Guest {
            pages,
            held,
            used: sending.used,
            floor: sending.floor,
            gives_hints: false,
            link_bytes_per_s: expected,
            threads: share.encoders,
            fixed: FIXED,
        };
        let prologue = source.prologue().await?;
        let encoder = Encoder::new(end, COPIES_BYTES, sending.seed, share.encoders)?;
        Ok(Self {
            wire: Wire::new(ends.link, ends.cancel, Flow::new(expected), cap),
            pilot: ends.pilot,
            cancel: ends.cancel,
            progress: ends.progress,
            told_at: None,
            source,
            policy: Layered::new(guest, sending.limits, sending.options),
            encoder: Some(Box::new(encoder)),
            share,
            spent: Spent::default(),
            ready: None,
            pages,
            prologue,
            frames: Frames::default(),
            stopped_at: None,
            brake: Brake::OFF,
            budget: sending.limits.brake_budget,
            downtime_max: sending.limits.downtime_max,
            look_max: sending.look_max,
            looked: (Duration::ZERO, Duration::ZERO),
            spent_at: None,
        })
    }

    fn now(&self) -> Duration {
        self.wire.now()
    }

    /// Sends the guest.
    pub(super) async fn run(&mut self) -> Result<Sent, SendError> {
        self.hello().await?;
        loop {
            let (pilot, spent_at) = (self.pilot, self.spent_at);
            // Apart for the compiler: one function of all steps is beyond its optimizer.
            let (done, is_spent) = within_budget(pilot, spent_at, self.step().boxed()).await;
            if let Some(sent) = done? {
                return Ok(sent);
            }
            if is_spent && self.spent_at == spent_at {
                self.spent_at = None;
            }
        }
    }

    /// What the policy wants next. All that there is to say of the guest, once it is sent.
    async fn step(&mut self) -> Result<Option<Sent>, SendError> {
        self.hear()?;
        if self.wire.flow.is_full() {
            self.wire.wait(Duration::MAX).await?;
            return Ok(None);
        }
        let action = self.policy.decide(self.now());
        self.tell(false);
        if !matches!(action, Action::Send(_)) {
            self.hand_over().await?;
        }
        match action {
            Action::Commit => return self.commit().await.map(Some),
            Action::Abort(reason) => return Err(reason.into()),
            action => self.act(action).boxed().await?,
        }
        Ok(None)
    }

    /// After the end, however it came: nobody logs, nobody brakes.
    pub(super) async fn tidy(&mut self, has_failed: bool) {
        self.source.log_off().await;
        if self.brake > Brake::OFF
            && let Err(error) = self.pilot.brake(Brake::OFF).await
        {
            tracing::warn!(%error, "a guest stays braked after its migration");
        }
        if has_failed {
            self.pilot.unpin().await;
        }
    }

    async fn act(&mut self, action: Action) -> Result<(), SendError> {
        match action {
            Action::Balloon { target } => {
                let pilot = self.pilot;
                unless_cancelled(self.cancel, pilot.balloon(target)).await??;
                self.wait(self.now() + TICK).await
            }
            Action::PinAndLog => self.log().await,
            Action::AskFree => {
                // No guest of ours tells: nothing is free that we know of.
                let pages = Bitmap::empty(self.pages);
                self.policy.observe(self.now(), &Event::Free { pages: &pages });
                Ok(())
            }
            Action::Release { .. } => {
                let acked = Event::Acked { sends: 1, bytes: 0, busy: Duration::ZERO };
                self.policy.observe(self.now(), &acked);
                Ok(())
            }
            Action::Harvest => self.harvest().await,
            Action::Peek => {
                let looked = self.source.look(Look::Peek, self.pages);
                let dirty = timed(&mut self.spent.looking, looked).await?;
                self.policy.observe(self.now(), &Event::Peeked { dirty: &dirty });
                Ok(())
            }
            Action::Count => {
                let pages = self.source.count().await?;
                self.policy.observe(self.now(), &Event::Counted { pages });
                Ok(())
            }
            Action::Send(batch) => self.send(batch).await,
            Action::Weigh(batch) => {
                let outcomes = self.source.weigh(&mut self.encoder, batch).await?;
                self.policy.observe(self.now(), &Event::Weighed { outcomes: &outcomes });
                Ok(())
            }
            Action::Cap(brake) => self.brake(brake).await,
            Action::Wait { until } => self.wait(until).await,
            Action::Suspend => self.suspend().await,
            // Both end the loop.
            Action::Commit | Action::Abort(_) => Ok(()),
        }
    }

    // ---- the guest

    /// What no log tells of, frames that came and went, is looked for before: after a harvest the guest may be stopped, and then only what has
    /// changed since is to be found.
    async fn harvest(&mut self) -> Result<(), SendError> {
        let (looked_at, look) = self.looked;
        if self.now() >= looked_at + look * LOOK_REST {
            let cancel = self.cancel;
            unless_cancelled(cancel, self.look_at_frames()).await??;
        }
        let looked = self.source.look(Look::Clean, self.pages);
        let dirty = timed(&mut self.spent.looking, looked).await?;
        self.policy.observe(self.now(), &Event::Harvested { dirty: &dirty });
        Ok(())
    }

    /// The balloon is held, the log is on, and then it is looked which frames there are: what comes later is looked for again.
    async fn log(&mut self) -> Result<(), SendError> {
        let pilot = self.pilot;
        unless_cancelled(self.cancel, pilot.pin()).await??;
        self.source.log().await?;
        self.look_at_frames().await?;
        let absent = std::mem::take(&mut self.frames.absent);
        self.policy.observe(self.now(), &Event::Logging { absent: &absent });
        Ok(())
    }

    async fn brake(&mut self, brake: Brake) -> Result<(), SendError> {
        // Until it is done, it may or may not be.
        self.brake = self.brake.max(brake);
        let pilot = self.pilot;
        unless_cancelled(self.cancel, pilot.brake(brake)).await??;
        self.brake = brake;
        let now = self.now();
        let left = self.budget.saturating_sub(self.policy.progress(now).lost);
        self.spent_at =
            (brake > Brake::OFF).then(|| self.wire.at(now + left.div_f64(brake.denied())));
        Ok(())
    }

    async fn suspend(&mut self) -> Result<(), SendError> {
        if !self.stop().await? {
            self.policy.observe(self.now(), &Event::SuspendFailed);
            return Ok(());
        }
        self.stopped_at = Some(self.now());
        self.wire.be_stopped(self.downtime_max);
        let looked = self.source.look(Look::Final, self.pages);
        let mut dirty = timed(&mut self.spent.standing.looking, looked).await?;
        let mut worked = Duration::ZERO;
        let come = timed(&mut worked, self.come(&dirty)).await?;
        self.spent.standing.frames = worked;
        for page in come.iter() {
            // Those above the policy's end were refused.
            dirty.insert(Pfn(u32::try_from(page.0).unwrap_or(u32::MAX)));
        }
        self.policy.observe(self.now(), &Event::Suspended { dirty: &dirty });
        Ok(())
    }

    /// Asks it to suspend, and tells how it stands meanwhile.
    async fn stop(&mut self) -> Result<bool, SendError> {
        let pilot = self.pilot;
        let mut asked = pin!(pilot.suspend());
        loop {
            self.tell(true);
            let until = self.wire.at(self.now() + LOOK);
            let stopped = unless_cancelled(self.cancel, timeout_at(until, &mut asked)).await?;
            if let Ok(has_stopped) = stopped {
                return Ok(has_stopped?);
            }
        }
    }

    /// Frames that must be sent although no log tells of them. Looks again at all of them where that takes little of the downtime, and
    /// otherwise where anything has changed since then: what Xen counts, a frame that was known and is missing, or one that was sent or written
    /// and was not known. A guest that within that time gives one frame back and takes another, and has not written to it, is what that does not
    /// tell.
    async fn come(&mut self, dirty: &Bitmap) -> Result<GfnSet, SendError> {
        let (_, look) = self.looked;
        if look < self.look_max || self.frames_have_changed(dirty).await? {
            self.look_at_frames().await?;
        }
        let set = &self.frames.set;
        if set.end().0 > u64::from(self.pages)
            && set.iter().any(|gfn| gfn.0 >= u64::from(self.pages))
        {
            return Err(SendError::Grew);
        }
        Ok(self.missing())
    }

    async fn look_at_frames(&mut self) -> Result<(), SendError> {
        let (began, known) = (self.now(), std::mem::take(&mut self.frames.set));
        self.frames = self.source.frames(self.pages, known).await?;
        self.looked = (self.now(), self.now().saturating_sub(began));
        Ok(())
    }

    async fn frames_have_changed(&mut self, dirty: &Bitmap) -> Result<bool, SendError> {
        let (before, after) = self.frames.counts;
        let now = self.source.pages().await?;
        let (Encoder { sent, vanished, .. }, set) = (self.encoder(), &self.frames.set);
        // A log tells of frames that were never there, too: those are no news.
        let has_gone = vanished.iter().any(|gfn| set.contains(gfn));
        let mut strange = sent.clone();
        strange.subtract(vanished);
        strange.subtract(set);
        if before != after || after != now || has_gone || !strange.is_empty() {
            return Ok(true);
        }
        let written = dirty.iter().map(|page| Gfn(page.0.into()));
        let unknown = written.filter(|gfn| !set.contains(*gfn)).collect();
        self.source.is_any_there(unknown).await
    }

    /// There, and not at the receiver.
    fn missing(&self) -> GfnSet {
        let encoder = self.encoder();
        let mut have = encoder.sent.clone();
        have.subtract(&encoder.vanished);
        let mut missing = self.frames.set.clone();
        missing.subtract(&have);
        missing
    }

    fn encoder(&self) -> &Encoder {
        self.encoder.as_ref().expect("no batch is being encoded")
    }

    // ---- the link

    async fn hello(&mut self) -> Result<(), SendError> {
        let copies_max = u32::try_from(COPIES_BYTES / vmm_core::migration::codec::PAGE);
        let copies_max = copies_max.unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        let hello = Hello { pfn_end: self.pages, copies_max, prologue: &self.prologue };
        frames::hello(&hello, &mut bytes);
        self.wire.ask(bytes, 0).await
    }

    /// Encodes a batch while the last one is handed over.
    async fn send(&mut self, batch: Batch) -> Result<(), SendError> {
        let (ready, wire) = (self.ready.take(), &mut self.wire);
        let handed = async {
            match ready {
                Some(frame) => wire.ask(frame, 1).await,
                None => Ok(()),
            }
        };
        let mut worked = Duration::ZERO;
        let encoded = timed(&mut worked, self.source.encode(&mut self.encoder, batch));
        let (encoded, handed) = tokio::join!(encoded, handed);
        self.spent.encoding += worked;
        if self.stopped_at.is_some() {
            self.spent.standing.encoding += worked;
        }
        let encoded = encoded?;
        handed?;
        let (batch, outcomes) = (&encoded.batch, &encoded.outcomes[..]);
        self.policy.observe(self.now(), &Event::Sent { batch, outcomes });
        self.ready = Some(encoded.frame);
        match self.share.rest(worked) {
            // A guest that stands still gains nothing by it.
            Some(rest) if self.stopped_at.is_none() => {
                self.spent.resting += rest;
                unless_cancelled(self.cancel, sleep(rest).map(Ok)).await?
            }
            _ => Ok(()),
        }
    }

    /// What is encoded and still here.
    async fn hand_over(&mut self) -> Result<(), SendError> {
        match self.ready.take() {
            Some(frame) => self.wire.ask(frame, 1).await,
            None => Ok(()),
        }
    }

    /// Waits until then, or until the receiver has more.
    async fn wait(&mut self, until: Duration) -> Result<(), SendError> {
        self.wire.wait(until).await?;
        if self.policy.progress(self.now()).phase == Phase::Compact {
            let pilot = self.pilot;
            let reading = unless_cancelled(self.cancel, pilot.reading()).await??;
            self.policy.observe(self.now(), &Event::Balloon(reading));
        }
        Ok(())
    }

    /// What the receiver has by now.
    fn hear(&mut self) -> Result<(), SendError> {
        if let Some(of) = self.wire.hear()? {
            let acked = Event::Acked { sends: of.sends, bytes: of.bytes, busy: of.busy };
            self.policy.observe(self.now(), &acked);
        }
        Ok(())
    }

    /// Now and then: it costs a look at all pages.
    fn tell(&mut self, at_once: bool) {
        let now = self.now();
        if at_once || self.told_at.is_none_or(|told| now >= told + EPOCH) {
            self.told_at = Some(now);
            self.progress.send_replace(Some(self.policy.progress(now)));
        }
    }

    // ---- the end

    /// Everything has arrived: what is gone, and the machine's state.
    async fn commit(&mut self) -> Result<Sent, SendError> {
        if let Some(gfn) = self.missing().iter().next() {
            return Err(SendError::Incomplete {
                page: Pfn(u32::try_from(gfn.0).unwrap_or(u32::MAX)),
            });
        }
        let mut gone = self.encoder().sent.clone();
        gone.subtract(&self.frames.set);
        let state = self.source.epilogue(self.prologue.clone());
        let epilogue = timed(&mut self.spent.standing.machine, state).await?;
        let mut bytes = Vec::new();
        frames::gone(&runs(&gone), &mut bytes);
        let frames = self.encoder().sent.len();
        frames::tail(&Tail { frames, gone: gone.len(), epilogue: &epilogue }, &mut bytes);
        self.wire.transmit(&bytes, 0).await?;
        self.tell(true);
        let elapsed = self.now();
        let progress = self.policy.progress(elapsed);
        Ok(Sent {
            ram_bytes: self.frames.set.len() * u64::from(vmm_core::migration::PAGE_BYTES),
            sent_bytes: self.wire.flow.handed_bytes(),
            rounds: progress.harvests,
            elapsed,
            stopped_at: self.stopped_at.unwrap_or(elapsed),
            lost: progress.lost.min(self.budget),
            spent: self.spent,
            encodings: self.encoder().counts,
        })
    }
}

/// Neighbours as runs.
fn runs(frames: &GfnSet) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for Gfn(gfn) in frames.iter() {
        // The encoder knows no higher ones.
        let page = u32::try_from(gfn).unwrap_or(u32::MAX);
        match runs.last_mut() {
            Some(run) if run.first.0 + run.pages == page => run.pages += 1,
            _ => runs.push(Run { first: Pfn(page), pages: 1 }),
        }
    }
    runs
}
