//! Beside Ganeti's own tools, where they are installed (`apt-get install ganeti-htools`): hbal balances and hail places on the same cluster text.
//!
//! Both sides are measured by Ganeti's metric, which is written here a second time and must agree with what hbal prints for the cluster at the start. Ours runs twice: the search of
//! the product over their metric, with no more moves than they made, and the product's own rebalancing over its own. Their times are of whole processes, which start and read the text
//! first; ours are of the search alone.

mod cluster;
mod metric;
mod tools;

use std::time::Instant;

use anyhow::{Result, ensure};
use vmm_core::scheduler::improve::descend;
use vmm_core::scheduler::{CostModel, Limits, Preference, rebalance};

use crate::report::Report;
use cluster::Cluster;
use metric::Balance;
use tools::Ran;

/// Nodes and instances, and how many moves hbal may make: all of them take it hours with 200 nodes.
const BALANCED: [(usize, usize, usize); 2] = [(50, 500, usize::MAX), (200, 2000, 2)];
const ALLOCATED: [(usize, usize); 2] = [(50, 500), (100, 1000)];
const SEED: u64 = 1;
/// Its score differs from ours by less, or ours is not its metric.
const AGREEMENT: f64 = 1e-6;
/// They print eight decimals.
const PRINTED: f64 = 1e-8;
/// Faster than hbal at 200 nodes.
const FASTER: f64 = 100.0;

pub(super) fn run(report: &mut Report) -> Result<()> {
    if !tools::are_installed() {
        println!("hbal and hail are not installed: no comparison with Ganeti's tools");
        return Ok(());
    }
    for (nodes, instances, moves_max) in BALANCED {
        let cluster = Cluster::generate(nodes, instances, SEED);
        balance(&cluster, moves_max, report)?;
    }
    for (nodes, instances) in ALLOCATED {
        allocate(&Cluster::generate(nodes, instances, SEED), report)?;
    }
    Ok(())
}

fn balance(cluster: &Cluster, moves_max: usize, report: &mut Report) -> Result<()> {
    let name = format!("{} nodes, {} VMs", cluster.nodes, cluster.vms.len());
    let theirs = tools::hbal(cluster, moves_max)?;
    let mut ours = Balance::new(cluster);
    let start = ours.score();
    ensure!(
        (start - theirs.initial).abs() < AGREEMENT,
        "our form of their metric says {start}, hbal {}",
        theirs.initial
    );
    let clock = Instant::now();
    let made = descend(&mut ours, theirs.moves.len(), 0.0);
    let seconds = clock.elapsed().as_secs_f64();
    let bytes = |moves: &[(usize, usize)]| {
        moves.iter().map(|(vm, _)| cluster.vms[*vm].memory_mib as f64 / 1024.0).sum::<f64>()
    };
    let our_moves: Vec<(usize, usize)> = made.iter().map(|m| (m.vm, m.to)).collect();
    let label = |what: &str| format!("{name}, their metric: {what}");
    report.tell(label("score at the start"), start, "score");
    tell_ran(
        report,
        &label("hbal"),
        &theirs,
        (bytes(&theirs.moves), cluster.potential_after(&theirs.moves)),
    );
    report.tell(label("ours, moves"), made.len() as f64, "moves");
    report.tell(label("ours, memory moved"), bytes(&our_moves), "GiB");
    report.tell(
        label("ours, our potential at the end"),
        cluster.potential_after(&our_moves),
        "potential",
    );
    report.tell(label("ours, time"), seconds, "s");
    let beyond = ours.score() - theirs.last;
    report.tell(label("ours, score at the end"), ours.score(), "score");
    report.at_most(label("ours, score beyond hbal's"), beyond, "score", PRINTED);
    report.at_most(
        label("ours, moves beyond hbal's"),
        made.len() as f64 - theirs.moves.len() as f64,
        "moves",
        0.0,
    );
    report.at_least(label("hbal's time to ours"), theirs.seconds / seconds, "times", FASTER);
    by_our_metric(cluster, &name, report);
    Ok(())
}

fn tell_ran(report: &mut Report, label: &str, ran: &Ran, (gib, potential): (f64, f64)) {
    report.tell(format!("{label}, score at the end"), ran.last, "score");
    report.tell(format!("{label}, moves"), ran.moves.len() as f64, "moves");
    report.tell(format!("{label}, memory moved"), gib, "GiB");
    report.tell(format!("{label}, our potential at the end"), potential, "potential");
    report.tell(format!("{label}, time"), ran.seconds, "s");
}

/// The product's rebalancing, plan after plan, until no move pays.
fn by_our_metric(cluster: &Cluster, name: &str, report: &mut Report) {
    let mut pool = cluster.pool();
    let model = CostModel::new(Preference::BALANCE);
    let limits = Limits { moves_max: usize::MAX, ..Limits::default() };
    let clock = Instant::now();
    let plan = rebalance(&pool, &model, &limits);
    let seconds = clock.elapsed().as_secs_f64();
    for step in &plan.steps {
        if let Some(vm) = pool.vms.iter_mut().find(|vm| vm.id == step.vm) {
            vm.host = Some(step.to);
        }
    }
    let gib: f64 =
        plan.steps.iter().filter_map(|s| s.forecast).map(|f| f.bytes).sum::<f64>() / 1.074e9;
    let label = |what: &str| format!("{name}, our metric: {what}");
    report.tell(label("potential at the start"), plan.potential.0, "potential");
    report.tell(label("potential at the end"), plan.potential.1, "potential");
    report.tell(label("their score at the end"), Balance::of_pool(cluster, &pool).score(), "score");
    report.tell(label("moves"), plan.steps.len() as f64, "moves");
    report.tell(label("memory moved"), gib, "GiB");
    report.tell(label("time"), seconds, "s");
}

fn allocate(cluster: &Cluster, report: &mut Report) -> Result<()> {
    let name = format!("{} nodes, {} VMs, one more", cluster.nodes, cluster.vms.len());
    let theirs = tools::hail(cluster)?;
    let clock = Instant::now();
    let ours = Balance::new(cluster).cheapest(cluster::NEW);
    let seconds = clock.elapsed().as_secs_f64();
    let Some((_, score)) = ours else { anyhow::bail!("no node has room for one more") };
    report.tell(format!("{name}: hail, score"), theirs.0, "score");
    report.tell(format!("{name}: hail, time"), theirs.1, "s");
    let beyond = score - theirs.0;
    report.at_most(
        format!("{name}: ours by their metric, beyond hail's"),
        beyond,
        "score",
        PRINTED,
    );
    report.at_least(format!("{name}: hail's time to ours"), theirs.1 / seconds, "times", FASTER);
    Ok(())
}
