//! Batches: rules and room hold for all, whoever can go to one host only goes first, and the same seed gives the same answer.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::scheduler::batch::Batch;

fn run(pool: &Pool, vms: &[Vm]) -> Batch {
    batch(pool, vms, &CostModel::new(Preference::DENSITY), Effort::default())
}

fn where_is(batch: &Batch, n: u8) -> Option<HostId> {
    batch.placed.iter().find(|placed| placed.vm == VmId::from_bytes([n; 16])).map(|p| p.host)
}

#[test]
fn who_has_one_host_only_is_not_pushed_out_by_who_has_two() {
    let (small, large) = (used(1, 0, 3000, 0), used(2, 0, 2000, 0));
    let pinned = Needs { pinned: BTreeSet::from([id(1)]), ..Needs::default() };
    let anywhere = vm(1, amounts(0, 1000, 0));
    let only_here = Vm { needs: pinned, ..vm(2, amounts(0, 1000, 0)) };
    let batch = run(&pool(&[small, large]), &[anywhere, only_here]);
    assert_eq!((where_is(&batch, 2), where_is(&batch, 1)), (Some(id(1)), Some(id(2))));
}

#[test]
fn who_fits_nowhere_is_named_with_each_hosts_reason() {
    let batch =
        run(&pool(&[host(1), host(2)]), &[vm(1, amounts(0, 5000, 0)), vm(2, amounts(0, 100, 0))]);
    assert_eq!(batch.placed.len(), 1);
    assert_eq!(batch.unplaced[0].vm, VmId::from_bytes([1; 16]));
    let rules: Vec<_> = batch.unplaced[0].refusals.iter().map(|(_, r)| r.rule()).collect();
    assert_eq!(rules, ["memory", "memory"]);
}

#[test]
fn a_batch_that_shall_stand_apart_does() {
    let vms: Vec<Vm> = (1..=4).map(|n| vm(n, amounts(0, 100, 0))).collect();
    let apart = Group {
        name: "apart".into(),
        members: vms.iter().map(|vm| vm.id).collect(),
        kind: GroupKind::Apart,
        wish: None,
    };
    let pool = Pool { groups: vec![apart], ..pool(&[host(1), host(2), host(3)]) };
    let batch = run(&pool, &vms);
    let hosts: BTreeSet<HostId> = batch.placed.iter().map(|placed| placed.host).collect();
    assert_eq!((hosts.len(), batch.placed.len(), batch.unplaced.len()), (3, 3, 1));
    assert!(batch.unplaced[0].refusals.iter().all(|(_, refusal)| refusal.rule() == "group"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn nothing_is_overfilled_and_nothing_is_lost(
        free in proptest::collection::vec(0u64..4096, 1..6),
        wanted in proptest::collection::vec((1u64..2048, 0u64..1000, any::<bool>()), 1..24),
        seed in any::<u64>(),
    ) {
        let hosts: Vec<Host> = (1u8..).zip(&free).map(|(n, free)| used(n, 0, 4096 - free, 0)).collect();
        let vms: Vec<Vm> = (1u8..).zip(&wanted).map(|(n, (memory, cpu, needs))| {
            let storages = if *needs { BTreeSet::from(["san".to_owned()]) } else { BTreeSet::new() };
            Vm { needs: Needs { storages, ..Needs::default() }, ..vm(n, amounts(*cpu, *memory, 0)) }
        }).collect();
        let pool = pool(&hosts);
        let model = CostModel::new(Preference::DENSITY);
        let effort = Effort { repairs: 6, seed };
        let batch = batch(&pool, &vms, &model, effort);
        prop_assert_eq!(batch.placed.len() + batch.unplaced.len(), vms.len());
        let mut left: BTreeMap<HostId, u64> =
            hosts.iter().map(|h| (h.id, (4096 << 10) - h.used[Resource::Memory])).collect();
        for placed in &batch.placed {
            let vm = vms.iter().find(|vm| vm.id == placed.vm).expect("of the batch");
            let left = left.get_mut(&placed.host).expect("of the pool");
            prop_assert!(*left >= vm.demand[Resource::Memory]);
            *left -= vm.demand[Resource::Memory];
        }
        for unplaced in &batch.unplaced {
            let vm = vms.iter().find(|vm| vm.id == unplaced.vm).expect("of the batch");
            prop_assert!(left.values().all(|left| *left < vm.demand[Resource::Memory]));
            prop_assert_eq!(unplaced.refusals.len(), hosts.len());
        }
        prop_assert_eq!(&batch, &super::batch(&pool, &vms, &model, effort));
        let places: Vec<(VmId, HostId)> =
            batch.placed.iter().map(|placed| (placed.vm, placed.host)).collect();
        prop_assert_eq!(still_fits(&pool, &vms, &places), Ok(()));
        if let Some((vm, host)) = places.first().copied() {
            let mut later = pool.clone();
            later.hosts.iter_mut().filter(|h| h.id == host).for_each(|h| h.maintenance = true);
            prop_assert_eq!(still_fits(&later, &vms, &places), Err((vm, Some(Refusal::Maintenance))));
            later.hosts.retain(|h| h.id != host);
            prop_assert_eq!(still_fits(&later, &vms, &places), Err((vm, None)));
        }
    }
}
