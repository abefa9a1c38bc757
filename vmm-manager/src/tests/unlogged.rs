//! PV guests on hosts whose Xen logs none of what they write.

use vmm_proto::v1::{self, Reply, Request};

use super::moves::pair_of;
use super::spec;

#[tokio::test(start_paused = true)]
async fn a_pv_guest_on_a_host_that_logs_none_is_planned_to_stand_still_for_all_of_it() {
    let (pool, vm) = pair_of(v1::Spec { kind: v1::GuestKind::Pv, ..spec("web") }).await;
    let plan = Request::PlanMigration(v1::PlanMigration { vm, ..v1::PlanMigration::default() });
    let check = async |logs_pv: Option<bool>, stands: bool| {
        pool.agents.with("a", |host| host.facts.logs_pv = logs_pv);
        pool.settle().await;
        let Reply::MigrationPlan(shown) = pool.ok(plan.clone()).await else { panic!("a plan") };
        let way = &shown.ways[0];
        assert!(way.downtime_ms <= way.move_ms && way.move_ms > Some(0), "{way:?}");
        assert_eq!(way.downtime_ms == way.move_ms, stands, "{logs_pv:?}: {way:?}");
    };
    check(Some(true), false).await;
    check(Some(false), true).await;
    check(None, false).await;
}
