//! `vmmctl vm disk attach|detach|resize`

use clap::{Args, Subcommand};
use vmm_proto::v1::{AttachDisk, DetachDisk, Request, ResizeDisk};

use super::change::{Ask, change};
use super::devices::{NewDisk, definition, name_disk, parse_disk};
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::output::size_of;
use crate::session::Session;
use crate::size;
use crate::wait::Waiting;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a VM one more disk; a VM that runs has it when the command is over.
    Attach(Attach),
    /// Take a disk from a VM; the guest must let go of it.
    Detach(Detach),
    /// Make a disk of a running VM larger.
    Resize(Resize),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm disk attach web /srv/data.img
  vmmctl vm disk attach web /dev/vg0/data:xvdc:ro --timeout 30

The path is one on the VM's host: an image file or a block device. A guest that has not taken
the disk in time (--timeout) does not have it, and the exit code is 3. Of a VM that is stopped
only the definition changes.")]
pub(crate) struct Attach {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// The image or block device, its name in the guest [default: the first free one], `ro` to refuse writes.
    #[arg(value_name = "PATH[:xvda][:ro]", value_parser = parse_disk)]
    disk: NewDisk,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm disk detach web xvdb
  vmmctl vm disk detach web xvdb --timeout 10 --force

A guest that holds the disk (has it mounted) keeps it, and the exit code is 3. With --force it
is taken away after --timeout all the same: what the guest had not written is lost. The image or
block device itself is not touched.")]
pub(crate) struct Detach {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// Its name in the guest, xvda to xvdp.
    #[arg(value_name = "DEVICE", add = complete::disks())]
    device: String,
    /// Take it away after --timeout although the guest holds it.
    #[arg(long)]
    force: bool,
    /// Do not ask before something is taken by force.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl vm disk resize web xvda 20G

An image file is made larger first; a block device must be so already. A disk is never made
smaller. Growing the file system on it is the guest's business.")]
pub(crate) struct Resize {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// Its name in the guest, xvda to xvdp.
    #[arg(value_name = "DEVICE", add = complete::disks())]
    device: String,
    /// How large it shall be.
    #[arg(value_name = "SIZE", value_parser = size::bytes)]
    size: u64,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Attach(attach) => self::attach(session, attach).await,
        Command::Detach(detach) => self::detach(session, detach).await,
        Command::Resize(resize) => self::resize(session, resize).await,
    }
}

async fn attach(session: &Session, attach: Attach) -> Result<(), Failure> {
    let ask = async |vm: &str| {
        let there = definition(session, vm).await?.disks;
        let taken: Vec<String> = there.into_iter().map(|disk| disk.device).collect();
        let disk = name_disk(&taken, attach.disk.clone())?;
        let said = format!("has {} as {}", disk.path, disk.device);
        let request = AttachDisk { vm: vm.to_owned(), wait_ms_max: session.timeout_ms(), disk };
        Ok(Ask::new(Request::AttachDisk(request), move |name, _| format!("{name} {said}")))
    };
    let one = Targets::named(vec![attach.vm], false);
    change(session, one, attach.waiting, Deed::harmless("attach a disk to"), ask).await
}

async fn detach(session: &Session, detach: Detach) -> Result<(), Failure> {
    let Detach { vm, device, force, yes, waiting } = detach;
    let loses = force.then_some("What the guest has not written to the disk is lost.");
    let ask = async |vm: &str| {
        let (vm, device, wait_ms_max) = (vm.to_owned(), device.clone(), session.timeout_ms());
        let said = format!("has no disk {device} any more");
        let request = Request::DetachDisk(DetachDisk { vm, device, wait_ms_max, force });
        Ok(Ask::new(request, move |name, _| format!("{name} {said}")))
    };
    let deed = Deed { verb: "take a disk by force from", loses };
    change(session, Targets::named(vec![vm], yes), waiting, deed, ask).await
}

async fn resize(session: &Session, resize: Resize) -> Result<(), Failure> {
    let Resize { vm, device, size, waiting } = resize;
    let ask = async |vm: &str| {
        let (vm, device, wait_ms_max) = (vm.to_owned(), device.clone(), session.timeout_ms());
        let said = format!("has a disk {device} of {}", size_of(size));
        let request = Request::ResizeDisk(ResizeDisk { vm, device, size_bytes: size, wait_ms_max });
        Ok(Ask::new(request, move |name, _| format!("{name} {said}")))
    };
    let one = Targets::named(vec![vm], false);
    change(session, one, waiting, Deed::harmless("resize a disk of"), ask).await
}
