//! Memory: the balloon's target for the guest, Xen's count of pages for the truth.
//!
//! ```text
//!   check ─► room ─────────────► steps: paging pool, limit, populate-on-demand, target ─► wait for the guest ─► settle
//!             └ not free: other VMs are asked, a task of its own waits (Stage::Room)         (Stage::Guest)
//! ```
//!
//! Xen lets a domain hold what was agreed and no more: to grow, its limit is raised first and then it is asked; after it has
//! shrunk, the limit follows. Above the VM's `memory-max` the guest must hot-add blocks, which takes a larger paging pool; it is
//! lowered again with the agreement. The steps are data ([`steps`](mod@steps)): one that fails takes all before it back. A growth that does
//! not come about is withdrawn, with limit and pool.
//!
//! The balloon policy's changes ([`Runner::balloon`]) take the same steps and leave the agreement alone. They do not wait for the
//! guest; each look of the policy's lets the limit follow.

mod notes;
mod settle;
mod steps;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use vmm_core::units::Kib;

use super::POLL;
use crate::domain::error::StepError;
use crate::domain::pending::Pending;
use crate::domain::room::{self, Need, Promise};
use crate::domain::runner::{Reply, Runner};
use crate::domain::{Answer, ChangeError, Outcome};
use crate::memory::{self, Agreement};
pub(crate) use steps::MemoryAct;
use steps::{Terms, paging_pool_for, steps};

/// Less than this and no kernel of today runs.
const MEMORY_MIN: Kib = Kib::from_mib(32);
/// More than this has never been tried.
const MEMORY_LIMIT: Kib = Kib::from_mib(4 << 20);
/// A guest without any progress for this long will make none.
const STALLED_AFTER: Duration = Duration::from_secs(15);
/// A target is reached within this much, for a domain's special pages, …
const TOLERANCE_MIN: Kib = Kib::from_mib(1);
/// … or within this share, 1 part of so many, by a guest that has come to rest there.
const TOLERANCE_PARTS: u64 = 50;
/// A guest whose memory has not changed for this long has come to rest: balloon drivers pause for a second between tries.
const AT_REST_AFTER: Duration = Duration::from_secs(3);

/// What a guest is left of the time, however long the search for room took.
const GUEST_WAIT_MIN: Duration = Duration::from_secs(5);

/// A VM shall have this much memory.
pub(crate) struct MemoryWait {
    asked: Kib,
    deadline: Instant,
    look_at: Instant,
    stage: Stage,
    pub(crate) reply: Reply,
}

enum Stage {
    /// Other VMs are asked for what the host has not got.
    Room(RoomWait),
    /// The guest was asked.
    Guest(GuestWait),
}

struct RoomWait {
    found: oneshot::Receiver<Result<Promise, ChangeError>>,
    /// Dropped, it ends the search.
    _search: DropGuard,
}

struct GuestWait {
    before: Terms,
    /// What it held when it last made progress, and when that was.
    held: Kib,
    moved_at: Instant,
    _promise: Option<Promise>,
}

impl MemoryWait {
    pub(crate) fn due(&self) -> Instant {
        match self.stage {
            // The search has a limit of its own.
            Stage::Room(_) => self.look_at,
            Stage::Guest(_) => self.look_at.min(self.deadline),
        }
    }
}

impl GuestWait {
    /// Takes note of what it holds now.
    fn look(&mut self, held: Kib) {
        if held != self.held {
            (self.held, self.moved_at) = (held, Instant::now());
        }
    }

    fn is_reached(&self, asked: Kib, deadline: Instant) -> bool {
        let distance = self.held.saturating_sub(asked) + asked.saturating_sub(self.held);
        let near = distance <= Kib(asked.0 / TOLERANCE_PARTS);
        let over = Instant::now() >= (self.moved_at + AT_REST_AFTER).min(deadline);
        distance <= TOLERANCE_MIN || (near && over)
    }

    fn out_of_time(&self, deadline: Instant) -> bool {
        Instant::now() >= deadline.min(self.moved_at + STALLED_AFTER)
    }
}

impl Runner {
    pub(crate) async fn set_memory(&mut self, asked: Kib, wait: Duration, reply: Reply) {
        let now = Instant::now();
        match self.begin_memory(asked, wait).await {
            Err(error) => {
                let _ = reply.send(Err(error));
            }
            Ok(stage) => {
                let wait = MemoryWait { asked, deadline: now + wait, look_at: now, stage, reply };
                self.check_memory(wait).await;
            }
        }
    }

    /// Checks, and asks the guest if there is room for what it shall have.
    async fn begin_memory(&mut self, asked: Kib, wait: Duration) -> Result<Stage, ChangeError> {
        if !(MEMORY_MIN..=MEMORY_LIMIT).contains(&asked) {
            let text = format!("{asked} are refused: use {MEMORY_MIN} to {MEMORY_LIMIT}");
            return Err(ChangeError::BadRequest(text));
        }
        let terms = self.terms().await?;
        let need = self.need(&terms, Agreement { target: asked, agreed: asked });
        let vm = self.site.record.vm;
        if need.more == Kib::ZERO {
            return self.ask_guest(asked, None).await.map(Stage::Guest);
        }
        match room::promise_now(self.core(), need).await {
            Ok(promise) => self.ask_guest(asked, Some(promise)).await.map(Stage::Guest),
            Err(ChangeError::OutOfMemory { .. }) if memory::anybody(self.core(), Some(vm)) => {
                memory::can_make_room(self.core(), need).await?;
                Ok(Stage::Room(self.wait_for_room(need, wait)))
            }
            Err(error) => Err(error),
        }
    }

