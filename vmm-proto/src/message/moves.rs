//! Samples of live migration: what is asked, what is answered, and what reports and tasks say of it.

use super::answers::{part, refused_host};
use super::samples::{spec, vm};
use crate::v1::{self, Reply, Request};

fn id() -> String {
    "000102030405060708090a0b0c0d0e0f".to_owned()
}

/// What came of a plan.
pub(super) fn carry_out() -> v1::CarryOut {
    let moved = v1::CarriedMove {
        vm: vm(),
        vm_name: "web".into(),
        source: "h1".into(),
        destination: "h2".into(),
        state: v1::TaskState::Failed,
        task: Some(vm()),
        message: Some("the link was cut".into()),
    };
    v1::CarryOut {
        progress: v1::Progress::Stopped,
        pool: "p1".into(),
        reason: Some("a move failed".into()),
        moves: vec![moved.clone(), moved],
    }
}

/// Each request of it.
pub(super) fn requests() -> Vec<Request> {
    vec![
        Request::MigrateVm(v1::MigrateVm {
            vm: vm(),
            host: Some("h2".into()),
            downtime_ms_max: Some(300),
            slowdown_ms_max: Some(8000),
            deadline_s: Some(600),
            bandwidth_bytes_per_s: Some(50_000_000),
        }),
        Request::EvacuateHost(v1::EvacuateHost {
            host: "h1".into(),
            dry_run: true,
            at_once: Some(2),
            downtime_ms_max: Some(300),
            slowdown_ms_max: Some(8000),
            deadline_s: Some(600),
            bandwidth_bytes_per_s: Some(50_000_000),
        }),
        Request::PlanMigration(v1::PlanMigration {
            vm: vm(),
            host: Some("h2".into()),
            downtime_ms_max: Some(300),
            slowdown_ms_max: Some(8000),
            deadline_s: Some(600),
            bandwidth_bytes_per_s: Some(50_000_000),
        }),
        Request::ReceiveVm(v1::ReceiveVm {
            vm: vm(),
            migration: id(),
            source: "h1".into(),
            memory_kib: 131_072,
            vcpus_online: 2,
            spec: spec(),
        }),
        Request::SendVm(v1::SendVm {
            vm: vm(),
            migration: id(),
            destination: "h2".into(),
            address: "h2:8443".into(),
            deadline_ms: 600_000,
            downtime_ms_max: 300,
            slowdown_ms_max: Some(8000),
            bandwidth_bytes_per_s: Some(50_000_000),
        }),
        Request::SettleMigration(v1::SettleMigration {
            vm: vm(),
            migration: id(),
            verdict: v1::MigrationVerdict::Abort,
        }),
        Request::AwaitMigration(v1::AwaitMigration {
            vm: vm(),
            migration: id(),
            wait_ms_max: 5000,
            devices: true,
        }),
    ]
}

/// As the source sees it.
pub(super) fn migration() -> v1::Migration {
    v1::Migration {
        migration: id(),
        role: v1::MigrationRole::Source,
        peer: "h2".into(),
        stage: v1::MigrationStage::Sending,
        activity: Some(v1::MigrationActivity::Sprint),
        rounds: 3,
        sent_bytes: 1 << 28,
        left_bytes: 1 << 20,
        dirty_bytes_per_s: Some(4096),
        downtime_ms: Some(25),
        left_ms: Some(1500),
        brake_percent: Some(10),
    }
}

pub(super) fn store(name: &str) -> v1::SharedStore {
    v1::SharedStore { name: name.into(), path: format!("/srv/{name}") }
}

fn plan() -> v1::MigrationPlan {
    let way = v1::Way {
        host: "h2".into(),
        in_place: false,
        cost: -0.5,
        move_bytes: Some(1 << 30),
        move_ms: Some(9000),
        downtime_ms: Some(210),
        parts: vec![part(), part()],
    };
    v1::MigrationPlan {
        vm: vm(),
        vm_name: "web".into(),
        source: "h1".into(),
        destination: Some("h2".into()),
        downtime_ms_max: 300,
        deadline_s: 600,
        ways: vec![way.clone(), way],
        refused: vec![refused_host(), refused_host()],
    }
}

fn returned(name: &str, heard_ms: Option<u64>) -> v1::ReturnedDevice {
    v1::ReturnedDevice { name: name.into(), used_ms: Some(900), heard_ms }
}

/// Each reply of it.
pub(super) fn replies() -> Vec<Reply> {
    vec![
        Reply::MigrationPlan(plan()),
        Reply::Receiving(v1::Receiving { migration: id() }),
        Reply::Offered(v1::Offered {
            migration: id(),
            ram_bytes: 1 << 30,
            sent_bytes: 1 << 28,
            rounds: 5,
            elapsed_ms: 9000,
            downtime_ms: 25,
            lost_ms: 150,
        }),
        Reply::MigrationState(v1::MigrationState {
            migration: id(),
            stage: v1::MigrationStage::Discarded,
            reason: "the link was cut".into(),
            started_ms: Some(210),
            devices: vec![returned("disk xvda", None), returned("NIC 0", Some(930))],
        }),
    ]
}
