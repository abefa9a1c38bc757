//! What the scheduler decided can be listed, looked into and made again, also by another run of the manager.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use vmm_core::scheduler::record::{Answer, Record};
use vmm_proto::v1::{
    CreateVm, Decision, DecisionKind, DestroyVm, FaultCode, ListDecisions, ListPools, ReadDecision,
    Reply, Request, ShowDecision,
};

use super::{Pool, spec};

async fn list(pool: &Pool, asked: ListDecisions) -> (Vec<Decision>, Option<u64>) {
    match pool.ok(Request::ListDecisions(asked)).await {
        Reply::Decisions(page) => (page.decisions, page.next),
        other => panic!("decisions were expected: {other:?}"),
    }
}

async fn show(pool: &Pool, decision: u64) -> Decision {
    match pool.ok(Request::ShowDecision(ShowDecision { decision })).await {
        Reply::Decision(decision) => *decision,
        other => panic!("a decision was expected: {other:?}"),
    }
}

async fn read(pool: &Pool, decision: u64) -> String {
    let mut text = Vec::new();
    loop {
        let offset = Some(u64::try_from(text.len()).expect("small"));
        let ask = Request::ReadDecision(ReadDecision { decision, offset });
        let Reply::DecisionText(piece) = pool.ok(ask).await else { panic!("a text was expected") };
        text.extend(BASE64.decode(piece.data).expect("base64"));
        if u64::try_from(text.len()).expect("small") >= piece.size_bytes {
            return String::from_utf8(text).expect("text");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_placement_is_kept_with_its_task_and_is_made_again() {
    let mut pool = Pool::of(&["a", "b"]).await;
    let task = pool.create("one").await;
    for run in 0..2 {
        let (decisions, next) = list(&pool, ListDecisions::default()).await;
        let [one] = decisions.as_slice() else { panic!("{decisions:?}") };
        assert_eq!((one.question, next), (DecisionKind::Place, None), "run {run}");
        assert_eq!(one.vm_name.as_deref(), Some("one"));
        assert_eq!(one.task.as_ref(), Some(&task.task));
        let shown = show(&pool, one.decision).await;
        assert_eq!(shown.placement, task.placement, "terms and all");
        let text = read(&pool, one.decision).await;
        let again = Record::read(&text).expect("understood").replay();
        let Answer::Place(Some(placed)) = again else { panic!("{again:?}") };
        let host = placed.candidates.iter().find(|c| Some(c.host) == placed.chosen);
        assert_eq!(one.answer, format!("to {}", host.expect("chosen").name));
        pool.restart().await;
    }
}

#[tokio::test(start_paused = true)]
async fn that_nobody_can_take_a_vm_is_a_decision_as_well_and_a_dry_run_is_none() {
    let pool = Pool::of(&["a"]).await;
    let large = |dry_run| {
        let mut spec = spec("huge");
        (spec.memory_kib, spec.memory_max_kib) = (1 << 30, 1 << 30);
        Request::CreateVm(CreateVm { dry_run, spec, ..CreateVm::default() })
    };
    pool.ok(large(true)).await;
    let fault = pool.call(None, large(false)).await.expect_err("too large");
    assert_eq!(fault.code, FaultCode::NoCapacity);
    pool.settle().await;
    let (decisions, _) = list(&pool, ListDecisions::default()).await;
    let [none] = decisions.as_slice() else { panic!("{decisions:?}") };
    assert_eq!((&none.answer, &none.task), (&fault.message, &None));
    let placement = show(&pool, none.decision).await.placement.expect("every host");
    assert!(placement.chosen.is_none() && placement.candidates.len() == 1);
}

#[tokio::test(start_paused = true)]
async fn lists_go_on_and_are_about_one_vm() {
    let pool = Pool::of(&["a"]).await;
    for name in ["one", "two", "three"] {
        pool.create(name).await;
    }
    let names = |decisions: &[Decision]| -> Vec<String> {
        decisions.iter().filter_map(|d| d.vm_name.clone()).collect()
    };
    let ask = ListDecisions { count_max: Some(2), ..ListDecisions::default() };
    let (first, next) = list(&pool, ask.clone()).await;
    assert_eq!(names(&first), ["three", "two"]);
    let (rest, end) = list(&pool, ListDecisions { before: next, ..ask }).await;
    assert_eq!((names(&rest), end), (vec!["one".to_owned()], None));
    let id = pool.vm("two").await.expect("there").vm;
    for vm in ["two".to_owned(), id] {
        let (found, _) = list(&pool, ListDecisions { vm: Some(vm), ..Default::default() }).await;
        assert_eq!(names(&found), ["two"]);
    }
    let unknown = Request::ShowDecision(ShowDecision { decision: 99 });
    let fault = pool.call(None, unknown).await.expect_err("not kept");
    assert!(fault.message.contains("ListDecisions"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn moves_that_would_pay_are_shown_at_the_pool_and_kept_once() {
    let pool = super::advice::hot().await;
    let advised = async || match pool.ok(Request::ListPools(ListPools::default())).await {
        Reply::Pools(pools) => pools.pools[0].advised_moves,
        other => panic!("pools were expected: {other:?}"),
    };
    tokio::time::sleep(Duration::from_secs(180)).await;
    assert_eq!(advised().await, Some(1));
    let (decisions, _) = list(&pool, ListDecisions::default()).await;
    let plans: Vec<&Decision> =
        decisions.iter().filter(|d| d.question == DecisionKind::Rebalance).collect();
    let [kept] = plans.as_slice() else { panic!("three looks, one plan: {plans:?}") };
    assert!(kept.answer.starts_with("1 move would pay"), "{}", kept.answer);
    let plan = show(&pool, kept.decision).await.plan.expect("a plan");
    assert_eq!((plan.moves.len(), plan.moves[0].destination.as_str()), (1, "b"));
    pool.done(Request::DestroyVm(DestroyVm { vm: "one".into() })).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(advised().await, None, "nobody is in the way any more");
}
