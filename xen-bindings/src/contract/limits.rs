//! What domains may have: claimed memory, CPUs, and shells that change hands.

use super::guest::{MEMORY_KIB, build, spec};
use super::subject::{Case, Outcome, Subject, ensure, refused, same, text};
use crate::control::GuestKind;
use crate::error::XenErrorKind;
use crate::frame::PageCount;
use crate::vcpu::Affinity;

/// Less than a guest of the suite needs.
const LEFT_KIB: u64 = 64 * 1024;

pub(super) const CASES: &[Case] = &[
    Case { name: "claimed memory is not free for another build", run: claimed },
    Case {
        name: "a claim is redeemed by the build, which ends it, and ends with the domain",
        run: redeemed,
    },
    Case { name: "a claim that makes no sense is refused", run: bad_claims },
    Case { name: "a limit below what a domain holds takes nothing away", run: low_limit },
    Case { name: "a pool of odd bytes and a target above the limit are refused", run: odd_sizes },
    Case {
        name: "affinity starts everywhere, can be set, and names CPUs of the host",
        run: affinity,
    },
    Case { name: "a shell is reclaimed as just what it is", run: reclaim },
    Case { name: "a reclaimed shell is built like a new one", run: reclaimed },
];

fn claimed_kib(subject: &Subject) -> Result<u64, String> {
    subject.xen.host.physinfo().map(|info| info.memory_claimed_kib).map_err(text)
}

fn claimed(subject: &Subject) -> Outcome {
    same("claimed before", claimed_kib(subject)?, 0)?;
    let (holder, _shell) = subject.shell(1)?;
    let (builder, shell) = subject.shell(1)?;
    let spec = spec(subject, &builder, &shell, MEMORY_KIB)?;
    let free = subject.free_kib()?;
    let claim = free.saturating_sub(LEFT_KIB);
    subject.xen.memory.set_max(holder.domid, claim).map_err(text)?;
    subject.xen.memory.claim(holder.domid, claim).map_err(text)?;
    same("claimed", claimed_kib(subject)?, claim)?;
    ensure(subject.free_kib()? + LEFT_KIB / 2 > free, "claimed memory is told as free")?;
    let built = subject.xen.image.build(&shell, &spec);
    refused("a build", built, XenErrorKind::OutOfMemory)?;
    drop(builder);
    subject.xen.memory.claim(holder.domid, 0).map_err(text)?;
    same("claimed, given back", claimed_kib(subject)?, 0)?;
    let (builder, shell) = subject.shell(1)?;
    build(subject, &builder, shell)
}

fn redeemed(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(1)?;
    let id = guard.domid;
    let spec = spec(subject, &guard, &shell, MEMORY_KIB)?;
    let room = subject.present(id)?.memory_max_kib;
    subject.xen.memory.claim(id, room).map_err(text)?;
    same("claimed", claimed_kib(subject)?, room)?;
    subject.xen.image.build(&shell, &spec).map_err(text)?;
    let held = subject.present(id)?.pages.kib();
    ensure((MEMORY_KIB..room).contains(&held), format!("it holds {held} KiB"))?;
    same("claimed once it is built", claimed_kib(subject)?, 0)?;
    subject.xen.memory.claim(id, room).map_err(text)?;
    same("claimed again and held", claimed_kib(subject)? + held, room)?;
    subject.xen.control.destroy(id).map_err(text)?;
    same("claimed by a dying domain", claimed_kib(subject)?, 0)
}

fn bad_claims(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell(1)?;
    let (memory, id) = (&subject.xen.memory, guard.domid);
    let total = subject.xen.host.physinfo().map_err(text)?.memory_total_kib;
    memory.claim(id, 0).map_err(|error| format!("giving back nothing: {error}"))?;
    memory.set_max(id, 65_536).map_err(text)?;
    refused("above its limit", memory.claim(id, 65_540), XenErrorKind::Invalid)?;
    memory.set_max(id, 2 * total).map_err(text)?;
    refused("more than there is", memory.claim(id, total), XenErrorKind::OutOfMemory)?;
    same("claimed after refusals", claimed_kib(subject)?, 0)?;
    memory.claim(id, 4096).map_err(text)?;
    refused("a second one", memory.claim(id, 8192), XenErrorKind::Invalid)?;
    same("claimed", claimed_kib(subject)?, 4096)?;
    let (held, shell) = subject.shell(1)?;
    let room = MEMORY_KIB;
    let id = held.domid;
    build(subject, &held, shell)?;
    let refusal = memory.claim(id, room / 2);
    refused("less than it holds", refusal, XenErrorKind::Invalid)
}

