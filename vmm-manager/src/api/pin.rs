//! Pins: which hosts a VM may be on.
//!
//! A pin that excludes the host that a VM is on is accepted: a rule is said once and holds for all that follows, and the way to obey it (start the VM
//! anew, or move it) is the caller's to choose. The answer's log and [`ShowVm`](vmm_proto::v1::ShowVm) say that it stands where it should not.

use vmm_core::id::{HostId, PoolId};
use vmm_proto::v1::{Fault, FaultCode, Pin, PinVm, Reply};

use super::change::Change;
use crate::app::{Deed, State, Target};
use crate::store::{Put, VmRecord};

/// Hosts of one pin.
const HOSTS_MAX: usize = 64;

/// Says which hosts a VM may be on. It concerns only what is placed later: neither a task nor a silent host is in the way.
pub(super) fn pin(change: Change<'_>, pin: &PinVm) -> Result<Reply, Fault> {
    let before = change.state.vm_named(&pin.vm)?.record.clone();
    let home = change.state.home_of(&before).map(|host| host.record.pool);
    let after = VmRecord { pin: hosts(change.state, &pin.pins, home)?, ..before };
    let note = change.state.misplaced(&after);
    let target = Target::Vm(after.id, after.spec.name.clone());
    let deed = Deed { target, origin: change.origin, note };
    let puts = vec![Put::Vm(Box::new(after))];
    change.app.done_at_once(change.state, deed, puts, None)
}

/// The hosts that are named, each once: all of one pool, and of this one where the VM is in one.
pub(super) fn hosts(
    state: &State,
    pins: &[Pin],
    mut pool: Option<PoolId>,
) -> Result<Vec<HostId>, Fault> {
    let bad = |message: String| Fault::new(FaultCode::BadRequest, message);
    if pins.len() > HOSTS_MAX {
        let message = format!("a pin of {} hosts is refused: name {HOSTS_MAX} at most", pins.len());
        return Err(bad(message));
    }
    let mut hosts = Vec::with_capacity(pins.len());
    for pin in pins {
        let host = &state.host_named(&pin.host)?.record;
        if *pool.get_or_insert(host.pool) != host.pool {
            let name = |pool: PoolId| state.places.pool(pool).map(|pool| pool.name.as_str());
            return Err(bad(format!(
                "host {} is in pool {}, and the VM would have to be in {}: a VM is in one pool; name hosts of that one",
                host.name,
                name(host.pool).unwrap_or_default(),
                pool.and_then(name).unwrap_or_default(),
            )));
        }
        if !hosts.contains(&host.id) {
            hosts.push(host.id);
        }
    }
    Ok(hosts)
}

/// A host leaves the pool: it leaves the pins, too, unless it is the last of one. A VM whose last host went would be free to go anywhere.
pub(super) fn without(state: &State, host: HostId) -> Result<Vec<Put>, Fault> {
    let pinned = || state.vms.values().map(|vm| &vm.record).filter(|vm| vm.pin.contains(&host));
    let only: Vec<&str> =
        pinned().filter(|vm| vm.pin.len() == 1).map(|vm| vm.spec.name.as_str()).collect();
    if !only.is_empty() {
        let message = format!(
            "host {} is the only one that VMs are pinned to ({}); pin them elsewhere, or unpin them, first",
            state.host_name(host),
            only.join(", ")
        );
        return Err(Fault::new(FaultCode::BadState, message));
    }
    let less = |vm: &VmRecord| {
        let pin = vm.pin.iter().copied().filter(|pinned| *pinned != host).collect();
        Put::Vm(Box::new(VmRecord { pin, ..vm.clone() }))
    };
    Ok(pinned().map(less).collect())
}
