//! What is true on a host, read from its machine: the judge of the invariants, independent of agent and manager.

use std::collections::BTreeSet;

use anyhow::Result;
use vmm_core::id::VmId;
use vmm_core::invariant::HostFacts;
use vmm_core::units::Kib;
use xen_bindings::{DomId, DomainInfo, RunState, ShutdownReason, StorePath};

use super::SimHost;

/// Reads a host. With `quiet` nothing is under way there, so that whatever belongs to no VM is a leftover.
///
/// # Errors
/// The machine refuses to say.
pub fn host_facts(host: &SimHost, quiet: bool) -> Result<HostFacts> {
    let xen = &host.backend().xen;
    let guests: Vec<DomainInfo> =
        xen.control.list()?.into_iter().filter(|d| d.domid != DomId::DOM0).collect();
    let running = guests
        .iter()
        .filter(|guest| !has_ended(guest))
        // A domain that is paused and has never run is a build under way: it runs nothing yet.
        .filter(|guest| guest.cpu_time_ns > 0 || guest.state != RunState::Paused)
        // While a VM moves, the copy that was left is suspended until the other one has been seen to run.
        .filter(|guest| quiet || !is_suspended(guest))
        .map(|guest| VmId::from_bytes(guest.handle.0))
        .collect();
    let mut facts = HostFacts { running, ..HostFacts::default() };
    if quiet {
        facts.memory_held = guests.iter().map(|guest| Kib(guest.pages.kib())).sum();
        facts.leftovers = leftovers(host, &guests)?;
        facts.half_devices = half_devices(host)?;
    }
    Ok(facts)
}

fn is_suspended(guest: &DomainInfo) -> bool {
    guest.state == RunState::Shutdown(ShutdownReason::Suspend)
}

/// A suspended guest has not: it goes on when it is told to.
fn has_ended(guest: &DomainInfo) -> bool {
    match guest.state {
        RunState::Dying => true,
        RunState::Shutdown(reason) => reason != ShutdownReason::Suspend,
        _ => false,
    }
}

fn children(host: &SimHost, path: &str) -> Result<Vec<String>> {
    let path = StorePath::new(path)?;
    match host.backend().xen.store.directory(&path) {
        Ok(names) => Ok(names),
        Err(xen_bindings::StoreError::NotFound) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn leftovers(host: &SimHost, guests: &[DomainInfo]) -> Result<Vec<String>> {
    let alive: BTreeSet<String> = guests.iter().map(|guest| guest.domid.to_string()).collect();
    let handles: BTreeSet<String> = guests.iter().map(|guest| guest.handle.to_string()).collect();
    let mut found = Vec::new();
    for (path, known) in
        [("/local/domain", &alive), ("/local/domain/0/backend/vbd", &alive), ("/vm", &handles)]
    {
        let names = children(host, path)?;
        let strangers = names.into_iter().filter(|name| name != "0" && !known.contains(name));
        found.extend(strangers.map(|name| format!("{path}/{name}")));
    }
    found.extend(
        guests
            .iter()
            .filter(|guest| has_ended(guest))
            .map(|guest| format!("domain {} {:?}", guest.domid, guest.state)),
    );
    let backends = children(host, "/local/domain/0/backend/vbd")?.len();
    let loops = host.backend().dom0.loops()?.len();
    if loops > backends {
        found.push(format!("{loops} loop devices for {backends} disks"));
    }
    Ok(found)
}

/// XS1: frontends without a backend, and backends without a frontend.
fn half_devices(host: &SimHost) -> Result<usize> {
    let mut half = 0;
    for domid in children(host, "/local/domain")?.iter().filter(|domid| *domid != "0") {
        let frontends: BTreeSet<String> =
            children(host, &format!("/local/domain/{domid}/device/vbd"))?.into_iter().collect();
        let backends: BTreeSet<String> =
            children(host, &format!("/local/domain/0/backend/vbd/{domid}"))?.into_iter().collect();
        half += frontends.symmetric_difference(&backends).count();
    }
    Ok(half)
}
