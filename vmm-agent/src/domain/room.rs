//! Room in the host's memory: what is free, less what is spoken for.
//!
//! Two builds at once must not both count on the same free memory, and a guest that has given memory back must not take what was
//! promised since. Spoken for is, of each VM, the greater of
//!
//! - what was promised to its build or growth under way ([`Promise`]), and
//! - what it may take without asking anybody: Xen's limit on its domain,
//!
//! less what its domain holds already, for that is no longer free; and whatever is claimed in Xen. Xen's free memory contains what is
//! claimed. A claim of our own keeps memory that was promised too: it is subtracted once.
//!
//! # Claims
//!
//! A promise binds this agent alone. A claim ([`Site::claim_memory`]) binds Xen: neither dom0 nor another toolstack nor another
//! domain's balloon can take the memory between two steps of the build, so that a build that begins to populate has all it
//! needs. Each page that the domain is given reduces its claim. Xen 4.17 takes one claim a domain, above what it holds and
//! within its limit, so the limit is set first. With populate-on-demand the claim is the memory at boot too: that is what its
//! cache is filled with. The paging pool and Xen's own structures are no pages of the domain, so no claim keeps them; they are
//! made before. libxenguest ends the claim with its memory setup, whoever made it; what is left then is given back at once.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::{MAXMEM_SLACK, VmSpec, overhead};
use xen_bindings::{DomainInfo, RunState, XenError, XenErrorKind};

use super::error::{ChangeError, StepError};
use super::shells;
use super::site::Site;
use crate::core::Core;
use crate::memory;

/// What a change needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Need {
    pub(crate) vm: VmId,
    /// So much that is free now.
    pub(crate) more: Kib,
    /// What the VM will hold in all.
    pub(crate) whole: Kib,
}

impl Need {
    /// What a VM's build needs.
    pub(crate) fn to_build(vm: VmId, spec: &VmSpec) -> Self {
        let whole = spec.memory + overhead(spec);
        Self { vm, more: whole, whole }
    }
}

/// What is promised, and what is claimed in Xen for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    last: u64,
    /// Which VM may come to hold how much in all, for each promise.
    given: BTreeMap<u64, (VmId, Kib)>,
    /// In all, too.
    claims: BTreeMap<VmId, Kib>,
}

impl Promises {
    fn give(&mut self, vm: VmId, whole: Kib) -> u64 {
        self.last += 1;
        self.given.insert(self.last, (vm, whole));
        self.last
    }

    fn take_back(&mut self, id: u64, vm: VmId) {
        self.given.remove(&id);
        if !self.given.values().any(|(other, _)| *other == vm) {
            self.claims.remove(&vm);
        }
    }

    fn whole(&self, vm: VmId) -> Kib {
        let wholes = self.given.values().filter(|(other, _)| *other == vm);
        wholes.map(|(_, whole)| *whole).max().unwrap_or_default()
    }
}

fn promises(core: &Core) -> MutexGuard<'_, Promises> {
    core.promises.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory that is kept for a change; dropped, it is given back.
pub(crate) struct Promise {
    core: Arc<Core>,
    vm: VmId,
    id: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        promises(&self.core).take_back(self.id, self.vm);
    }
}

/// The host's memory at one instant.
pub(crate) struct Look {
    pub(crate) free: Kib,
    claimed: Kib,
    pub(crate) domains: Vec<DomainInfo>,
    /// The VMs that are ours.
    ours: Vec<VmId>,
    /// What was promised before the look: what ends meanwhile may be seen as neither promised nor held.
    before: Promises,
}

