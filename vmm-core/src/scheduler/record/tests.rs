//! What is written is read back to the bit and decided again as it was.

use proptest::prelude::*;

use super::*;

fn amounts() -> impl Strategy<Value = Amounts> {
    let amount = || prop_oneof![Just(0), Just(u64::MAX), any::<u64>()];
    (amount(), amount(), amount(), amount()).prop_map(|(vcpus, memory, cpu, network)| {
        Amounts::NOTHING
            .with(Resource::Vcpus, vcpus)
            .with(Resource::Memory, memory)
            .with(Resource::Cpu, cpu)
            .with(Resource::Network, network)
    })
}

fn host_id() -> impl Strategy<Value = HostId> {
    (1u8..4).prop_map(|n| HostId::from_bytes([n; 16]))
}

fn vm_id() -> impl Strategy<Value = VmId> {
    (1u8..6).prop_map(|n| VmId::from_bytes([n; 16]))
}

fn names() -> impl Strategy<Value = BTreeSet<String>> {
    proptest::collection::btree_set(".{1,3}", 0..3)
}

fn host() -> impl Strategy<Value = Host> {
    let plain = (host_id(), ".*", 0u8..3, any::<bool>(), ".*", any::<u32>());
    let sets = (proptest::collection::vec(any::<u32>(), 0..3), names(), names());
    (plain, sets, amounts(), amounts(), any::<u64>()).prop_map(
        |((id, name, health, maintenance, zone, pcpus), sets, capacity, used, link_bytes_per_s)| {
            Host {
                id,
                name,
                health: [Health::Up, Health::Silent, Health::Unknown][usize::from(health)],
                maintenance,
                zone,
                pcpus,
                features: Features(sets.0),
                storages: sets.1,
                images: sets.2,
                capacity,
                used,
                link_bytes_per_s,
            }
        },
    )
}

fn vm() -> impl Strategy<Value = Vm> {
    let needs = (
        any::<u32>(),
        proptest::option::of(".*"),
        names(),
        proptest::collection::btree_set(host_id(), 0..3),
        proptest::collection::btree_set(host_id(), 0..3),
    );
    let needs = needs.prop_map(|(vcpus, zone, storages, pinned, disks_in_use)| Needs {
        vcpus,
        zone,
        features: Features(vec![vcpus]),
        storages,
        pinned,
        disks_in_use,
    });
    let image = proptest::option::of((".*", any::<u64>()));
    let booleans = (any::<bool>(), any::<bool>());
    let mobility = (booleans, any::<u64>(), any::<u64>(), proptest::option::of(any::<u64>()));
    (vm_id(), ".*", amounts(), proptest::option::of(host_id()), needs, image, mobility).prop_map(
        |(id, name, demand, host, needs, image, mobility)| Vm {
            id,
            name,
            demand,
            host,
            needs,
            image: image.map(|(name, bytes)| Image { name, bytes }),
            mobility: Mobility {
                is_movable: mobility.0.0,
                stands: mobility.0.1,
                memory_bytes: mobility.1,
                dirty_bytes_per_s: mobility.2,
                moved_s_ago: mobility.3,
            },
        },
    )
}

fn group() -> impl Strategy<Value = Group> {
    let members = proptest::collection::btree_set(vm_id(), 0..4);
    (".*", members, any::<bool>(), proptest::option::of(0.0..1e3)).prop_map(
        |(name, members, apart, wish)| Group {
            name,
            members,
            kind: if apart { GroupKind::Apart } else { GroupKind::Together },
            wish,
        },
    )
}

fn question() -> impl Strategy<Value = Question> {
    prop_oneof![
        vm_id().prop_map(Question::Place),
        (proptest::collection::vec(vm_id(), 0..4), 0u32..4, any::<u64>())
            .prop_map(|(vms, repairs, seed)| Question::Batch(vms, Effort { repairs, seed })),
        (0usize..4, any::<u64>(), any::<u64>()).prop_map(|(moves_max, cool_down_s, trusted_s)| {
            Question::Rebalance(Limits { moves_max, cool_down_s, trusted_s })
        }),
        host_id().prop_map(Question::Evacuate),
        (vm_id(), amounts()).prop_map(|(vm, demand)| Question::Grow(vm, demand)),
        vm_id().prop_map(Question::Relocate),
    ]
}

fn record() -> impl Strategy<Value = Record> {
    let pool = (
        proptest::collection::vec(host(), 0..4),
        proptest::collection::vec(vm(), 0..6),
        proptest::collection::vec(group(), 0..3),
    );
    let pool = pool.prop_map(|(hosts, vms, groups)| Pool { hosts, vms, groups });
    (question(), 0.0..=1.0, pool).prop_map(|(question, density, pool)| Record {
        question,
        preference: Preference::new(density).expect("between 0 and 1"),
        pool,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_record_is_read_back_and_decided_again(record in record()) {
        let text = record.write();
        let again = Record::read(&text).map_err(|bad| TestCaseError::fail(format!("{bad}\n{text}")))?;
        prop_assert_eq!(&again, &record);
        prop_assert_eq!(again.replay(), record.replay());
    }

    #[test]
    fn no_text_is_half_understood(text in "(record|host|vm) [a-z=. 0-9%,-]{0,60}") {
        if let Ok(record) = Record::read(&text) {
            let written = record.write();
            prop_assert_eq!(Record::read(&written), Ok(record));
        }
    }
}

#[test]
fn what_is_not_known_is_refused_with_its_line() {
    let head = "record version=1 density=0 ask=evacuate host=01010101-0101-0101-0101-010101010101";
    let check = |text: &str, expect: &str| {
        let found = Record::read(text).map(|_| ()).map_err(|bad| bad.to_string());
        assert_eq!(found, Err(expect.to_owned()), "{text}");
    };
    assert!(Record::read(head).is_ok());
    check("", "line 1 of the record: there is nothing");
    check("record version=2 density=0", "line 1 of the record: version 2 is not 1");
    check("record version=1 density=2", "line 1 of the record: density is from 0 to 1");
    check("record version=1 density=0 ask=why", "line 1 of the record: \"why\" is no question");
    check(&format!("{head} more=1"), "line 1 of the record: more is not known");
    check(&format!("{head}\nguest x=1"), "line 2 of the record: \"guest\" is no kind of line");
    check(&format!("{head}\nhost x"), "line 2 of the record: \"x\" is no key=value");
    check(&format!("{head}\nhost a=1 a=2"), "line 2 of the record: a stands there twice");
    check(&format!("{head}\ngroup name=a%2"), "line 2 of the record: kind is missing");
    check(
        &format!("{head}\ngroup kind=apart name=a%2"),
        "line 2 of the record: name is escaped badly",
    );
}
