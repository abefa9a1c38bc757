//! VMs that hosts run and nobody here knows: look at them, destroy one.

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_core::id::VmId;
use vmm_proto::convert::parse_id;
use vmm_proto::v1::{DestroyOrphan, DestroyVm, Fault, FaultCode, Orphan, Orphans, Reply, Request};

use super::change::{Change, PLAIN_WAIT, tell};
use crate::app::{App, Begin};

/// Of one answer.
const ORPHANS_MAX: usize = 1000;

pub(super) fn list(app: &App) -> Reply {
    let state = app.lock();
    let mut orphans: Vec<Orphan> = state
        .orphans()
        .map(|(host, _, seen)| Orphan {
            host: host.record.name.clone(),
            vm: seen.vm.clone(),
            phase: seen.phase,
            vcpus_online: seen.vcpus_online,
            memory_kib: seen.memory_kib,
            domid: seen.domid,
        })
        .take(ORPHANS_MAX)
        .collect();
    orphans.sort_by(|a, b| (&a.host, &a.vm).cmp(&(&b.host, &b.vm)));
    Reply::Orphans(Orphans { orphans })
}

/// Only what is an orphan by the host's last report.
pub(super) fn destroy(change: Change<'_>, destroy: &DestroyOrphan) -> Result<Reply, Fault> {
    let id: VmId = parse_id("VM", &destroy.vm)?;
    let host = change.state.host_named(&destroy.host)?;
    let (host_id, name) = (host.record.id, host.record.name.clone());
    if host.health(Instant::now()) != Health::Up {
        let message = format!("host {name} is not heard; check the host and its agent");
        return Err(Fault::new(FaultCode::HostUnreachable, message));
    }
    if let Some(vm) = change.state.vms.get(&id) {
        let name = &vm.record.spec.name;
        let message = format!("VM {name} is no orphan; destroy it with `vmmctl vm destroy {name}`");
        return Err(Fault::new(FaultCode::BadState, message));
    }
    let mut orphans = change.state.orphans();
    if !orphans.any(|(host, vm, _)| host.record.id == host_id && vm == id) {
        let message = format!("host {name} has no orphan {id}; see which it has with ListOrphans");
        return Err(Fault::new(FaultCode::UnknownVm, message));
    }
    drop(orphans);
    let request = Request::DestroyVm(DestroyVm { vm: id.to_string() });
    let begin = Begin {
        vm: id,
        vm_name: id.to_string(),
        host: Some(host_id),
        origin: change.origin,
        puts: Vec::new(),
        placement: None,
        plan: tell(request, PLAIN_WAIT),
    };
    change.app.begin(change.state, begin)
}
