//! `vmmctl vm show`

use clap::Args;
use vmm_proto::v1::{Disk, EventAction, Nic, Scheduling, Spec, Vm};

use super::targets::Pick;
use super::{COLUMNS, state};
use crate::failure::Failure;
use crate::output::{Answer, Told, cpus, mib, rate};
use crate::session::Session;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm show web
  vmmctl vm show web -o json
  vmmctl vm show web-1 web-2 --columns name,status,host,memory")]
pub(crate) struct Show {
    #[command(flatten)]
    pick: Pick,
}

pub(super) async fn run(session: &Session, show: Show) -> Result<(), Failure> {
    let is_one = show.pick.is_one();
    let vms = show.pick.look_up(session).await?;
    match (&vms[..], is_one) {
        ([vm], true) => session.look.print(&Answer::one(vm, COLUMNS).told(|| told(vm))),
        (vms, _) => session
            .look
            .print(&Answer::list(vms, COLUMNS).told(|| Told::apart(vms.iter().map(told)))),
    }
}

fn told(vm: &Vm) -> Told {
    let spec = &vm.spec;
    let saved = match (&vm.saved_path, &vm.saved_host) {
        (Some(path), Some(host)) => format!("{path} on {host}"),
        _ => String::new(),
    };
    let mut lines = vec![
        ("name", spec.name.clone()),
        ("id", vm.vm.clone()),
        ("type", format!("{:?}", spec.kind).to_lowercase()),
        ("status", state(vm)),
        ("reason", vm.reason.clone()),
        ("host", vm.host.clone().unwrap_or_default()),
        ("misplaced", vm.misplaced.clone().unwrap_or_default()),
        ("pool", vm.pool.clone().unwrap_or_default()),
        ("groups", vm.groups.iter().map(|one| one.group.as_str()).collect::<Vec<_>>().join(", ")),
        ("pinned to", vm.pins.iter().map(|pin| pin.host.as_str()).collect::<Vec<_>>().join(", ")),
        ("folder", vm.folder.clone().unwrap_or_default()),
        ("tags", vm.tags.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>().join(", ")),
        ("notes", vm.notes.clone()),
        ("saved in", saved),
        ("vcpus", vcpus(vm)),
        ("memory", memory(vm)),
        ("kernel", spec.kernel.clone()),
        ("initramfs", spec.initramfs.clone().unwrap_or_default()),
        ("command line", spec.cmdline.clone()),
    ];
    lines.extend(spec.disks.iter().map(|one| ("disk", disk(one))));
    lines.extend(spec.nics.iter().map(|one| ("nic", nic(one))));
    lines.extend(policy(spec));
    Told::fields(lines)
}

fn vcpus(vm: &Vm) -> String {
    let spec = &vm.spec;
    format!("{} online, {} at boot, {} at most", vm.vcpus_online, spec.vcpus, spec.vcpus_max)
}

fn memory(vm: &Vm) -> String {
    let spec = &vm.spec;
    let least = spec.memory_min_kib.filter(|least| *least != spec.memory_kib);
    let least = least.map_or_else(String::new, |least| format!(", {} at least", mib(least)));
    format!(
        "{} now, {} at boot, {} at most{least}",
        mib(vm.memory_now_kib),
        mib(spec.memory_kib),
        mib(spec.memory_max_kib)
    )
}

fn disk(disk: &Disk) -> String {
    let access = if disk.read_only { "read only" } else { "read and write" };
    format!("{} is {}, {access}", disk.device, disk.path)
}

fn nic(nic: &Nic) -> String {
    format!("{} is {} on {}", nic.index, nic.mac, nic.bridge)
}

/// What is as usual is left out.
fn policy(spec: &Spec) -> Vec<(&'static str, String)> {
    let demand = match spec.cpu_demand_milli {
        0 => "assumed".to_owned(),
        milli => format!("{} CPUs", cpus(milli)),
    };
    let on_event = spec.on_event.map_or_else(String::new, |on| {
        let word = |action: EventAction| format!("{action:?}").to_lowercase();
        let [poweroff, reboot, crash] = [on.poweroff, on.reboot, on.crash].map(word);
        format!("poweroff: {poweroff}, reboot: {reboot}, crash: {crash}")
    });
    let autostart = spec.autostart.map_or_else(String::new, |autostart| {
        format!("order {}, then {} s", autostart.order, autostart.delay_s)
    });
    vec![
        ("scheduling", spec.scheduling.as_ref().map_or_else(String::new, scheduling)),
        ("on events", on_event),
        ("autostart", autostart),
        ("cpu demand", demand),
        ("disk demand", rate(spec.disk_demand_bytes_per_s)),
    ]
}

