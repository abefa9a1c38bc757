//! Who cannot take a VM, and by which rule. Rules come before any cost.

use std::fmt;

use super::problem::{GroupPlaces, Host, Pool, Vm};
use super::resource::Resource;
use crate::cpu;
use crate::host::Health;

/// Why a host cannot take a VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Not heard since the manager started.
    NotHeardYet,
    /// Silent for too long.
    Silent,
    /// Switched off for placements.
    Maintenance,
    /// It belongs to another pool.
    OtherZone {
        /// The host's.
        zone: String,
    },
    /// The VM is pinned to other hosts.
    Pinned,
    /// A disk of the VM is in use there: two writers would destroy it.
    DiskInUse,
    /// Its processors lack what the VM has seen of its own.
    Features {
        /// Bits of Xen's feature sets.
        missing: Vec<usize>,
    },
    /// It does not reach storage of the VM.
    Storage {
        /// Which.
        name: String,
    },
    /// A group forbids it.
    Group {
        /// Which.
        name: String,
    },
    /// More vCPUs at the start than the host has processors: they would wait for each other.
    Processors {
        /// What it needs.
        needed: u32,
        /// What the host has.
        pcpus: u32,
    },
    /// Not enough left of a resource that is not overcommitted.
    Lacking {
        /// Which.
        resource: Resource,
        /// What it needs.
        needed: u64,
        /// What is left.
        free: u64,
    },
}

impl Refusal {
    /// The rule, for programs.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NotHeardYet | Self::Silent => "health",
            Self::Maintenance => "maintenance",
            Self::OtherZone { .. } => "zone",
            Self::Pinned => "pin",
            Self::DiskInUse => "disk",
            Self::Features { .. } => "features",
            Self::Storage { .. } => "storage",
            Self::Group { .. } => "group",
            Self::Processors { .. } => "processors",
            Self::Lacking { resource, .. } => resource.name(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotHeardYet => f.write_str("has not reported yet"),
            Self::Silent => f.write_str("is silent: no heartbeat"),
            Self::Maintenance => f.write_str("is in maintenance"),
            Self::OtherZone { zone } => write!(f, "is in pool {zone}"),
            Self::Pinned => f.write_str("is no host that the VM is pinned to"),
            Self::DiskInUse => f.write_str("has a VM that uses a disk of this one"),
            Self::Features { missing } => {
                write!(f, "its processors lack what the VM may use: {}", cpu::in_words(missing))
            }
            Self::Storage { name } => write!(f, "does not reach storage {name}"),
            Self::Group { name } => write!(f, "group {name} forbids it"),
            Self::Processors { needed, pcpus } => {
                write!(f, "vCPUs: needs {needed}, the host has {pcpus} processors")
            }
            Self::Lacking { resource, needed, free } => {
                write!(
                    f,
                    "{resource}: needs {}, {} left",
                    resource.show(*needed),
                    shown(*resource, *free)
                )
            }
        }
    }
}

/// What is free is rounded down, what is needed up.
fn shown(resource: Resource, free: u64) -> String {
    match resource {
        Resource::Memory | Resource::Storage => format!("{} MiB", free / 1024),
        other => other.show(free),
    }
}

/// Why `host` cannot take `vm`, whatever there is left; the first rule in the order of [`Refusal`].
#[must_use]
pub fn barred(pool: &Pool, places: &GroupPlaces, vm: &Vm, host: &Host) -> Option<Refusal> {
    let needs = &vm.needs;
    match host.health {
        Health::Unknown => return Some(Refusal::NotHeardYet),
        Health::Silent => return Some(Refusal::Silent),
        Health::Up => {}
    }
    if host.maintenance {
        return Some(Refusal::Maintenance);
    }
    if needs.zone.as_ref().is_some_and(|zone| *zone != host.zone) {
        return Some(Refusal::OtherZone { zone: host.zone.clone() });
    }
    if !needs.pinned.is_empty() && !needs.pinned.contains(&host.id) {
        return Some(Refusal::Pinned);
    }
    if needs.disks_in_use.contains(&host.id) {
        return Some(Refusal::DiskInUse);
    }
    let missing = host.features.missing(&needs.features);
    if !missing.is_empty() {
        return Some(Refusal::Features { missing });
    }
    if let Some(name) = needs.storages.iter().find(|name| !host.storages.contains(*name)) {
        return Some(Refusal::Storage { name: name.clone() });
    }
    if let Some(group) = places.broken(pool, vm, host.id).find(|group| group.wish.is_none()) {
        return Some(Refusal::Group { name: group.name.clone() });
    }
    let (needed, pcpus) = (needs.vcpus, host.pcpus);
    (needed > pcpus).then_some(Refusal::Processors { needed, pcpus })
}

/// Why `host` cannot take `vm` now: a rule, or too little left.
#[must_use]
pub fn refused(pool: &Pool, places: &GroupPlaces, vm: &Vm, host: &Host) -> Option<Refusal> {
    barred(pool, places, vm, host).or_else(|| {
        let resource = host.used.lacking(&vm.demand, &host.capacity)?;
        let free = host.capacity[resource].saturating_sub(host.used[resource]);
        Some(Refusal::Lacking { resource, needed: vm.demand[resource], free })
    })
}

/// What a breach of wishes costs on `host`.
#[must_use]
pub fn wishes(pool: &Pool, places: &GroupPlaces, vm: &Vm, host: &Host) -> f64 {
    places.broken(pool, vm, host.id).filter_map(|group| group.wish).sum()
}