impl Look {
    /// Memory that is neither held nor free for others.
    fn spoken_for(&self, now: &Promises) -> Kib {
        let (mut rests, mut kept) = (Kib::ZERO, Kib::ZERO);
        for vm in &self.ours {
            let own = || self.domains.iter().filter(|domain| domain.handle.0 == vm.bytes());
            let held = own().map(|domain| Kib(domain.pages.kib())).sum();
            let limit = own().filter(|domain| can_take(domain)).map(limit).sum();
            let whole = self.before.whole(*vm).max(now.whole(*vm)).max(limit);
            let rest = whole.saturating_sub(held);
            // Only a claim that stood through the look is in what Xen tells.
            let claims = [&self.before, now].map(|p| p.claims.get(vm).copied().unwrap_or_default());
            let claim = claims[0].min(claims[1]).saturating_sub(held);
            (rests, kept) = (rests + rest, kept + rest.min(claim));
        }
        self.claimed + rests.saturating_sub(kept.min(self.claimed))
    }

    /// What is spoken for now.
    pub(crate) fn spoken(&self, core: &Core) -> Kib {
        self.spoken_for(&promises(core))
    }
}

/// A domain that has ended takes nothing any more.
fn can_take(domain: &DomainInfo) -> bool {
    !matches!(domain.state, RunState::Dying | RunState::Shutdown(_))
}

/// What Xen lets the domain hold, as its guest counts.
pub(crate) fn limit(domain: &DomainInfo) -> Kib {
    Kib(domain.memory_max_kib).saturating_sub(MAXMEM_SLACK)
}

/// Looks at the host's memory.
pub(crate) async fn look(core: &Core) -> Result<Look, ChangeError> {
    let before = promises(core).clone();
    let mut ours: Vec<VmId> = core.registry.all().iter().map(|handle| handle.vm).collect();
    ours.extend(before.given.values().map(|(vm, _)| *vm));
    let seen = core.run(|host| Ok((host.xen.host.physinfo()?, host.xen.control.list()?))).await;
    let (info, domains) =
        seen.map_err(|error: XenError| ChangeError::step("look-for-room", error))?;
    let (free, claimed) = (Kib(info.memory_free_kib), Kib(info.memory_claimed_kib));
    // One that was promised something since the look is ours too.
    ours.extend(promises(core).given.values().map(|(vm, _)| *vm));
    ours.sort_unstable();
    ours.dedup();
    Ok(Look { free, claimed, domains, ours, before })
}

/// Keeps what is needed, if it is free now or shells have it.
pub(crate) async fn promise_now(core: &Arc<Core>, need: Need) -> Result<Promise, ChangeError> {
    match promise_free(core, need).await {
        Err(ChangeError::OutOfMemory { needed, free }) if core.shells.count() > 0 => {
            shells::give_way(core, needed.saturating_sub(free)).await;
            promise_free(core, need).await
        }
        outcome => outcome,
    }
}

/// Keeps what is needed, if it is free now: nobody gives way.
pub(crate) async fn promise_free(core: &Arc<Core>, need: Need) -> Result<Promise, ChangeError> {
    let look = look(core).await?;
    let mut promises = promises(core);
    let reserve = core.config.memory_reserve;
    let free = look.free.saturating_sub(look.spoken_for(&promises)).saturating_sub(reserve);
    if need.more > free {
        return Err(ChangeError::OutOfMemory { needed: need.more, free });
    }
    let id = promises.give(need.vm, need.whole);
    drop(promises);
    Ok(Promise { core: core.clone(), vm: need.vm, id })
}

/// Keeps what is needed; what is not free, other VMs are asked for, which takes a while. Refused when they cannot give so much.
pub(crate) async fn promise(
    core: &Arc<Core>,
    need: Need,
    cancel: &CancellationToken,
) -> Result<Promise, ChangeError> {
    match promise_now(core, need).await {
        Err(ChangeError::OutOfMemory { .. }) => {
            memory::make_room(core, need, memory::ROOM_WAIT, cancel).await
        }
        outcome => outcome,
    }
}

