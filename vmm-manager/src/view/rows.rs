//! Rows: objects beside what belongs to them, as the query language asks for them. Nothing is copied.

use tokio::time::Instant;
use vmm_core::host::Health;
use vmm_core::query::{GroupField, HostField, PoolField, Record, SiteField, Value, VmField};
use vmm_proto::v1::{self, Capacity, GroupKind, GuestKind, VmPhase};

use super::measured::millis;
use super::show::vm_count;
use crate::app::{Host, State, Vm};
use crate::store::{GroupRecord, PoolRecord, SiteRecord};

/// A VM, and where it is.
pub(super) struct VmRow<'a> {
    pub(super) vm: &'a Vm,
    host: Option<&'a Host>,
    pool: Option<&'a PoolRecord>,
    site: Option<&'a SiteRecord>,
    state: &'a State,
    now: Instant,
}

/// A host, and where it is.
pub(super) struct HostRow<'a> {
    pub(super) host: &'a Host,
    pool: Option<&'a PoolRecord>,
    site: Option<&'a SiteRecord>,
    now: Instant,
}

/// A pool, with what its hosts have.
pub(super) struct PoolRow<'a> {
    pub(super) pool: &'a PoolRecord,
    pub(super) site: Option<&'a SiteRecord>,
    pub(super) capacity: Capacity,
}

/// A site, with what the hosts in it have.
pub(super) struct SiteRow<'a> {
    pub(super) site: &'a SiteRecord,
    pub(super) pool_count: usize,
    pub(super) capacity: Capacity,
}

/// A group of VMs.
pub(super) struct GroupRow<'a> {
    pub(super) state: &'a State,
    pub(super) group: &'a GroupRecord,
}

const KIB: u64 = 1024;
/// Shares are in millionths.
const WHOLE: u128 = 1_000_000;

fn text(text: &str) -> Value<'_> {
    if text.is_empty() { Value::Missing } else { Value::Text(text) }
}

fn flag(set: bool) -> Value<'static> {
    Value::Number(u64::from(set))
}

/// Nothing of nothing is no share.
fn share(part: u64, whole: u64) -> Value<'static> {
    let millionths = (u128::from(part) * WHOLE).checked_div(u128::from(whole));
    millionths.and_then(|share| u64::try_from(share).ok()).into()
}

/// The place of a phase in the words of [`VmField::Status`].
fn place_of(phase: VmPhase) -> u64 {
    match phase {
        VmPhase::Starting => 0,
        VmPhase::Running => 1,
        VmPhase::Paused => 2,
        VmPhase::ShuttingDown => 3,
        VmPhase::Rebooting => 4,
        VmPhase::Suspending => 5,
        VmPhase::Suspended => 6,
        VmPhase::Saving => 7,
        VmPhase::Preserved => 8,
        VmPhase::New => 9,
        VmPhase::PoweredOff => 10,
        VmPhase::Crashed => 11,
        VmPhase::Destroyed => 12,
        VmPhase::Failed => 13,
        VmPhase::Lost => 14,
        VmPhase::Saved => 15,
        VmPhase::Migrating => 16,
        VmPhase::Arriving => 17,
        VmPhase::Migrated => 18,
    }
}

fn place_of_health(health: Health) -> u64 {
    match health {
        Health::Unknown => 0,
        Health::Up => 1,
        Health::Silent => 2,
    }
}

fn place_of_kind(kind: GuestKind) -> u64 {
    match kind {
        GuestKind::Pvh => 0,
        GuestKind::Pv => 1,
        GuestKind::Hvm => 2,
    }
}

fn place_of_rule(rule: GroupKind) -> u64 {
    match rule {
        GroupKind::Together => 0,
        GroupKind::Apart => 1,
    }
}

impl<'a> VmRow<'a> {
    pub(super) fn of(state: &'a State, vm: &'a Vm, now: Instant) -> Self {
        let (pool, site) = state.place_of_vm(&vm.record);
        let host = vm.record.host.and_then(|host| state.hosts.get(&host));
        Self { vm, host, pool, site, state, now }
    }

    pub(super) fn has_domain(&self) -> bool {
        self.vm.record.state().has_domain()
    }

    fn vcpus(&self) -> u64 {
        let spec = &self.vm.record.spec;
        u64::from(if self.has_domain() { self.vm.vcpus_online } else { spec.vcpus })
    }

