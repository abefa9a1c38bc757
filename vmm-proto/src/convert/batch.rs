//! Where many VMs go.

use vmm_core::id::{HostId, VmId};
use vmm_core::scheduler::batch::{Placed, Unplaced};
use vmm_core::scheduler::{Batch, Pool, Refusal, Vm};

use super::placement::{candidate, parts};
use crate::v1;

/// A decision about `vms`, which are not in `pool`, in their order.
#[must_use]
pub fn shown_batch(pool: &Pool, vms: &[Vm], batch: &Batch) -> v1::Placements {
    let placed = |vm: &Vm| {
        let placed = batch.placed.iter().find(|placed| placed.vm == vm.id)?;
        Some(v1::PlacedVm {
            name: vm.name.clone(),
            host: host_name(pool, placed.host),
            cost: placed.terms.total(),
            parts: parts(&placed.terms),
        })
    };
    let name = |id: VmId| vms.iter().find(|vm| vm.id == id).map(|vm| vm.name.clone());
    let unplaced = |one: &Unplaced| v1::UnplacedVm {
        name: name(one.vm).unwrap_or_else(|| one.vm.to_string()),
        refused: one.refusals.iter().map(|(host, why)| refused_host(pool, *host, why)).collect(),
    };
    v1::Placements {
        placed: vms.iter().filter_map(placed).collect(),
        unplaced: batch.unplaced.iter().map(unplaced).collect(),
    }
}

/// One VM's place, as of a VM that was placed by itself; of the other hosts nothing is said.
#[must_use]
pub fn shown_place(pool: &Pool, placed: &Placed) -> v1::Placement {
    let host = host_name(pool, placed.host);
    let reason = "placed together with others".to_owned();
    v1::Placement {
        chosen: Some(host.clone()),
        candidates: vec![candidate(host, Some(placed.terms), reason)],
    }
}

/// A host that cannot take a VM.
pub(super) fn refused_host(pool: &Pool, host: HostId, why: &Refusal) -> v1::RefusedHost {
    v1::RefusedHost {
        host: host_name(pool, host),
        by: why.rule().to_owned(),
        reason: why.to_string(),
    }
}

pub(super) fn host_name(pool: &Pool, id: HostId) -> String {
    let host = pool.hosts.iter().find(|host| host.id == id);
    host.map_or_else(|| id.to_string(), |host| host.name.clone())
}
