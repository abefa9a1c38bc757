//! From the state to the scheduler's problem: hosts and VMs as it weighs them.

use std::collections::BTreeSet;

use tokio::time::Instant;
use vmm_core::id::{GroupId, HostId, VmId};
use vmm_core::scheduler::demand::{History, Known, demand};
use vmm_core::scheduler::{self, Amounts, Group, Host, Mobility, Needs, Pool, Resource, Vm};
use vmm_proto::v1::{self, GroupKind, VmPhase};

use super::moves::{is_shared, storage_name, storages_of};
use super::state::State;
use crate::store::{Charge, GroupRecord, VmRecord};
use crate::view::Measured;

/// What a host's link is assumed to carry when nobody said: a gigabit.
const LINK_BYTES_PER_S: u64 = 125_000_000;
/// Memory that a busy CPU is assumed to write in a second, until a migration has measured it.
const DIRTY_BYTES_PER_CPU_S: u64 = 20_000_000;

/// What a breach of a group that is only a wish costs: as much as an idle host is worth.
const COST_OF_SOFT_BREACH: f64 = 1.0;

/// What was measured of a VM, for forecasts: CPU, disk throughput and requests, network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histories([Option<Box<History>>; 4]);

impl Histories {
    /// Takes a sample; `at_s` is by any clock, always the same.
    pub(crate) fn sampled(&mut self, at_s: u64, measured: &Measured) {
        let rates = [
            measured.cpu.map(|rate| rate.0),
            measured.disk.map(|rate| rate.0),
            measured.disk_requests,
            measured.network.map(|rate| rate.0),
        ];
        for (history, rate) in self.0.iter_mut().zip(rates) {
            if let Some(rate) = rate {
                history.get_or_insert_default().sampled(at_s, rate);
            }
        }
    }
}

impl Histories {
    /// What each will be from now on, as far as it was measured.
    pub(super) fn forecasts(&self, at_s: u64) -> [Option<u64>; 4] {
        self.0.each_ref().map(|history| history.as_ref()?.forecast(at_s))
    }
}

/// What a VM may take at most of what is contended: its vCPUs, or its cap.
fn limit_of(spec: &v1::Spec) -> Amounts {
    let vcpus = u64::from(spec.vcpus_max).saturating_mul(1000);
    let cap = spec.scheduling.as_ref().map_or(0, |scheduling| u64::from(scheduling.cap_percent));
    let most = if cap > 0 { vcpus.min(cap.saturating_mul(10)) } else { vcpus };
    Amounts::NOTHING.with(Resource::Cpu, most)
}

/// A VM of which only matters where it is.
fn placed(vm: &VmRecord, host: HostId) -> Vm {
    Vm {
        id: vm.id,
        name: vm.spec.name.clone(),
        demand: Amounts::NOTHING,
        host: Some(host),
        needs: Needs::default(),
        image: None,
        mobility: Mobility::default(),
    }
}

/// A charge as the scheduler counts it.
pub(crate) fn demand_of(charge: Charge) -> Amounts {
    Amounts::NOTHING
        .with(Resource::Cpu, charge.cpu_milli)
        .with(Resource::Memory, charge.memory_kib)
        .with(Resource::DiskBandwidth, charge.disk_bytes_per_s)
}

/// Requests to disks and bytes of the network that all VMs of a host make a second, as its agent reported them last.
fn reported_rates(host: &super::state::Host) -> (u64, u64) {
    let rates = host.observed.values().filter_map(|seen| seen.rates);
    rates.fold((0, 0), |(requests, network), rates| {
        let more = |sum: u64, rate: Option<u64>| sum.saturating_add(rate.unwrap_or(0));
        (more(requests, rates.disk_requests_per_s), more(network, rates.network_bytes_per_s))
    })
}

impl State {
    /// All hosts, and the VMs that are on one.
    pub(crate) fn problem(&self, now: Instant) -> Pool {
        let vms = self.vms.values().filter_map(|vm| self.scheduled_vm(vm, now)).collect();
        let groups = self.groups.all().map(|group| self.scheduled_group(group)).collect();
        Pool { hosts: self.scheduled_hosts(now), vms, groups }
    }

    /// In order of name.
    pub(super) fn scheduled_hosts(&self, now: Instant) -> Vec<Host> {
        let mut hosts: Vec<Host> =
            self.hosts.values().map(|host| self.scheduled_host(host, now)).collect();
        hosts.sort_by(|a, b| a.name.cmp(&b.name));
        hosts
    }

    fn scheduled_host(&self, host: &super::state::Host, now: Instant) -> Host {
        let (capacity, reserved) = (host.ledger.capacity(), host.ledger.reserved());
        let load = host.load.unwrap_or_default();
        let facts = host.record.facts.as_ref();
        let requests_capacity = facts.and_then(|facts| facts.disk_requests_per_s);
        let network_capacity = facts.and_then(|facts| facts.network_bytes_per_s);
        let (requests, network) = reported_rates(host);
        // The lesser of what is not reserved and what Xen has free: domains that are not ours use memory too.
        let memory_left = capacity.memory.saturating_sub(reserved.memory).min(load.memory_free);
        Host {
            id: host.record.id,
            name: host.record.name.clone(),
            health: host.health(now),
            maintenance: host.record.maintenance,
            zone: self
                .places
                .pool(host.record.pool)
                .map_or_else(String::new, |pool| pool.name.clone()),
            pcpus: u32::try_from(capacity.cpu.0 / 1000).unwrap_or(u32::MAX),
            features: host.features.clone(),
            storages: host.stores.iter().map(storage_name).collect(),
            images: BTreeSet::new(),
            capacity: Amounts::UNCOUNTED
                .with(Resource::Cpu, capacity.cpu.0)
                .with(Resource::Memory, capacity.memory.0)
                .with(Resource::DiskBandwidth, capacity.disk.0)
                .with(Resource::DiskRequests, requests_capacity.unwrap_or(u64::MAX))
                .with(Resource::Network, network_capacity.unwrap_or(u64::MAX)),
            // Charged is the greater of what was promised and what is measured: a VM that was just placed does not show yet.
            used: Amounts::NOTHING
                .with(Resource::Cpu, reserved.cpu.max(load.cpu).0)
                .with(Resource::Memory, capacity.memory.saturating_sub(memory_left).0)
                .with(Resource::DiskBandwidth, reserved.disk.max(load.disk).0)
                .with(Resource::DiskRequests, requests)
                .with(Resource::Network, network),
            link_bytes_per_s: network_capacity.unwrap_or(LINK_BYTES_PER_S),
        }
    }

