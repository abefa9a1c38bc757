//! What the agent answers over XVMP: one file a group of verbs; each translates, calls, and answers.
//!
//! ```text
//!   Service::call ─► role: the manager, or another agent where the verb is for agents too ─► verb: mutating? ─► once: same key, same answer ─► endpoint
//! ```
//!
//! Every fault names its hop, `agent NAME`, and says what to do. Changes run in tasks of their own, so that a caller that goes
//! away, or a repeated call, does not end or double them.

mod build;
mod change;
mod configure;
mod console;
mod device;
mod fault;
pub(crate) mod migration;
pub(crate) mod once;
mod report;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use vmm_core::id::VmId;
use vmm_core::vm::is_absolute_path;
use vmm_proto::convert::parse_id;
use vmm_proto::principal::Role;
use vmm_proto::server::Caller;
use vmm_proto::v1::{Done, Fault, FaultCode, Reply, Request, verb};

use crate::core::Core;
use crate::domain::registry::VmHandle;

/// Kept of a caller's deadline for the way back.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// Answers one request.
pub(crate) async fn answer(
    core: Arc<Core>,
    caller: Caller,
    request: Request,
) -> Result<Reply, Fault> {
    let hop = format!("agent {}", core.config.name);
    let is_peer = caller.principal.role == Role::Agent && verb(&request).peers;
    let outcome = if caller.principal.role == Role::Manager || is_peer {
        admitted(core, caller, request).await
    } else {
        let who = &caller.principal;
        Err(Fault::new(
            FaultCode::Denied,
            format!("{who} may not command an agent; ask the manager"),
        ))
    };
    outcome.map_err(|fault| fault.at(&hop))
}

async fn admitted(core: Arc<Core>, caller: Caller, request: Request) -> Result<Reply, Fault> {
    let verb = verb(&request);
    if !verb.agent {
        let text = format!("an agent does not answer {}; ask the manager", verb.name);
        return Err(Fault::new(FaultCode::Unsupported, text));
    }
    match (verb.mutating, caller.idempotency_key.clone()) {
        (true, Some(key)) => once::run(core, caller, key, request).await,
        (true, None) => Err(Fault::new(
            FaultCode::BadRequest,
            format!("{} changes something, so it needs an idempotency key", verb.name),
        )),
        (false, _) => dispatch(core, caller, request).await,
    }
}

/// Finds the endpoint. Each answers as a future of its own kind: one of all would be beyond the optimizer.
async fn dispatch(core: Arc<Core>, caller: Caller, request: Request) -> Result<Reply, Fault> {
    match request {
        Request::Ping(ping) => Ok(Reply::Pong(ping)),
        Request::AwaitReport(request) => report::await_report(&core, &request).boxed().await,
        Request::BuildVm(request) => build::build(&core, &caller, request).boxed().await,
        Request::DestroyVm(request) => change::destroy(&core, &request.vm).boxed().await,
        Request::PauseVm(request) => change::pause(&core, &request.vm).boxed().await,
        Request::UnpauseVm(request) => change::unpause(&core, &request.vm).boxed().await,
        Request::ShutdownVm(request) => change::shutdown(&core, &caller, &request).boxed().await,
        Request::RebootVm(request) => change::reboot(&core, &caller, &request).boxed().await,
        Request::SetVcpus(request) => change::set_vcpus(&core, &caller, &request).boxed().await,
        Request::SetMemory(request) => change::set_memory(&core, &caller, &request).boxed().await,
        Request::SuspendVm(request) => change::suspend(&core, &caller, &request).boxed().await,
        Request::ResumeVm(request) => change::resume(&core, &request.vm).boxed().await,
        Request::SaveVm(request) => change::save(&core, &caller, &request).boxed().await,
        Request::AttachDisk(request) => device::attach_disk(&core, &caller, request).boxed().await,
        Request::DetachDisk(request) => device::detach_disk(&core, &caller, &request).boxed().await,
        Request::ResizeDisk(request) => device::resize_disk(&core, &caller, request).boxed().await,
        Request::AttachNic(request) => device::attach_nic(&core, &caller, request).boxed().await,
        Request::DetachNic(request) => device::detach_nic(&core, &caller, &request).boxed().await,
        Request::ReceiveVm(request) => migration::receive(&core, request).boxed().await,
        Request::SendVm(request) => migration::send(&core, request).boxed().await,
        Request::SettleMigration(request) => {
            migration::settle(&core, &caller, request).boxed().await
        }
        Request::AwaitMigration(request) => migration::wait(&core, &caller, request).boxed().await,
        Request::RenameVm(request) => configure::rename(&core, request).boxed().await,
        Request::ConfigureVm(request) => configure::configure(&core, request).boxed().await,
        Request::ReadConsole(request) => console::read(&core, &request),
        Request::GetVmStats(request) => stats::vm(&core, &request).boxed().await,
        Request::GetHostStats(_) => stats::host(&core).boxed().await,
        // The table of verbs has said no to all others.
        _ => Err(Fault::new(FaultCode::Unsupported, "an agent does not answer this verb")),
    }
}

/// The VM that a request names by its id.
fn find(core: &Core, vm: &str) -> Result<VmHandle, Fault> {
    let id: VmId = parse_id("vm", vm)?;
    core.registry.get(id).ok_or_else(|| {
        let text = format!("VM {id} is not on this host; look where it is with `vmmctl vm show`");
        Fault::new(FaultCode::UnknownVm, text)
    })
}

/// A file on this host, for a VM's memory.
fn file_path(path: &str) -> Result<PathBuf, Fault> {
    match is_absolute_path(path) {
        true => Ok(PathBuf::from(path)),
        false => Err(Fault::new(
            FaultCode::BadRequest,
            format!("path {path:?} is refused: name a file on the host by its absolute path"),
        )),
    }
}

fn done() -> Reply {
    Reply::Done(Done {})
}

/// How long a guest may take: what was asked for, but the caller must still hear the answer.
fn wait(caller: &Caller, wait_ms_max: u64) -> Duration {
    let asked = Duration::from_millis(wait_ms_max);
    let left = caller.deadline.map_or(asked, |left| left.saturating_sub(ANSWER_MARGIN));
    asked.min(left)
}
