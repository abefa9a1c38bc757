//! The columns of both tables.

use super::rows::{HostRow, VmRow};
use crate::commands::{host, vm};
use crate::output::{Column, Tone, Unit};

type OfHost = Column<HostRow>;
type OfVm = Column<VmRow>;

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
    OfHost::number("memory", Unit::Kib, HostRow::memory_used_kib),
    OfHost::number("memory_share", Unit::Permille, HostRow::memory_share)
        .heading("MEM %")
        .toned(|row| share(row.memory_share())),
    OfHost::number("disk", Unit::BytesPerS, |row| row.host.load.map(|load| load.disk_bytes_per_s)),
    OfHost::number("network", Unit::BytesPerS, |row| row.network_bytes_per_s),
];

pub(super) const VMS: &[OfVm] = &[
    OfVm::text("name", |row| row.vm.spec.name.clone()),
    OfVm::text("state", |row| vm::phase(row.vm.phase).to_owned())
        .shown(|row| vm::state(&row.vm))
        .toned(|row| vm::tone(&row.vm)),
    OfVm::text("host", |row| row.vm.host.clone().unwrap_or_default()),
    OfVm::count("vcpus", |row| Some(row.vm.vcpus_online.into())),
    OfVm::number("cpu", Unit::Milli, |row| row.used.cpu_milli),
    OfVm::number("cpu_share", Unit::Permille, VmRow::cpu_share)
        .heading("CPU %")
        .toned(|row| share(row.cpu_share())),
    OfVm::number("memory", Unit::Kib, |row| Some(row.vm.memory_now_kib)),
    OfVm::number("disk", Unit::BytesPerS, |row| row.used.disk_bytes_per_s),
    OfVm::number("network", Unit::BytesPerS, |row| row.used.network_bytes_per_s),
];

fn share(milli: Option<u64>) -> Tone {
    match milli {
        Some(FULL..) => Tone::Bad,
        Some(BUSY..) => Tone::Moving,
        _ => Tone::Plain,
    }
}
