//! `vmmctl vm …`

mod change;
mod columns;
mod console;
mod create;
mod create_many;
mod delete;
mod devices;
mod disk;
mod label;
pub(crate) mod list;
mod memory;
mod migrate;
mod nic;
mod pin;
mod placement;
mod policy;
mod power;
mod rename;
mod saved;
mod set;
pub(in crate::commands) mod show;
mod stats;
mod targets;
mod vcpus;
mod wait;

use clap::Subcommand;
use vmm_proto::v1::{Vm, VmPhase};

use crate::args::Listing;
use crate::failure::Failure;
use crate::session::Session;

pub(crate) use columns::{COLUMNS, tone};
pub(crate) use create_many::told_placements;
pub(in crate::commands) use label::Tags;
pub(in crate::commands) use migrate::{MoveLimits, time_for};
pub(in crate::commands) use placement::{answer as show_placement, told as told_placement};
pub(crate) use targets::show as show_one;

const SUSPEND: &str = "\
Examples:
  vmmctl vm suspend web --timeout 30
  vmmctl vm resume web

A guest that does not suspend in time (--timeout) runs on, and the exit code is 3.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All VMs.
    #[command(visible_alias = "ls")]
    List(Listing),
    /// One VM: what it shall be, what it does, where.
    Show(show::Show),
    /// Define a VM, let the manager choose its host, and start it there.
    Create(Box<create::Create>),
    /// Choose a host for a stopped VM and start it.
    Start(power::Power),
    /// Stop a VM's vCPUs; it stays in memory.
    Pause(power::Power),
    /// Let them run again.
    Unpause(power::Power),
    /// Ask the guest to power off, and wait until it has (see --timeout).
    Shutdown(power::Power),
    /// Ask the guest to reboot, and wait until it runs again.
    Reboot(power::Power),
    /// End a VM without asking its guest, like pulling the plug. Its definition stays.
    Destroy(power::Power),
    /// Let the guest suspend itself; its memory stays on its host, and reserved there.
    #[command(after_help = SUSPEND)]
    Suspend(power::Power),
    /// Let a suspended guest go on.
    Resume(power::Power),
    /// Suspend a VM, write its memory to a file on its host, and take it off the host.
    Save(saved::Save),
    /// Continue a saved VM where it was.
    Restore(saved::Restore),
    /// Give a saved VM's memory up, so that it can be started anew or deleted.
    Discard(saved::Discard),
    /// Move a VM to another host while it runs.
    #[command(visible_alias = "move")]
    Migrate(migrate::Migrate),
    /// Forget a stopped VM. Its disk image is not touched.
    Delete(delete::Delete),
    /// Bring vCPUs online or offline, and say what the guest really did.
    Vcpus(vcpus::Vcpus),
    /// Give a VM more or less memory, and say what the guest really did.
    Memory(memory::Memory),
    /// Attach, detach and resize disks.
    #[command(subcommand)]
    Disk(disk::Command),
    /// Attach and detach NICs.
    #[command(subcommand)]
    Nic(nic::Command),
    /// Wait until VMs are running, stopped, gone …
    Wait(wait::Wait),
    /// Give a VM another name.
    Rename(rename::Rename),
    /// Change what needs no guest: scheduling, what follows an end, autostart, the least memory.
    Set(Box<set::Set>),
    /// Change tags, folders and notes.
    #[command(visible_alias = "tag")]
    Label(label::Label),
    /// Say which hosts a VM may be on.
    Pin(pin::Pin),
    /// Let a VM be on any host of its pool again.
    Unpin(pin::Unpin),
    /// What a VM uses now.
    Stats(stats::Stats),
    /// What the guest wrote to its console, also after it stopped.
    Console(console::Console),
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    use power::Verb;
    match command {
        Command::List(listing) => list::run(session, listing).await,
        Command::Show(show) => show::run(session, show).await,
        Command::Create(create) => create::run(session, *create).await,
        Command::Start(vm) => power::run(session, Verb::Start, vm).await,
        Command::Pause(vm) => power::run(session, Verb::Pause, vm).await,
        Command::Unpause(vm) => power::run(session, Verb::Unpause, vm).await,
        Command::Shutdown(vm) => power::run(session, Verb::Shutdown, vm).await,
        Command::Reboot(vm) => power::run(session, Verb::Reboot, vm).await,
        Command::Destroy(vm) => power::run(session, Verb::Destroy, vm).await,
        Command::Suspend(vm) => power::run(session, Verb::Suspend, vm).await,
        Command::Resume(vm) => power::run(session, Verb::Resume, vm).await,
        Command::Save(save) => saved::save(session, save).await,
        Command::Restore(restore) => saved::restore(session, restore).await,
        Command::Discard(discard) => saved::discard(session, discard).await,
        Command::Migrate(migrate) => migrate::run(session, migrate).await,
        Command::Disk(command) => disk::run(session, command).await,
        Command::Nic(command) => nic::run(session, command).await,
        Command::Wait(wait) => wait::run(session, wait).await,
        Command::Rename(rename) => rename::run(session, rename).await,
        Command::Set(set) => set::run(session, *set).await,
        Command::Delete(delete) => delete::run(session, delete).await,
        Command::Vcpus(vcpus) => vcpus::run(session, vcpus).await,
        Command::Memory(memory) => memory::run(session, memory).await,
        Command::Label(label) => label::run(session, label).await,
        Command::Pin(asked) => pin::pin(session, asked).await,
        Command::Unpin(asked) => pin::unpin(session, asked).await,
        Command::Stats(stats) => stats::run(session, stats).await,
        Command::Console(console) => console::run(session, console).await,
    }
}

/// A phase in words.
pub(crate) fn phase(phase: VmPhase) -> &'static str {
    match phase {
        VmPhase::Starting => "starting",
        VmPhase::Running => "running",
        VmPhase::Paused => "paused",
        VmPhase::ShuttingDown => "shutting down",
        VmPhase::Rebooting => "rebooting",
        VmPhase::Suspending => "suspending",
        VmPhase::Suspended => "suspended",
        VmPhase::Saving => "saving",
        VmPhase::Migrating => "migrating",
        VmPhase::Arriving => "arriving",
        VmPhase::Migrated => "migrated",
        VmPhase::Preserved => "preserved",
        VmPhase::Saved => "saved",
        VmPhase::New => "never started",
        VmPhase::PoweredOff => "powered off",
        VmPhase::Crashed => "crashed",
        VmPhase::Destroyed => "destroyed",
        VmPhase::Failed => "failed to start",
        VmPhase::Lost => "lost",
    }
}

/// A phase in words, with a mark where it may be old.
pub(crate) fn state(vm: &Vm) -> String {
    let words = phase(vm.phase);
    if vm.stale { format!("{words}? (host not heard)") } else { words.to_owned() }
}
