//! `vmmctl vm show`

use clap::Args;
use vmm_proto::v1::{Disk, Reply, Request, ShowVm, Vm};

use super::phase;
use crate::failure::Failure;
use crate::output::{cpus, fields, mib, print, rate};
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name or id.
    vm: String,
}

pub(super) async fn run(session: &Session, show: Show) -> Result<(), Failure> {
    match session.call(Request::ShowVm(ShowVm { vm: show.vm })).await? {
        Reply::Vm(vm) => print(session.format, &*vm, table),
        other => Err(unexpected(&other)),
    }
}

fn table(vm: &Vm) -> String {
    let spec = &vm.spec;
    let disk = |disk: &Disk| {
        let access = if disk.read_only { "read only" } else { "read and write" };
        format!("{} as {}, {access}", disk.path, disk.device)
    };
    let disks = spec.disks.iter().map(disk).collect::<Vec<_>>().join("; ");
    let cpu_demand = match spec.cpu_demand_milli {
        0 => "assumed".to_owned(),
        milli => format!("{} CPUs", cpus(milli)),
    };
    fields(&[
        ("name", spec.name.clone()),
        ("id", vm.vm.clone()),
        ("state", phase(vm.phase, vm.stale)),
        ("reason", vm.reason.clone()),
        ("host", vm.host.clone().unwrap_or_default()),
        (
            "vcpus",
            format!(
                "{} online, {} at boot, {} at most",
                vm.vcpus_online, spec.vcpus, spec.vcpus_max
            ),
        ),
        (
            "memory",
            format!(
                "{} now, {} at boot, {} at most",
                mib(vm.memory_now_kib),
                mib(spec.memory_kib),
                mib(spec.memory_max_kib)
            ),
        ),
        ("kernel", spec.kernel.clone()),
        ("initramfs", spec.initramfs.clone().unwrap_or_default()),
        ("command line", spec.cmdline.clone()),
        ("disks", disks),
        ("cpu demand", cpu_demand),
        ("disk demand", rate(spec.disk_demand_bytes_per_s)),
    ])
}