/// Keeps what is needed if it is free now; `None` when other VMs may have to be asked for it, and can give so much.
pub(crate) async fn promise_or_later(
    core: &Arc<Core>,
    need: Need,
) -> Result<Option<Promise>, ChangeError> {
    match promise_now(core, need).await {
        Err(ChangeError::OutOfMemory { .. }) if memory::anybody(core, Some(need.vm)) => {
            memory::can_make_room(core, need).await.map(|()| None)
        }
        outcome => outcome.map(Some),
    }
}

impl Site {
    /// Claims what the new domain will hold, before it is populated and once its limit is set. It must have been promised.
    pub(super) async fn claim_memory(&mut self) -> Result<(), StepError> {
        let (vm, domid) = (self.record.vm, self.domid()?);
        let memory = self.record.spec.memory + MAXMEM_SLACK;
        self.core.run(move |host| host.xen.memory.claim(domid, memory.0)).await?;
        promises(&self.core).claims.insert(vm, memory);
        Ok(())
    }

    /// Gives back what is left of the claim. Harmless when there is none, or no domain.
    pub(super) async fn release_claim(&mut self) -> Result<(), StepError> {
        promises(&self.core).claims.remove(&self.record.vm);
        let Some(domid) = self.record.domid else { return Ok(()) };
        match self.core.run(move |host| host.xen.memory.claim(domid, 0)).await {
            Err(error) if error.kind() != XenErrorKind::NoSuchDomain => Err(error.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use xen_bindings::{DomId, DomainHandle, GuestKind, PageCount};

    use super::*;

    const MIB: u64 = 1024;

    fn vm(number: u8) -> VmId {
        VmId::from_bytes([number; 16])
    }

    /// A VM's domain that holds so many MiB and may hold so many.
    fn domain(number: u8, state: RunState, (held, limit): (u64, u64)) -> DomainInfo {
        DomainInfo {
            domid: DomId::new(u32::from(number)).unwrap(),
            handle: DomainHandle([number; 16]),
            kind: GuestKind::Pvh,
            state,
            paused: false,
            pages: PageCount(held * 256),
            memory_max_kib: limit * MIB + MAXMEM_SLACK.0,
            vcpus_online: 1,
            vcpu_index_max: 0,
            cpu_time_ns: 0,
        }
    }

    /// So many MiB are spoken for, of a host where Xen tells so many as claimed.
    fn check(claimed: u64, domains: Vec<DomainInfo>, now: &Promises, expect: u64) {
        let look = Look {
            free: Kib::ZERO,
            claimed: Kib::from_mib(claimed),
            ours: vec![vm(1), vm(2)],
            before: now.clone(),
            domains,
        };
        assert_eq!(look.spoken_for(now).mib(), expect, "{claimed} {now:?}");
    }

    #[test]
    fn memory_is_spoken_for_once() {
        let nothing = Promises::default();
        let holds = |state| vec![domain(1, state, (100, 256))];
        check(0, Vec::new(), &nothing, 0);
        check(0, holds(RunState::Blocked), &nothing, 156);
        check(0, holds(RunState::Dying), &nothing, 0);
        check(50, Vec::new(), &nothing, 50);
        check(0, vec![domain(9, RunState::Blocked, (100, 256))], &nothing, 0);

        let mut promised = Promises::default();
        let first = promised.give(vm(1), Kib::from_mib(300));
        check(0, Vec::new(), &promised, 300);
        check(0, holds(RunState::Paused), &promised, 200);
        // A claim of the same build is the same memory; that of others is not.
        promised.claims.insert(vm(1), Kib::from_mib(256));
        check(156, holds(RunState::Paused), &promised, 200);
        check(256, holds(RunState::Paused), &promised, 300);
        // libxenguest has ended it.
        check(0, holds(RunState::Paused), &promised, 200);

        promised.give(vm(1), Kib::from_mib(400));
        check(0, Vec::new(), &promised, 400);
        promised.take_back(first, vm(1));
        check(0, Vec::new(), &promised, 400);
    }
}
