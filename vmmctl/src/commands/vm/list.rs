//! `vmmctl vm list`

use vmm_proto::v1::{ListVms, Reply, Request, Vm};

use super::phase;
use crate::failure::Failure;
use crate::output::{mib, or_dash, print, table};
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    let (mut vms, mut after) = (Vec::new(), None);
    loop {
        let page =
            match session.call(Request::ListVms(ListVms { after, ..ListVms::default() })).await? {
                Reply::Vms(page) => page,
                other => return Err(unexpected(&other)),
            };
        vms.extend(page.vms);
        after = page.next;
        if after.is_none() {
            return print(session.format, &vms, |vms| show(vms));
        }
    }
}

fn show(vms: &[Vm]) -> String {
    let headings = [
        "NAME", "STATE", "HOST", ">VCPUS", ">MEMORY", ">AT BOOT", ">AT MOST", "DISKS", "NICS",
        "REASON",
    ];
    table(&headings, &vms.iter().map(row).collect::<Vec<_>>())
}

fn row(vm: &Vm) -> Vec<String> {
    vec![
        vm.spec.name.clone(),
        phase(vm.phase, vm.stale),
        host(vm),
        format!("{}/{}", vm.vcpus_online, vm.spec.vcpus_max),
        mib(vm.memory_now_kib),
        mib(vm.spec.memory_kib),
        mib(vm.spec.memory_max_kib),
        listed(vm.spec.disks.iter().map(|disk| disk.device.as_str())),
        listed(vm.spec.nics.iter().map(|nic| nic.bridge.as_str())),
        vm.reason.clone(),
    ]
}

/// The host, in parentheses the one that has a saved VM's file.
fn host(vm: &Vm) -> String {
    let saved = || vm.saved_host.as_ref().map(|host| format!("({host})"));
    or_dash(vm.host.clone().or_else(saved), |host| host)
}

fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names = names.collect::<Vec<_>>().join(",");
    if names.is_empty() { "-".to_owned() } else { names }
}

#[cfg(test)]
mod tests {
    use super::super::show::sample;
    use super::*;

    #[test]
    fn a_list_shows_devices_and_where_a_saved_vm_is() {
        let text = show(&[sample()]);
        let line = text.lines().nth(1).expect("a row");
        assert!(line.starts_with("web   saved  (h1)    0/4"), "{text}");
        assert!(line.contains("xvda,xvdb  xenbr0"), "{text}");
    }
}
