//! Hosts: add, remove, maintenance.

use vmm_core::id::PoolId;
use vmm_proto::principal::Principal;
use vmm_proto::v1::{AddHost, Done, Fault, FaultCode, HostRef, RemoveHost, Reply, SetMaintenance};

use super::change::Change;
use super::pin;
use crate::app::Target;
use crate::store::{HostRecord, KeyedReply, Labels, Put, TaskRecord};

const ADDRESS_BYTES_MAX: usize = 255;

/// Takes a host in; adding the same one again is the same host.
pub(super) fn add(change: Change<'_>, add: AddHost) -> Result<Reply, Fault> {
    check(&add)?;
    let pool = match &add.pool {
        Some(pool) => Some(change.state.pool_named(pool)?.id),
        None => None,
    };
    let mut hosts = change.state.hosts.values().map(|host| &host.record);
    let same = hosts.find(|host| host.name == add.name || host.address == add.address);
    match same {
        Some(same) if same.name == add.name && same.address == add.address => {
            if pool.is_some_and(|pool| pool != same.pool) {
                let message = format!(
                    "host {} is there already, in another pool; put it into this one with `vmmctl host move`",
                    same.name
                );
                return Err(Fault::new(FaultCode::Conflict, message));
            }
            return Ok(Reply::HostRef(HostRef { host: same.id.to_string() }));
        }
        Some(same) => {
            let message = format!(
                "host {} at {} is in the pool already; remove it first, or use another name and address",
                same.name, same.address
            );
            return Err(Fault::new(FaultCode::Conflict, message));
        }
        None => {}
    }
    let id = change.app.new_host_id();
    let about = Target::Host(id, add.name.clone());
    let record = HostRecord {
        id,
        name: add.name,
        address: add.address,
        maintenance: false,
        machine: None,
        facts: None,
        pool: pool.unwrap_or(PoolId::FIRST),
        labels: Labels::default(),
    };
    change.store(about, vec![Put::Host(Box::new(record))], KeyedReply::Host(id.to_string()))?;
    Ok(Reply::HostRef(HostRef { host: id.to_string() }))
}

fn check(add: &AddHost) -> Result<(), Fault> {
    let bad = |message: String| Err(Fault::new(FaultCode::BadRequest, message));
    if let Err(error) = Principal::agent(add.name.clone()).check() {
        return bad(format!("host name refused: {error}"));
    }
    let address = &add.address;
    let fits = (1..=ADDRESS_BYTES_MAX).contains(&address.len())
        && address.chars().all(|c| c.is_ascii_graphic());
    if !fits {
        return bad(format!("address {address:?} is refused: write HOST:PORT"));
    }
    Ok(())
}

/// Forgets a host without VMs.
pub(super) fn remove(change: Change<'_>, remove: &RemoveHost) -> Result<Reply, Fault> {
    let host = change.state.host_named(&remove.host)?;
    let (id, name) = (host.record.id, host.record.name.clone());
    let vms = change.state.vms_charged_on(id);
    let vms: Vec<&str> = vms.map(|vm| vm.record.spec.name.as_str()).collect();
    if !vms.is_empty() {
        let message = format!(
            "host {name} has VMs ({}); shut them down or destroy them first",
            vms.join(", ")
        );
        return Err(Fault::new(FaultCode::BadState, message));
    }
    let saved = change.state.saved_on(id);
    if !saved.is_empty() {
        let message = format!(
            "host {name} has the saved memory of VMs ({}); restore them, or give that up with `vmmctl vm discard`",
            saved.join(", ")
        );
        return Err(Fault::new(FaultCode::BadState, message));
    }
    let mut batch = pin::without(change.state, id)?;
    batch.push(Put::DropHost(id));
    change.store(Target::Host(id, name), batch, KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}

/// Switches placements off or on.
pub(super) fn set_maintenance(change: Change<'_>, set: &SetMaintenance) -> Result<Reply, Fault> {
    let mut record = change.state.host_named(&set.host)?.record.clone();
    record.maintenance = set.maintenance;
    let about = Target::Host(record.id, record.name.clone());
    // What is said now stays when an evacuation that is under way is cancelled.
    let evacuations = change.state.evacuations().filter(|task| task.host == Some(record.id));
    let said = |task: &TaskRecord| {
        let was_in_maintenance = set.maintenance;
        Put::Task(Box::new(TaskRecord { was_in_maintenance, ..task.clone() }))
    };
    let mut batch: Vec<Put> = evacuations.map(said).collect();
    batch.push(Put::Host(Box::new(record)));
    change.store(about, batch, KeyedReply::Done)?;
    Ok(Reply::Done(Done {}))
}