    /// What the host must have free for it.
    fn need(&self, terms: &Terms, wanted: Agreement) -> Need {
        let spec = &self.site.record.spec;
        let pool = paging_pool_for(spec, wanted.agreed);
        let more_pool = pool.saturating_sub(paging_pool_for(spec, terms.agreed));
        Need {
            vm: self.site.record.vm,
            more: wanted.target.saturating_sub(terms.grip()) + more_pool,
            whole: wanted.target + more_pool,
        }
    }

    /// A task of its own searches, so that this one goes on listening.
    fn wait_for_room(&self, need: Need, wait: Duration) -> RoomWait {
        let (sender, found) = oneshot::channel();
        let (core, cancel) = (self.core().clone(), CancellationToken::new());
        let search = cancel.clone().drop_guard();
        self.core().spawn(async move {
            let wait = wait.min(memory::ROOM_WAIT);
            let _ = sender.send(memory::make_room(&core, need, wait, &cancel).await);
        });
        RoomWait { found, _search: search }
    }

    /// Raises Xen's limits where needed, and asks the guest.
    async fn ask_guest(
        &mut self,
        asked: Kib,
        promise: Option<Promise>,
    ) -> Result<GuestWait, ChangeError> {
        let before = self.terms().await?;
        let wanted = Agreement { target: asked, agreed: asked };
        self.carry_out(steps(&self.site.record.spec, &before, wanted)).await?;
        let (held, moved_at) = (before.held, Instant::now());
        Ok(GuestWait { before, held, moved_at, _promise: promise })
    }

    /// Goes on, answers when it is so, or when nothing more will come.
    pub(crate) async fn check_memory(&mut self, mut wait: MemoryWait) {
        let outcome = match &mut wait.stage {
            Stage::Room(room) => match room.found.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => None,
                Err(oneshot::error::TryRecvError::Closed) => Some(Err(ChangeError::Stopping)),
                Ok(Err(error)) => Some(Err(error)),
                Ok(Ok(promise)) => match self.ask_guest(wait.asked, Some(promise)).await {
                    Err(error) => Some(Err(error)),
                    Ok(guest) => {
                        wait.deadline = wait.deadline.max(Instant::now() + GUEST_WAIT_MIN);
                        wait.stage = Stage::Guest(guest);
                        None
                    }
                },
            },
            Stage::Guest(guest) => self.check_guest(wait.asked, wait.deadline, guest).await,
        };
        let Some(outcome) = outcome else {
            wait.look_at = Instant::now() + POLL;
            self.pending = Some(Pending::Memory(wait));
            return;
        };
        self.publish_size();
        let _ = wait.reply.send(outcome);
    }

    async fn check_guest(
        &mut self,
        asked: Kib,
        deadline: Instant,
        guest: &mut GuestWait,
    ) -> Option<Outcome> {
        let reached = match self.info().await {
            Ok(info) => Kib(info.pages.kib()),
            // The next look may succeed; when there is none, what was seen last counts.
            Err(error) => {
                tracing::warn!(vm_id = %self.site.record.vm, %error, "memory not looked at");
                guest.held
            }
        };
        guest.look(reached);
        if guest.is_reached(asked, deadline) {
            self.close(asked, asked, guest.before.agreed).await;
            return Some(Ok(Answer::Memory { asked, reached, note: String::new() }));
        }
        match guest.out_of_time(deadline) {
            true => Some(self.settle_memory(asked, reached, &guest.before).await),
            false => None,
        }
    }

    /// The balloon policy's wish. The agreement stays; the limit follows the guest.
    pub(crate) async fn balloon(&mut self, target: Kib) -> Outcome {
        let before = self.terms().await?;
        let wanted = Agreement { target, agreed: before.agreed };
        let need = self.need(&before, wanted);
        let promise = match need.more {
            Kib::ZERO => None,
            _ => Some(room::promise_now(self.core(), need).await?),
        };
        if target != before.target {
            self.carry_out(steps(&self.site.record.spec, &before, wanted)).await?;
        }
        drop(promise);
        let limit = before.held.max(target);
        if limit < before.limit {
            let lowered = self.site.act_on_memory(MemoryAct::SetLimit(limit)).await;
            lowered.map_err(|error| ChangeError::step("lower-limit", error))?;
            self.publish_size();
        }
        Ok(Answer::Memory { asked: target, reached: before.held, note: String::new() })
    }

    /// How things stand between the VM and its host.
    async fn terms(&self) -> Result<Terms, ChangeError> {
        let failed = |error: StepError| ChangeError::step("look-at-memory", error);
        let info = self.info().await.map_err(failed)?;
        let spec = self.site.record.spec.clone();
        let domid = info.domid;
        let read =
            move |host: &crate::Backend| memory::agreement(host.xen.store.as_ref(), domid, &spec);
        let Agreement { target, agreed } =
            self.core().run(read).await.map_err(|error| failed(error.into()))?;
        Ok(Terms { held: Kib(info.pages.kib()), limit: room::limit(&info), target, agreed })
    }
}
