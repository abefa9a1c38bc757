//! Memory: the balloon's target for the guest, Xen's count of pages for the truth.
//!
//! Xen lets a domain hold what was agreed and no more: to grow, its limit is raised first and then it is asked; after it has
//! shrunk, the limit follows. Above the VM's `memory-max` the guest must hot-add blocks, which takes a larger paging pool.

use std::time::Duration;

use tokio::time::Instant;
use vmm_core::units::Kib;
use vmm_core::vm::{MAXMEM_SLACK, paging_pool};
use xen_bindings::{DomId, DomainInfo, StorePath, XenError};

use super::POLL;
use crate::domain::error::StepError;
use crate::domain::pending::Pending;
use crate::domain::room::{self, Promise};
use crate::domain::runner::{Reply, Runner};
use crate::domain::{Answer, ChangeError, Outcome};

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

/// A guest was asked to have this much memory.
pub(crate) struct MemoryWait {
    asked: Kib,
    grows: bool,
    deadline: Instant,
    look_at: Instant,
    /// What it held when it last made progress, and when that was.
    held: Kib,
    moved_at: Instant,
    _promise: Option<Promise>,
    pub(crate) reply: Reply,
}

impl MemoryWait {
    pub(crate) fn due(&self) -> Instant {
        self.look_at.min(self.deadline)
    }

    /// Takes note of what it holds now.
    fn look(&mut self, held: Kib) {
        if held != self.held {
            (self.held, self.moved_at) = (held, Instant::now());
        }
    }

    fn is_reached(&self) -> bool {
        let distance = self.held.saturating_sub(self.asked) + self.asked.saturating_sub(self.held);
        let near = distance <= Kib(self.asked.0 / TOLERANCE_PARTS);
        let over = Instant::now() >= (self.moved_at + AT_REST_AFTER).min(self.deadline);
        distance <= TOLERANCE_MIN || (near && over)
    }

    fn out_of_time(&self) -> bool {
        Instant::now() >= self.deadline.min(self.moved_at + STALLED_AFTER)
    }
}

fn held(info: &DomainInfo) -> Kib {
    Kib(info.pages.kib())
}

impl Runner {
    pub(crate) async fn set_memory(&mut self, asked: Kib, wait: Duration, reply: Reply) {
        match self.ask_memory(asked).await {
            Err(error) => {
                let _ = reply.send(Err(error));
            }
            Ok((before, promise)) => {
                let now = Instant::now();
                let wait = MemoryWait {
                    asked,
                    grows: asked > before,
                    deadline: now + wait,
                    look_at: now,
                    held: before,
                    moved_at: now,
                    _promise: promise,
                    reply,
                };
                self.check_memory(wait).await;
            }
        }
    }

    /// Checks, makes room, and asks the guest; what it held before.
    async fn ask_memory(&self, asked: Kib) -> Result<(Kib, Option<Promise>), ChangeError> {
        if !(MEMORY_MIN..=MEMORY_LIMIT).contains(&asked) {
            let text = format!("{asked} are refused: use {MEMORY_MIN} to {MEMORY_LIMIT}");
            return Err(ChangeError::BadRequest(text));
        }
        let failed = |error: StepError| ChangeError::step("look-at-memory", error);
        let before = held(&self.info().await.map_err(failed)?);
        let promise = match asked > before {
            true => Some(self.make_room(asked, before).await?),
            false => None,
        };
        let (domid, max) = (self.site.domid().map_err(failed)?, self.site.record.spec.memory_max);
        let ask = move |host: &crate::Backend| -> Result<(), StepError> {
            if asked <= max {
                host.xen.memory.set_pod_target(domid, asked.0)?;
            }
            write_target(host, domid, asked)
        };
        match self.core().run(ask).await {
            Ok(()) => Ok((before, promise)),
            Err(error) => {
                self.limit_to(before).await;
                Err(ChangeError::step("ask-guest", error))
            }
        }
    }

    /// Raises Xen's limits, if the host has the memory.
    async fn make_room(&self, asked: Kib, before: Kib) -> Result<Promise, ChangeError> {
        let spec = &self.site.record.spec;
        let domid = self.site.domid().map_err(|e| ChangeError::step("raise-limits", e))?;
        let pool = (asked > spec.memory_max).then(|| paging_pool(spec.vcpus_max, asked));
        let more_pool = pool
            .map(|pool| pool.saturating_sub(paging_pool(spec.vcpus_max, spec.memory_max)))
            .unwrap_or_default();
        let needed = asked.saturating_sub(before) + more_pool;
        let promise = room::promise(self.core(), self.site.record.vm, needed, before).await?;
        let raise = move |host: &crate::Backend| -> Result<(), XenError> {
            if let Some(pool) = pool {
                host.xen.memory.set_paging_pool(domid, pool.0.saturating_mul(1024))?;
            }
            host.xen.memory.set_max(domid, (asked + MAXMEM_SLACK).0)
        };
        let raised = self.core().run(raise).await;
        raised.map_err(|error| ChangeError::step("raise-limits", error))?;
        Ok(promise)
    }

    /// Answers when it is so, or when nothing more will come.
    pub(crate) async fn check_memory(&mut self, mut wait: MemoryWait) {
        let now = self.info().await.map(|info| held(&info));
        if let Ok(held) = &now {
            wait.look(*held);
        }
        let outcome = match now {
            Err(error) => Err(ChangeError::step("look-at-memory", error)),
            Ok(reached) if wait.is_reached() => {
                self.limit_to(wait.asked).await;
                Ok(Answer::Memory { asked: wait.asked, reached, note: String::new() })
            }
            Ok(_) if !wait.out_of_time() => {
                wait.look_at = Instant::now() + POLL;
                self.pending = Some(Pending::Memory(wait));
                return;
            }
            Ok(reached) => self.settle_memory(&wait, reached).await,
        };
        self.publish_size();
        let _ = wait.reply.send(outcome);
    }

    /// A growth that did not happen is withdrawn. A guest that was asked to shrink may still do so.
    async fn settle_memory(&mut self, wait: &MemoryWait, reached: Kib) -> Outcome {
        let failed = |error: StepError| ChangeError::step("settle-memory", error);
        if wait.grows {
            let domid = self.site.domid().map_err(failed)?;
            let withdraw = move |host: &crate::Backend| write_target(host, domid, reached);
            self.core().run(withdraw).await.map_err(failed)?;
        }
        self.limit_to(reached).await;
        let (asked, mib) = (wait.asked, reached.mib());
        let note = match wait.grows {
            true => format!(
                "the guest grew to {mib} MiB and no further; the request is withdrawn (above memory-max it must put hot-added memory online)"
            ),
            false => {
                format!("the guest gave back memory down to {mib} MiB so far and keeps the target")
            }
        };
        Ok(Answer::Memory { asked, reached, note })
    }

    /// Xen lets the domain hold this much from now on.
    async fn limit_to(&self, memory: Kib) {
        let Ok(domid) = self.site.domid() else { return };
        let limit =
            move |host: &crate::Backend| host.xen.memory.set_max(domid, (memory + MAXMEM_SLACK).0);
        if let Err(error) = self.core().run(limit).await {
            tracing::warn!(vm_id = %self.site.record.vm, domid = domid.get(), %error, "limit not set");
        }
    }
}

fn write_target(host: &crate::Backend, domid: DomId, target: Kib) -> Result<(), StepError> {
    let node = StorePath::domain(domid).join("memory/target")?;
    Ok(host.xen.store.write(&node, target.0.to_string().as_bytes())?)
}
