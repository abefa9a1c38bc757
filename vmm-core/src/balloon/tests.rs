//! The policy against a small host with guests of all kinds.

use proptest::prelude::*;

use super::*;

/// How a guest treats its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// So much a second, and at rest a little off its target.
    Follows { kib_per_s: u64, off: u64 },
    /// Nothing.
    Deaf,
    /// Gives back and takes it again, every other second.
    TakesBack,
}

#[derive(Clone, Debug)]
struct Guest {
    kind: Kind,
    min: Kib,
    max: Kib,
    held: Kib,
    limit: Kib,
    target: Kib,
    weight: u32,
    progress: Progress,
    named: u32,
}

/// A host whose clock ticks in seconds, and what an agent does on it.
#[derive(Clone, Debug)]
struct Host {
    now: Duration,
    total: Kib,
    reserve: Kib,
    guests: Vec<Guest>,
}

fn id(index: usize) -> VmId {
    VmId::from_bytes([u8::try_from(index).expect("few guests"); 16])
}

impl Host {
    fn new(free: u64, guests: Vec<Guest>) -> Self {
        let held: Kib = guests.iter().map(|guest| guest.held).sum();
        let reserve = Kib::from_mib(64);
        Self { now: Duration::from_secs(1), total: held + reserve + Kib(free), reserve, guests }
    }

    fn free(&self) -> Kib {
        let held: Kib = self.guests.iter().map(|guest| guest.held).sum();
        assert!(held <= self.total, "more is held than there is");
        self.total - held
    }

    fn snapshot(&mut self) -> Snapshot {
        let now = self.now;
        let takes = |guest: &Guest| guest.limit.saturating_sub(guest.held);
        let claimed = self.guests.iter().map(takes).sum();
        let vm = |(index, guest): (usize, &mut Guest)| {
            guest.progress.look(now, guest.held.max(guest.limit), guest.target);
            let stuck = guest.progress.is_stuck(now);
            VmBalloon {
                vm: id(index),
                dynamic_min: guest.min,
                dynamic_max: guest.max,
                held: guest.held,
                limit: guest.limit,
                target: guest.target,
                moved_at: guest.progress.moved_at(),
                standing: if stuck { Standing::Stuck } else { Standing::Able },
                weight: guest.weight,
            }
        };
        let vms = self.guests.iter_mut().enumerate().map(vm).collect();
        Snapshot { now, free: self.free(), reserve: self.reserve, claimed, vms }
    }

    /// As the agent does: the limit rises before the target, and follows what the guest has given.
    fn carry_out(&mut self, actions: &[Action]) {
        for action in actions {
            match *action {
                Action::SetTarget { vm, target } => {
                    let guest = self.guest(vm);
                    assert!(guest.min <= target && target <= guest.max, "{action:?} {guest:?}");
                    guest.target = target;
                }
                Action::Stuck { vm, kept } => {
                    let now = self.now;
                    let guest = self.guest(vm);
                    assert!(kept > TOLERANCE);
                    guest.progress.declare_stuck(now);
                    guest.target = guest.held;
                    guest.named += 1;
                }
            }
        }
        for guest in &mut self.guests {
            guest.limit = guest.held.max(guest.target);
        }
    }

    fn guest(&mut self, vm: VmId) -> &mut Guest {
        let index = usize::from(vm.bytes()[0]);
        &mut self.guests[index]
    }

    fn tick(&mut self) {
        self.now += Duration::from_secs(1);
        let odd = self.now.as_secs() % 2 == 1;
        for guest in &mut self.guests {
            let goal = match guest.kind {
                Kind::Follows { kib_per_s, off } => {
                    let goal = guest.target.0 + off;
                    Kib(goal
                        .clamp(guest.held.0.saturating_sub(kib_per_s), guest.held.0 + kib_per_s))
                }
                Kind::Deaf => guest.held,
                Kind::TakesBack if odd => guest.limit,
                Kind::TakesBack => guest.held.saturating_sub(Kib(64)),
            };
            // Xen lets nobody hold more than its limit, but for its special pages.
            guest.held = goal.min(guest.limit + Kib(768));
        }
    }

