//! `vmmctl vm list`

use vmm_proto::v1::{ListVms, Reply, Request, Vm};

use super::phase;
use crate::failure::Failure;
use crate::output::{mib, or_dash, print, table};
use crate::session::{Session, unexpected};

pub(super) async fn run(session: &Session) -> Result<(), Failure> {
    match session.call(Request::ListVms(ListVms {})).await? {
        Reply::Vms(vms) => print(session.format, &vms.vms, |vms| show(vms)),
        other => Err(unexpected(&other)),
    }
}

fn show(vms: &[Vm]) -> String {
    let headings = ["NAME", "STATE", "HOST", ">VCPUS", ">MEMORY", ">AT BOOT", ">AT MOST", "REASON"];
    table(&headings, &vms.iter().map(row).collect::<Vec<_>>())
}

fn row(vm: &Vm) -> Vec<String> {
    vec![
        vm.spec.name.clone(),
        phase(vm.phase, vm.stale),
        or_dash(vm.host.as_ref(), Clone::clone),
        format!("{}/{}", vm.vcpus_online, vm.spec.vcpus_max),
        mib(vm.memory_now_kib),
        mib(vm.spec.memory_kib),
        mib(vm.spec.memory_max_kib),
        vm.reason.clone(),
    ]
}
