//! `vmmctl vm create`

use clap::{Args, ValueEnum};
use vmm_proto::v1::{CreateVm, Disk, GroupRef, GuestKind, NewVm, Reply, Request, Spec, Task};

use super::change::{Ask, change};
use super::create_many;
use super::devices::{NewDisk, NewNic, name_disks, name_nics, parse_disk, parse_nic, random};
use super::pin::on_wire;
use super::placement;
use super::policy::Policy;
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::session::{Session, unexpected};
use crate::size;
use crate::wait::Waiting;

const EXAMPLE: &str = "\
Examples:
  vmmctl vm create web --kernel /boot/vmlinuz --initramfs /boot/initrd.img --memory 1G --dry-run
  vmmctl vm create web --kernel /boot/vmlinuz --cmdline 'console=hvc0 root=/dev/xvda' \\
         --memory 1G --memory-max 4G --vcpus 2 --vcpus-max 8 \\
         --disk /srv/web.img --disk /srv/data.img:xvdb:ro --nic xenbr0 --cpu-demand 0.5 --disk-demand 20M
  vmmctl vm create old --type pv --kernel /boot/vmlinuz --memory 512M --nic xenbr0,mac=00:16:3e:12:34:56 \\
         --weight 512 --cap 150 --cpus 0-3 --on-crash restart --autostart 10:30
  vmmctl vm create gpu --kernel /boot/vmlinuz --memory 4G --pool fast --pin host-3,host-4
  vmmctl vm create web-2 --kernel /boot/vmlinuz --memory 1G --group web-ha
  vmmctl vm create 'web-%02d' --count 20 --kernel /boot/vmlinuz --memory 1G --disk '/srv/{name}.img' --dry-run
  vmmctl vm create web db cache --kernel /boot/vmlinuz --memory 1G

Sizes are digits and K, M, G or T, each 1024 times the one before.
Paths are paths on the host: what they name must be on every host that may take the VM. {name} in a
disk's path is the VM's name.
Several VMs are placed together: all of them, or none unless --partial is said.
The demands decide where the VM costs least; memory is reserved, never shared.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub(crate) struct Create {
    /// Unique in the pool: 1 to 63 letters, digits, '.', '_' or '-'. Several are placed together; with --count one with a number
    /// in it, such as web-%02d.
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// So many VMs, numbered.
    #[arg(long, value_name = "COUNT")]
    count: Option<u32>,
    /// The first number.
    #[arg(long, default_value_t = 1, value_name = "NUMBER", requires = "count")]
    first: u32,
    /// Of several, leave out those that fit nowhere [default: all or none].
    #[arg(long)]
    partial: bool,
    /// How Xen runs it.
    #[arg(long = "type", value_enum, default_value = "pvh")]
    kind: Kind,
    /// The kernel, a file on the host; a Linux kernel that can boot as such a guest.
    #[arg(long, value_name = "PATH")]
    kernel: String,
    /// The initramfs, a file on the host.
    #[arg(long, value_name = "PATH")]
    initramfs: Option<String>,
    /// The kernel's command line.
    #[arg(long, default_value = "console=hvc0", value_name = "TEXT")]
    cmdline: String,
    /// Memory at boot.
    #[arg(long, value_name = "SIZE", value_parser = size::kib)]
    memory: u64,
    /// Memory that the guest can grow to [default: --memory].
    #[arg(long, value_name = "SIZE", value_parser = size::kib)]
    memory_max: Option<u64>,
    /// vCPUs online at boot.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    vcpus: u32,
    /// vCPUs that it can ever have [default: --vcpus].
    #[arg(long, value_name = "COUNT")]
    vcpus_max: Option<u32>,
    /// A disk: an image file or block device on the host, the name in the guest [default: the first free one], `ro` to refuse
    /// writes. As often as there are disks.
    #[arg(long = "disk", value_name = "PATH[:xvda][:ro]", value_parser = parse_disk)]
    disks: Vec<NewDisk>,
    /// A NIC: a bridge on the host, the guest's address [default: random, in 00:16:3e], its number [default: the first free one].
    /// As often as there are NICs.
    #[arg(long = "nic", value_name = "BRIDGE[,mac=MAC][,index=N]", value_parser = parse_nic)]
    nics: Vec<NewNic>,
    #[command(flatten)]
    policy: Policy,
    /// CPUs that it is expected to use, such as 0.5 [default: a tenth for each vCPU].
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "CPUS", value_parser = size::milli_cpu)]
    cpu_demand: u64,
    /// Disk throughput that it is expected to use, in bytes a second, such as 20M.
    #[arg(long, default_value = "0", hide_default_value = true, value_name = "SIZE", value_parser = size::bytes)]
    disk_demand: u64,
    /// The pool that it shall be in [default: any].
    #[arg(long, add = complete::pools())]
    pool: Option<String>,
    /// The only hosts that it may be on, with commas between.
    #[arg(long, value_name = "HOSTS", value_delimiter = ',', add = complete::hosts())]
    pin: Vec<String>,
    /// Groups that it shall be in, with commas between.
    #[arg(long, value_name = "GROUPS", value_delimiter = ',', add = complete::groups())]
    group: Vec<String>,
    /// Only show every host's cost and why it won or lost; nothing is created.
    #[arg(long, conflicts_with = "no_wait")]
    dry_run: bool,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// Hardware-assisted, without a device model.
    Pvh,
    /// Paravirtual.
    Pv,
}