    /// Plans, acts and waits until there is nothing more to do; how it ended and after how many rounds.
    fn run(&mut self, wish: Wish) -> (Snapshot, Plan, u32) {
        for round in 0..ROUNDS_MAX {
            let snapshot = self.snapshot();
            let plan = plan(&snapshot, wish);
            self.check(&snapshot, &plan, wish);
            self.carry_out(&plan.actions);
            let settled = wish != Wish::GiveBack || self.at_rest();
            if plan.verdict != Verdict::Wait && settled {
                return (snapshot, plan, round);
            }
            self.tick();
        }
        panic!("no end after {ROUNDS_MAX} rounds: {self:?}");
    }

    /// Nobody who follows its target is on its way.
    fn at_rest(&self) -> bool {
        let mut later = self.clone();
        later.tick();
        let rests = |(now, then): (&Guest, &Guest)| {
            now.held == then.held || !matches!(now.kind, Kind::Follows { .. })
        };
        self.guests.iter().zip(&later.guests).all(rests)
    }

    /// What holds in every round.
    fn check(&self, snapshot: &Snapshot, plan: &Plan, wish: Wish) {
        let mut seen = std::collections::BTreeSet::new();
        for action in &plan.actions {
            let (Action::SetTarget { vm, .. } | Action::Stuck { vm, .. }) = action;
            assert!(seen.insert(*vm), "asked twice: {plan:?}");
            let before = snapshot.vms[usize::from(vm.bytes()[0])];
            assert!(before.standing == Standing::Able || wish == Wish::GiveBack, "{plan:?}");
            if let Action::SetTarget { target, .. } = action {
                let (asked, given) = (*target < before.target, *target > before.target);
                assert!(if wish == Wish::GiveBack { given } else { asked }, "{before:?} {plan:?}");
            }
        }
        assert_eq!(self.free() + self.guests.iter().map(|g| g.held).sum(), self.total);
    }
}

/// A minute's steps of a slow guest, many times over.
const ROUNDS_MAX: u32 = 3000;

fn guest(kind: Kind, min: u64, max: u64, held: u64, weight: u32) -> Guest {
    let mib = Kib::from_mib;
    let (min, max, held) = (mib(min), mib(max), mib(held));
    let progress = Progress::new(Duration::ZERO);
    Guest { kind, min, max, held, limit: held, target: held, weight, progress, named: 0 }
}

const QUICK: Kind = Kind::Follows { kib_per_s: 256 << 10, off: 0 };

