//! The policy's snapshot: from Xen, from xenstore, and from what is remembered.

use std::time::Duration;

use vmm_core::balloon::{Progress, Snapshot, Standing, VmBalloon};
use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::{VmSpec, VmState};
use xen_bindings::store::read_text;
use xen_bindings::{DomId, DomainInfo, Store, StoreError, StorePath};

use super::{Book, Holdout};
use crate::core::Core;
use crate::domain::registry::VmHandle;
use crate::domain::room::{self, limit};
use crate::domain::{ChangeError, VmView};

/// What a running VM is asked to hold, and what it was agreed to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub(crate) target: Kib,
    pub(crate) agreed: Kib,
}

/// Reads it. A domain that says nothing has what it was built with.
pub(crate) fn agreement(
    store: &dyn Store,
    domid: DomId,
    spec: &VmSpec,
) -> Result<Agreement, StoreError> {
    let home = StorePath::domain(domid);
    let read = |name: &str| -> Result<Option<Kib>, StoreError> {
        let text = read_text(store, &home.join(name)?)?;
        Ok(text.and_then(|text| text.trim().parse().ok()).map(Kib))
    };
    let agreed = read("memory/dynamic-max")?.unwrap_or(spec.memory);
    Ok(Agreement { target: read("memory/target")?.unwrap_or(agreed), agreed })
}

/// A VM that takes part.
pub(super) struct Member {
    pub(super) handle: VmHandle,
    pub(super) domid: DomId,
    pub(super) balloon: VmBalloon,
}

/// All that the policy looks at, and whom its actions mean.
pub(super) struct View {
    pub(super) snapshot: Snapshot,
    pub(super) members: Vec<Member>,
}

impl View {
    pub(super) fn member(&self, vm: VmId) -> Option<&Member> {
        self.members.iter().find(|member| member.handle.vm == vm)
    }

    /// Who has kept what it was asked for: those who are stuck, and those who are late.
    pub(super) fn holdouts(&self, core: &Core) -> Vec<Holdout> {
        let book = core.balloons.book();
        let kept = |member: &Member| {
            let stuck = member.balloon.standing == Standing::Stuck;
            let kept = match stuck {
                true => book.kept.get(&member.domid).copied().unwrap_or_default(),
                false => member.balloon.owes(),
            };
            (kept > Kib::ZERO).then(|| Holdout { name: member.handle.spec().name.clone(), kept })
        };
        self.members.iter().filter_map(kept).collect()
    }
}

/// True when some VM takes part; costs nothing.
pub(crate) fn anybody(core: &Core, but: Option<VmId>) -> bool {
    core.registry.all().iter().any(|handle| takes_part(handle, but))
}

fn takes_part(handle: &VmHandle, but: Option<VmId>) -> bool {
    let VmView { state, spec, .. } = handle.now();
    spec.memory_min < spec.memory && Some(handle.vm) != but && state == VmState::Running
}

/// Looks at the host and at every VM that takes part, but for the one that needs the room.
pub(super) async fn view(core: &Core, but: Option<VmId>) -> Result<View, ChangeError> {
    let look = room::look(core).await?;
    let candidates: Vec<(VmHandle, DomainInfo)> = core
        .registry
        .all()
        .into_iter()
        .filter(|handle| takes_part(handle, but))
        .filter_map(|handle| {
            let domid = handle.now().domid?;
            let own = |d: &&DomainInfo| d.domid == domid && d.handle.0 == handle.vm.bytes();
            let info = look.domains.iter().find(own)?.clone();
            Some((handle, info))
        })
        .collect();
    let asked: Vec<_> = candidates.iter().map(|(h, info)| (info.domid, h.spec())).collect();
    let agreements = core
        .run(move |host| {
            let read = |(domid, spec): &(DomId, std::sync::Arc<VmSpec>)| {
                agreement(host.xen.store.as_ref(), *domid, spec)
            };
            asked.iter().map(read).collect::<Vec<_>>()
        })
        .await;
    let now = core.balloons.now();
    let mut book = core.balloons.book();
    book.forget_all_but(&look.domains);
    let member =
        |((handle, info), agreement): ((VmHandle, DomainInfo), Result<Agreement, StoreError>)| {
            // It may have ended since it was listed.
            let agreement = agreement.ok()?;
            let balloon = book.balloon(now, &handle, &info, agreement);
            Some(Member { handle, domid: info.domid, balloon })
        };
    let members: Vec<Member> = candidates.into_iter().zip(agreements).filter_map(member).collect();
    drop(book);
    let snapshot = Snapshot {
        now,
        free: look.free,
        reserve: core.config.memory_reserve,
        claimed: look.spoken(core),
        vms: members.iter().map(|member| member.balloon).collect(),
    };
    Ok(View { snapshot, members })
}

impl Book {
    fn forget_all_but(&mut self, domains: &[DomainInfo]) {
        let lives = |domid: &DomId| domains.iter().any(|domain| domain.domid == *domid);
        self.progress.retain(|domid, _| lives(domid));
        self.kept.retain(|domid, _| lives(domid));
        self.busy_until.retain(|domid, _| lives(domid));
    }

    fn balloon(
        &mut self,
        now: Duration,
        handle: &VmHandle,
        info: &DomainInfo,
        agreement: Agreement,
    ) -> VmBalloon {
        let Agreement { target, agreed } = agreement;
        let spec = handle.spec();
        let progress = self.progress.entry(info.domid).or_insert_with(|| Progress::new(now));
        let mut balloon = VmBalloon {
            vm: handle.vm,
            dynamic_min: spec.memory_min.min(agreed),
            dynamic_max: agreed,
            held: Kib(info.pages.kib()),
            limit: limit(info),
            target,
            moved_at: now,
            standing: Standing::Able,
            weight: u32::from(spec.scheduling.weight),
        };
        progress.look(now, balloon.grip(), target);
        balloon.moved_at = progress.moved_at();
        if progress.is_stuck(now) {
            balloon.standing = Standing::Stuck;
        } else if self.busy_until.get(&info.domid).is_some_and(|until| now < *until) {
            balloon.standing = Standing::Busy;
        }
        balloon
    }
}
