//! Objects as callers see them.

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_core::id::{PoolId, SiteId};
use vmm_proto::v1::{self, Capacity};

use super::measured::millis;
use crate::app::{Host, State, Vm};
use crate::store::{GroupRecord, Labels, PoolRecord, SiteRecord};

fn tags(labels: &Labels) -> Vec<v1::Tag> {
    labels.tags.iter().map(|name| v1::Tag { name: name.clone() }).collect()
}

/// VMs that have, or may have, a domain on the host: each is charged there.
pub(super) fn vm_count(host: &Host) -> u64 {
    u64::try_from(host.ledger.reservations().count()).unwrap_or(u64::MAX)
}

impl State {
    pub(crate) fn show_host(&self, host: &Host, now: Instant) -> v1::Host {
        let reserved = host.ledger.reserved();
        let (pool, site) = self.place_of_host(host);
        v1::Host {
            host: host.record.id.to_string(),
            name: host.record.name.clone(),
            address: host.record.address.clone(),
            health: host.health(now).into(),
            heard_ms_ago: host.heard.map(|heard| millis(now.saturating_duration_since(heard))),
            maintenance: host.record.maintenance,
            vm_count: vm_count(host),
            memory_reserved_kib: reserved.memory.0,
            cpu_reserved_milli: reserved.cpu.0,
            disk_reserved_bytes_per_s: reserved.disk.0,
            pool: pool.map(|pool| pool.name.clone()).unwrap_or_default(),
            site: site.map(|site| site.name.clone()).unwrap_or_default(),
            notes: host.record.labels.notes.clone(),
            facts: host.record.facts.clone(),
            load: host.load.map(v1::HostLoad::from),
            tags: tags(&host.record.labels),
        }
    }

    pub(crate) fn show_vm(&self, vm: &Vm, now: Instant) -> v1::Vm {
        let record = &vm.record;
        let host = record.host.and_then(|host| self.hosts.get(&host));
        let (pool, site) = self.place_of_vm(record);
        let has_domain = record.state().has_domain();
        let saved = record.saved.as_ref().filter(|_| record.phase == v1::VmPhase::Saved);
        let measured = vm.measured.filter(|_| has_domain);
        v1::Vm {
            vm: record.id.to_string(),
            phase: record.phase,
            reason: record.reason.clone(),
            host: host.map(|host| host.record.name.clone()),
            stale: host.is_some_and(|host| host.health(now) != Health::Up),
            vcpus_online: if has_domain { vm.vcpus_online } else { 0 },
            memory_now_kib: if has_domain { vm.memory_now_kib } else { 0 },
            saved_path: saved.map(|saved| saved.path.clone()),
            saved_host: saved.map(|saved| self.host_name(saved.host)),
            drift: vm.drift.clone().filter(|_| has_domain),
            pool: pool.map(|pool| pool.name.clone()),
            site: site.map(|site| site.name.clone()),
            folder: Some(&record.labels.folder).filter(|folder| !folder.is_empty()).cloned(),
            notes: record.labels.notes.clone(),
            spec: record.spec.clone(),
            rates: measured.map(|measured| measured.shown(now)),
            tags: tags(&record.labels),
            misplaced: self.misplaced(record),
            groups: self
                .groups_of(record)
                .map(|group| v1::GroupRef { group: group.name.clone() })
                .collect(),
            pins: self.pinned_to(record).map(|host| v1::Pin { host: host.to_owned() }).collect(),
        }
    }

    /// The group, with its VMs and where they are.
    pub(crate) fn show_group(&self, group: &GroupRecord) -> v1::Group {
        let against = self.against(group, self.groups.members(group.id));
        let members = self.groups.members(group.id).filter_map(|vm| self.vms.get(&vm));
        let member = |vm: &Vm| v1::Member {
            vm: vm.record.id.to_string(),
            vm_name: vm.record.spec.name.clone(),
            host: vm.record.host.map(|host| self.host_name(host)),
            misplaced: against.contains(&vm.record.id),
        };
        let mut members: Vec<v1::Member> = members.map(member).collect();
        members.sort_by(|one, other| one.vm_name.cmp(&other.vm_name));
        v1::Group {
            group: group.id.to_string(),
            name: group.name.clone(),
            rule: group.rule,
            soft: group.soft,
            violated: !against.is_empty(),
            notes: group.notes.clone(),
            members,
        }
    }