fn guests() -> impl Strategy<Value = Vec<Guest>> {
    let kind = prop_oneof![
        4 => (1_u64 << 10..1 << 20, 0_u64..768)
            .prop_map(|(kib_per_s, off)| Kind::Follows { kib_per_s, off }),
        1 => Just(Kind::Follows { kib_per_s: 16, off: 0 }),
        1 => Just(Kind::Deaf),
        1 => Just(Kind::TakesBack),
    ];
    let one = (kind, 32_u64..512, 0_u64..2048, 0_u64..=100, 1_u32..2048);
    let one = one.prop_map(|(kind, min, span, percent, weight)| {
        guest(kind, min, min + span, min + span * percent / 100, weight)
    });
    proptest::collection::vec(one, 0..7)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_global_rejects: 1 << 20,
        ..ProptestConfig::default()
    })]

    #[test]
    fn room_is_made_or_it_is_truly_not_there(guests in guests(), free in 0_u64..1 << 20, wanted in 0_u64..4 << 20) {
        let mut host = Host::new(free, guests);
        let (snapshot, plan, _) = host.run(Wish::Room(Kib(wanted)));
        match plan.verdict {
            Verdict::Done => prop_assert!(snapshot.room() >= Kib(wanted)),
            Verdict::Cannot { missing } => {
                let named: Vec<VmId> = plan.actions.iter().filter_map(|action| match action {
                    Action::Stuck { vm, .. } => Some(*vm),
                    Action::SetTarget { .. } => None,
                }).collect();
                let able = |vm: &&VmBalloon| vm.standing == Standing::Able && !named.contains(&vm.vm);
                // A guest at rest within the tolerance above its minimum has nothing more to give.
                let left = |vm: &VmBalloon| {
                    let left = vm.grip().saturating_sub(vm.dynamic_min);
                    if vm.target <= vm.dynamic_min && left <= TOLERANCE { Kib::ZERO } else { left }
                };
                let most: Kib = snapshot.vms.iter().filter(able).map(left).sum();
                prop_assert!(snapshot.room() + most < Kib(wanted));
                prop_assert_eq!(snapshot.room() + most + missing, Kib(wanted));
            }
            Verdict::Wait => prop_assert!(false, "it ended while it waits"),
        }
        for guest in &host.guests {
            // An eighth of a step in ten seconds is progress.
            if let Kind::Follows { kib_per_s: 8192.., .. } = guest.kind {
                prop_assert_eq!(guest.named, 0, "{:?}", guest);
            }
        }
    }

    #[test]
    fn giving_back_comes_to_rest_and_stays_there(guests in guests(), free in 0_u64..4 << 20) {
        let mut host = Host::new(free, guests);
        // A guest that crawls comes to rest in days.
        for guest in &mut host.guests {
            if let Kind::Follows { kib_per_s, .. } = &mut guest.kind {
                *kib_per_s = (*kib_per_s).max(1 << 10);
            }
        }
        let before: Kib = host.guests.iter().map(|guest| guest.target).sum();
        // The hostile ones take their time.
        for _ in 0..60 {
            host.run(Wish::GiveBack);
            host.tick();
        }
        let after: Kib = host.guests.iter().map(|guest| guest.target).sum();
        prop_assert!(after >= before);
        let all_full = host.guests.iter().all(|g| g.target == g.max || g.kind == Kind::Deaf || g.held < g.target);
        let snapshot = host.snapshot();
        // Nobody is left with less than it may have while there is something to give, but for shares too small to ask for.
        let crumbs = Kib(u64::try_from(host.guests.len()).expect("few") * 2048);
        prop_assert!(all_full || snapshot.room() <= HEADROOM + crumbs, "{:?}", host);
        for _ in 0..30 {
            let targets: Vec<Kib> = host.guests.iter().map(|guest| guest.target).collect();
            let (_, plan, _) = host.run(Wish::GiveBack);
            prop_assert_eq!(&plan.actions, &[]);
            prop_assert_eq!(targets, host.guests.iter().map(|guest| guest.target).collect::<Vec<_>>());
            host.tick();
        }
    }

    #[test]
    fn room_that_was_made_stays_until_it_is_used_or_given_back(guests in guests(), wanted in 1_u64..1 << 20) {
        let mut host = Host::new(0, guests);
        let (_, plan, _) = host.run(Wish::Room(Kib(wanted)));
        prop_assume!(plan.verdict == Verdict::Done);
        for _ in 0..30 {
            host.tick();
            let (_, again, _) = host.run(Wish::Room(Kib(wanted)));
            prop_assert_eq!(again, Plan { actions: Vec::new(), verdict: Verdict::Done });
        }
    }

    #[test]
    fn more_memory_wanted_never_asks_less_of_a_vm(guests in guests(), less in 0_u64..1 << 20, more in 0_u64..1 << 20) {
        let mut host = Host::new(0, guests);
        let snapshot = host.snapshot();
        let (small, great) = (plan(&snapshot, Wish::Room(Kib(less))), plan(&snapshot, Wish::Room(Kib(less + more))));
        prop_assume!(!matches!(great.verdict, Verdict::Cannot { .. }));
        for action in small.actions {
            let Action::SetTarget { vm, target } = action else { continue };
            let asked_more = great.actions.iter().any(|other| matches!(
                other, Action::SetTarget { vm: whom, target: to } if *whom == vm && *to <= target
            ));
            prop_assert!(asked_more, "{:?} is missing or milder in {:?}", action, great);
        }
    }
}

