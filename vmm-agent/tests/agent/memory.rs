//! A host that is short of memory: VMs give some back for others, get it again, and are named when they do not.

use std::time::Duration;

use vmm_agent::{Agent, AgentConfig};
use vmm_proto::server::Service as _;
use vmm_proto::v1::{FaultCode, VmPhase};
use xen_bindings::sim::{Op, SimConfig};
use xen_bindings::store::read_text;
use xen_bindings::{DomainConfig, DomainHandle, GuestKind, StorePath, XenErrorKind};

use crate::host::{Host, TestVm, manager};

/// A host with about 430 MiB for VMs.
pub(crate) async fn small_host() -> Host {
    Host::with(SimConfig {
        memory_total_kib: 1 << 20,
        dom0_memory_kib: 512 << 10,
        ..SimConfig::default()
    })
    .await
}

/// A VM that may be ballooned between `min` and `mib`.
fn ballooned(host: &Host, number: u8, (min, mib): (u64, u64), behaviour: &str) -> TestVm {
    let mut vm = host.vm(number);
    vm.spec.memory_min_kib = Some(min << 10);
    (vm.spec.memory_kib, vm.spec.memory_max_kib) = (mib << 10, mib.max(256) << 10);
    vm.spec.vcpus_max = 1;
    vm.spec.cmdline = format!("behaviour={behaviour}");
    vm
}

async fn running(host: &Host, vm: &TestVm) {
    host.build(vm).await.unwrap();
    host.sleep(3).await;
}

async fn mib(host: &Host, vm: &TestVm) -> u64 {
    host.reported(vm).await.memory_kib >> 10
}

async fn node(host: &Host, vm: &TestVm, relative: &str) -> u64 {
    let path = StorePath::domain(host.domid(vm).await).join(relative).unwrap();
    let text = read_text(host.backend.xen.store.as_ref(), &path).unwrap().unwrap();
    text.parse::<u64>().unwrap() >> 10
}

async fn limit(host: &Host, vm: &TestVm) -> u64 {
    let domid = host.domid(vm).await;
    host.backend.xen.control.info(domid).unwrap().unwrap().memory_max_kib >> 10
}

