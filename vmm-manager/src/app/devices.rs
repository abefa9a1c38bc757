//! What of a VM's definition must be its own: its name, its disks' contents, its NICs' addresses. What is being given by a task
//! under way counts as given.

use std::collections::BTreeSet;

use vmm_core::id::{HostId, VmId};
use vmm_core::vm::{DiskSpec, Mac, VmSpec};
use vmm_proto::v1::{Nic, Request};

use super::moves::shares;
use super::state::{State, Vm};

/// Two VMs may read one disk; nobody may write to one that another uses.
fn clash(one: &DiskSpec, path: &str, read_only: bool) -> bool {
    one.path == path && !(one.read_only && read_only)
}

impl State {
    /// Those of them that are not `but`.
    fn others(
        &self,
        ids: impl Iterator<Item = VmId>,
        but: Option<VmId>,
    ) -> impl Iterator<Item = &Vm> {
        ids.filter(move |id| Some(*id) != but).filter_map(|id| self.vms.get(&id))
    }

    /// What tasks under way are telling agents of other VMs.
    fn being_told(&self, but: Option<VmId>) -> impl Iterator<Item = (&Vm, &Request)> {
        let open = self.open_tasks.iter().filter_map(|task| self.tasks.get(task));
        open.map(|task| &task.record)
            .filter(move |task| Some(task.vm) != but)
            .filter_map(|task| Some((self.vms.get(&task.vm)?, &task.told()?.request)))
    }

    /// Has a VM this name, or is it being given it?
    pub(crate) fn name_is_taken(&self, name: &str, but: Option<VmId>) -> bool {
        self.others(self.owned.named(name), but).next().is_some()
            || self
                .being_told(but)
                .any(|(_, told)| matches!(told, Request::RenameVm(rename) if rename.name == name))
    }

    /// The name of a VM that has, or is being given, a NIC with this address.
    pub(crate) fn mac_user(&self, mac: Mac, but: Option<VmId>) -> Option<&str> {
        let has = |nic: &Nic| nic.mac.parse() == Ok(mac);
        let defined = self.others(self.owned.with_mac(mac), but).next();
        let given = || {
            let mut told = self.being_told(but);
            told.find(|(_, told)| matches!(told, Request::AttachNic(attach) if has(&attach.nic)))
        };
        let vm = defined.or_else(|| given().map(|(vm, _)| vm));
        vm.map(|vm| vm.record.spec.name.as_str())
    }

    /// VMs that use, or are being given, a disk that this one cannot be beside.
    fn disk_users(&self, disk: &DiskSpec, but: Option<VmId>) -> impl Iterator<Item = &Vm> {
        let uses = move |vm: &&Vm| {
            vm.record.spec.disks.iter().any(|other| clash(disk, &other.path, other.read_only))
        };
        let given = self.being_told(but).filter(move |(_, told)| {
            matches!(told, Request::AttachDisk(attach)
                if clash(disk, &attach.disk.path, attach.disk.read_only))
        });
        self.others(self.owned.with_disk(&disk.path), but)
            .filter(uses)
            .chain(given.map(|(vm, _)| vm))
    }

    /// The name of one of them on the host, or on any where the host shares the disk with others.
    pub(crate) fn disk_user(
        &self,
        host: HostId,
        disk: &DiskSpec,
        but: Option<VmId>,
    ) -> Option<&str> {
        let shared = self.hosts.get(&host).is_some_and(|host| shares(&disk.path, &host.stores));
        let clashes = |vm: &&Vm| vm.record.host.is_some_and(|user| shared || user == host);
        let user = self.disk_users(disk, but).find(clashes);
        user.map(|vm| vm.record.spec.name.as_str())
    }

    /// Hosts on which another VM uses a disk that this VM needs; and, once one does anywhere, all that share the disk. What the host of the other VM
    /// shares is not asked: it may not have been heard since the manager started.
    pub(super) fn hosts_with_disk_of(&self, vm: VmId, spec: &VmSpec) -> BTreeSet<HostId> {
        let mut hosts = BTreeSet::new();
        for disk in &spec.disks {
            let users = self.disk_users(disk, Some(vm)).filter_map(|user| user.record.host);
            let users: Vec<HostId> = users.collect();
            if users.is_empty() {
                continue;
            }
            let sharing = self.hosts.values().filter(|host| shares(&disk.path, &host.stores));
            hosts.extend(sharing.map(|host| host.record.id));
            hosts.extend(users);
        }
        hosts
    }

    /// Is, or was, the VM being continued from a file?
    pub(crate) fn is_restored(&self, vm: VmId) -> bool {
        self.vms.get(&vm).is_some_and(|vm| vm.record.saved.is_some())
    }

    /// The names of VMs whose memory is saved in a file on the host.
    pub(crate) fn saved_on(&self, host: HostId) -> Vec<&str> {
        let saved = self.vms.values().map(|vm| &vm.record).filter(|vm| {
            vm.phase == vmm_proto::v1::VmPhase::Saved
                && vm.saved.as_ref().is_some_and(|saved| saved.host == host)
        });
        saved.map(|vm| vm.spec.name.as_str()).collect()
    }
}
