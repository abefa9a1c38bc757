//! AwaitReport: the heartbeat, and the news. Always the whole report, so that a lost one costs nothing.
//!
//! The cursor is `BOOT:GENERATION`. A poll with the newest cursor waits for a change or for its time; any other is answered at
//! once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use vmm_core::cpu::Features;
use vmm_core::units::Kib;
use vmm_core::vm::{StopReason, VmState, overhead};
use vmm_proto::v1::{
    AgentReport, AwaitReport, Fault, FaultCode, HostFacts, HostLoad, Reply, ReportedVm,
    SharedStore, VmPhase, VmRates,
};
use xen_bindings::{DomId, DomainInfo, Physinfo, XenError, XenVersion};

use super::migration;
use crate::config;
use crate::core::Core;
use crate::cpu;
use crate::domain::VmView;
use crate::domain::migration::Migration;
use crate::domain::registry::VmHandle;

/// The longest that a poll is kept waiting.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) async fn await_report(core: &Core, request: &AwaitReport) -> Result<Reply, Fault> {
    let mut generation = core.generation.subscribe();
    let newest = *generation.borrow_and_update();
    if request.cursor == cursor(core, newest) {
        let wait = Duration::from_millis(request.wait_ms_max).min(WAIT_MAX);
        tokio::select! {
            biased;
            _ = generation.changed() => {}
            () = core.stop.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
    let report = report(core).await.map_err(|error| {
        Fault::new(FaultCode::HostFailed, format!("{error}; look at the agent's log on the host"))
    })?;
    Ok(Reply::AgentReport(report))
}

fn cursor(core: &Core, generation: u64) -> String {
    format!("{}:{generation}", core.boot)
}

async fn report(core: &Core) -> Result<AgentReport, XenError> {
    // Before the VMs are looked at: news that comes meanwhile is told again, not lost.
    let cursor = cursor(core, *core.generation.borrow());
    let (info, version, domains, now) = core
        .run(|host| {
            let (info, version) = (host.xen.host.physinfo()?, host.xen.host.version()?);
            Ok::<_, XenError>((info, version, host.xen.control.list()?, host.dom0.now()))
        })
        .await?;
    let (vms, migrations) = (core.registry.all(), core.migrations.latest());
    let (host_cpu, guest_cpus) = (cpu::of_host(core).await?, cpu::of_guests(core, &vms).await);
    let seen = Seen { domains: &domains, now, cpus: &guest_cpus };
    Ok(AgentReport {
        cursor,
        host: core.journal.host_id().to_string(),
        facts: HostFacts {
            cpu_features: Some(host_cpu.to_string()),
            ..facts(core, &info, &version, memory_for_vms(core, &info, &domains, &vms))
        },
        load: load(core, &info),
        stores: core.config.shared_stores.iter().map(shared).collect(),
        vms: vms.iter().map(|vm| reported(vm, &seen, migrations.get(&vm.vm))).collect(),
    })
}

fn facts(core: &Core, info: &Physinfo, version: &XenVersion, memory: Kib) -> HostFacts {
    HostFacts {
        pcpus: info.pcpus,
        memory_kib: memory.0,
        disk_bytes_per_s: core.config.disk.0,
        disk_requests_per_s: core.config.disk_requests_per_s,
        network_bytes_per_s: core.config.network.map(|rate| rate.0),
        migration_address: core.config.migration_address.clone(),
        cpu_features: None,
        logs_pv: Some(info.shadow),
        xen_version: format!("{}.{}{}", version.major, version.minor, version.extra),
        backend: core.backend.name.to_owned(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn shared(store: &config::SharedStore) -> SharedStore {
    SharedStore { name: store.name.clone(), path: store.path.display().to_string() }
}

/// What is free, and what our VMs use of it, less the reserve. Domains of others are not ours to count on.
fn memory_for_vms(core: &Core, info: &Physinfo, domains: &[DomainInfo], vms: &[VmHandle]) -> Kib {
    let used = |vm: &VmHandle| -> Kib {
        let own = domains.iter().filter(|domain| domain.handle.0 == vm.vm.bytes());
        own.map(|domain| Kib(domain.pages.kib()) + overhead(&vm.spec())).sum()
    };
    let ours: Kib = vms.iter().map(used).sum();
    // Shells give way to VMs at once.
    (Kib(info.memory_free_kib) + ours + core.shells.memory())
        .saturating_sub(core.config.memory_reserve)
}

fn load(core: &Core, info: &Physinfo) -> HostLoad {
    let latest = core.history.latest();
    let earlier = latest.as_ref().and_then(|now| core.history.before(now.sample.at));
    let cpu = latest.as_ref().zip(earlier).and_then(|(now, e)| now.sample.cpu_since(&e.sample));
    HostLoad {
        cpu_milli: cpu.map_or(0, |cpu| cpu.0),
        memory_free_kib: info.memory_free_kib,
        disk_bytes_per_s: latest.map_or(0, |now| now.disk.0),
        shell_count: u32::try_from(core.shells.count()).unwrap_or(u32::MAX),
        shell_memory_kib: core.shells.memory().0,
    }
}

/// What is left of a VM may still write to its disks: until that is gone, the VM is on this host, and may be on no other.
fn phase(view: &VmView) -> VmPhase {
    match view.state {
        VmState::Stopped(StopReason::Saved) if view.left_over => VmPhase::Saving,
        VmState::Stopped(_) if view.left_over => VmPhase::Preserved,
        state => state.into(),
    }
}

/// What the VM used between its last two samples; nothing is sampled for it, and no report is sent for its sake.
fn rates(vm: &VmHandle, now: Duration) -> Option<VmRates> {
    let latest = vm.history.latest()?;
    let earlier = vm.history.before(latest.at)?;
    let age_ms = now.saturating_sub(latest.at).as_millis();
    let rates = VmRates {
        age_ms: u64::try_from(age_ms).unwrap_or(u64::MAX),
        cpu_milli: latest.cpu_since(&earlier).map(|rate| rate.0),
        disk_bytes_per_s: latest.disk_since(&earlier).map(|rate| rate.0),
        disk_requests_per_s: latest.disk_requests_since(&earlier),
        network_bytes_per_s: latest.network_since(&earlier).map(|rate| rate.0),
    };
    let told = [rates.cpu_milli, rates.disk_bytes_per_s, rates.network_bytes_per_s];
    told.iter().any(Option::is_some).then_some(rates)
}

/// What Xen says of all domains.
struct Seen<'a> {
    domains: &'a [DomainInfo],
    now: Duration,
    cpus: &'a BTreeMap<DomId, Features>,
}

fn reported(vm: &VmHandle, seen: &Seen<'_>, migration: Option<&Arc<Migration>>) -> ReportedVm {
    let view = vm.now();
    let domain = seen.domains.iter().find(|domain| Some(domain.domid) == view.domid);
    ReportedVm {
        vm: vm.vm.to_string(),
        generation: view.generation,
        phase: phase(&view),
        reason: view.reason,
        vcpus_online: domain.map_or(0, |domain| domain.vcpus_online),
        memory_kib: domain.map_or(0, |domain| domain.pages.kib()),
        domid: view.domid.map(|domid| domid.get()),
        cpu_features: view.domid.and_then(|id| seen.cpus.get(&id)).map(Features::to_string),
        rates: domain.and_then(|_| rates(vm, seen.now)),
        migration: migration.map(|migration| migration::told_of(migration)),
    }
}
