//! A hot host, with the load that Xen measures: a VM grows in place first, and where a move would be cheaper the plan is printed with its terms. A pool
//! that is told so carries it out.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::placement::preload;
use super::{LabPool, Table};
use crate::lab::{Guest, eventually};

pub(super) const CASES: Table =
    &[("a_vm_grows_in_place_and_a_hot_host_is_told_what_to_move", hot_host)];

/// The pool that hosts join unless they are told another.
const POOL: &str = "default";
const GROWS: &str = "grows";
const BURNS: &str = "burns";
/// What a burning guest takes of its CPU at least, beside dom0.
const BUSY_MILLI: u64 = 600;

fn hot_host(pool: &mut LabPool) -> Result<()> {
    preload(pool, (GROWS, "idle"), 0, &["--vcpus-max", "2", "--cpu-demand", "0.05"])?;
    let calm = growth(pool)?;
    ensure!(calm["way"][0]["in_place"] == true, "a calm host: {calm}");
    pool.ctl.json(&["vm", "vcpus", GROWS, "2"])?;
    Guest::until(&pool.ctl, GROWS, "the second vCPU", |guest| guest.number("cpus_online") == 2)?;
    pool.ctl.json(&["vm", "vcpus", GROWS, "1"])?;

    preload(pool, (BURNS, "burn:1"), 0, &["--cpu-demand", "0.05"])?;
    eventually("the load of the burning guest is measured", || {
        let shown = pool.ctl.json(&["vm", "show", BURNS])?;
        Ok(shown["rates"]["cpu_milli"].as_u64() >= Some(BUSY_MILLI))
    })?;
    let (hot, other) = (pool.hosts[0].name.clone(), pool.hosts[1].name.clone());
    let plan = pool.ctl.json(&["plan", "moves"])?;
    let step = &plan["move"][0];
    ensure!(step["source"] == hot.as_str() && step["destination"] == other.as_str(), "{plan}");
    ensure!(step["vm_name"] != BURNS, "the one that burns would be as hot there: {plan}");
    ensure!(cost(step, "cost_there")? < cost(step, "cost_here")? / 2.0, "{plan}");
    let busy = growth(pool)?;
    let ways = busy["way"].as_array().cloned().unwrap_or_default();
    let costs = ways.iter().map(|way| cost(way, "cost")).collect::<Result<Vec<_>>>()?;
    ensure!(ways.len() == 2 && costs[0] <= costs[1], "both hosts have room: {busy}");
    for question in [&["plan", "moves"][..], &["plan", "growth", GROWS, "--vcpus", "2"]] {
        println!("{}", pool.ctl.text(question)?.trim_end());
    }
    ensure!(pool.host_of(GROWS)?.name == hot, "a plan moves nothing");
    is_relieved(pool, &hot)?;
    pool.remove(BURNS)?;
    pool.remove(GROWS)
}

/// Told to, the manager makes the move that it advises: a guest runs on, on the other host.
fn is_relieved(pool: &LabPool, hot: &str) -> Result<()> {
    let rebalance = |what| pool.ctl.text(&["pool", "set", POOL, "--rebalance", what]);
    rebalance("carry-out")?;
    let mut begun = Value::Null;
    let has_begun = eventually("a move begins", || {
        let tasks = pool.ctl.json(&["task", "list"])?;
        let is_of_it = |task: &&Value| task["initiator"] == "reconciler/rebalance";
        begun = tasks.as_array().into_iter().flatten().find(is_of_it).cloned().unwrap_or_default();
        Ok(!begun.is_null())
    });
    // One is enough: later cases want to know where their VMs are.
    rebalance("advise")?;
    has_begun?;
    let word = |name: &str| begun[name].as_str().with_context(|| format!("no {name} in {begun}"));
    let (task, vm) = (word("task")?, word("vm_name")?);
    let before = Guest::look(&pool.ctl, vm)?.with_context(|| format!("{vm} is silent"))?;
    pool.ctl.text(&["task", "wait", task])?;
    ensure!(pool.host_of(vm)?.name != hot, "{vm} is where it was");
    let after = Guest::until(&pool.ctl, vm, "it runs on", |guest| {
        guest.word("boot") != before.word("boot") || guest.number("t") > before.number("t")
    })?;
    ensure!(after.word("boot") == before.word("boot"), "it has rebooted: {before:?} {after:?}");
    println!("{vm} was moved from {hot} by the pool's own plan");
    Ok(())
}

fn growth(pool: &LabPool) -> Result<Value> {
    pool.ctl.json(&["plan", "growth", GROWS, "--vcpus", "2"])
}

fn cost(step: &Value, name: &str) -> Result<f64> {
    step[name].as_f64().with_context(|| format!("no {name} in {step}"))
}
