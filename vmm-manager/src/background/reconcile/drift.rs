//! VMs that are not what was asked for.
//!
//! | what | shown | mended |
//! |---|---|---|
//! | a guest holds more memory than its target | yes | it is charged for it, where its host has room: nothing is placed on memory that is gone |
//! | a guest holds less than its least | yes | no: a guest that gave memory away may have its reasons, and its balloon is its host's policy |
//! | vCPUs offline that were asked for, or online that were not | yes | no: whoever did it inside the guest meant it |
//! | a second host reports a domain of it | yes | never: which of them is right only a person can say (VM1) |
//!
//! An administrator wants to see the difference and to decide; what changes by itself in a guest is an incident of its own. So only the manager's own
//! books are mended. A difference is shown when it has lasted, because a guest takes its time to do what it is asked. Phases need no look: a
//! report's phase is taken over when it comes. Devices and scheduling are not reported, so their drift is not seen.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_core::id::{HostId, VmId};
use vmm_core::units::Kib;
use vmm_core::vm::{VmSpec, VmState};
use vmm_proto::v1::ReportedVm;

use super::{Reconciler, Turn};
use crate::app::{App, Object, State, charge_of};
use crate::store::{Charge, Put, VmRecord};

/// VMs that one turn looks at.
const LOOKS_MAX: usize = 2048;
/// What has been so for this long is no transition.
const LASTS: Duration = Duration::from_secs(30);
/// A guest's memory comes in pages and blocks.
const SLACK: Kib = Kib(16 << 10);

#[derive(Default)]
pub(super) struct Drift {
    /// The last VM of the last turn.
    after: Option<VmId>,
}

impl Reconciler for Drift {
    fn name(&self) -> &'static str {
        "drift"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(10)
    }

    fn turn(&mut self, app: &Arc<App>) -> Turn {
        let mut state = app.lock();
        let from = self.after.map_or(Unbounded, Excluded);
        let vms: Vec<VmId> =
            state.vms.range((from, Unbounded)).take(LOOKS_MAX).map(|(id, _)| *id).collect();
        self.after = vms.last().copied().filter(|_| vms.len() == LOOKS_MAX);
        let seconds = second_hosts(&state);
        let changed = vms.iter().filter(|vm| look(&mut state, **vm, seconds.get(vm))).count();
        Turn { looked: vms.len(), changed }
    }
}

/// VMs with a domain on a host that they are not on.
fn second_hosts(state: &State) -> BTreeMap<VmId, HostId> {
    let mut seconds = BTreeMap::new();
    for host in state.hosts.values() {
        for (vm, seen) in &host.observed {
            let stored = state.vms.get(vm).and_then(|vm| vm.record.host);
            // What comes or has left is the business of its move.
            if VmState::from(seen.phase).has_domain()
                && seen.migration.is_none()
                && stored.is_some_and(|stored| stored != host.record.id)
            {
                seconds.insert(*vm, host.record.id);
            }
        }
    }
    seconds
}

/// Shows what has lasted, and mends what is ours. True when either changed anything.
fn look(state: &mut State, id: VmId, second: Option<&HostId>) -> bool {
    let now = Instant::now();
    let Some(vm) = state.vms.get(&id) else { return false };
    let host = vm.record.host.and_then(|host| state.hosts.get(&host));
    let host = host.filter(|host| host.health(now) == Health::Up && vm.owner.is_none());
    let Some(seen) = host.and_then(|host| host.observed.get(&id)) else {
        return show(state, id, Vec::new(), now);
    };
    let mut found = differences(&vm.record, seen);
    if let Some(second) = second {
        found.push(format!("host {} reports a domain of it as well", state.host_name(*second)));
    }
    let mended = mend(state, id, Kib(seen.memory_kib));
    show(state, id, found, now) || mended
}

/// In words.
fn differences(record: &VmRecord, seen: &ReportedVm) -> Vec<String> {
    let mut found = Vec::new();
    let asked = record.vcpus_target.unwrap_or(record.spec.vcpus);
    if seen.vcpus_online != asked {
        found.push(format!("{} of {asked} vCPUs are online", seen.vcpus_online));
    }
    let (held, target) = (Kib(seen.memory_kib), Kib(record.memory_target_kib));
    let least = Kib(record.spec.memory_min_kib.unwrap_or(record.spec.memory_kib)).min(target);
    if held > target + SLACK {
        found.push(format!(
            "it holds {} MiB of memory, its target is {} MiB",
            held.mib(),
            target.mib()
        ));
    } else if held + SLACK < least {
        found.push(format!(
            "it holds {} MiB of memory, its least is {} MiB",
            held.mib(),
            least.mib()
        ));
    }
    found
}

fn show(state: &mut State, id: VmId, found: Vec<String>, now: Instant) -> bool {
    let Some(vm) = state.vms.get_mut(&id) else { return false };
    if found.is_empty() {
        vm.drifts_since = None;
    }
    let since = *vm.drifts_since.get_or_insert(now);
    let lasts = now.saturating_duration_since(since) >= LASTS;
    let shown = (lasts && !found.is_empty()).then(|| found.join("; "));
    if found.is_empty() {
        vm.drifts_since = None;
    }
    if vm.drift == shown {
        return false;
    }
    if let Some(drift) = &shown {
        tracing::warn!(vm_id = %id, drift, "a VM is not what was asked for");
    }
    vm.drift = shown;
    state.journal.touched(Object::Vm(id));
    true
}

/// Charges a VM for the memory that it holds, if its host has room for that.
fn mend(state: &mut State, id: VmId, held: Kib) -> bool {
    let Some((record, charge)) = overdrawn(state, id, held) else { return false };
    tracing::warn!(vm_id = %id, memory_kib = charge.memory_kib, "a VM holds more memory than it was charged for; it is charged now");
    state.commit_facts(vec![Put::Vm(Box::new(VmRecord { charge: Some(charge), ..record }))]);
    true
}

fn overdrawn(state: &State, id: VmId, held: Kib) -> Option<(VmRecord, Charge)> {
    let record = &state.vms.get(&id)?.record;
    let (old, host) = (record.charge?, state.hosts.get(&record.host?)?);
    let spec = VmSpec::try_from(record.spec.clone()).ok()?;
    let memory_kib = charge_of(&spec, held, spec.vcpus, true).memory_kib;
    let charge = Charge { memory_kib, ..old };
    let fits = host.ledger.check(id, charge.into()).is_ok();
    (memory_kib > old.memory_kib + SLACK.0 && fits).then(|| (record.clone(), charge))
}
