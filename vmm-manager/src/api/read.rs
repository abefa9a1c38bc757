//! Looking: hosts and VMs from the state, consoles and statistics from the agents.

use std::time::Duration;

use tokio::time::Instant;
use vmm_core::id::HostId;
use vmm_proto::server::Caller;
use vmm_proto::v1::{
    self, Fault, FaultCode, GetHostStats, GetVmStats, Hosts, ListVms, ReadConsole, Reply, Request,
    ShowVm, Vms,
};

use super::page::{self, Page};
use crate::agents::{AgentCall, AgentError};
use crate::app::{App, Vm};

/// How long a look may take.
const READ_WAIT: Duration = Duration::from_secs(10);

pub(super) fn list_hosts(app: &App) -> Reply {
    let (state, now) = (app.lock(), Instant::now());
    let mut hosts: Vec<_> = state.hosts.values().map(|host| state.show_host(host, now)).collect();
    hosts.sort_by(|a, b| a.name.cmp(&b.name));
    Reply::Hosts(Hosts { hosts })
}

/// A page, in order of name.
pub(super) fn list_vms(app: &App, list: &ListVms) -> Reply {
    let (state, now) = (app.lock(), Instant::now());
    let name = |vm: &Vm| vm.record.spec.name.clone();
    let is_behind = |vm: &&Vm| list.after.as_ref().is_none_or(|after| name(vm) > *after);
    let mut behind: Vec<&Vm> = state.vms.values().filter(is_behind).collect();
    behind.sort_by_key(|vm| name(vm));
    let (mut page, mut vms) = (Page::of(list.count_max), Vec::new());
    for vm in &behind {
        let shown = state.show_vm(vm, now);
        if !page.take(page::of_vm(&shown)) {
            break;
        }
        vms.push(shown);
    }
    let is_last = vms.len() == behind.len();
    let next = vms.last().filter(|_| !is_last).map(|vm: &v1::Vm| vm.spec.name.clone());
    Reply::Vms(Vms { next, vms })
}

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
