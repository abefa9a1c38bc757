//! Domains that nothing is built into.

use super::subject::{Case, Outcome, Subject, ensure, refused, same, text};
use crate::control::{DomainConfig, GuestKind, RunState};
use crate::domid::{DomId, DomainHandle};
use crate::error::XenErrorKind;
use crate::frame::PageCount;
use crate::vcpu::Credit2;

pub(super) const CASES: &[Case] = &[
    Case { name: "a new domain is paused, holds no pages and keeps its handle", run: new_domain },
    Case { name: "a destroyed domain is dying and then gone", run: destroy },
    Case { name: "a domain id is not used again at once", run: fresh_ids },
    Case { name: "vCPUs start offline and there are no more than asked for", run: vcpus },
    Case { name: "credit2 starts at weight 256 without a cap and can be set", run: credit2 },
    Case { name: "a memory limit is set and shown", run: memory_max },
    Case { name: "a domain for no vCPUs or for too many is refused", run: bad_configs },
    Case { name: "a handle is changed and shown", run: handle },
    Case { name: "event channels run out at the domain's own limit", run: ports },
];

fn new_domain(subject: &Subject) -> Outcome {
    let (guard, domain) = subject.create(2)?;
    same("its id", domain.domid(), guard.domid)?;
    let info = subject.present(guard.domid)?;
    same("its handle", info.handle, Subject::config(2).handle)?;
    same("its kind", info.kind, GuestKind::Pvh)?;
    same("its state", info.state, RunState::Paused)?;
    same("paused", info.paused, true)?;
    same("its pages", info.pages, PageCount(0))?;
    same("vCPUs online", info.vcpus_online, 0)?;
    same("its CPU time", info.cpu_time_ns, 0)
}

fn destroy(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell(2)?;
    subject.xen.control.destroy(guard.domid).map_err(text)?;
    if let Some(info) = subject.info(guard.domid)? {
        same("its state", info.state, RunState::Dying)?;
    }
    let id = guard.domid;
    drop(guard);
    same("afterwards", subject.info(id)?, None)?;
    refused("destroy again", subject.xen.control.destroy(id), XenErrorKind::NoSuchDomain)
}

fn fresh_ids(subject: &Subject) -> Outcome {
    let (first, _) = subject.create(1)?;
    let id = first.domid;
    drop(first);
    let (second, _) = subject.create(1)?;
    ensure(second.domid != id, format!("{id} was used again at once"))
}

fn vcpus(subject: &Subject) -> Outcome {
    let (guard, shell) = subject.shell(2)?;
    same("vCPUs of the shell", shell.vcpus_max(), 2)?;
    let info = subject.present(guard.domid)?;
    same("the highest index", info.vcpu_index_max, 1)?;
    same("vCPUs online", info.vcpus_online, 0)?;
    for index in 0..2 {
        let vcpu = subject.xen.vcpu.info(guard.domid, index).map_err(text)?;
        ensure(!vcpu.online && vcpu.cpu_time_ns == 0, format!("vCPU {index}: {vcpu:?}"))?;
    }
    refused("vCPU 2", subject.xen.vcpu.info(guard.domid, 2), XenErrorKind::NoSuchDomain)
}

fn credit2(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell(1)?;
    let get = || subject.xen.vcpu.credit2(guard.domid).map_err(text);
    same("by default", get()?, Credit2 { weight: 256, cap_percent: 0 })?;
    let wanted = Credit2 { weight: 512, cap_percent: 50 };
    subject.xen.vcpu.set_credit2(guard.domid, wanted).map_err(text)?;
    same("once set", get()?, wanted)?;
    let none = Credit2 { weight: 0, cap_percent: 0 };
    refused("weight 0", subject.xen.vcpu.set_credit2(guard.domid, none), XenErrorKind::Invalid)?;
    same("after a refusal", get()?, wanted)
}

fn memory_max(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell(1)?;
    for limit_kib in [65_536, 131_072, 32_768, 0] {
        subject.xen.memory.set_max(guard.domid, limit_kib).map_err(text)?;
        same("the limit", subject.present(guard.domid)?.memory_max_kib, limit_kib)?;
    }
    Ok(())
}

fn bad_configs(subject: &Subject) -> Outcome {
    let before = subject.xen.control.list().map_err(text)?.len();
    // HVM_MAX_VCPUS is 128.
    for vcpus in [0, 129] {
        let created = subject.xen.control.create(&Subject::config(vcpus));
        refused(&format!("{vcpus} vCPUs"), created, XenErrorKind::Invalid)?;
    }
    let config = DomainConfig { grant_frames_max: 0, ..Subject::config(1) };
    refused("no grant table", subject.xen.control.create(&config), XenErrorKind::Invalid)?;
    same("domains", subject.xen.control.list().map_err(text)?.len(), before)
}

fn handle(subject: &Subject) -> Outcome {
    let (guard, _shell) = subject.shell(1)?;
    let wanted = DomainHandle(*b"vmm-contract-new");
    subject.xen.control.set_handle(guard.domid, wanted).map_err(text)?;
    same("its handle", subject.present(guard.domid)?.handle, wanted)?;
    let list = subject.xen.control.list().map_err(text)?;
    let listed = list.iter().find(|info| info.domid == guard.domid).map(|info| info.handle);
    same("in the list", listed, Some(wanted))
}

fn ports(subject: &Subject) -> Outcome {
    let mut config = Subject::config(1);
    config.evtchn_port_max = 7;
    let (guard, domain) = subject.create_with(&config)?;
    let _shell = subject.xen.vcpu.allocate(domain).map_err(text)?;
    let mut ports = Vec::new();
    let full = loop {
        match subject.xen.evtchn.alloc_unbound(guard.domid, DomId::DOM0) {
            Ok(port) => ports.push(port.0),
            Err(error) => break error,
        }
        ensure(ports.len() <= 7, format!("more ports than the limit: {ports:?}"))?;
    };
    same("when there are no more", full.kind(), XenErrorKind::Exhausted)?;
    let mut distinct = ports.clone();
    distinct.sort_unstable();
    distinct.dedup();
    ensure(distinct.len() == ports.len() && ports.len() >= 6, format!("ports {ports:?}"))
}