#[test]
fn each_gives_in_proportion_to_what_it_can_and_to_its_weight() {
    let mib = Kib::from_mib;
    let check = |weights: [u32; 3], expect: [u64; 3]| {
        let ranges = [(64, 128), (64, 192), (128, 128)];
        let guests =
            ranges.iter().zip(weights).map(|((min, max), w)| guest(QUICK, *min, *max, *max, w));
        let mut host = Host::new(0, guests.collect());
        let (_, plan, _) = host.run(Wish::Room(mib(30)));
        assert_eq!(plan.verdict, Verdict::Done);
        assert_eq!(host.guests.iter().map(|guest| guest.held.mib()).collect::<Vec<_>>(), expect);
    };
    check([256, 256, 256], [118, 172, 128]);
    check([512, 256, 256], [122, 168, 128]);
}

#[test]
fn a_stuck_guest_is_named_and_the_others_carry_its_share() {
    let deaf = guest(Kind::Deaf, 64, 256, 256, 256);
    let mut host = Host::new(0, vec![deaf, guest(QUICK, 64, 256, 256, 256)]);
    let (_, plan, rounds) = host.run(Wish::Room(Kib::from_mib(100)));
    assert_eq!(plan.verdict, Verdict::Done);
    assert!((10..20).contains(&rounds), "{rounds}");
    assert_eq!((host.guests[0].named, host.guests[1].named), (1, 0));
    assert_eq!((host.guests[0].target.mib(), host.guests[1].target.mib()), (256, 156));
}

#[test]
fn a_guest_that_takes_memory_back_is_found_out() {
    let hostile = guest(Kind::TakesBack, 64, 256, 256, 256);
    let mut host = Host::new(0, vec![hostile]);
    let (_, plan, rounds) = host.run(Wish::Room(Kib::from_mib(100)));
    assert!(matches!(plan.actions[..], [Action::Stuck { .. }]), "{plan:?}");
    assert!(matches!(plan.verdict, Verdict::Cannot { .. }) && rounds < 100, "{plan:?} {rounds}");
}

#[test]
fn what_cannot_be_had_is_refused_before_anybody_is_asked() {
    let mut host = Host::new(1 << 10, vec![guest(QUICK, 64, 256, 256, 256)]);
    let (_, plan, rounds) = host.run(Wish::Room(Kib::from_mib(200)));
    let missing = Kib::from_mib(200 - 192 - 1);
    assert_eq!(plan, Plan { actions: Vec::new(), verdict: Verdict::Cannot { missing } });
    assert_eq!((rounds, host.guests[0].target.mib()), (0, 256));
}

#[test]
fn a_vm_with_a_change_of_its_own_is_left_alone_but_waited_for() {
    let mut host = Host::new(0, vec![guest(QUICK, 64, 256, 256, 256)]);
    let mut snapshot = host.snapshot();
    snapshot.vms[0].standing = Standing::Busy;
    let wait = Plan { actions: Vec::new(), verdict: Verdict::Wait };
    assert_eq!(plan(&snapshot, Wish::Room(Kib::from_mib(100))), wait);
}

#[test]
fn a_target_runs_a_step_ahead_and_no_further() {
    let mut host = Host::new(0, vec![guest(Kind::Deaf, 64, 1024, 1024, 256)]);
    let snapshot = host.snapshot();
    let vm = snapshot.vms[0].vm;
    let target = Kib::from_mib(1024 - 128);
    let plan = plan(&snapshot, Wish::Room(Kib::from_mib(600)));
    assert_eq!(plan.actions, [Action::SetTarget { vm, target }]);
}

#[test]
fn a_guest_that_was_asked_for_a_wish_that_is_over_is_found_out_too() {
    let mut host = Host::new(1 << 20, vec![guest(Kind::Deaf, 64, 256, 256, 256)]);
    host.guests[0].target = Kib::from_mib(100);
    let (_, plan, rounds) = host.run(Wish::GiveBack);
    assert_eq!((plan.actions, host.guests[0].named), (Vec::new(), 0), "it may still follow");
    assert_eq!(rounds, 0);
    for _ in 0..15 {
        host.tick();
        host.run(Wish::GiveBack);
    }
    assert_eq!((host.guests[0].target.mib(), host.guests[0].named), (256, 1));
}
