//! Looking at one thing: a VM from the state, consoles and statistics from the agents. Lists are the view's.

use std::time::Duration;

use tokio::time::Instant;
use vmm_core::id::HostId;
use vmm_proto::server::Caller;
use vmm_proto::v1::{
    Fault, FaultCode, GetHostStats, GetVmStats, ReadConsole, Reply, Request, ShowVm,
};

use crate::agents::{AgentCall, AgentError};
use crate::app::App;

/// How long a look may take.
const READ_WAIT: Duration = Duration::from_secs(10);

pub(super) fn show_vm(app: &App, show: &ShowVm) -> Result<Reply, Fault> {
    let state = app.lock();
    let vm = state.vm_named(&show.vm)?;
    Ok(Reply::Vm(Box::new(state.show_vm(vm, Instant::now()))))
}

/// Of a VM that has stopped too: why it did stands at the end.
pub(super) async fn console(app: &App, caller: &Caller, read: ReadConsole) -> Result<Reply, Fault> {
    let (vm, host) = {
        let state = app.lock();
        let vm = &state.vm_named(&read.vm)?.record;
        (vm.id.to_string(), vm.host.or(vm.last_host))
    };
    let host = host.ok_or_else(|| not_running(&read.vm))?;
    ask(app, caller, host, Request::ReadConsole(ReadConsole { vm, ..read })).await
}

pub(super) async fn vm_stats(app: &App, caller: &Caller, get: GetVmStats) -> Result<Reply, Fault> {
    let (vm, host) = {
        let state = app.lock();
        let vm = &state.vm_named(&get.vm)?.record;
        (vm.id.to_string(), vm.host)
    };
    let host = host.ok_or_else(|| not_running(&get.vm))?;
    ask(app, caller, host, Request::GetVmStats(GetVmStats { vm })).await
}

pub(super) async fn host_stats(
    app: &App,
    caller: &Caller,
    get: GetHostStats,
) -> Result<Reply, Fault> {
    let host = app.lock().host_named(&get.host)?.record.id;
    ask(app, caller, host, Request::GetHostStats(GetHostStats { host: host.to_string() })).await
}

fn not_running(vm: &str) -> Fault {
    Fault::new(FaultCode::BadState, format!("VM {vm} is on no host; start it first"))
}

async fn ask(app: &App, caller: &Caller, host: HostId, request: Request) -> Result<Reply, Fault> {
    let deadline = caller.deadline.map_or(READ_WAIT, |deadline| deadline.min(READ_WAIT));
    let call = AgentCall { request, deadline, key: None };
    app.call_once(host, call).await.map_err(|error| match error {
        AgentError::Fault(fault) => fault,
        AgentError::NoReply(detail) => app.no_reply(host, &detail),
    })
}
