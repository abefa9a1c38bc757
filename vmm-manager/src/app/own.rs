//! What of a definition must be its own, by what it is: so that nobody looks through all VMs for a name, an address or a disk.

use std::collections::{BTreeMap, BTreeSet};

use vmm_core::id::VmId;
use vmm_core::vm::Mac;
use vmm_proto::v1::Spec;

/// Who has what. More than one may have it: disks are shared by those who only read, and an older store may hold anything.
#[derive(Debug, Default)]
pub(super) struct Owned {
    names: BTreeMap<String, BTreeSet<VmId>>,
    macs: BTreeMap<Mac, BTreeSet<VmId>>,
    disks: BTreeMap<String, BTreeSet<VmId>>,
}

impl Owned {
    pub(super) fn gains(&mut self, vm: VmId, spec: &Spec) {
        self.names.entry(spec.name.clone()).or_default().insert(vm);
        for mac in macs(spec) {
            self.macs.entry(mac).or_default().insert(vm);
        }
        for disk in &spec.disks {
            self.disks.entry(disk.path.clone()).or_default().insert(vm);
        }
    }

    pub(super) fn loses(&mut self, vm: VmId, spec: &Spec) {
        take(&mut self.names, &spec.name, vm);
        macs(spec).for_each(|mac| take(&mut self.macs, &mac, vm));
        spec.disks.iter().for_each(|disk| take(&mut self.disks, &disk.path, vm));
    }

    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = VmId> {
        self.names.get(name).into_iter().flatten().copied()
    }

    pub(super) fn with_mac(&self, mac: Mac) -> impl Iterator<Item = VmId> {
        self.macs.get(&mac).into_iter().flatten().copied()
    }

    pub(super) fn with_disk(&self, path: &str) -> impl Iterator<Item = VmId> {
        self.disks.get(path).into_iter().flatten().copied()
    }
}

fn macs(spec: &Spec) -> impl Iterator<Item = Mac> {
    spec.nics.iter().filter_map(|nic| nic.mac.parse().ok())
}

fn take<K: Ord + ?Sized, Q: Ord + std::borrow::Borrow<K>>(
    map: &mut BTreeMap<Q, BTreeSet<VmId>>,
    key: &K,
    vm: VmId,
) {
    if let Some(owners) = map.get_mut(key) {
        owners.remove(&vm);
        if owners.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use vmm_proto::v1::{Disk, Nic};

    use super::*;

    fn vm(n: u8) -> VmId {
        VmId::from_bytes([n; 16])
    }

    fn mac(n: u8) -> Mac {
        Mac::xen([0, 0, n])
    }

    /// A name, and each of what is counted by a bit.
    fn spec(name: u8, macs: u8, disks: u8) -> Spec {
        let of = |bits: u8| (0..3).filter(move |n| bits & (1 << n) != 0);
        let nic = |n| Nic { index: u32::from(n), mac: mac(n).to_string(), bridge: String::new() };
        let disk = |n| Disk { path: format!("/d{n}"), device: "xvda".into(), read_only: false };
        Spec {
            name: format!("n{name}"),
            nics: of(macs).map(nic).collect(),
            disks: of(disks).map(disk).collect(),
            ..Spec::default()
        }
    }

    proptest! {
        /// Whatever comes, changes and goes, the index says what a look through all VMs says.
        #[test]
        fn the_index_is_what_a_scan_finds(
            steps in proptest::collection::vec((0_u8..6, any::<bool>(), 0_u8..3, 0_u8..8, 0_u8..8), 1..60),
        ) {
            let (mut owned, mut all) = (Owned::default(), BTreeMap::<VmId, Spec>::new());
            for (who, stays, name, macs, disks) in steps {
                if let Some(before) = all.remove(&vm(who)) {
                    owned.loses(vm(who), &before);
                }
                if stays {
                    owned.gains(vm(who), &spec(name, macs, disks));
                    all.insert(vm(who), spec(name, macs, disks));
                }
                for n in 0..3 {
                    let scan = |has: &dyn Fn(&Spec) -> bool| -> Vec<VmId> {
                        all.iter().filter(|(_, spec)| has(spec)).map(|(vm, _)| *vm).collect()
                    };
                    let (name, path) = (format!("n{n}"), format!("/d{n}"));
                    let own = |spec: &Spec| spec.nics.iter().any(|nic| nic.mac == mac(n).to_string());
                    let uses = |spec: &Spec| spec.disks.iter().any(|disk| disk.path == path);
                    prop_assert_eq!(owned.named(&name).collect::<Vec<_>>(), scan(&|s| s.name == name));
                    prop_assert_eq!(owned.with_mac(mac(n)).collect::<Vec<_>>(), scan(&own));
                    prop_assert_eq!(owned.with_disk(&path).collect::<Vec<_>>(), scan(&uses));
                }
            }
            all.iter().for_each(|(vm, spec)| owned.loses(*vm, spec));
            prop_assert!(owned.names.is_empty() && owned.macs.is_empty() && owned.disks.is_empty());
        }
    }
}
