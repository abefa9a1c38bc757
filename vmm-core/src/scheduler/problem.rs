//! The facts that a decision is made from: hosts, VMs, and the rules that bind them.
//!
//! Everything that a decision depends on stands here or in its arguments, so a problem that was written down (see [`super::record`]) is decided
//! again as it was.

use std::collections::{BTreeMap, BTreeSet};

use super::resource::Amounts;
use crate::cpu::Features;
use crate::host::Health;
use crate::id::{HostId, VmId};

/// All that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pool {
    /// Where VMs may be. In order of name, so that equals are told apart in the same way everywhere.
    pub hosts: Vec<Host>,
    /// VMs that run, or shall.
    pub vms: Vec<Vm>,
    /// Who shall be together, who apart.
    pub groups: Vec<Group>,
}

/// A host.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// Which.
    pub id: HostId,
    /// For people.
    pub name: String,
    /// Is it heard?
    pub health: Health,
    /// Nothing is placed there.
    pub maintenance: bool,
    /// The pool that it belongs to: VMs move within one.
    pub zone: String,
    /// Physical CPUs: no VM starts with more.
    pub pcpus: u32,
    /// What its processors can do.
    pub features: Features,
    /// Storage that it reaches.
    pub storages: BTreeSet<String>,
    /// Images that it need not fetch.
    pub images: BTreeSet<String>,
    /// What it has.
    pub capacity: Amounts,
    /// What is charged: the greater of what is promised and what is measured.
    pub used: Amounts,
    /// How fast it fetches images and receives VMs, in bytes a second.
    pub link_bytes_per_s: u64,
}

/// A VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Vm {
    /// Which.
    pub id: VmId,
    /// For people.
    pub name: String,
    /// What it takes.
    pub demand: Amounts,
    /// Where it is; its demand is part of what is charged there.
    pub host: Option<HostId>,
    /// What it needs of a host.
    pub needs: Needs,
    /// What it is made from, when that is not on every host.
    pub image: Option<Image>,
    /// How it moves.
    pub mobility: Mobility,
}

/// What a VM needs of its host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Needs {
    /// vCPUs at the start.
    pub vcpus: u32,
    /// The only pool that it may be in.
    pub zone: Option<String>,
    /// What it has seen of its processor, and must go on seeing.
    pub features: Features,
    /// Storage that must be reached.
    pub storages: BTreeSet<String>,
    /// The only hosts that it may be on; none: any.
    pub pinned: BTreeSet<HostId>,
    /// Hosts that have a VM which uses one of its disks.
    pub disks_in_use: BTreeSet<HostId>,
}

/// An image that may have to be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// How a VM moves.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mobility {
    /// It may be moved while it runs.
    pub is_movable: bool,
    /// Memory that would travel.
    pub memory_bytes: u64,
    /// Memory that it writes in a second.
    pub dirty_bytes_per_s: u64,
    /// It stands still while it is copied: nobody logs what it writes. Moved only by who asks for it.
    pub stands: bool,
    /// Seconds since it was last moved; `None` when it never was.
    pub moved_s_ago: Option<u64>,
}

/// VMs that shall be on one host, or on different ones.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// For people.
    pub name: String,
    /// Who.
    pub members: BTreeSet<VmId>,
    /// How.
    pub kind: GroupKind,
    /// What a breach costs; `None` forbids it.
    pub wish: Option<f64>,
}

/// What a group wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// All on one host.
    Together,
    /// No two on one host.
    Apart,
}

/// Where the members of the groups are, for many questions.
#[derive(Clone, Debug)]
pub struct GroupPlaces {
    /// For each VM the groups that it is in.
    groups_of: BTreeMap<VmId, Vec<usize>>,
    /// For each group, how many members are on each host.
    counts: Vec<BTreeMap<HostId, usize>>,
}

impl GroupPlaces {
    /// As the pool is.
    #[must_use]
    pub fn of(pool: &Pool) -> Self {
        let mut groups_of: BTreeMap<VmId, Vec<usize>> = BTreeMap::new();
        for (index, group) in pool.groups.iter().enumerate() {
            for vm in &group.members {
                groups_of.entry(*vm).or_default().push(index);
            }
        }
        let counts = vec![BTreeMap::new(); pool.groups.len()];
        let mut places = Self { groups_of, counts };
        for vm in &pool.vms {
            places.moved(vm.id, None, vm.host);
        }
        places
    }

    /// A VM is somewhere else now.
    pub fn moved(&mut self, vm: VmId, from: Option<HostId>, to: Option<HostId>) {
        for group in self.groups_of.get(&vm).into_iter().flatten() {
            let counts = &mut self.counts[*group];
            if let Some(from) = from
                && let Some(count) = counts.get_mut(&from)
            {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&from);
                }
            }
            if let Some(to) = to {
                *counts.entry(to).or_default() += 1;
            }
        }
    }

    /// The groups of a VM that would be broken on `host`, beside those that it breaks by being where it is.
    pub fn broken<'a>(
        &'a self,
        pool: &'a Pool,
        vm: &'a Vm,
        host: HostId,
    ) -> impl Iterator<Item = &'a Group> + 'a {
        let is_broken = move |index: &usize| {
            let count = |at: HostId| {
                let own = usize::from(vm.host == Some(at));
                self.counts[*index].get(&at).map_or(0, |count| count.saturating_sub(own))
            };
            let elsewhere = || self.counts[*index].keys().any(|at| *at != host && count(*at) > 0);
            match pool.groups[*index].kind {
                GroupKind::Apart => count(host) > 0,
                GroupKind::Together => count(host) == 0 && elsewhere(),
            }
        };
        let groups = self.groups_of.get(&vm.id).into_iter().flatten().copied();
        groups.filter(is_broken).map(|index| &pool.groups[index])
    }
}