pub(super) async fn run(session: &Session, create: Create) -> Result<(), Failure> {
    let (dry_run, waiting) = (create.dry_run, create.waiting);
    let names = create_many::names(&create.names, create.count, create.first)?;
    let vms: Vec<NewVm> =
        names.iter().map(|name| new_vm(&create, name)).collect::<Result<_, _>>()?;
    if let ([one], None) = (vms.as_slice(), create.count) {
        return alone(session, one.clone(), dry_run, waiting).await;
    }
    create_many::run(session, (vms, create.partial), dry_run, waiting).await
}

async fn alone(
    session: &Session,
    vm: NewVm,
    dry_run: bool,
    waiting: Waiting,
) -> Result<(), Failure> {
    let NewVm { pool, spec, pins, groups } = vm;
    let asked = CreateVm { dry_run, pool, spec, pins, groups };
    if dry_run {
        return match session.call(Request::CreateVm(asked)).await? {
            Reply::Placement(placement) => placement::answer(&session.look, &placement),
            other => Err(unexpected(&other)),
        };
    }
    let name = asked.spec.name.clone();
    let ask = async |_: &str| Ok(Ask::new(Request::CreateVm(asked.clone()), runs_on));
    let one = Targets::named(vec![name], false);
    change(session, one, waiting, Deed::harmless("create"), ask).await
}

fn new_vm(create: &Create, name: &str) -> Result<NewVm, Failure> {
    Ok(NewVm {
        pool: create.pool.clone(),
        spec: spec(create, name)?,
        pins: on_wire(&create.pin),
        groups: create.group.iter().map(|group| GroupRef { group: group.clone() }).collect(),
    })
}

/// Each VM has disks of its own, where the path says so.
fn disks_of(create: &Create, name: &str) -> Result<Vec<Disk>, Failure> {
    let mut disks = name_disks(&[], create.disks.clone())?;
    for disk in &mut disks {
        disk.path = disk.path.replace("{name}", name);
    }
    Ok(disks)
}

fn spec(create: &Create, name: &str) -> Result<Spec, Failure> {
    let usual = Spec::default();
    Ok(Spec {
        name: name.to_owned(),
        kind: match create.kind {
            Kind::Pvh => GuestKind::Pvh,
            Kind::Pv => GuestKind::Pv,
        },
        memory_min_kib: create.policy.memory_min,
        scheduling: create.policy.scheduling(&usual),
        on_event: create.policy.on_event(&usual),
        autostart: create.policy.autostart(),
        disks: disks_of(create, name)?,
        nics: name_nics(&[], create.nics.clone(), random)?,
        vcpus: create.vcpus,
        vcpus_max: create.vcpus_max.unwrap_or(create.vcpus),
        memory_kib: create.memory,
        memory_max_kib: create.memory_max.unwrap_or(create.memory),
        kernel: create.kernel.clone(),
        initramfs: create.initramfs.clone(),
        cmdline: create.cmdline.clone(),
        cpu_demand_milli: create.cpu_demand,
        disk_demand_bytes_per_s: create.disk_demand,
    })
}

/// Where a VM was put.
pub(super) fn runs_on(name: &str, task: Option<&Task>) -> String {
    let chosen = task.and_then(|task| task.placement.as_ref()).and_then(|placement| {
        let chosen = placement.chosen.as_ref()?;
        placement.candidates.iter().find(|candidate| candidate.host == *chosen)
    });
    match chosen {
        Some(host) => format!("{name} runs on {} (cost {:.3})", host.host, host.cost),
        None => format!("{name} runs"),
    }
}
