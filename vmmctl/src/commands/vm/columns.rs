//! The columns of a VM.

use vmm_proto::v1::{Scheduling, Vm, VmPhase};

use super::{phase, state};
use crate::output::{Column, Tone, Unit};

type OfVm = Column<Vm>;

/// The name first.
pub(crate) const COLUMNS: &[OfVm] = &[
    OfVm::text("name", |vm| vm.spec.name.clone()),
    OfVm::text("status", |vm| phase(vm.phase).to_owned()).shown(state).toned(tone),
    OfVm::text("host", |vm| vm.host.clone().unwrap_or_default()).shown(host),
    OfVm::count("vcpus", |vm| Some(vm.vcpus_online.into()))
        .shown(|vm| format!("{}/{}", vm.vcpus_online, vm.spec.vcpus_max)),
    OfVm::number("cpu_used", Unit::Milli, |vm| vm.rates?.cpu_milli),
    OfVm::number("memory", Unit::Kib, |vm| Some(vm.memory_now_kib)),
    OfVm::number("memory_max", Unit::Kib, |vm| Some(vm.spec.memory_max_kib)).heading("AT MOST"),
    OfVm::text("disks", |vm| joined(vm.spec.disks.iter().map(|disk| disk.device.as_str()))),
    OfVm::text("nics", |vm| joined(vm.spec.nics.iter().map(|nic| nic.bridge.as_str()))),
    OfVm::text("tags", |vm| joined(vm.tags.iter().map(|tag| tag.name.as_str()))),
    OfVm::text("reason", |vm| vm.reason.clone()),
    OfVm::number("disk", Unit::BytesPerS, |vm| vm.rates?.disk_bytes_per_s).wide(),
    OfVm::count("iops", |vm| vm.rates?.disk_requests_per_s).wide(),
    OfVm::number("network", Unit::BytesPerS, |vm| vm.rates?.network_bytes_per_s).wide(),
    OfVm::text("pool", |vm| vm.pool.clone().unwrap_or_default()).wide(),
    OfVm::text("site", |vm| vm.site.clone().unwrap_or_default()).wide(),
    OfVm::text("folder", |vm| vm.folder.clone().unwrap_or_default()).wide(),
    OfVm::text("notes", |vm| vm.notes.clone()).wide(),
    OfVm::number("memory_boot", Unit::Kib, |vm| Some(vm.spec.memory_kib)).heading("AT BOOT").wide(),
    OfVm::text("kind", |vm| format!("{:?}", vm.spec.kind).to_lowercase()).wide(),
    OfVm::count("vcpus_boot", |vm| Some(vm.spec.vcpus.into())).wide(),
    OfVm::count("vcpus_max", |vm| Some(vm.spec.vcpus_max.into())).wide(),
    OfVm::number("memory_min", Unit::Kib, |vm| vm.spec.memory_min_kib).wide(),
    OfVm::number("cpu_demand", Unit::Milli, |vm| Some(vm.spec.cpu_demand_milli)).wide(),
    OfVm::number("disk_demand", Unit::BytesPerS, |vm| Some(vm.spec.disk_demand_bytes_per_s)).wide(),
    OfVm::count("weight", |vm| scheduling(vm, |of| of.weight.into())).wide(),
    OfVm::count("cap", |vm| scheduling(vm, |of| of.cap_percent.into())).wide(),
    OfVm::flag("autostart", |vm| vm.spec.autostart.is_some_and(|auto| auto.enabled)).wide(),
    OfVm::text("macs", |vm| joined(vm.spec.nics.iter().map(|nic| nic.mac.as_str()))).wide(),
    OfVm::text("saved_path", |vm| vm.saved_path.clone().unwrap_or_default()).wide(),
    OfVm::text("saved_host", |vm| vm.saved_host.clone().unwrap_or_default()).wide(),
    OfVm::text("groups", |vm| joined(vm.groups.iter().map(|group| group.group.as_str()))).wide(),
    OfVm::text("pins", |vm| joined(vm.pins.iter().map(|pin| pin.host.as_str()))).wide(),
    OfVm::text("misplaced", |vm| vm.misplaced.clone().unwrap_or_default()).wide(),
    OfVm::flag("stale", |vm| vm.stale).wide(),
    OfVm::text("id", |vm| vm.vm.clone()).wide(),
];

fn scheduling(vm: &Vm, of: fn(&Scheduling) -> u64) -> Option<u64> {
    vm.spec.scheduling.as_ref().map(of)
}

/// The host, in parentheses the one that has a saved VM's file.
fn host(vm: &Vm) -> String {
    let saved = || vm.saved_host.as_ref().map(|host| format!("({host})"));
    vm.host.clone().or_else(saved).unwrap_or_default()
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(",")
}

/// How it strikes the eye.
pub(crate) fn tone(vm: &Vm) -> Tone {
    match vm.phase {
        VmPhase::Running if vm.stale => Tone::Moving,
        VmPhase::Running => Tone::Good,
        VmPhase::Starting
        | VmPhase::ShuttingDown
        | VmPhase::Rebooting
        | VmPhase::Suspending
        | VmPhase::Migrating
        | VmPhase::Arriving
        | VmPhase::Saving => Tone::Moving,
        VmPhase::Crashed | VmPhase::Failed | VmPhase::Lost | VmPhase::Preserved => Tone::Bad,
        _ => Tone::Quiet,
    }
}

#[cfg(test)]
mod tests {
    use super::super::show::sample;
    use super::*;
    use crate::output::{Answer, Look};

    #[test]
    fn a_saved_vm_is_listed_with_the_host_that_has_its_file() {
        let text = Look::default().render(&Answer::list(&[sample()], COLUMNS)).expect("a table");
        let line = text.lines().nth(1).expect("a row");
        assert!(line.starts_with("web   saved   (h1)    0/4"), "{text}");
        assert!(line.contains("xvda,xvdb  xenbr0"), "{text}");
    }

    #[test]
    fn a_vm_of_a_host_that_is_not_heard_is_marked() {
        let vm = Vm { phase: VmPhase::Running, stale: true, ..sample() };
        let text = Look::default().render(&Answer::list(&[vm], COLUMNS)).expect("a table");
        assert!(text.contains("running? (host not heard)"), "{text}");
    }
}
