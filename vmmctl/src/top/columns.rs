//! The columns of both tables, and the field of the query language that sorts by each.

use vmm_proto::v1::Vm;

use super::rows::{HostRow, cpu_share};
use crate::commands::{host, vm};
use crate::output::{Column, Tone, Unit};

type OfHost = Column<HostRow>;
type OfVm = Column<Vm>;

/// A share from here on is worth a look, in thousandths.
const BUSY: u64 = 700;
/// And from here on something should be done.
const FULL: u64 = 900;

pub(super) const HOSTS: &[OfHost] = &[
    OfHost::text("name", |row| row.host.name.clone()),
    OfHost::text("health", |row| host::health(row.host.health).to_owned())
        .shown(|row| host::shown_health(&row.host))
        .toned(|row| host::tone(&row.host)),
    OfHost::count("vms", |row| Some(row.host.vm_count)),
    OfHost::number("cpu", Unit::Milli, |row| row.host.load.map(|load| load.cpu_milli)),
    OfHost::number("cpu_share", Unit::Permille, HostRow::cpu_share)
        .heading("CPU %")
        .toned(|row| share(row.cpu_share())),
    OfHost::number("memory", Unit::Kib, |row| Some(row.host.memory_reserved_kib)),
    OfHost::number("memory_share", Unit::Permille, HostRow::memory_share)
        .heading("MEM %")
        .toned(|row| share(row.memory_share())),
    OfHost::number("disk", Unit::BytesPerS, |row| row.host.load.map(|load| load.disk_bytes_per_s)),
    OfHost::number("network", Unit::BytesPerS, |row| row.network_bytes_per_s),
];

/// A column each. The manager does not know what a host sends and receives.
pub(super) const HOST_FIELDS: &[Option<&str>] = &[
    Some("name"),
    Some("health"),
    Some("vms"),
    Some("cpu-used"),
    Some("cpu"),
    Some("memory-reserved"),
    Some("memory-use"),
    Some("disk"),
    None,
];

pub(super) const VMS: &[OfVm] = &[
    OfVm::text("name", |vm| vm.spec.name.clone()),
    OfVm::text("status", |vm| vm::phase(vm.phase).to_owned()).shown(vm::state).toned(vm::tone),
    OfVm::text("host", |vm| vm.host.clone().unwrap_or_default()),
    OfVm::count("vcpus", |vm| Some(vm.vcpus_online.into())),
    OfVm::number("cpu", Unit::Milli, |vm| vm.rates?.cpu_milli),
    OfVm::number("cpu_share", Unit::Permille, cpu_share)
        .heading("CPU %")
        .toned(|vm| share(cpu_share(vm))),
    OfVm::number("memory", Unit::Kib, |vm| Some(vm.memory_now_kib)),
    OfVm::number("disk", Unit::BytesPerS, |vm| vm.rates?.disk_bytes_per_s),
    OfVm::number("network", Unit::BytesPerS, |vm| vm.rates?.network_bytes_per_s),
];

/// A column each.
pub(super) const VM_FIELDS: &[Option<&str>] = &[
    Some("name"),
    Some("status"),
    Some("host"),
    Some("vcpus"),
    Some("cpu-used"),
    Some("cpu"),
    Some("memory"),
    Some("disk"),
    Some("network"),
];

fn share(milli: Option<u64>) -> Tone {
    match milli {
        Some(FULL..) => Tone::Bad,
        Some(BUSY..) => Tone::Moving,
        _ => Tone::Plain,
    }
}

#[cfg(test)]
mod tests {
    use vmm_core::query::{Fields, HostField, Sort, VmField};

    use super::*;

    fn check<F: Fields, T>(columns: &[Column<T>], fields: &[Option<&str>]) {
        assert_eq!(columns.len(), fields.len());
        for field in fields.iter().flatten() {
            assert!(Sort::<F>::parse(field).is_ok(), "{field}");
        }
    }

    #[test]
    fn every_column_knows_its_field() {
        check::<HostField, _>(HOSTS, HOST_FIELDS);
        check::<VmField, _>(VMS, VM_FIELDS);
    }
}
