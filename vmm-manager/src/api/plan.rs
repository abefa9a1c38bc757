//! What the scheduler would do: moves that pay, an emptied host, more for one VM. The problem is copied under the lock and solved without it.

use tokio::time::Instant;
use vmm_core::scheduler::{CostModel, Limits, Pool, evacuate, grow, rebalance};
use vmm_core::units::Kib;
use vmm_core::vm::VmSpec;
use vmm_proto::convert::plan::{shown_growth, shown_plan};
use vmm_proto::v1::{Fault, FaultCode, PlanEvacuation, PlanGrowth, PlanMoves, Reply};

use crate::app::{App, charge_of, demand_of};

pub(super) fn moves(app: &App, asked: &PlanMoves) -> Result<Reply, Fault> {
    let mut problem = problem(app);
    if let Some(text) = &asked.pool {
        let name = app.lock().pool_named(text)?.name.clone();
        problem.hosts.retain(|host| host.zone == name);
    }
    let usual = Limits::default();
    let moves_max = asked.moves_max.and_then(|max| usize::try_from(max).ok());
    let limits = Limits { moves_max: moves_max.unwrap_or(usual.moves_max), ..usual };
    let plan = rebalance(&problem, &model(app), &limits);
    Ok(Reply::Plan(shown_plan(&problem, &plan)))
}

pub(super) fn evacuation(app: &App, asked: &PlanEvacuation) -> Result<Reply, Fault> {
    let host = app.lock().host_named(&asked.host)?.record.id;
    let problem = problem(app);
    let plan = evacuate(&problem, host, &model(app));
    Ok(Reply::Plan(shown_plan(&problem, &plan)))
}

pub(super) fn growth(app: &App, asked: &PlanGrowth) -> Result<Reply, Fault> {
    let problem = problem(app);
    let (id, charge) = {
        let state = app.lock();
        let vm = state.vm_named(&asked.vm)?;
        let record = &vm.record;
        let spec = VmSpec::try_from(record.spec.clone())?;
        let vcpus = asked.vcpus.unwrap_or(vm.vcpus_online);
        let memory = Kib(asked.memory_kib.unwrap_or(record.memory_target_kib));
        check_reach(&spec, vcpus, memory)?;
        (record.id, charge_of(&spec, memory, vcpus, true))
    };
    let now = problem.vms.iter().find(|vm| vm.id == id).map(|vm| vm.demand);
    let is_nowhere = || {
        let message = format!("VM {} is on no host; start it first", asked.vm);
        Fault::new(FaultCode::BadState, message)
    };
    // What it was measured to use, it goes on using.
    let demand = demand_of(charge).max(now.ok_or_else(is_nowhere)?);
    let found = grow(&problem, id, demand, &model(app)).ok_or_else(is_nowhere)?;
    Ok(Reply::Growth(shown_growth(&problem, &found)))
}

fn problem(app: &App) -> Pool {
    app.lock().problem(Instant::now())
}

fn model(app: &App) -> CostModel {
    CostModel::new(app.config.preference)
}

/// What no host could give, because the VM was not made for it.
fn check_reach(spec: &VmSpec, vcpus: u32, memory: Kib) -> Result<(), Fault> {
    let bad = |message: String| Err(Fault::new(FaultCode::BadRequest, message));
    if vcpus == 0 || vcpus > spec.vcpus_max {
        return bad(format!("the VM can have 1 to {} vCPUs", spec.vcpus_max));
    }
    if memory > spec.memory_max {
        return bad(format!("the VM can have at most {} MiB", spec.memory_max.mib()));
    }
    Ok(())
}
