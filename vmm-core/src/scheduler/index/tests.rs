//! The index says what a look at all hosts says, to the bit, whatever has happened before.

use proptest::prelude::*;

use super::*;
use crate::scheduler::cost::Preference;
use crate::scheduler::resource::Resource;

#[derive(Clone, Debug)]
enum Step {
    AddHost(Amounts),
    AddFlavour(Amounts),
    Charge(usize, usize),
    Release(usize),
    SetOpen(usize, bool),
    SetUsed(usize, Amounts),
    Ask(usize),
    AskWith(usize, u64),
}

fn amounts(max: u64) -> impl Strategy<Value = Amounts> {
    (0..=max / 4, 0..=max, 0..=max, 0..=max, any::<bool>()).prop_map(|(v, m, c, d, counted)| {
        let some =
            if counted { Amounts::NOTHING } else { Amounts::NOTHING.with(Resource::Network, m) };
        some.with(Resource::Vcpus, v)
            .with(Resource::Memory, m)
            .with(Resource::Cpu, c)
            .with(Resource::DiskBandwidth, d)
    })
}

fn step() -> impl Strategy<Value = Step> {
    let any = || 0usize..1000;
    prop_oneof![
        4 => amounts(64).prop_map(|a| Step::AddHost(a.max(Amounts::NOTHING.with(Resource::Vcpus, 2)))),
        1 => amounts(12).prop_map(Step::AddFlavour),
        6 => (any(), any()).prop_map(|(h, f)| Step::Charge(h, f)),
        2 => any().prop_map(Step::Release),
        1 => (any(), proptest::bool::ANY).prop_map(|(h, o)| Step::SetOpen(h, o)),
        1 => (any(), amounts(64)).prop_map(|(h, u)| Step::SetUsed(h, u)),
        6 => any().prop_map(Step::Ask),
        3 => (any(), 0..u64::MAX).prop_map(|(f, s)| Step::AskWith(f, s)),
    ]
}

struct World {
    index: Index,
    flavours: Vec<(FlavourIndex, Amounts)>,
    placed: Vec<(HostIndex, Amounts)>,
}

impl World {
    fn host(&self, choice: usize) -> Option<HostIndex> {
        let count = self.index.host_count();
        (count > 0).then(|| super::index(choice % count))
    }

    fn flavour(&self, choice: usize) -> Option<(FlavourIndex, Amounts)> {
        (!self.flavours.is_empty()).then(|| self.flavours[choice % self.flavours.len()])
    }

    fn carry_out(&mut self, step: &Step) -> Option<()> {
        match step {
            Step::AddHost(capacity) => drop(self.index.add_host(*capacity, Amounts::NOTHING)),
            Step::AddFlavour(demand) => {
                let flavour = self.index.add_flavour(*demand);
                self.flavours.push((flavour, *demand));
            }
            Step::Charge(host, flavour) => {
                let (host, (_, demand)) = (self.host(*host)?, self.flavour(*flavour)?);
                self.index.charge(host, &demand);
                self.placed.push((host, demand));
            }
            Step::Release(which) if !self.placed.is_empty() => {
                let (host, demand) = self.placed.swap_remove(which % self.placed.len());
                self.index.release(host, &demand);
            }
            Step::Release(_) => {}
            Step::SetOpen(host, is_open) => self.index.set_open(self.host(*host)?, *is_open),
            Step::SetUsed(host, used) => self.index.set_used(self.host(*host)?, *used),
            Step::Ask(flavour) => {
                let (flavour, demand) = self.flavour(*flavour)?;
                assert_eq!(self.index.cheapest(flavour), self.index.scan(&demand, |_| Some(0.0)));
            }
            Step::AskWith(flavour, seed) => {
                let (flavour, demand) = self.flavour(*flavour)?;
                let addition = |host: HostIndex| {
                    let mixed = (u64::from(host.0) + 1).wrapping_mul(seed | 1).rotate_left(17) % 7;
                    (mixed > 1).then(|| (mixed - 2) as f64 * 0.05)
                };
                let (walked, scanned) = (
                    self.index.cheapest_with(flavour, addition),
                    self.index.scan(&demand, addition),
                );
                assert_eq!(walked, scanned);
                // What is contended differs from question to question.
                let demand =
                    demand.with(Resource::Cpu, seed % 4096).with(Resource::Network, seed % 64);
                let walked = self.index.cheapest_for(&demand, addition);
                assert_eq!(walked, self.index.scan(&demand, addition));
            }
        }
        Some(())
    }
}

proptest! {
    #[test]
    fn it_answers_as_a_look_at_all_hosts_does(
        steps in proptest::collection::vec(step(), 1..160),
        density in prop_oneof![Just(0.0), Just(1.0), 0.0..=1.0],
    ) {
        let preference = Preference::new(density).expect("between 0 and 1");
        let index = Index::new(CostModel::new(preference));
        let mut world = World { index, flavours: Vec::new(), placed: Vec::new() };
        for step in &steps {
            let _ = world.carry_out(step);
        }
        for (flavour, demand) in world.flavours.clone() {
            prop_assert_eq!(
                world.index.cheapest(flavour),
                world.index.scan(&demand, |_| Some(0.0))
            );
        }
    }
}

#[test]
fn thousands_of_hosts_stand_in_several_levels() {
    let mut index = Index::new(CostModel::new(Preference::DENSITY));
    let capacity = Amounts::UNCOUNTED.with(Resource::Vcpus, 32).with(Resource::Memory, 1 << 20);
    for _ in 0..5000 {
        index.add_host(capacity, Amounts::NOTHING).expect("one kind of host");
    }
    let demand = Amounts::NOTHING.with(Resource::Vcpus, 4).with(Resource::Memory, 1 << 16);
    let flavour = index.add_flavour(demand);
    for _ in 0..100 {
        let cheapest = index.cheapest(flavour).expect("there is room");
        assert_eq!(Some(cheapest), index.scan(&demand, |_| Some(0.0)));
        index.charge(cheapest.host, &demand);
    }
    let used = (0..5000).filter(|n| index.used(HostIndex(*n)) != Amounts::NOTHING).count();
    assert_eq!(used, 13, "density fills eight of them into a host before it takes another");
}

#[test]
fn a_closed_host_and_a_full_one_are_no_answer() {
    let mut index = Index::new(CostModel::new(Preference::BALANCE));
    let capacity = Amounts::UNCOUNTED.with(Resource::Memory, 100);
    let demand = Amounts::NOTHING.with(Resource::Memory, 60);
    let flavour = index.add_flavour(demand);
    assert_eq!(index.cheapest(flavour), None);
    let host = index.add_host(capacity, Amounts::NOTHING).expect("one kind of host");
    assert_eq!(index.cheapest(flavour).map(|c| c.host), Some(host));
    index.set_open(host, false);
    assert_eq!(index.cheapest(flavour), None);
    index.set_open(host, true);
    index.charge(host, &demand);
    assert_eq!(index.cheapest(flavour), None);
}
