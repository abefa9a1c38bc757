//! `vmmctl vm disk attach|detach|resize`

use clap::{Args, Subcommand};
use vmm_proto::v1::{AttachDisk, DetachDisk, Request, ResizeDisk};

use super::devices::{NewDisk, definition, name_disks, parse_disk};
use super::done_by_guest;
use crate::failure::Failure;
use crate::output::size_of;
use crate::session::Session;
use crate::size;

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
    vm: String,
    /// The image or block device, its name in the guest [default: the first free one], `ro` to refuse writes.
    #[arg(value_name = "PATH[:xvda][:ro]", value_parser = parse_disk)]
    disk: NewDisk,
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
    vm: String,
    /// Its name in the guest, xvda to xvdp.
    #[arg(value_name = "DEVICE")]
    device: String,
    /// Take it away after --timeout although the guest holds it.
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl vm disk resize web xvda 20G

An image file is made larger first; a block device must be so already. A disk is never made
smaller. Growing the file system on it is the guest's business.")]
pub(crate) struct Resize {
    /// Name or id.
    vm: String,
    /// Its name in the guest, xvda to xvdp.
    #[arg(value_name = "DEVICE")]
    device: String,
    /// How large it shall be.
    #[arg(value_name = "SIZE", value_parser = size::bytes)]
    size: u64,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Attach(Attach { vm, disk }) => attach(session, vm, disk).await,
        Command::Detach(Detach { vm, device, force }) => {
            let said = format!("has no disk {device} any more");
            let wait_ms_max = session.timeout_ms();
            let request = DetachDisk { vm, device, wait_ms_max, force };
            done_by_guest(session, Request::DetachDisk(request), &said).await
        }
        Command::Resize(Resize { vm, device, size }) => {
            let said = format!("has a disk {device} of {}", size_of(size));
            let wait_ms_max = session.timeout_ms();
            let request = ResizeDisk { vm, device, size_bytes: size, wait_ms_max };
            done_by_guest(session, Request::ResizeDisk(request), &said).await
        }
    }
}

async fn attach(session: &Session, vm: String, disk: NewDisk) -> Result<(), Failure> {
    let there = definition(session, &vm).await?.disks;
    for disk in name_disks(&there, vec![disk])? {
        let said = format!("has {} as {}", disk.path, disk.device);
        let attach = AttachDisk { vm: vm.clone(), wait_ms_max: session.timeout_ms(), disk };
        done_by_guest(session, Request::AttachDisk(attach), &said).await?;
    }
    Ok(())
}
