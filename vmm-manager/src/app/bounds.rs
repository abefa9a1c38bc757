//! What binds VMs to hosts: pins and groups. What was bound after it was put somewhere stays there; this says so.

use vmm_core::id::HostId;
use vmm_proto::v1::VmPhase;

use super::state::State;
use crate::store::VmRecord;

impl State {
    /// The hosts that a VM is pinned to, by name.
    pub(crate) fn pinned_to<'a>(&'a self, vm: &'a VmRecord) -> impl Iterator<Item = &'a str> {
        let hosts = vm.pin.iter().filter_map(|host| self.hosts.get(host));
        hosts.map(|host| host.record.name.as_str())
    }

    /// By which rules a VM may not be where it is, in words.
    pub(crate) fn misplaced(&self, vm: &VmRecord) -> Option<String> {
        let musts = self.groups_of(vm).filter(|group| !group.soft);
        let barred = musts.filter_map(|group| self.barred_by(group, vm));
        let rules: Vec<String> = self.off_pin(vm).into_iter().chain(barred).collect();
        (!rules.is_empty()).then(|| rules.join("; "))
    }

    fn off_pin(&self, vm: &VmRecord) -> Option<String> {
        let is_elsewhere = |host: &HostId| !vm.pin.is_empty() && !vm.pin.contains(host);
        if let Some(host) = vm.host.filter(is_elsewhere) {
            return Some(format!("it is on {}, to which it is not pinned", self.host_name(host)));
        }
        let saved = vm.saved.as_ref().filter(|_| vm.phase == VmPhase::Saved)?;
        let host = Some(saved.host).filter(is_elsewhere)?;
        let name = self.host_name(host);
        Some(format!("its memory is saved on {name}, to which it is not pinned"))
    }
}
