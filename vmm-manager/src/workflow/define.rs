//! What a request makes of a VM's definition, and the request that takes it back. Pure; what may be asked was checked before.

use vmm_proto::v1::{
    AttachDisk, AttachNic, Autostart, ConfigureVm, DetachDisk, DetachNic, EventAction, OnEvent,
    RenameVm, Request, Scheduling, Spec,
};

/// The definition after the request; `None` when that is none that changes it.
pub(crate) fn applied(before: &Spec, request: &Request) -> Option<Spec> {
    let mut spec = before.clone();
    match request {
        Request::RenameVm(rename) => spec.name.clone_from(&rename.name),
        Request::ConfigureVm(configure) => return Some(configured(spec, configure)),
        Request::AttachDisk(attach) => {
            spec.disks.retain(|disk| disk.device != attach.disk.device);
            spec.disks.push(attach.disk.clone());
        }
        Request::DetachDisk(detach) => spec.disks.retain(|disk| disk.device != detach.device),
        Request::AttachNic(attach) => {
            spec.nics.retain(|nic| nic.index != attach.nic.index);
            spec.nics.push(attach.nic.clone());
        }
        Request::DetachNic(detach) => spec.nics.retain(|nic| nic.index != detach.index),
        _ => return None,
    }
    Some(spec)
}

fn configured(before: Spec, configure: &ConfigureVm) -> Spec {
    Spec {
        memory_min_kib: configure.memory_min_kib.or(before.memory_min_kib),
        scheduling: configure.scheduling.clone().or(before.scheduling),
        on_event: configure.on_event.or(before.on_event),
        autostart: configure.autostart.or(before.autostart).filter(|autostart| autostart.enabled),
        ..before
    }
}

/// The request that makes the definition what it was before `request`.
pub(crate) fn taken_back(before: &Spec, request: &Request) -> Option<Request> {
    Some(match request.clone() {
        Request::RenameVm(RenameVm { vm, .. }) => {
            Request::RenameVm(RenameVm { vm, name: before.name.clone() })
        }
        Request::ConfigureVm(configure) => Request::ConfigureVm(as_before(before, configure)),
        Request::AttachDisk(AttachDisk { vm, wait_ms_max, disk }) => {
            let device = disk.device;
            Request::DetachDisk(DetachDisk { vm, device, wait_ms_max, force: false })
        }
        Request::DetachDisk(DetachDisk { vm, device, wait_ms_max, .. }) => {
            let disk = before.disks.iter().find(|disk| disk.device == device)?.clone();
            Request::AttachDisk(AttachDisk { vm, wait_ms_max, disk })
        }
        Request::AttachNic(AttachNic { vm, wait_ms_max, nic }) => {
            Request::DetachNic(DetachNic { vm, index: nic.index, wait_ms_max, force: false })
        }
        Request::DetachNic(DetachNic { vm, index, wait_ms_max, .. }) => {
            let nic = before.nics.iter().find(|nic| nic.index == index)?.clone();
            Request::AttachNic(AttachNic { vm, wait_ms_max, nic })
        }
        _ => return None,
    })
}

/// Says of each thing that `configure` says what it was; what was not said was the usual.
fn as_before(before: &Spec, configure: ConfigureVm) -> ConfigureVm {
    let usual = Scheduling {
        weight: 256,
        cap_percent: 0,
        affinity: String::new(),
        affinity_soft: String::new(),
    };
    let usually = OnEvent {
        poweroff: EventAction::Destroy,
        reboot: EventAction::Restart,
        crash: EventAction::Destroy,
    };
    let never = Autostart { enabled: false, order: 0, delay_s: 0 };
    ConfigureVm {
        memory_min_kib: configure
            .memory_min_kib
            .map(|_| before.memory_min_kib.unwrap_or(before.memory_kib)),
        scheduling: configure.scheduling.map(|_| before.scheduling.clone().unwrap_or(usual)),
        on_event: configure.on_event.map(|_| before.on_event.unwrap_or(usually)),
        autostart: configure.autostart.map(|_| before.autostart.unwrap_or(never)),
        vm: configure.vm,
    }
}

#[cfg(test)]
mod tests {
    use vmm_core::vm::{self, VmSpec};
    use vmm_proto::v1::{Disk, Nic};

    use super::*;
    use crate::tests::spec;

    fn disk(device: &str) -> Disk {
        Disk { path: format!("/{device}.img"), device: device.into(), read_only: false }
    }

    fn nic(index: u32) -> Nic {
        Nic { index, mac: format!("00:16:3e:00:00:0{index}"), bridge: "br0".into() }
    }

    fn before() -> Spec {
        Spec { disks: vec![disk("xvda")], nics: vec![nic(0)], ..spec("web") }
    }

    fn changes() -> Vec<Request> {
        let (vm, wait_ms_max, force) = (String::new(), 5, true);
        let configure = ConfigureVm {
            vm: vm.clone(),
            memory_min_kib: Some(65_536),
            scheduling: Some((&vm::Scheduling { weight: 9, ..Default::default() }).into()),
            on_event: Some(OnEvent {
                poweroff: EventAction::Restart,
                reboot: EventAction::Preserve,
                crash: EventAction::Preserve,
            }),
            autostart: Some(Autostart { enabled: true, order: 1, delay_s: 2 }),
        };
        let device = "xvda".to_owned();
        vec![
            Request::RenameVm(RenameVm { vm: vm.clone(), name: "shop".into() }),
            Request::ConfigureVm(configure),
            Request::AttachDisk(AttachDisk { vm: vm.clone(), wait_ms_max, disk: disk("xvdb") }),
            Request::DetachDisk(DetachDisk { vm: vm.clone(), device, wait_ms_max, force }),
            Request::AttachNic(AttachNic { vm: vm.clone(), wait_ms_max, nic: nic(1) }),
            Request::DetachNic(DetachNic { vm, index: 0, wait_ms_max, force }),
        ]
    }

    #[test]
    fn each_change_changes_and_what_takes_it_back_does() {
        let valid = |spec: &Spec| VmSpec::try_from(spec.clone()).expect("valid");
        for request in changes() {
            let after = applied(&before(), &request).expect("a change of the definition");
            assert_ne!(valid(&after), valid(&before()), "{request:?}");
            let back = taken_back(&before(), &request).expect("a way back");
            let again = applied(&after, &back).expect("a change of the definition");
            assert_eq!(valid(&again), valid(&before()), "{request:?}, then {back:?}");
        }
    }

    #[test]
    fn what_is_not_said_stays() {
        let first = applied(&before(), &changes()[1]).expect("configured");
        let nothing = Request::ConfigureVm(ConfigureVm::default());
        assert_eq!(applied(&first, &nothing), Some(first));
    }
}
