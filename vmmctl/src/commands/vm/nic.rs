//! `vmmctl vm nic attach|detach`

use clap::{Args, Subcommand};
use vmm_proto::v1::{AttachNic, DetachNic, Request};

use super::devices::{NewNic, definition, name_nics, parse_nic, random};
use super::done_by_guest;
use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Give a VM one more NIC; a VM that runs has it when the command is over.
    Attach(Attach),
    /// Take a NIC from a VM.
    Detach(Detach),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl vm nic attach web xenbr0
  vmmctl vm nic attach web xenbr0,mac=00:16:3e:12:34:56,index=1

The bridge is one of the VM's host. Without a MAC a random one of Xen's own range is taken,
which no other NIC of the pool has. A guest that has not taken the NIC in time (--timeout) does
not have it, and the exit code is 3. Of a VM that is stopped only the definition changes.")]
pub(crate) struct Attach {
    /// Name or id.
    vm: String,
    /// The bridge, the guest's address [default: random], its number [default: the first free one].
    #[arg(value_name = "BRIDGE[,mac=MAC][,index=N]", value_parser = parse_nic)]
    nic: NewNic,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: vmmctl vm nic detach web 1")]
pub(crate) struct Detach {
    /// Name or id.
    vm: String,
    /// Its number, as `vmmctl vm show` says.
    index: u32,
    /// Take it away after --timeout although the guest has not let go of it.
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Attach(Attach { vm, nic }) => attach(session, vm, nic).await,
        Command::Detach(Detach { vm, index, force }) => {
            let said = format!("has no NIC {index} any more");
            let request = DetachNic { vm, index, wait_ms_max: session.timeout_ms(), force };
            done_by_guest(session, Request::DetachNic(request), &said).await
        }
    }
}

async fn attach(session: &Session, vm: String, nic: NewNic) -> Result<(), Failure> {
    let there = definition(session, &vm).await?.nics;
    for nic in name_nics(&there, vec![nic], random)? {
        let said = format!("has NIC {} with {} on {}", nic.index, nic.mac, nic.bridge);
        let attach = AttachNic { vm: vm.clone(), wait_ms_max: session.timeout_ms(), nic };
        done_by_guest(session, Request::AttachNic(attach), &said).await?;
    }
    Ok(())
}
