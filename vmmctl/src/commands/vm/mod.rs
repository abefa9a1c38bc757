//! `vmmctl vm …`

mod console;
mod create;
mod delete;
mod disk;
mod list;
mod memory;
mod placement;
mod power;
mod show;
mod stats;
mod vcpus;

use clap::Subcommand;
use vmm_proto::v1::VmPhase;

use crate::failure::Failure;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All VMs.
    #[command(visible_alias = "ls")]
    List,
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
    /// Forget a stopped VM. Its disk image is not touched.
    Delete(delete::Delete),
    /// Bring vCPUs online or offline, and say what the guest really did.
    Vcpus(vcpus::Vcpus),
    /// Give a VM more or less memory, and say what the guest really did.
    Memory(memory::Memory),
    /// What a VM uses now.
    Stats(stats::Stats),
    /// What the guest wrote to its console, also after it stopped.
    Console(console::Console),
}

pub(crate) async fn run(session: &Session, command: Command) -> Result<(), Failure> {
    use power::Verb;
    match command {
        Command::List => list::run(session).await,
        Command::Show(show) => show::run(session, show).await,
        Command::Create(create) => create::run(session, *create).await,
        Command::Start(vm) => power::run(session, Verb::Start, vm).await,
        Command::Pause(vm) => power::run(session, Verb::Pause, vm).await,
        Command::Unpause(vm) => power::run(session, Verb::Unpause, vm).await,
        Command::Shutdown(vm) => power::run(session, Verb::Shutdown, vm).await,
        Command::Reboot(vm) => power::run(session, Verb::Reboot, vm).await,
        Command::Destroy(vm) => power::run(session, Verb::Destroy, vm).await,
        Command::Delete(delete) => delete::run(session, delete).await,
        Command::Vcpus(vcpus) => vcpus::run(session, vcpus).await,
        Command::Memory(memory) => memory::run(session, memory).await,
        Command::Stats(stats) => stats::run(session, stats).await,
        Command::Console(console) => console::run(session, console).await,
    }
}

/// A phase in words.
fn phase(phase: VmPhase, stale: bool) -> String {
    let words = match phase {
        VmPhase::Starting => "starting",
        VmPhase::Running => "running",
        VmPhase::Paused => "paused",
        VmPhase::ShuttingDown => "shutting down",
        VmPhase::Rebooting => "rebooting",
        VmPhase::Suspending => "suspending",
        VmPhase::Suspended => "suspended",
        VmPhase::Saving => "saving",
        VmPhase::Preserved => "preserved",
        VmPhase::Saved => "saved",
        VmPhase::New => "never started",
        VmPhase::PoweredOff => "powered off",
        VmPhase::Crashed => "crashed",
        VmPhase::Destroyed => "destroyed",
        VmPhase::Failed => "failed to start",
        VmPhase::Lost => "lost",
    };
    if stale { format!("{words}? (host not heard)") } else { words.to_owned() }
}
