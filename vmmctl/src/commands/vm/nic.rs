//! `vmmctl vm nic attach|detach`

use clap::{Args, Subcommand};
use vmm_proto::v1::{AttachNic, DetachNic, Request};

use super::change::{Ask, change};
use super::devices::{NewNic, definition, name_nic, parse_nic, random};
use super::targets::{Deed, Targets};
use crate::complete;
use crate::failure::Failure;
use crate::session::Session;
use crate::wait::Waiting;

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
    #[arg(add = complete::vms())]
    vm: String,
    /// The bridge, the guest's address [default: random], its number [default: the first free one].
    #[arg(value_name = "BRIDGE[,mac=MAC][,index=N]", value_parser = parse_nic)]
    nic: NewNic,
    #[command(flatten)]
    waiting: Waiting,
}

#[derive(Debug, Args)]
#[command(after_help = "Example: vmmctl vm nic detach web 1")]
pub(crate) struct Detach {
    /// Name or id.
    #[arg(add = complete::vms())]
    vm: String,
    /// Its number, as `vmmctl vm show` says.
    #[arg(add = complete::nics())]
    index: u32,
    /// Take it away after --timeout although the guest has not let go of it.
    #[arg(long)]
    force: bool,
    /// Do not ask before something is taken by force.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

pub(super) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    match command {
        Command::Attach(attach) => self::attach(session, attach).await,
        Command::Detach(detach) => self::detach(session, detach).await,
    }
}

async fn attach(session: &Session, attach: Attach) -> Result<(), Failure> {
    let ask = async |vm: &str| {
        let there = definition(session, vm).await?.nics;
        let taken: Vec<u32> = there.iter().map(|nic| nic.index).collect();
        let nic = name_nic(&taken, attach.nic.clone(), random)?;
        let said = format!("has NIC {} with {} on {}", nic.index, nic.mac, nic.bridge);
        let request = AttachNic { vm: vm.to_owned(), wait_ms_max: session.timeout_ms(), nic };
        Ok(Ask::new(Request::AttachNic(request), move |name, _| format!("{name} {said}")))
    };
    let one = Targets::named(vec![attach.vm], false);
    change(session, one, attach.waiting, Deed::harmless("attach a NIC to"), ask).await
}

async fn detach(session: &Session, detach: Detach) -> Result<(), Failure> {
    let Detach { vm, index, force, yes, waiting } = detach;
    let loses = force.then_some("What the guest sends through the NIC is lost.");
    let ask = async |vm: &str| {
        let (vm, wait_ms_max) = (vm.to_owned(), session.timeout_ms());
        let request = Request::DetachNic(DetachNic { vm, index, wait_ms_max, force });
        Ok(Ask::new(request, move |name, _| format!("{name} has no NIC {index} any more")))
    };
    let deed = Deed { verb: "take a NIC by force from", loses };
    change(session, Targets::named(vec![vm], yes), waiting, deed, ask).await
}
