//! Placement as its users see it: each resource decides, each rule bars, each reason is told.

mod many;
mod moves;

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::cpu::Features;
use crate::host::Health;
use crate::id::{HostId, VmId};

pub(super) fn host(n: u8) -> Host {
    Host {
        id: HostId::from_bytes([n; 16]),
        name: format!("host{n}"),
        health: Health::Up,
        maintenance: false,
        zone: "default".into(),
        pcpus: 4,
        features: Features(vec![0b0111]),
        storages: BTreeSet::from(["san".to_owned()]),
        images: BTreeSet::from(["debian".to_owned()]),
        capacity: Amounts::UNCOUNTED
            .with(Resource::Cpu, 4000)
            .with(Resource::Memory, 4096 * 1024)
            .with(Resource::DiskBandwidth, 100_000_000),
        used: Amounts::NOTHING,
        link_bytes_per_s: 100_000_000,
    }
}

/// CPU in thousandths, memory in MiB, disk in bytes a second.
pub(super) fn amounts(cpu: u64, memory_mib: u64, disk: u64) -> Amounts {
    Amounts::NOTHING
        .with(Resource::Cpu, cpu)
        .with(Resource::Memory, memory_mib * 1024)
        .with(Resource::DiskBandwidth, disk)
}

pub(super) fn used(n: u8, cpu: u64, memory_mib: u64, disk: u64) -> Host {
    Host { used: amounts(cpu, memory_mib, disk), ..host(n) }
}

pub(super) fn vm(n: u8, demand: Amounts) -> Vm {
    Vm {
        id: VmId::from_bytes([n; 16]),
        name: format!("vm{n}"),
        demand,
        host: None,
        needs: Needs { vcpus: 2, ..Needs::default() },
        image: None,
        mobility: Mobility { is_movable: true, memory_bytes: 1 << 30, ..Mobility::default() },
    }
}

pub(super) fn id(n: u8) -> HostId {
    HostId::from_bytes([n; 16])
}

pub(super) fn balance() -> CostModel {
    CostModel::new(Preference::BALANCE)
}

pub(super) fn pool(hosts: &[Host]) -> Pool {
    Pool { hosts: hosts.to_vec(), ..Pool::default() }
}

fn check(demand: Amounts, hosts: &[Host], winner: u8) {
    let decision = place(&pool(hosts), &vm(1, demand), &balance());
    assert_eq!(decision.chosen, Some(id(winner)), "{decision:#?}");
}

#[test]
fn each_resource_alone_can_decide() {
    check(amounts(500, 128, 0), &[used(1, 3000, 0, 0), host(2)], 2);
    check(amounts(0, 512, 0), &[used(1, 0, 100, 0), used(2, 0, 3000, 0)], 1);
    check(amounts(0, 128, 20_000_000), &[used(1, 0, 0, 80_000_000), host(2)], 2);
}

#[test]
fn a_host_that_is_busy_in_what_the_vm_does_not_need_can_win() {
    let hosts = [used(1, 3000, 0, 0), used(2, 0, 0, 80_000_000)];
    check(amounts(0, 128, 20_000_000), &hosts, 1);
    check(amounts(900, 128, 0), &hosts, 2);
}

#[test]
fn density_fills_a_host_and_balance_takes_the_empty_one() {
    let hosts = [used(1, 1000, 2048, 0), host(2)];
    let chosen = |preference| {
        place(&pool(&hosts), &vm(1, amounts(100, 512, 0)), &CostModel::new(preference)).chosen
    };
    assert_eq!(chosen(Preference::BALANCE), Some(id(2)));
    assert_eq!(chosen(Preference::DENSITY), Some(id(1)));
}

#[test]
fn small_vms_do_not_break_large_holes() {
    let holes = |n, free: u64| {
        let capacity = host(n).capacity.with(Resource::Vcpus, 16);
        Host { capacity, used: Amounts::NOTHING.with(Resource::Vcpus, 16 - free), ..host(n) }
    };
    let demand = amounts(0, 128, 0).with(Resource::Vcpus, 1);
    let decision = place(
        &pool(&[holes(1, 8), holes(2, 5)]),
        &vm(1, demand),
        &CostModel::new(Preference::DENSITY),
    );
    assert_eq!(decision.chosen, Some(id(2)));
}