fn low_limit(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(1)?;
    build(subject, &guard, shell)?;
    let before = subject.present(guard.domid)?.pages;
    subject.xen.memory.set_max(guard.domid, MEMORY_KIB / 2).map_err(text)?;
    let info = subject.present(guard.domid)?;
    same("its pages", info.pages, before)?;
    same("its limit", info.memory_max_kib, MEMORY_KIB / 2)
}

fn odd_sizes(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell(1)?;
    let (memory, id) = (&subject.xen.memory, guard.domid);
    refused("half a page", memory.set_paging_pool(id, (1 << 20) + 2048), XenErrorKind::Invalid)?;
    memory.set_paging_pool(id, 1 << 20).map_err(text)?;
    memory.set_max(id, 65_536).map_err(text)?;
    refused("above its limit", memory.set_pod_target(id, 65_540), XenErrorKind::Invalid)
}

fn affinity(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell(2)?;
    let (vcpu, id) = (&subject.xen.vcpu, guard.domid);
    let pcpus = subject.xen.host.physinfo().map_err(text)?.pcpus;
    let get = |index| vcpu.affinity(id, index).map_err(text);
    let set = |hard: &[u32], soft: &[u32]| {
        vcpu.set_affinity(id, 1, &Affinity { hard: hard.to_vec(), soft: soft.to_vec() })
    };
    same("at first", get(1)?, Affinity::default())?;
    // Of a host with one CPU, this one is all of them.
    let first = if pcpus > 1 { vec![0] } else { vec![] };
    for (hard, soft) in [(&[0][..], &[][..]), (&[], &[0]), (&[0], &[0]), (&[], &[])] {
        set(hard, soft).map_err(text)?;
        let told = |set: &[u32]| if set.is_empty() { vec![] } else { first.clone() };
        same("once set", get(1)?, Affinity { hard: told(hard), soft: told(soft) })?;
    }
    same("the other vCPU's", get(0)?, Affinity::default())?;
    set(&[0], &[]).map_err(text)?;
    refused("no CPU of the host", set(&[4000, 4001], &[]), XenErrorKind::Invalid)?;
    same("after a refusal", get(1)?, Affinity { hard: first, soft: vec![] })?;
    refused("no such vCPU", vcpu.affinity(id, 2), XenErrorKind::NoSuchDomain)?;
    let everywhere = Affinity::default();
    let refusal = vcpu.set_affinity(id, 2, &everywhere);
    refused("no such vCPU to set", refusal, XenErrorKind::NoSuchDomain)
}

fn reclaim(subject: &Subject) -> Outcome {
    let (vcpu, invalid) = (&subject.xen.vcpu, XenErrorKind::Invalid);
    let (guard, _shell) = subject.shell(2)?;
    let id = guard.domid;
    let shell = vcpu.reclaim(id, GuestKind::Pvh, 2).map_err(text)?;
    same("its id", shell.domid(), id)?;
    same("its kind", shell.kind(), GuestKind::Pvh)?;
    same("its vCPUs", shell.vcpus_max(), 2)?;
    refused("more vCPUs", vcpu.reclaim(id, GuestKind::Pvh, 3), invalid)?;
    refused("fewer vCPUs", vcpu.reclaim(id, GuestKind::Pvh, 1), invalid)?;
    refused("another kind", vcpu.reclaim(id, GuestKind::Pv, 2), invalid)?;
    let (bare, _domain) = subject.create(2)?;
    refused("without vCPUs", vcpu.reclaim(bare.domid, GuestKind::Pvh, 2), invalid)?;
    let (built, shell) = subject.shell(2)?;
    build(subject, &built, shell)?;
    refused("built already", vcpu.reclaim(built.domid, GuestKind::Pvh, 2), invalid)
}

fn reclaimed(subject: &Subject) -> Outcome {
    for kind in [GuestKind::Pvh, GuestKind::Pv] {
        let (guard, _) = subject.shell_of(kind, 2)?;
        let shell = subject.xen.vcpu.reclaim(guard.domid, kind, 2).map_err(text)?;
        build(subject, &guard, shell).map_err(|error| format!("{kind:?}: {error}"))?;
        let pages = subject.present(guard.domid)?.pages;
        ensure(pages >= PageCount(MEMORY_KIB / 4), format!("{kind:?} holds {pages:?}"))?;
    }
    Ok(())
}