    fn memory_kib(&self) -> u64 {
        if self.has_domain() { self.vm.memory_now_kib } else { self.vm.record.spec.memory_kib }
    }

    pub(super) fn measured(&self) -> Option<super::Measured> {
        self.vm.measured.filter(|_| self.has_domain())
    }

    fn measured_value(&self, field: VmField) -> Value<'static> {
        let Some(measured) = self.measured() else { return Value::Missing };
        match field {
            VmField::Cpu => match measured.cpu {
                Some(cpu) => share(cpu.0, self.vcpus().saturating_mul(1000)),
                None => Value::Missing,
            },
            VmField::CpuUsed => measured.cpu.map(|cpu| cpu.0).into(),
            VmField::Disk => measured.disk.map(|rate| rate.0).into(),
            VmField::Network => measured.network.map(|rate| rate.0).into(),
            _ => Value::Number(measured.age_ms(self.now)),
        }
    }
}

impl Record for VmRow<'_> {
    type Field = VmField;

    fn value(&self, field: VmField) -> Value<'_> {
        let (record, spec) = (&self.vm.record, &self.vm.record.spec);
        match field {
            VmField::Name => Value::Text(&spec.name),
            VmField::Id
            | VmField::Tag
            | VmField::Path
            | VmField::Mac
            | VmField::Bridge
            | VmField::Group
            | VmField::Pin => Value::Missing,
            VmField::Status => Value::Number(place_of(record.phase)),
            VmField::Host => self.host.map(|host| host.record.name.as_str()).into(),
            VmField::Pool => self.pool.map(|pool| pool.name.as_str()).into(),
            VmField::Site => self.site.map(|site| site.name.as_str()).into(),
            VmField::Folder => text(&record.labels.folder),
            VmField::Notes => text(&record.labels.notes),
            VmField::Reason => text(&record.reason),
            VmField::Kind => Value::Number(place_of_kind(spec.kind)),
            VmField::Vcpus => Value::Number(self.vcpus()),
            VmField::VcpusMax => Value::Number(u64::from(spec.vcpus_max)),
            VmField::Memory => Value::Number(self.memory_kib().saturating_mul(KIB)),
            VmField::MemoryMax => Value::Number(spec.memory_max_kib.saturating_mul(KIB)),
            VmField::Cpu
            | VmField::CpuUsed
            | VmField::Disk
            | VmField::Network
            | VmField::Measured => self.measured_value(field),
            VmField::Stale => {
                flag(self.host.is_some_and(|host| host.health(self.now) != Health::Up))
            }
            VmField::Misplaced => flag(self.state.misplaced(record).is_some()),
            VmField::Busy => flag(self.vm.owner.is_some()),
            VmField::Autostart => flag(spec.autostart.as_ref().is_some_and(|start| start.enabled)),
        }
    }

    fn any(&self, field: VmField, test: &mut dyn FnMut(&str) -> bool) -> bool {
        let spec = &self.vm.record.spec;
        match field {
            VmField::Id => test(&self.vm.record.id.to_string()),
            VmField::Tag => self.vm.record.labels.tags.iter().any(|tag| test(tag)),
            VmField::Group => self.state.groups_of(&self.vm.record).any(|group| test(&group.name)),
            VmField::Pin => self.state.pinned_to(&self.vm.record).any(test),
            VmField::Path => spec.disks.iter().any(|disk| test(&disk.path)),
            VmField::Mac => spec.nics.iter().any(|nic| test(&nic.mac)),
            VmField::Bridge => spec.nics.iter().any(|nic| test(&nic.bridge)),
            _ => false,
        }
    }

    fn tie(&self) -> [u8; 16] {
        self.vm.record.id.bytes()
    }
}

impl<'a> HostRow<'a> {
    pub(super) fn of(state: &'a State, host: &'a Host, now: Instant) -> Self {
        let (pool, site) = state.place_of_host(host);
        Self { host, pool, site, now }
    }

    fn reserved(&self, field: HostField) -> Value<'static> {
        let (has, reserved) = (self.host.ledger.capacity(), self.host.ledger.reserved());
        match field {
            HostField::CpuReserved => Value::Number(reserved.cpu.0),
            HostField::DiskReserved => Value::Number(reserved.disk.0),
            HostField::MemoryFree => {
                Value::Number(self.host.ledger.memory_free().0.saturating_mul(KIB))
            }
            HostField::MemoryUse => share(reserved.memory.0, has.memory.0),
            _ => Value::Number(reserved.memory.0.saturating_mul(KIB)),
        }
    }

    fn fact<'v>(&'v self, fact: impl FnOnce(&'v v1::HostFacts) -> Value<'v>) -> Value<'v> {
        self.host.record.facts.as_ref().map_or(Value::Missing, fact)
    }
}

