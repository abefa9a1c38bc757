//! Domains that are not there: every operation says so, and none takes the next higher one for it.

use std::os::fd::AsFd;

use super::memory::batch;
use super::subject::{Case, Outcome, Subject, denied, ensure, refused, same, text};
use crate::Xen;
use crate::control::{GuestKind, ShutdownReason};
use crate::domid::{DomId, DomainHandle};
use crate::error::XenErrorKind;
use crate::guest_image::{Next, Precopy, SavePilot};
use crate::log_dirty::Leftover;
use crate::vcpu::{Affinity, Credit2};

pub(super) const CASES: &[Case] = &[
    Case { name: "a domain that does not exist is answered as such by everything", run: nobody },
    Case {
        name: "asking for a missing domain never touches the next higher one",
        run: next_higher,
    },
    Case { name: "a shell whose domain is gone can be used for nothing", run: stale_shell },
];

/// Is asked nothing.
struct Nobody;

impl SavePilot for Nobody {
    fn next(&mut self, _: Precopy) -> Next {
        Next::GiveUp
    }

    fn suspend(&mut self) -> bool {
        false
    }
}

fn nobody(subject: &Subject) -> Outcome {
    every_operation(subject, Subject::nobody())
}

fn every_operation(subject: &Subject, id: DomId) -> Outcome {
    let (xen, missing) = (&subject.xen, XenErrorKind::NoSuchDomain);
    same("info", xen.control.info(id).map_err(text)?, None)?;
    refused("pause", xen.control.pause(id), missing)?;
    refused("unpause", xen.control.unpause(id), missing)?;
    refused("shutdown", xen.control.shutdown(id, ShutdownReason::Crash), missing)?;
    refused("set_handle", xen.control.set_handle(id, DomainHandle([9; 16])), missing)?;
    refused("resume", xen.control.resume(id), missing)?;
    refused("destroy", xen.control.destroy(id), missing)?;
    refused("reclaim", xen.vcpu.reclaim(id, GuestKind::Pvh, 1), missing)?;
    refused("vCPU info", xen.vcpu.info(id, 0), missing)?;
    refused("credit2", xen.vcpu.credit2(id), missing)?;
    let weight = Credit2 { weight: 300, cap_percent: 0 };
    refused("set_credit2", xen.vcpu.set_credit2(id, weight), missing)?;
    refused("affinity", xen.vcpu.affinity(id, 0), missing)?;
    let pinned = Affinity { hard: vec![0], soft: vec![] };
    refused("set_affinity", xen.vcpu.set_affinity(id, 0, &pinned), missing)?;
    refused("set_max", xen.memory.set_max(id, 65_536), missing)?;
    refused("set_paging_pool", xen.memory.set_paging_pool(id, 1 << 20), missing)?;
    refused("set_pod_target", xen.memory.set_pod_target(id, 65_536), missing)?;
    refused("claim", xen.memory.claim(id, 65_536), missing)?;
    refused("alloc_unbound", xen.evtchn.alloc_unbound(id, DomId::DOM0), missing)?;
    let (_reader, writer) = std::io::pipe().map_err(text)?;
    refused("save", xen.image.save(id, writer.as_fd()), missing)?;
    let live = xen.image.save_live(id, writer.as_fd(), &mut Nobody);
    refused("save while it runs", live, missing)?;
    memory_and_state(xen, id)?;
    same("introduced", xen.store.is_introduced(id).map_err(text)?, false)?;
    denied("the store's release", xen.store.release(id), |_| true)?;
    denied("the store's resume", xen.store.resume(id), |_| true)
}

fn memory_and_state(xen: &Xen, id: DomId) -> Outcome {
    let (memory, state, missing) =
        (&xen.guest_memory, &xen.guest_state, XenErrorKind::NoSuchDomain);
    let some = batch([1]);
    refused("its end", memory.gfn_end(id), missing)?;
    refused("types", memory.page_types(id, &some), missing)?;
    refused("a mapping", memory.map(id, &some).map(|_| ()), missing)?;
    refused("giving back", memory.release(id, &some), missing)?;
    refused("a log", memory.log_dirty(id, Leftover::Replace).map(|_| ()), missing)?;
    refused("a log's end", memory.end_log(id), missing)?;
    refused("its processor", state.cpu_policy(id), missing)?;
    refused("its clock", state.tsc(id), missing)?;
    refused("its machine", state.hvm_context(id), missing)?;
    refused("its parameters", state.hvm_params(id), missing)
}

fn next_higher(subject: &Subject) -> Outcome {
    let (lower, _) = subject.shell(1)?;
    let (higher, _shell) = subject.shell(1)?;
    let id = lower.domid;
    ensure(id < higher.domid, "ids do not grow")?;
    drop(lower);
    let before = subject.present(higher.domid)?;
    every_operation(subject, id)?;
    same("the higher one", subject.present(higher.domid)?, before)?;
    let credit2 = subject.xen.vcpu.credit2(higher.domid).map_err(text)?;
    same("its weight", credit2, Credit2 { weight: 256, cap_percent: 0 })
}

fn stale_shell(subject: &Subject) -> Outcome {
    let missing = XenErrorKind::NoSuchDomain;
    let (guard, domain) = subject.create(1)?;
    drop(guard);
    refused("allocate", subject.xen.vcpu.allocate(domain), missing)?;
    for kind in [GuestKind::Pvh, GuestKind::Pv] {
        let (guard, shell) = subject.shell_of(kind, 1)?;
        drop(guard);
        refused("apply_cpu_policy", subject.xen.control.apply_cpu_policy(&shell), missing)?;
        if kind == GuestKind::Pv {
            let limit = subject.xen.memory.set_memory_map_limit(&shell, 65_536);
            refused("set_memory_map_limit", limit, missing)?;
        }
    }
    Ok(())
}