    /// A VM that is charged somewhere.
    pub(super) fn scheduled_vm(&self, vm: &super::state::Vm, now: Instant) -> Option<Vm> {
        let (host, charge) = (vm.record.host?, vm.record.charge?);
        let known = Known {
            promised: demand_of(charge),
            limit: limit_of(&vm.record.spec),
            measured: vm.histories.0.each_ref().map(|h| h.as_deref().cloned()),
            class: self.profiles.of(&vm.record.spec),
        };
        let demand = demand(&known, self.clock_s(now)).amounts;
        let stores = self.hosts.get(&host).map_or(&[][..], |host| &host.stores);
        Some(Vm {
            id: vm.record.id,
            name: vm.record.spec.name.clone(),
            demand,
            host: Some(host),
            needs: Needs {
                vcpus: vm.vcpus_online,
                zone: self.zone_of(&vm.record),
                pinned: vm.record.pin.iter().copied().collect(),
                storages: storages_of(&vm.record.spec, stores),
                features: vm.features.clone(),
                ..Needs::default()
            },
            image: None,
            mobility: Mobility {
                // Files and devices of its host alone are reached from no other.
                is_movable: is_shared(&vm.record.spec, stores)
                    && vm.owner.is_none()
                    && vm.record.moving.is_none()
                    && vm.record.phase == VmPhase::Running,
                memory_bytes: vm.memory_now_kib.saturating_mul(1024),
                dirty_bytes_per_s: demand[Resource::Cpu]
                    .saturating_mul(DIRTY_BYTES_PER_CPU_S / 1000),
                stands: self.stands_when_moved(vm),
                // A date that is still to come was written by a clock that went wrong.
                moved_s_ago: vm
                    .record
                    .moved_ms
                    .and_then(|at| self.date_ms(now).checked_sub(at))
                    .map(|ago_ms| ago_ms / 1000),
            },
        })
    }

    /// Its host's Xen logs no PV guest.
    fn stands_when_moved(&self, vm: &super::state::Vm) -> bool {
        let host = vm.record.host.and_then(|host| self.hosts.get(&host));
        let facts = host.and_then(|host| host.record.facts.as_ref());
        vm.record.spec.kind == v1::GuestKind::Pv
            && facts.is_some_and(|facts| facts.logs_pv == Some(false))
    }

    /// What a VM that was never measured is expected to use: what was promised, or what its likes use.
    pub(super) fn demand_of_new(&self, spec: &v1::Spec, charge: Charge, now: Instant) -> Amounts {
        let class = self.profiles.of(spec);
        let promised = demand_of(charge);
        let known = Known { promised, limit: limit_of(spec), class, ..Known::default() };
        demand(&known, self.clock_s(now)).amounts
    }

    fn scheduled_group(&self, group: &GroupRecord) -> Group {
        Group {
            name: group.name.clone(),
            members: self.groups.members(group.id).collect(),
            kind: match group.rule {
                GroupKind::Together => scheduler::GroupKind::Together,
                GroupKind::Apart => scheduler::GroupKind::Apart,
            },
            wish: group.soft.then_some(COST_OF_SOFT_BREACH),
        }
    }

    /// The groups of VMs that are to be placed, and those in them that are somewhere: what binds the newcomers, and nothing else.
    pub(super) fn scheduled_groups(&self, newcomers: &[&VmRecord]) -> (Vec<Group>, Vec<Vm>) {
        let ids: BTreeSet<GroupId> =
            newcomers.iter().flat_map(|vm| vm.groups.iter().copied()).collect();
        let new: BTreeSet<VmId> = newcomers.iter().map(|vm| vm.id).collect();
        let mut there: BTreeSet<VmId> = BTreeSet::new();
        let mut groups = Vec::with_capacity(ids.len());
        for record in ids.iter().filter_map(|id| self.groups.get(*id)) {
            let mut group = self.scheduled_group(record);
            there.extend(group.members.iter().copied().filter(|id| !new.contains(id)));
            let newcomers = newcomers.iter().filter(|vm| vm.groups.contains(&record.id));
            group.members.extend(newcomers.map(|vm| vm.id));
            groups.push(group);
        }
        let others = there.iter().filter_map(|id| self.vms.get(id));
        let others = others.filter_map(|vm| Some(placed(&vm.record, vm.record.host?)));
        (groups, others.collect())
    }

    /// The pool of the host that a VM is on, or was.
    pub(crate) fn zone_of(&self, vm: &VmRecord) -> Option<String> {
        self.place_of_vm(vm).0.map(|pool| pool.name.clone())
    }

    /// Seconds on the clock of histories.
    pub(super) fn clock_s(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }
}
