//! Groups as they are held in memory, and who stands against them.
//!
//! A VM's record says which groups it is in, so a VM that is forgotten is in none; who is in a group is counted here from the records.

use std::collections::{BTreeMap, BTreeSet};

use vmm_core::id::{GroupId, HostId, VmId};
use vmm_proto::v1::GroupKind;

use super::news::Object;
use super::state::State;
use crate::store::{GroupRecord, VmRecord};

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    records: BTreeMap<GroupId, GroupRecord>,
    members: BTreeMap<GroupId, BTreeSet<VmId>>,
}

impl Groups {
    pub(crate) fn all(&self) -> impl Iterator<Item = &GroupRecord> {
        self.records.values()
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<&GroupRecord> {
        self.records.get(&id)
    }

    /// By id or name.
    pub(crate) fn called(&self, text: &str) -> Option<&GroupRecord> {
        let by_id = text.parse().ok().and_then(|id| self.get(id));
        by_id.or_else(|| self.records.values().find(|group| group.name == text))
    }

    pub(crate) fn members(&self, id: GroupId) -> impl Iterator<Item = VmId> + '_ {
        self.members.get(&id).into_iter().flatten().copied()
    }

    pub(super) fn take(&mut self, record: GroupRecord) {
        self.records.insert(record.id, record);
    }

    pub(super) fn drop(&mut self, id: GroupId) {
        self.records.remove(&id);
        self.members.remove(&id);
    }

    /// A VM is in these groups now.
    fn enrol(&mut self, vm: VmId, before: &[GroupId], now: &[GroupId]) {
        for gone in before.iter().filter(|group| !now.contains(group)) {
            if let Some(members) = self.members.get_mut(gone) {
                members.remove(&vm);
            }
        }
        for group in now {
            self.members.entry(*group).or_default().insert(vm);
        }
    }
}

impl State {
    /// Counts a VM where its record says that it is; groups that changed by it are told of, with those in them that may be placed otherwise now.
    pub(super) fn enrol(&mut self, id: VmId, after: Option<&VmRecord>) {
        let before = self.vms.get(&id).map(|vm| &vm.record);
        let place = |record: &VmRecord| (record.host, record.groups.clone());
        let (was, is) = (before.map(place), after.map(place));
        let none = (None, Vec::new());
        let ((old_host, old), (new_host, new)) = (was.unwrap_or(none.clone()), is.unwrap_or(none));
        if (old_host, &old) == (new_host, &new) || (old.is_empty() && new.is_empty()) {
            return;
        }
        self.groups.enrol(id, &old, &new);
        let changed: BTreeSet<GroupId> = old.into_iter().chain(new).collect();
        for group in changed {
            self.touch_group(group);
        }
    }

    /// The group, and the VMs that show it.
    pub(super) fn touch_group(&mut self, group: GroupId) {
        self.journal.touched(Object::Group(group));
        for vm in self.groups.members(group) {
            if self.vms.contains_key(&vm) {
                self.journal.touched(Object::Vm(vm));
            }
        }
    }

    /// The groups that a VM is in.
    pub(crate) fn groups_of<'a>(
        &'a self,
        vm: &'a VmRecord,
    ) -> impl Iterator<Item = &'a GroupRecord> {
        vm.groups.iter().filter_map(|group| self.groups.get(*group))
    }

    /// Who of them is on which host.
    fn spread(&self, vms: impl Iterator<Item = VmId>) -> BTreeMap<HostId, Vec<&VmRecord>> {
        let mut spread: BTreeMap<HostId, Vec<&VmRecord>> = BTreeMap::new();
        for vm in vms.filter_map(|vm| self.vms.get(&vm)) {
            if let Some(host) = vm.record.host {
                spread.entry(host).or_default().push(&vm.record);
            }
        }
        spread
    }

    /// Where most of them are; of several such hosts, the first by name.
    fn home_of_most(&self, spread: &BTreeMap<HostId, Vec<&VmRecord>>) -> Option<HostId> {
        let name = |host: HostId| std::cmp::Reverse(self.host_name(host));
        let most = spread.iter().max_by_key(|(host, vms)| (vms.len(), name(**host)));
        most.map(|(host, _)| *host)
    }

    /// Who of these stands against the rule of a group: with another one of those apart; of those together, not where most are.
    pub(crate) fn against(
        &self,
        group: &GroupRecord,
        vms: impl Iterator<Item = VmId>,
    ) -> BTreeSet<VmId> {
        let spread = self.spread(vms);
        let home = self.home_of_most(&spread);
        let breaks = |(host, vms): &(&HostId, &Vec<&VmRecord>)| match group.rule {
            GroupKind::Apart => vms.len() > 1,
            GroupKind::Together => Some(**host) != home,
        };
        let against = spread.iter().filter(breaks);
        against.flat_map(|(_, vms)| vms.iter().map(|vm| vm.id)).collect()
    }

    /// How a group bars a VM from where it is, in words.
    pub(super) fn barred_by(&self, group: &GroupRecord, vm: &VmRecord) -> Option<String> {
        let host = vm.host?;
        let (name, spread) = (&group.name, self.spread(self.groups.members(group.id)));
        match group.rule {
            GroupKind::Apart => {
                let others: Vec<&str> = spread
                    .get(&host)?
                    .iter()
                    .filter(|other| other.id != vm.id)
                    .map(|other| other.spec.name.as_str())
                    .collect();
                (!others.is_empty()).then(|| {
                    format!(
                        "group {name} keeps it apart from {}, on the same host",
                        others.join(", ")
                    )
                })
            }
            GroupKind::Together => {
                let home = self.home_of_most(&spread).filter(|home| *home != host)?;
                let home = self.host_name(home);
                Some(format!("group {name} keeps it together with those on {home}"))
            }
        }
    }
}