impl Record for HostRow<'_> {
    type Field = HostField;

    fn value(&self, field: HostField) -> Value<'_> {
        let (host, record) = (self.host, &self.host.record);
        let load = host.load.as_ref();
        match field {
            HostField::Name => Value::Text(&record.name),
            HostField::Id | HostField::Tag => Value::Missing,
            HostField::Address => Value::Text(&record.address),
            HostField::Health => Value::Number(place_of_health(host.health(self.now))),
            HostField::Pool => self.pool.map(|pool| pool.name.as_str()).into(),
            HostField::Site => self.site.map(|site| site.name.as_str()).into(),
            HostField::Notes => text(&record.labels.notes),
            HostField::Maintenance => flag(record.maintenance),
            HostField::Vms => Value::Number(vm_count(host)),
            HostField::Cpus => self.fact(|facts| Value::Number(u64::from(facts.pcpus))),
            HostField::Cpu => {
                load.map_or(Value::Missing, |load| share(load.cpu.0, host.ledger.capacity().cpu.0))
            }
            HostField::CpuUsed => load.map(|load| load.cpu.0).into(),
            HostField::Memory => {
                self.fact(|facts| Value::Number(facts.memory_kib.saturating_mul(KIB)))
            }
            HostField::CpuReserved
            | HostField::MemoryFree
            | HostField::MemoryReserved
            | HostField::MemoryUse
            | HostField::DiskReserved => self.reserved(field),
            HostField::Disk => load.map(|load| load.disk.0).into(),
            HostField::Heard => {
                host.heard.map(|heard| millis(self.now.saturating_duration_since(heard))).into()
            }
            HostField::Xen => self.fact(|facts| text(&facts.xen_version)),
            HostField::Backend => self.fact(|facts| text(&facts.backend)),
            HostField::Agent => self.fact(|facts| text(&facts.agent_version)),
        }
    }

    fn any(&self, field: HostField, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match field {
            HostField::Id => test(&self.host.record.id.to_string()),
            HostField::Tag => self.host.record.labels.tags.iter().any(|tag| test(tag)),
            _ => false,
        }
    }

    fn tie(&self) -> [u8; 16] {
        self.host.record.id.bytes()
    }
}

impl Record for PoolRow<'_> {
    type Field = PoolField;

    fn value(&self, field: PoolField) -> Value<'_> {
        let sum = &self.capacity;
        match field {
            PoolField::Name => Value::Text(&self.pool.name),
            PoolField::Id => Value::Missing,
            PoolField::Site => self.site.map(|site| site.name.as_str()).into(),
            PoolField::Notes => text(&self.pool.notes),
            PoolField::Hosts => Value::Number(sum.host_count),
            PoolField::Vms => Value::Number(sum.vm_count),
            PoolField::Cpus => Value::Number(sum.pcpus),
            PoolField::CpuUsed => Value::Number(sum.cpu_used_milli),
            PoolField::Memory => Value::Number(sum.memory_kib.saturating_mul(KIB)),
            PoolField::MemoryFree => Value::Number(free_kib(sum).saturating_mul(KIB)),
            PoolField::MemoryUse => share(sum.memory_reserved_kib, sum.memory_kib),
        }
    }

    fn any(&self, field: PoolField, test: &mut dyn FnMut(&str) -> bool) -> bool {
        field == PoolField::Id && test(&self.pool.id.to_string())
    }

    fn tie(&self) -> [u8; 16] {
        self.pool.id.bytes()
    }
}

impl Record for SiteRow<'_> {
    type Field = SiteField;

    fn value(&self, field: SiteField) -> Value<'_> {
        let sum = &self.capacity;
        match field {
            SiteField::Name => Value::Text(&self.site.name),
            SiteField::Id => Value::Missing,
            SiteField::Notes => text(&self.site.notes),
            SiteField::Pools => u64::try_from(self.pool_count).ok().into(),
            SiteField::Hosts => Value::Number(sum.host_count),
            SiteField::Vms => Value::Number(sum.vm_count),
            SiteField::Cpus => Value::Number(sum.pcpus),
            SiteField::CpuUsed => Value::Number(sum.cpu_used_milli),
            SiteField::Memory => Value::Number(sum.memory_kib.saturating_mul(KIB)),
            SiteField::MemoryFree => Value::Number(free_kib(sum).saturating_mul(KIB)),
            SiteField::MemoryUse => share(sum.memory_reserved_kib, sum.memory_kib),
        }
    }

    fn any(&self, field: SiteField, test: &mut dyn FnMut(&str) -> bool) -> bool {
        field == SiteField::Id && test(&self.site.id.to_string())
    }

    fn tie(&self) -> [u8; 16] {
        self.site.id.bytes()
    }
}