#[tokio::test(start_paused = true)]
async fn a_build_takes_what_others_can_spare_and_they_get_it_back_when_it_is_gone() {
    let host = small_host().await;
    let (first, second) = (
        ballooned(&host, 2, (64, 256), "cooperative"),
        ballooned(&host, 3, (64, 256), "cooperative"),
    );
    running(&host, &first).await;
    let capacity = host.report().await.facts.memory_kib;
    running(&host, &second).await;
    let given = 256 - mib(&host, &first).await;
    assert!((60..140).contains(&given), "{given}");
    assert!(limit(&host, &first).await <= 256 - given + 2, "it cannot take it back");
    let told = host.report().await.facts.memory_kib;
    assert!(told.abs_diff(capacity) < 8 << 10, "{told} {capacity}: no memory counts twice");

    // Nothing moves while both run: there is nothing to give back, and nobody needs any.
    let before = (mib(&host, &first).await, mib(&host, &second).await);
    host.sleep(300).await;
    assert_eq!((mib(&host, &first).await, mib(&host, &second).await), before);

    host.destroy(&second).await.unwrap();
    host.sleep(20).await;
    assert!(mib(&host, &first).await < 250, "not before a calm period is over");
    host.sleep(60).await;
    assert_eq!(mib(&host, &first).await, 256);
    host.destroy(&first).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_gives_nothing_is_named_and_left_as_it_was() {
    for behaviour in ["deaf", "hostile"] {
        let host = small_host().await;
        let stuck = ballooned(&host, 2, (64, 256), behaviour);
        running(&host, &stuck).await;
        let begun = tokio::time::Instant::now();
        let vm = ballooned(&host, 3, (256, 256), "cooperative");
        let fault = host.build(&vm).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
        assert!(fault.message.contains("VM vm-2 did not give back "), "{fault}");
        assert!(fault.message.contains("MiB are needed and "), "{fault}");
        assert!(begun.elapsed() < Duration::from_secs(31), "{:?}", begun.elapsed());
        assert_eq!(host.phase(&vm).await, VmPhase::Failed);
        // Nobody counts on it any more.
        assert_eq!(node(&host, &stuck, "memory/target").await, 256);
        assert_eq!(node(&host, &stuck, "memory/dynamic-max").await, 256);

        // Known to be stuck, it is not asked again at once, and the refusal comes at once.
        let begun = tokio::time::Instant::now();
        let fault = host.build(&ballooned(&host, 4, (256, 256), "cooperative")).await.unwrap_err();
        assert!(fault.message.contains("VM vm-2 did not give back "), "{fault}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        host.destroy(&stuck).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn others_carry_the_share_of_a_stuck_guest() {
    let host = small_host().await;
    let (stuck, good) =
        (ballooned(&host, 2, (64, 160), "deaf"), ballooned(&host, 3, (64, 224), "cooperative"));
    running(&host, &stuck).await;
    running(&host, &good).await;
    running(&host, &ballooned(&host, 4, (128, 128), "cooperative")).await;
    assert_eq!(mib(&host, &stuck).await, 160);
    assert!((64..140).contains(&mib(&host, &good).await), "{}", mib(&host, &good).await);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_had_asks_nobody() {
    let host = small_host().await;
    let vm = ballooned(&host, 2, (200, 256), "cooperative");
    running(&host, &vm).await;
    host.machine.recorder().clear();
    let fault = host.build(&ballooned(&host, 3, (256, 256), "cooperative")).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    assert!(fault.message.contains("does not suffice"), "{fault}");
    assert_eq!(host.machine.recorder().count(Op::MemorySetMax), 0);
    assert_eq!(host.report().await.vms.len(), 1, "refused before it was begun");
    assert_eq!(node(&host, &vm, "memory/target").await, 256);
}

#[tokio::test(start_paused = true)]
async fn without_a_balloon_policy_nobody_is_asked() {
    let host = small_host().await;
    let vm = ballooned(&host, 2, (256, 256), "cooperative");
    running(&host, &vm).await;
    let fault = host.build(&ballooned(&host, 3, (256, 256), "cooperative")).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    assert_eq!(mib(&host, &vm).await, 256);
}

#[tokio::test(start_paused = true)]
async fn a_growth_takes_what_others_can_spare_and_an_operators_word_wins() {
    let host = small_host().await;
    let (first, second) = (
        ballooned(&host, 2, (64, 192), "cooperative"),
        ballooned(&host, 3, (64, 192), "cooperative"),
    );
    running(&host, &first).await;
    running(&host, &second).await;
    let memory = host.set_memory(&first, 256).await.unwrap();
    assert_eq!((memory.note.as_str(), mib(&host, &first).await), ("", 256));
    let left = mib(&host, &second).await;
    assert!(left < 180, "{left}");

    // What an operator sets is agreed: the policy gives no more than that, and takes it as the upper end.
    let memory = host.set_memory(&second, 100).await.unwrap();
    assert_eq!(memory.note, "", "{memory:?}");
    host.sleep(200).await;
    assert_eq!(mib(&host, &second).await, 100);
    host.destroy(&first).await.unwrap();
    host.sleep(200).await;
    assert_eq!(mib(&host, &second).await, 100);
    assert_eq!(host.set_memory(&second, 200).await.unwrap().note, "");
    assert_eq!(node(&host, &second, "memory/dynamic-max").await, 200);
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_room_ends_with_who_wished() {
    let host = small_host().await;
    let (stuck, grows) =
        (ballooned(&host, 2, (64, 256), "deaf"), ballooned(&host, 3, (128, 128), "cooperative"));
    running(&host, &stuck).await;
    running(&host, &grows).await;
    let (memory, destroyed) = tokio::join!(host.set_memory(&grows, 250), async {
        host.sleep(2).await;
        host.destroy(&grows).await
    });
    assert_eq!(memory.unwrap_err().code, FaultCode::Cancelled);
    destroyed.unwrap();

    running(&host, &ballooned(&host, 4, (64, 64), "cooperative")).await;
    let vm = ballooned(&host, 5, (256, 256), "cooperative");
    let (agent, request) = (host.agent().clone(), Host::build_request(&vm));
    let build = tokio::spawn(async move { agent.call(manager("b"), request).await });
    host.sleep(3).await;
    assert_eq!(host.phase(&vm).await, VmPhase::Starting);
    host.destroy(&vm).await.unwrap();
    assert_eq!(build.await.unwrap().unwrap_err().code, FaultCode::Cancelled);
    assert_eq!(host.phase(&vm).await, VmPhase::Destroyed);
}

#[tokio::test(start_paused = true)]
async fn two_builds_that_both_need_room_do_not_count_on_the_same() {
    let host = small_host().await;
    let vm = ballooned(&host, 2, (64, 320), "cooperative");
    running(&host, &vm).await;
    let (first, second, third) = (
        ballooned(&host, 3, (128, 128), "cooperative"),
        ballooned(&host, 4, (128, 128), "cooperative"),
        ballooned(&host, 5, (128, 128), "cooperative"),
    );
    let outcomes = tokio::join!(host.build(&first), host.build(&second), host.build(&third));
    let outcomes = [outcomes.0, outcomes.1, outcomes.2];
    let built = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(built, 2, "{outcomes:?}");
    for fault in outcomes.into_iter().filter_map(Result::err) {
        assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    }
    let left = mib(&host, &vm).await;
    assert!((100..180).contains(&left), "{left}");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_restarts_knows_what_was_agreed() {
    let mut host = small_host().await;
    let (first, second) = (
        ballooned(&host, 2, (64, 192), "cooperative"),
        ballooned(&host, 3, (256, 256), "cooperative"),
    );
    running(&host, &first).await;
    assert_eq!(host.set_memory(&first, 224).await.unwrap().note, "");
    running(&host, &second).await;
    assert!(mib(&host, &first).await < 200);
    host.kill_agent().await;
    host.start_agent().await;
    host.destroy(&second).await.unwrap();
    host.sleep(100).await;
    assert_eq!(mib(&host, &first).await, 224);
}

#[tokio::test(start_paused = true)]
async fn a_growth_above_the_boot_time_maximum_that_the_guest_does_not_take_is_taken_back_whole() {
    let host = Host::new().await;
    let vm = ballooned(&host, 2, (256, 256), "deaf");
    running(&host, &vm).await;
    let (ledger, before) = (host.machine.memory(), limit(&host, &vm).await);
    let memory = host.set_memory(&vm, 600).await.unwrap();
    for words in [
        "grew to 256 MiB and no further; the request is withdrawn",
        "of the 344 MiB above memory-max it acknowledged 0 MiB",
        "3 blocks of 128 MiB",
        "memhp_default_state=online",
        "ATTR{state}=\"online\"",
    ] {
        assert!(memory.note.contains(words), "{words}: {}", memory.note);
    }
    assert_eq!((host.machine.memory(), limit(&host, &vm).await), (ledger, before));
    assert_eq!(node(&host, &vm, "memory/dynamic-max").await, 256);
}

#[tokio::test(start_paused = true)]
async fn the_paging_pool_follows_what_is_agreed_up_and_down() {
    let host = Host::new().await;
    let vm = ballooned(&host, 2, (256, 256), "cooperative");
    running(&host, &vm).await;
    let before = host.machine.memory();
    assert_eq!(host.set_memory(&vm, 1024).await.unwrap().note, "");
    host.sleep(1).await;
    let pages = |mib: u64| mib * 256;
    // A page of the pool for each MiB.
    let grown = host.machine.memory().domains - before.domains;
    assert_eq!(grown, pages(768) + 768);
    assert_eq!(host.set_memory(&vm, 256).await.unwrap().note, "");
    host.sleep(1).await;
    assert_eq!(host.machine.memory(), before);
}

#[tokio::test(start_paused = true)]
async fn a_growth_that_fails_at_any_step_leaves_what_was_there() {
    let host = Host::new().await;
    let vm = ballooned(&host, 2, (128, 128), "cooperative");
    running(&host, &vm).await;
    let (ledger, before) = (host.machine.memory(), limit(&host, &vm).await);
    host.machine.recorder().clear();
    assert_eq!(host.set_memory(&vm, 400).await.unwrap().note, "");
    let steps = u64::try_from(host.machine.recorder().calls().len()).unwrap();
    assert_eq!(host.set_memory(&vm, 128).await.unwrap().note, "");
    assert!(steps > 12, "{steps}");
    let mut failed = 0;
    for step in 1..=steps {
        host.machine.faults().fail_step(step);
        let outcome = host.set_memory(&vm, 400).await;
        host.machine.faults().clear();
        match outcome {
            Err(fault) => {
                failed += 1;
                assert!(fault.message.contains("everything is taken back"), "{step}: {fault}");
            }
            Ok(memory) => {
                assert_eq!(memory.note, "", "step {step}");
                assert_eq!(host.set_memory(&vm, 128).await.unwrap().note, "", "step {step}");
            }
        }
        assert_eq!((host.machine.memory(), limit(&host, &vm).await), (ledger, before), "{step}");
        assert_eq!(node(&host, &vm, "memory/target").await, 128, "step {step}");
    }
    assert!(failed >= 5, "{failed}");
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_build_claims_its_memory_before_it_populates_any_and_leaves_no_claim() {
    let host = small_host().await;
    let vm = ballooned(&host, 2, (128, 128), "cooperative");
    host.machine.recorder().clear();
    host.build(&vm).await.unwrap();
    let ops = host.machine.recorder().ops();
    let at = |op| ops.iter().position(|other| *other == op).unwrap();
    assert!(at(Op::MemorySetMax) < at(Op::MemoryClaim), "Xen takes no claim above the limit");
    assert!(at(Op::MemoryClaim) < at(Op::GuestBuild));
    let claimed = || host.backend.xen.host.physinfo().unwrap().memory_claimed_kib;
    assert_eq!(claimed(), 0);

    let refused = ballooned(&host, 3, (128, 128), "cooperative");
    for op in [Op::MemoryClaim, Op::GuestBuild] {
        host.machine.recorder().clear();
        host.machine.faults().fail_next(op, XenErrorKind::OutOfMemory);
        let fault = host.build(&refused).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
        assert!(fault.message.contains("everything is taken back"), "{fault}");
        assert_eq!((claimed(), host.report().await.vms.len()), (0, 2));
        let populated = host.machine.recorder().count(Op::GuestBuild) > 0;
        assert_eq!(populated, op == Op::GuestBuild);
    }
}

#[tokio::test(start_paused = true)]
async fn what_another_toolstack_has_claimed_is_not_free() {
    let host = small_host().await;
    let xen = &host.backend.xen;
    let config = DomainConfig::new(DomainHandle([9; 16]), GuestKind::Pvh, 1);
    let other = xen.control.create(&config).unwrap().domid();
    xen.memory.set_max(other, 200 << 10).unwrap();
    xen.memory.claim(other, 200 << 10).unwrap();
    let vm = ballooned(&host, 2, (256, 256), "cooperative");
    let fault = host.build(&vm).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    xen.memory.claim(other, 0).unwrap();
    host.build(&vm).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_two_builds_by_toolstacks_that_do_not_know_each_other_none_fails_half_way() {
    let host = small_host().await;
    // A second agent on the same machine: it has promises of its own, and the two share Xen alone.
    let config = AgentConfig::new("h2", &host.dir.path().join("state-2")).unwrap();
    let other = Agent::start(config, host.backend.clone(), crate::host::env()).await.unwrap();
    let (first, second) = (
        ballooned(&host, 2, (256, 256), "cooperative"),
        ballooned(&host, 3, (256, 256), "cooperative"),
    );
    host.machine.recorder().clear();
    let outcomes = tokio::join!(
        host.build(&first),
        other.call(manager("other"), Host::build_request(&second))
    );
    let outcomes = [outcomes.0, outcomes.1];
    let fault = outcomes.iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
    assert_eq!(fault.code, FaultCode::OutOfMemory, "{fault}");
    assert!(fault.message.contains("step claim-memory failed"), "{fault}");
    assert!(outcomes.iter().any(Result::is_ok), "{outcomes:?}");
    assert_eq!(host.machine.recorder().count(Op::GuestBuild), 1, "the other populated nothing");
}

#[tokio::test(start_paused = true)]
async fn a_growth_that_another_change_ends_is_withdrawn() {
    let host = Host::new().await;
    let vm = ballooned(&host, 2, (128, 128), "deaf");
    running(&host, &vm).await;
    let (ledger, before) = (host.machine.memory(), limit(&host, &vm).await);
    let (memory, shutdown) = tokio::join!(host.set_memory(&vm, 600), async {
        host.sleep(2).await;
        assert_eq!(limit(&host, &vm).await, 601);
        host.shutdown(&vm, 3).await
    });
    assert_eq!(memory.unwrap_err().code, FaultCode::Cancelled);
    assert_eq!(shutdown.unwrap_err().code, FaultCode::TimedOut);
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
    assert_eq!((host.machine.memory(), limit(&host, &vm).await), (ledger, before));
    assert_eq!(node(&host, &vm, "memory/target").await, 128);
}

#[tokio::test(start_paused = true)]
async fn an_agent_killed_during_a_growth_leaves_it_whole_or_not_begun() {
    let (mut begun, mut not_begun) = (0, 0);
    for step in 1..24 {
        let mut host = Host::new().await;
        let vm = ballooned(&host, 2, (128, 128), "deaf");
        running(&host, &vm).await;
        let (ledger, before) = (host.machine.memory(), limit(&host, &vm).await);
        host.machine.recorder().clear();
        tokio::select! {
            biased;
            () = async {
                // Time goes by only while nobody is ready to run.
                for round in 1_u32.. {
                    if host.machine.recorder().calls().len() >= step {
                        break;
                    }
                    match round % 8 {
                        0 => tokio::time::sleep(Duration::from_millis(1)).await,
                        _ => tokio::task::yield_now().await,
                    }
                }
            } => {}
            outcome = host.set_memory(&vm, 400) => panic!("step {step}: {outcome:?}"),
        }
        host.kill_agent().await;
        host.start_agent().await;
        host.sleep(5).await;
        // The pool is 144 pages larger for what is above the boot-time maximum.
        let pool = host.machine.memory().domains - ledger.domains;
        match node(&host, &vm, "memory/target").await {
            128 => {
                not_begun += 1;
                assert_eq!((limit(&host, &vm).await, pool), (before, 0), "step {step}");
            }
            400 => {
                begun += 1;
                assert_eq!((limit(&host, &vm).await, pool), (401, 144), "step {step}");
                assert_eq!(node(&host, &vm, "memory/dynamic-max").await, 400);
            }
            other => panic!("step {step}: {other}"),
        }
        assert_eq!(host.set_memory(&vm, 128).await.unwrap().note, "", "step {step}");
        assert_eq!((host.machine.memory(), limit(&host, &vm).await), (ledger, before), "{step}");
    }
    assert!(begun > 2 && not_begun > 2, "{begun} {not_begun}");
}