#[test]
fn each_rule_bars_by_its_name() {
    let far = Needs { zone: Some("other".into()), ..Needs::default() };
    let wide = Needs { vcpus: 5, ..Needs::default() };
    let pinned = Needs { pinned: BTreeSet::from([id(8), id(9)]), ..Needs::default() };
    let disk = Needs { disks_in_use: BTreeSet::from([id(1)]), ..Needs::default() };
    let features = Needs { features: Features(vec![0b1001, 1]), ..Needs::default() };
    let storage = Needs { storages: BTreeSet::from(["nfs".to_owned()]), ..Needs::default() };
    let none = Needs::default();
    let plain = amounts(0, 128, 0);
    let check = |needs: &Needs, host: Host, demand: Amounts, rule: &str, text: &str| {
        let decision =
            place(&pool(&[host]), &Vm { needs: needs.clone(), ..vm(1, demand) }, &balance());
        let refusal = match &decision.candidates[0].verdict {
            Verdict::Refused(refusal) => refusal.clone(),
            Verdict::Eligible(_) => panic!("{rule} does not bar"),
        };
        assert_eq!((refusal.rule(), refusal.to_string().as_str()), (rule, text));
        assert_eq!(decision.chosen, None);
        assert_eq!(decision.reason(&decision.candidates[0]), text);
    };
    let silent = Host { health: Health::Silent, ..host(1) };
    check(&none, silent, plain, "health", "is silent: no heartbeat");
    let unknown = Host { health: Health::Unknown, ..host(1) };
    check(&none, unknown, plain, "health", "has not reported yet");
    let kept = Host { maintenance: true, ..host(1) };
    check(&none, kept, plain, "maintenance", "is in maintenance");
    check(&far, host(1), plain, "zone", "is in pool default");
    check(&pinned, host(1), plain, "pin", "is no host that the VM is pinned to");
    check(&disk, host(1), plain, "disk", "has a VM that uses a disk of this one");
    let text = "its processors lack what the VM may use: pse, sse3";
    check(&features, host(1), plain, "features", text);
    check(&storage, host(1), plain, "storage", "does not reach storage nfs");
    let text = "vCPUs: needs 5, the host has 4 processors";
    check(&wide, host(1), plain, "processors", text);
    let full = used(1, 0, 4090, 0);
    check(&none, full, plain, "memory", "memory: needs 128 MiB, 6 MiB left");
}

#[test]
fn groups_forbid_or_wish() {
    let (first, second) = (vm(1, amounts(0, 128, 0)), vm(2, amounts(0, 128, 0)));
    let placed = Vm { host: Some(id(1)), ..second };
    let check = |kind, wish, winner: u8| {
        let group = Group {
            name: "web".into(),
            members: BTreeSet::from([first.id, placed.id]),
            kind,
            wish,
        };
        let pool = Pool {
            hosts: vec![used(1, 0, 128, 0), used(2, 0, 2048, 0)],
            vms: vec![placed.clone()],
            groups: vec![group],
        };
        assert_eq!(place(&pool, &first, &balance()).chosen, Some(id(winner)), "{kind:?} {wish:?}");
    };
    check(GroupKind::Apart, None, 2);
    check(GroupKind::Together, None, 1);
    check(GroupKind::Apart, Some(1e9), 2);
    check(GroupKind::Apart, Some(1e-9), 1);
}

#[test]
fn an_image_that_is_there_is_cheaper_than_one_that_must_be_fetched() {
    let bare = Host { images: BTreeSet::new(), ..host(1) };
    let image = Some(Image { name: "debian".into(), bytes: 20 << 30 });
    let vm = Vm { image, ..vm(1, amounts(100, 128, 0)) };
    let decision = place(&pool(&[bare, host(2)]), &vm, &balance());
    assert_eq!(decision.chosen, Some(id(2)));
    assert!(decision.reason(&decision.candidates[1]).ends_with("mostly fetch"));
}

#[test]
fn the_loser_is_told_why() {
    let decision =
        place(&pool(&[used(1, 3000, 0, 0), host(2)]), &vm(1, amounts(500, 128, 0)), &balance());
    assert_eq!(decision.reason(&decision.candidates[0]), "lowest cost");
    let reason = decision.reason(&decision.candidates[1]);
    assert!(reason.ends_with("more than host2, mostly cpu"), "{reason}");
}

#[test]
fn only_the_scarcest_resource_matters_when_it_is_nearly_gone() {
    let model = balance();
    let terms = |host: Host| model.terms(&amounts(400, 400, 1_000_000), &host.used, &host.capacity);
    assert_eq!(terms(used(1, 3500, 100, 0)).dominant(), Term::Cpu);
    assert_eq!(terms(used(1, 0, 3500, 0)).dominant(), Term::Spread);
    assert!(terms(used(1, 3500, 0, 0)).total() > 100.0 * terms(host(1)).total());
}

proptest! {
    #[test]
    fn the_order_of_hosts_does_not_matter_and_rules_hold(
        loads in proptest::collection::vec((0u64..6000, 0u64..4096, 0u64..200_000_000), 1..8),
        demand in (0u64..4000, 1u64..4096, 0u64..100_000_000),
        density in 0.0..=1.0,
    ) {
        let mut hosts: Vec<Host> = (0u8..).zip(&loads).map(|(n, l)| used(n, l.0, l.1, l.2)).collect();
        let vm = vm(1, amounts(demand.0, demand.1, demand.2));
        let model = CostModel::new(Preference::new(density).expect("between 0 and 1"));
        let forward = place(&pool(&hosts), &vm, &model);
        hosts.reverse();
        prop_assert_eq!(&forward, &place(&pool(&hosts), &vm, &model));
        let fits = |host: &&Host| vm.demand[Resource::Memory] <= 4096 * 1024 - host.used[Resource::Memory];
        match forward.chosen {
            Some(chosen) => prop_assert!(hosts.iter().filter(fits).any(|host| host.id == chosen)),
            None => prop_assert!(!hosts.iter().any(|host| fits(&host))),
        }
    }

    #[test]
    fn a_fuller_host_never_costs_less_in_balance(
        level in 0u64..4000, more in 0u64..4000, demand in 1u64..2000,
    ) {
        let model = balance();
        let cost = |cpu| model.terms(&amounts(demand, 0, 0), &amounts(cpu, 0, 0), &host(1).capacity).total();
        prop_assert!(cost(level + more) >= cost(level));
    }
}