impl GroupRow<'_> {
    fn vms(&self) -> impl Iterator<Item = &Vm> {
        let members = self.state.groups.members(self.group.id);
        members.filter_map(|vm| self.state.vms.get(&vm))
    }

    fn is_violated(&self) -> bool {
        !self.state.against(self.group, self.state.groups.members(self.group.id)).is_empty()
    }
}

impl Record for GroupRow<'_> {
    type Field = GroupField;

    fn value(&self, field: GroupField) -> Value<'_> {
        match field {
            GroupField::Name => Value::Text(&self.group.name),
            GroupField::Id | GroupField::Vm => Value::Missing,
            GroupField::Rule => Value::Number(place_of_rule(self.group.rule)),
            GroupField::Soft => flag(self.group.soft),
            GroupField::Violated => flag(self.is_violated()),
            GroupField::Vms => u64::try_from(self.vms().count()).ok().into(),
            GroupField::Notes => text(&self.group.notes),
        }
    }

    fn any(&self, field: GroupField, test: &mut dyn FnMut(&str) -> bool) -> bool {
        match field {
            GroupField::Id => test(&self.group.id.to_string()),
            GroupField::Vm => self.vms().any(|vm| test(&vm.record.spec.name)),
            _ => false,
        }
    }

    fn tie(&self) -> [u8; 16] {
        self.group.id.bytes()
    }
}

fn free_kib(sum: &Capacity) -> u64 {
    sum.memory_kib.saturating_sub(sum.memory_reserved_kib)
}

#[cfg(test)]
mod tests {
    use vmm_core::query::{FieldType, Fields as _};

    use super::*;

    fn word(field: VmField, place: u64) -> &'static str {
        let FieldType::Words(words) = field.field().field_type else { panic!("words") };
        words.words[usize::try_from(place).unwrap()]
    }

    #[test]
    fn a_phase_is_the_word_of_its_name() {
        for phase in [
            VmPhase::Starting,
            VmPhase::Running,
            VmPhase::Paused,
            VmPhase::ShuttingDown,
            VmPhase::Rebooting,
            VmPhase::Suspending,
            VmPhase::Suspended,
            VmPhase::Saving,
            VmPhase::Preserved,
            VmPhase::New,
            VmPhase::PoweredOff,
            VmPhase::Crashed,
            VmPhase::Destroyed,
            VmPhase::Failed,
            VmPhase::Lost,
            VmPhase::Saved,
            VmPhase::Migrating,
            VmPhase::Arriving,
            VmPhase::Migrated,
        ] {
            let name = word(VmField::Status, place_of(phase)).replace('-', "");
            assert_eq!(name, format!("{phase:?}").to_lowercase());
        }
        for kind in [GuestKind::Pvh, GuestKind::Pv, GuestKind::Hvm] {
            let name = word(VmField::Kind, place_of_kind(kind));
            assert_eq!(name, format!("{kind:?}").to_lowercase());
        }
        let FieldType::Words(rules) = GroupField::Rule.field().field_type else { panic!() };
        for rule in [GroupKind::Together, GroupKind::Apart] {
            let place = usize::try_from(place_of_rule(rule)).unwrap();
            assert_eq!(rules.words[place], format!("{rule:?}").to_lowercase());
        }
        let FieldType::Words(healths) = HostField::Health.field().field_type else { panic!() };
        for health in [Health::Unknown, Health::Up, Health::Silent] {
            let place = usize::try_from(place_of_health(health)).unwrap();
            assert_eq!(healths.words[place], format!("{health:?}").to_lowercase());
        }
    }

    #[test]
    fn a_share_is_of_something() {
        assert_eq!(share(800, 1000), Value::Number(800_000));
        assert_eq!(share(1, 0), Value::Missing);
        assert_eq!(share(u64::MAX, 1), Value::Missing);
    }
}