    /// The pool, with what its hosts have.
    pub(crate) fn show_pool(&self, pool: &PoolRecord, now: Instant) -> v1::Pool {
        let capacity = capacity(self.hosts_of(pool.id), now);
        self.shown_pool(pool, self.places.site(pool.site), capacity)
    }

    pub(super) fn shown_pool(
        &self,
        pool: &PoolRecord,
        site: Option<&SiteRecord>,
        capacity: Capacity,
    ) -> v1::Pool {
        v1::Pool {
            pool: pool.id.to_string(),
            name: pool.name.clone(),
            site: site.map(|site| site.name.clone()).unwrap_or_default(),
            first: pool.id == PoolId::FIRST,
            notes: pool.notes.clone(),
            advised_moves: self.advice.get(&pool.id).copied(),
            rebalance: pool.rebalance,
            capacity,
        }
    }

    /// The site, with what the hosts of its pools have.
    pub(crate) fn show_site(&self, site: &SiteRecord, now: Instant) -> v1::Site {
        let pools: Vec<PoolId> = self.pools_of(site.id).map(|pool| pool.id).collect();
        let hosts = self.hosts.values().filter(|host| pools.contains(&host.record.pool));
        shown_site(site, pools.len(), capacity(hosts, now))
    }

    pub(crate) fn pools_of(&self, site: SiteId) -> impl Iterator<Item = &PoolRecord> {
        self.places.pools().filter(move |pool| pool.site == site)
    }
}

pub(super) fn shown_site(site: &SiteRecord, pool_count: usize, capacity: Capacity) -> v1::Site {
    v1::Site {
        site: site.id.to_string(),
        name: site.name.clone(),
        first: site.id == SiteId::FIRST,
        notes: site.notes.clone(),
        pool_count: u64::try_from(pool_count).unwrap_or(u64::MAX),
        capacity,
    }
}

/// What the hosts have and use together.
pub(super) fn capacity<'a>(hosts: impl Iterator<Item = &'a Host>, now: Instant) -> Capacity {
    let mut sum = Capacity::default();
    hosts.for_each(|host| add_host(&mut sum, host, now));
    sum
}

pub(super) fn add_host(sum: &mut Capacity, host: &Host, now: Instant) {
    let (has, reserved) = (host.ledger.capacity(), host.ledger.reserved());
    let load = host.load.unwrap_or_default();
    let part = Capacity {
        host_count: 1,
        host_up_count: u64::from(host.health(now) == Health::Up),
        vm_count: vm_count(host),
        pcpus: has.cpu.0 / 1000,
        cpu_reserved_milli: reserved.cpu.0,
        cpu_used_milli: load.cpu.0,
        memory_kib: has.memory.0,
        memory_reserved_kib: reserved.memory.0,
        disk_bytes_per_s: has.disk.0,
        disk_reserved_bytes_per_s: reserved.disk.0,
        disk_used_bytes_per_s: load.disk.0,
    };
    add_capacity(sum, &part);
}

/// Adds the sums of other hosts. What a host says of itself may be anything: a sum ends at the largest number.
pub(super) fn add_capacity(sum: &mut Capacity, part: &Capacity) {
    for (sum, part) in [
        (&mut sum.host_count, part.host_count),
        (&mut sum.host_up_count, part.host_up_count),
        (&mut sum.vm_count, part.vm_count),
        (&mut sum.pcpus, part.pcpus),
        (&mut sum.cpu_reserved_milli, part.cpu_reserved_milli),
        (&mut sum.cpu_used_milli, part.cpu_used_milli),
        (&mut sum.memory_kib, part.memory_kib),
        (&mut sum.memory_reserved_kib, part.memory_reserved_kib),
        (&mut sum.disk_bytes_per_s, part.disk_bytes_per_s),
        (&mut sum.disk_reserved_bytes_per_s, part.disk_reserved_bytes_per_s),
        (&mut sum.disk_used_bytes_per_s, part.disk_used_bytes_per_s),
    ] {
        *sum = sum.saturating_add(part);
    }
}
