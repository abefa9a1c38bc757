//! What a host has and a VM takes, by resource.
//!
//! Some resources are *hard*: what is charged of them never exceeds what the host has. Others are *contended*: VMs share them by time, and the scheduler
//! prices how full they are.

use std::fmt;
use std::ops::{Index, IndexMut};

/// A resource of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Resource {
    /// Virtual CPUs that are promised, a count. Hard.
    Vcpus,
    /// Memory in KiB. Hard.
    Memory,
    /// Room for disk images on the host, in KiB. Hard.
    Storage,
    /// Processor time in thousandths of a CPU. Contended.
    Cpu,
    /// Disk throughput in bytes a second. Contended.
    DiskBandwidth,
    /// Disk requests a second. Contended.
    DiskRequests,
    /// Network throughput in bytes a second. Contended.
    Network,
}

/// How many there are.
const COUNT: usize = 7;

impl Resource {
    /// All of them: the hard ones first.
    pub const ALL: [Self; COUNT] = [
        Self::Vcpus,
        Self::Memory,
        Self::Storage,
        Self::Cpu,
        Self::DiskBandwidth,
        Self::DiskRequests,
        Self::Network,
    ];
    /// Those that are never overcommitted.
    pub const HARD: [Self; 3] = [Self::Vcpus, Self::Memory, Self::Storage];
    /// Those that VMs share by time.
    pub const CONTENDED: [Self; 4] =
        [Self::Cpu, Self::DiskBandwidth, Self::DiskRequests, Self::Network];

    /// For people and for records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Vcpus => "vcpus",
            Self::Memory => "memory",
            Self::Storage => "storage",
            Self::Cpu => "cpu",
            Self::DiskBandwidth => "disk",
            Self::DiskRequests => "iops",
            Self::Network => "network",
        }
    }

    /// `amount` of it, as people write it.
    #[must_use]
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Vcpus => format!("{amount} vCPUs"),
            Self::Memory | Self::Storage => format!("{} MiB", amount.div_ceil(1024)),
            Self::Cpu => format!("{}.{:02} CPUs", amount / 1000, amount % 1000 / 10),
            Self::DiskBandwidth | Self::Network => {
                format!("{}.{} MB/s", amount / 1_000_000, amount % 1_000_000 / 100_000)
            }
            Self::DiskRequests => format!("{amount} requests/s"),
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An amount of each resource, in its own unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Amounts([u64; COUNT]);

impl Amounts {
    /// Nothing of anything.
    pub const NOTHING: Self = Self([0; COUNT]);
    /// As a capacity: a resource that nobody counts. Nothing is refused for it and it has no price.
    pub const UNCOUNTED: Self = Self([u64::MAX; COUNT]);

    /// The same, with another amount of one.
    #[must_use]
    pub fn with(mut self, resource: Resource, amount: u64) -> Self {
        self[resource] = amount;
        self
    }

    /// The sum, resource by resource.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_add)
    }

    /// What is left when `other` is taken away: nothing where it is more.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        self.zip(other, u64::saturating_sub)
    }

    /// The greater amount of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        self.zip(other, u64::max)
    }

    fn zip(self, other: Self, join: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|index| join(self.0[index], other.0[index])))
    }

    /// `self` of `resource` as a share of `capacity`; infinite where there is none.
    #[must_use]
    pub fn share(&self, capacity: &Self, resource: Resource) -> f64 {
        match (self[resource], capacity[resource]) {
            (0, _) => 0.0,
            (_, 0) => f64::INFINITY,
            (part, whole) => part as f64 / whole as f64,
        }
    }

    /// The first hard resource of which `demand` does not fit beside `self` into `capacity`.
    #[must_use]
    pub fn lacking(&self, demand: &Self, capacity: &Self) -> Option<Resource> {
        Resource::HARD
            .into_iter()
            .find(|r| demand[*r] > 0 && demand[*r] > capacity[*r].saturating_sub(self[*r]))
    }
}

impl Index<Resource> for Amounts {
    type Output = u64;

    fn index(&self, resource: Resource) -> &u64 {
        &self.0[resource as usize]
    }
}

impl IndexMut<Resource> for Amounts {
    fn index_mut(&mut self, resource: Resource) -> &mut u64 {
        &mut self.0[resource as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_its_place() {
        for (index, resource) in Resource::ALL.into_iter().enumerate() {
            assert_eq!(resource as usize, index);
            assert_eq!(Resource::HARD.contains(&resource), index < Resource::HARD.len());
        }
    }

    #[test]
    fn only_what_is_hard_and_asked_for_can_be_lacking() {
        let capacity = Amounts::UNCOUNTED.with(Resource::Memory, 100).with(Resource::Cpu, 10);
        let used = Amounts::NOTHING.with(Resource::Memory, 60);
        let check =
            |demand: Amounts, lacking| assert_eq!(used.lacking(&demand, &capacity), lacking);
        check(Amounts::NOTHING.with(Resource::Memory, 40), None);
        check(Amounts::NOTHING.with(Resource::Memory, 41), Some(Resource::Memory));
        check(Amounts::NOTHING.with(Resource::Cpu, 1_000), None);
        check(Amounts::NOTHING.with(Resource::Vcpus, u64::MAX), None);
    }
}
