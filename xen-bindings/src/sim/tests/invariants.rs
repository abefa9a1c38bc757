//! What holds after any sequence of operations: no page is lost, no node is an orphan, and a seed decides everything.

use proptest::prelude::*;

use super::{Lab, MIB, Order};
use crate::sim::{SimConfig, StoreFlavour};
use crate::store::StoreError;
use crate::{DomId, ShutdownReason, StorePath};

/// One random act of a toolstack. Most are refused at some time; what counts is what is left.
#[derive(Clone, Debug)]
enum Act {
    Boot { burn: bool },
    Build,
    Destroy(usize),
    Pause(usize),
    Unpause(usize),
    Shutdown(usize),
    Target(usize, u64),
    Max(usize, u64),
    Pool(usize, u64),
    Claim(usize, u64),
    Suspend(usize),
    Resume(usize),
    Wait(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..6_usize;
    prop_oneof![
        any::<bool>().prop_map(|burn| Act::Boot { burn }),
        Just(Act::Build),
        which.clone().prop_map(Act::Destroy),
        which.clone().prop_map(Act::Pause),
        which.clone().prop_map(Act::Unpause),
        which.clone().prop_map(Act::Shutdown),
        (which.clone(), 16..2000_u64).prop_map(|(i, mib)| Act::Target(i, mib)),
        (which.clone(), 16..2000_u64).prop_map(|(i, mib)| Act::Max(i, mib)),
        (which.clone(), 0..64_u64).prop_map(|(i, mib)| Act::Pool(i, mib)),
        (which.clone(), 0..2000_u64).prop_map(|(i, mib)| Act::Claim(i, mib)),
        which.clone().prop_map(Act::Suspend),
        which.prop_map(Act::Resume),
        (0..3000_u64).prop_map(Act::Wait),
    ]
}

fn perform(lab: &Lab, domains: &mut Vec<DomId>, act: &Act) {
    let pick = |index: usize| domains.get(index % domains.len().max(1)).copied();
    let control = &lab.xen.control;
    // Refusals are part of the walk.
    let _ = match *act {
        Act::Boot { burn } if domains.len() < 6 => {
            let cmdline = if burn { "workload=burn:2" } else { "behaviour=hostile" };
            if let Some(domid) = lab.try_build(&Order { cmdline, ..Order::default() }) {
                control.unpause(domid).unwrap();
                lab.run(2000);
                domains.push(domid);
            }
            Ok(())
        }
        Act::Build if domains.len() < 6 => {
            domains.extend(lab.try_build(&Order::default()));
            Ok(())
        }
        Act::Boot { .. } | Act::Build => Ok(()),
        Act::Destroy(i) => pick(i).map_or(Ok(()), |domid| control.destroy(domid)),
        Act::Pause(i) => pick(i).map_or(Ok(()), |domid| control.pause(domid)),
        Act::Unpause(i) => pick(i).map_or(Ok(()), |domid| control.unpause(domid)),
        Act::Shutdown(i) => {
            pick(i).map_or(Ok(()), |domid| control.shutdown(domid, ShutdownReason::Crash))
        }
        Act::Target(i, mib) => {
            if let Some(domid) = pick(i) {
                lab.set(domid, "memory/target", &(mib * MIB).to_string());
            }
            Ok(())
        }
        Act::Max(i, mib) => {
            pick(i).map_or(Ok(()), |domid| lab.xen.memory.set_max(domid, mib * MIB))
        }
        Act::Pool(i, mib) => {
            pick(i).map_or(Ok(()), |domid| lab.xen.memory.set_paging_pool(domid, mib << 20))
        }
        Act::Claim(i, mib) => {
            pick(i).map_or(Ok(()), |domid| lab.xen.memory.claim(domid, mib * MIB))
        }
        Act::Suspend(i) => {
            if let Some(domid) = pick(i) {
                lab.set(domid, "control/shutdown", "suspend");
            }
            Ok(())
        }
        Act::Resume(i) => pick(i).map_or(Ok(()), |domid| control.resume(domid)),
        Act::Wait(milliseconds) => {
            lab.run(milliseconds);
            Ok(())
        }
    };
}

fn every_page_is_somewhere(lab: &Lab) {
    let memory = lab.machine.memory();
    assert_eq!(memory.xen + memory.free + memory.domains, memory.total, "{memory:?}");
    let claims = lab.machine.inner.with(|state| state.hypervisor.claims());
    assert_eq!(memory.claimed, claims);
    assert!(lab.machine.inner.with(|state| state.hypervisor.frames_are_counted()));
    let listed: u64 = lab.xen.control.list().unwrap().iter().map(|info| info.pages.0).sum();
    assert!(listed <= memory.domains);
    for info in lab.xen.control.list().unwrap() {
        assert!(info.pages.0 <= memory.total);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_page_is_ever_lost(acts in prop::collection::vec(act(), 1..40)) {
        let lab = Lab::with(SimConfig { memory_total_kib: 3 << 20, ..SimConfig::default() });
        let before = lab.machine.memory();
        let mut domains = Vec::new();
        for act in &acts {
            perform(&lab, &mut domains, act);
            every_page_is_somewhere(&lab);
        }
        for domid in domains {
            let _ = lab.xen.control.destroy(domid);
        }
        lab.run(1000);
        prop_assert_eq!(lab.machine.memory(), before);
        prop_assert_eq!(lab.xen.control.list().unwrap().len(), 1);
    }

    #[test]
    fn the_tree_keeps_its_shape_and_commits_are_serial(steps in prop::collection::vec(
        (0..3_usize, 0..8_u8, 0..5_u8, any::<u8>()), 1..120), ocaml in any::<bool>())
    {
        let store = if ocaml { StoreFlavour::Ocaml } else { StoreFlavour::C };
        let lab = Lab::with(SimConfig { store, ..SimConfig::default() });
        let model = walk(&lab, &steps);
        lab.machine.inner.with(|state| state.store.check());
        let seen: Vec<Option<Vec<u8>>> =
            NODES.iter().map(|node| lab.xen.store.read(&StorePath::new(*node).unwrap()).ok()).collect();
        prop_assert_eq!(seen, model);
    }
}

const NODES: [&str; 5] = ["/t", "/t/a", "/t/a/x", "/t/b", "/u"];

type Values = Vec<Option<Vec<u8>>>;
/// A transaction, and what it makes of the tree once it has written something.
type Open<'a> = Option<(Box<dyn crate::StoreTransaction + 'a>, Option<Values>)>;

/// Transactions, plain writes and removals in any order. A commit that succeeds must mean what it would mean alone.
fn walk(lab: &Lab, steps: &[(usize, u8, u8, u8)]) -> Values {
    let store = &lab.xen.store;
    let mut open: [Open<'_>; 3] = [None, None, None];
    let mut model: Values = vec![None; NODES.len()];
    for &(slot, kind, node, value) in steps {
        let node = usize::from(node);
        let path = StorePath::new(NODES[node]).unwrap();
        match kind {
            0 if open[slot].is_none() => open[slot] = Some((store.begin().unwrap(), None)),
            1 => {
                if let Some((transaction, seen)) = open[slot].take()
                    && transaction.commit().is_ok()
                    && let Some(seen) = seen
                {
                    // Serial: what it saw is what is there still, but for what it wrote itself.
                    model = seen;
                }
            }
            2 => drop(open[slot].take()),
            // In a transaction that has looked at everything first, so that any interference is a conflict.
            3 | 4 => {
                if let Some((transaction, seen)) = &mut open[slot] {
                    let read: Result<Values, StoreError> = NODES
                        .iter()
                        .map(|node| match transaction.read(&StorePath::new(*node).unwrap()) {
                            Ok(value) => Ok(Some(value)),
                            Err(StoreError::NotFound) => Ok(None),
                            Err(error) => Err(error),
                        })
                        .collect();
                    let mut values = read.unwrap();
                    transaction.write(&path, &[value]).unwrap();
                    put(&mut values, node, vec![value]);
                    *seen = Some(values);
                }
            }
            5 | 6 => {
                store.write(&path, &[value]).unwrap();
                put(&mut model, node, vec![value]);
            }
            _ => {
                if store.remove(&path).is_ok() {
                    cut(&mut model, node);
                }
            }
        }
    }
    model
}

fn put(values: &mut Values, node: usize, value: Vec<u8>) {
    for (index, path) in NODES.iter().enumerate() {
        if NODES[node].starts_with(&format!("{path}/")) && values[index].is_none() {
            values[index] = Some(Vec::new());
        }
    }
    values[node] = Some(value);
}

fn cut(values: &mut Values, node: usize) {
    for (index, path) in NODES.iter().enumerate() {
        if *path == NODES[node] || path.starts_with(&format!("{}/", NODES[node])) {
            values[index] = None;
        }
    }
}

#[test]
fn a_seed_decides_everything() {
    let day = |seed| {
        let lab = Lab::with(SimConfig { seed, ..SimConfig::default() });
        let mut gone = Vec::new();
        for _ in 0..8 {
            let hostile = Order { cmdline: "behaviour=hostile", ..Order::default() };
            let domid = lab.boot(&hostile);
            lab.xen.control.destroy(domid).unwrap();
            let start = lab.clock.now();
            while lab.info(domid).is_some() {
                lab.run(1);
            }
            gone.push((domid, lab.clock.now() - start, lab.get(domid, "data/report")));
        }
        gone
    };
    assert_eq!(day(1), day(1));
    assert_ne!(day(1), day(2));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// As long as nobody grows a paging pool behind them, claims are promises: who has one gets his memory.
    #[test]
    fn a_claimed_build_never_runs_out(
        sizes in prop::collection::vec((32..600_u64, any::<bool>(), any::<bool>()), 1..12))
    {
        let lab = Lab::with(SimConfig { memory_total_kib: 3 << 20, ..SimConfig::default() });
        let before = lab.machine.memory();
        let mut claimed = Vec::new();
        for (mib, claims, destroys) in sizes {
            let order = Order { memory_kib: mib * MIB, ..Order::default() };
            if !claims {
                // A builder that does not ask first.
                let _ = lab.try_build(&order);
            } else if let Some(shell) = lab.try_shell(&order) {
                match lab.xen.memory.claim(shell.domid(), mib * MIB + 64) {
                    Ok(()) => claimed.push((shell, order)),
                    Err(error) => prop_assert_eq!(error.kind(), crate::XenErrorKind::OutOfMemory),
                }
            }
            if let Some((shell, _)) = claimed.pop_if(|_| destroys) {
                lab.xen.control.destroy(shell.domid()).unwrap();
            }
            every_page_is_somewhere(&lab);
            let memory = lab.machine.memory();
            prop_assert!(memory.claimed <= memory.free, "{memory:?}");
        }
        for (shell, order) in &claimed {
            prop_assert!(lab.fill(shell, order).is_ok());
        }
        every_page_is_somewhere(&lab);
        for info in lab.xen.control.list().unwrap().into_iter().skip(1) {
            lab.xen.control.destroy(info.domid).unwrap();
        }
        lab.run(1000);
        prop_assert_eq!(lab.machine.memory(), before);
    }
}