fn scheduling(scheduling: &Scheduling) -> String {
    let mut text = format!("weight {}", scheduling.weight);
    if scheduling.cap_percent > 0 {
        text.push_str(&format!(", at most {} % of a CPU", scheduling.cap_percent));
    }
    if !scheduling.affinity.is_empty() {
        text.push_str(&format!(", on CPUs {}", scheduling.affinity));
    }
    if !scheduling.affinity_soft.is_empty() {
        text.push_str(&format!(", best on CPUs {}", scheduling.affinity_soft));
    }
    text
}

#[cfg(test)]
pub(in crate::commands) use tests::sample;

#[cfg(test)]
mod tests {
    use vmm_proto::v1::{Autostart, GroupRef, GuestKind, OnEvent, Pin, VmPhase};

    use super::*;
    use crate::screen::Screen;

    const GOLDEN: &str = "
name         web
id           1
type         pv
status       saved
groups       web-ha
pinned to    h1, h2
saved in     /s on h1
vcpus        0 online, 2 at boot, 4 at most
memory       0 MiB now, 128 MiB at boot, 256 MiB at most, 64 MiB at least
kernel       /k
disk         xvda is /a.img, read and write
disk         xvdb is /b.img, read only
nic          0 is 00:16:3e:00:00:01 on xenbr0
scheduling   weight 512, at most 50 % of a CPU, on CPUs 0-3, best on CPUs 1
on events    poweroff: destroy, reboot: restart, crash: preserve
autostart    order 10, then 30 s
cpu demand   assumed
disk demand  0.0 MiB/s
";

    /// A VM with everything.
    pub(in crate::commands) fn sample() -> Vm {
        let disk = |device: &str, path: &str, read_only| Disk {
            path: path.into(),
            device: device.into(),
            read_only,
        };
        let mac = "00:16:3e:00:00:01".into();
        let spec = Spec {
            name: "web".into(),
            kind: GuestKind::Pv,
            vcpus: 2,
            vcpus_max: 4,
            memory_min_kib: Some(64 << 10),
            memory_kib: 128 << 10,
            memory_max_kib: 256 << 10,
            kernel: "/k".into(),
            disks: vec![disk("xvda", "/a.img", false), disk("xvdb", "/b.img", true)],
            nics: vec![Nic { index: 0, mac, bridge: "xenbr0".into() }],
            scheduling: Some(Scheduling {
                weight: 512,
                cap_percent: 50,
                affinity: "0-3".into(),
                affinity_soft: "1".into(),
            }),
            on_event: Some(OnEvent {
                poweroff: EventAction::Destroy,
                reboot: EventAction::Restart,
                crash: EventAction::Preserve,
            }),
            autostart: Some(Autostart { enabled: true, order: 10, delay_s: 30 }),
            ..Spec::default()
        };
        Vm {
            vm: "1".into(),
            phase: VmPhase::Saved,
            reason: String::new(),
            host: None,
            stale: false,
            vcpus_online: 0,
            memory_now_kib: 0,
            saved_path: Some("/s".into()),
            saved_host: Some("h1".into()),
            drift: None,
            pool: None,
            site: None,
            folder: None,
            notes: String::new(),
            rates: None,
            tags: Vec::new(),
            misplaced: None,
            groups: vec![GroupRef { group: "web-ha".into() }],
            pins: vec![Pin { host: "h1".into() }, Pin { host: "h2".into() }],
            spec,
        }
    }

    #[test]
    fn everything_that_a_vm_can_be_is_shown() {
        let text = told(&sample()).lay_out(Screen::PIPE, true);
        assert_eq!(format!("\n{text}"), GOLDEN);
    }
}
