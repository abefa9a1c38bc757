//! One full sample of each reply, for tests of the wire.

use super::hosts::{facts, host, load, rates, reported};
use super::moves::{migration, store};
use super::samples::{group, pin, spec, tag, vm};
use crate::v1::{self, Fault, FaultCode, Reply, VmPhase};

fn capacity() -> v1::Capacity {
    v1::Capacity {
        host_count: 2,
        host_up_count: 1,
        vm_count: 9,
        pcpus: 16,
        cpu_reserved_milli: 4000,
        cpu_used_milli: 1500,
        memory_kib: 1 << 25,
        memory_reserved_kib: 1 << 24,
        disk_bytes_per_s: 1_000_000_000,
        disk_reserved_bytes_per_s: 1_000_000,
        disk_used_bytes_per_s: 4096,
    }
}

fn site() -> v1::Site {
    v1::Site {
        site: vm(),
        name: "s1".into(),
        first: true,
        notes: "room 2".into(),
        pool_count: 3,
        capacity: capacity(),
    }
}

fn pool() -> v1::Pool {
    v1::Pool {
        pool: vm(),
        name: "p1".into(),
        site: "s1".into(),
        first: true,
        notes: "NVMe".into(),
        advised_moves: Some(2),
        rebalance: v1::Rebalance::CarryOut,
        capacity: capacity(),
    }
}

fn labels() -> v1::Labels {
    let used = |name: &str| v1::TagUse { name: name.into(), vm_count: 3, host_count: 1 };
    let folder = |path: &str| v1::FolderUse { path: path.into(), vm_count: 2 };
    v1::Labels {
        cut: true,
        tags: vec![used("gpu"), used("web")],
        folders: vec![folder("/prod"), folder("/prod/web")],
    }
}

fn vm_group() -> v1::Group {
    let member = |host: Option<&str>| v1::Member {
        vm: vm(),
        vm_name: "web-1".into(),
        host: host.map(str::to_owned),
        misplaced: true,
    };
    v1::Group {
        group: vm(),
        name: "web-ha".into(),
        rule: v1::GroupKind::Apart,
        soft: true,
        violated: true,
        notes: "ask ann".into(),
        members: vec![member(Some("h1")), member(Some("h2"))],
    }
}

fn vm_totals() -> v1::VmTotals {
    v1::VmTotals {
        vm_count: 2,
        running_count: 1,
        vcpus_online: 4,
        memory_now_kib: 262_144,
        cpu_used_milli: 810,
        disk_used_bytes_per_s: 4096,
        network_used_bytes_per_s: 1500,
    }
}

fn placement() -> v1::Placement {
    let candidate = v1::Candidate {
        host: "h1".into(),
        eligible: true,
        cost_cpu: 0.25,
        cost_memory: 0.5,
        cost_disk_io: 0.0,
        cost: 0.75,
        reason: "lowest cost".into(),
        parts: vec![part(), part()],
    };
    v1::Placement { chosen: Some("h1".into()), candidates: vec![candidate] }
}

fn shown() -> v1::Vm {
    v1::Vm {
        vm: vm(),
        phase: VmPhase::Saved,
        reason: "saved".into(),
        host: Some("h1".into()),
        stale: true,
        vcpus_online: 1,
        memory_now_kib: 131_072,
        saved_path: Some("/var/lib/web.save".into()),
        saved_host: Some("h1".into()),
        drift: Some("1 of 2 vCPUs are online".into()),
        pool: Some("p1".into()),
        site: Some("s1".into()),
        folder: Some("/prod/web".into()),
        notes: "ask ann".into(),
        spec: spec(),
        rates: Some(rates()),
        tags: vec![tag("tier:1"), tag("web")],
        misplaced: Some("it is on h1, to which it is not pinned".into()),
        pins: vec![pin("h2"), pin("h3")],
        groups: vec![group("shop"), group("web-ha")],
    }
}

pub(super) fn part() -> v1::Part {
    v1::Part { name: "cpu".into(), cost: 0.25 }
}

fn plan() -> v1::Plan {
    let step = v1::PlannedMove {
        wave: 1,
        vm: vm(),
        vm_name: "web".into(),
        source: "h1".into(),
        destination: "h2".into(),
        temporary: true,
        move_bytes: Some(1 << 30),
        move_ms: Some(9000),
        downtime_ms: Some(210),
        cost_here: 1.5,
        cost_there: 0.25,
        cost_move: 0.125,
        reason: "mostly cpu".into(),
    };
    let kept = v1::KeptVm {
        vm: vm(),
        vm_name: "db".into(),
        host: "h1".into(),
        cost_here: 0.5,
        reason: "it is pinned".into(),
    };
    v1::Plan {
        potential_before: 2.5,
        potential_after: 1.25,
        moves: vec![step.clone(), step],
        kept: vec![kept.clone(), kept],
    }
}

pub(super) fn refused_host() -> v1::RefusedHost {
    v1::RefusedHost { host: "h3".into(), by: "health".into(), reason: "is silent".into() }
}

fn placements() -> v1::Placements {
    let placed = v1::PlacedVm {
        name: "web-1".into(),
        host: "h1".into(),
        cost: 0.5,
        parts: vec![part(), part()],
    };
    let refused = vec![refused_host(), refused_host()];
    let unplaced = v1::UnplacedVm { name: "web-2".into(), refused };
    v1::Placements {
        placed: vec![placed.clone(), placed],
        unplaced: vec![unplaced.clone(), unplaced],
    }
}

fn growth() -> v1::Growth {
    let way = v1::Way {
        host: "h1".into(),
        in_place: true,
        cost: -0.5,
        move_bytes: Some(1 << 30),
        move_ms: Some(9000),
        downtime_ms: Some(210),
        parts: vec![part(), part()],
    };
    let refused = refused_host();
    v1::Growth { ways: vec![way.clone(), way], refused: vec![refused.clone(), refused] }
}

fn decision() -> v1::Decision {
    v1::Decision {
        decision: 42,
        at_ms: 1_700_000_000_000,
        question: v1::DecisionKind::Evacuate,
        vm: Some(vm()),
        vm_name: Some("web".into()),
        task: Some(vm()),
        answer: "to h1".into(),
        placement: Some(placement()),
        placements: Some(placements()),
        plan: Some(plan()),
        growth: Some(growth()),
        carry_out: Some(super::moves::carry_out()),
    }
}

fn vm_stats() -> v1::VmStats {
    v1::VmStats {
        vm: vm(),
        at_ms: 1,
        cpu_milli: Some(250),
        cpu_time_ns: 2,
        memory_kib: 3,
        memory_target_kib: 4,
        memory_max_kib: 5,
        memory_guest_free_kib: Some(6),
        disk_bytes_per_s: Some(7),
        network_bytes_per_s: Some(8),
        vcpus: vec![v1::Vcpu {
            index: 0,
            online: true,
            cpu_time_ns: 9,
            running: true,
            blocked: true,
            pcpu: 3,
        }],
        disks: vec![v1::DiskCounters {
            device: "xvda".into(),
            reads: 1,
            writes: 2,
            read_bytes: 3,
            written_bytes: 4,
            errors: Some(5),
        }],
        nics: vec![v1::NicCounters {
            index: 1,
            received_bytes: 1,
            received_packets: 2,
            received_drops: 3,
            sent_bytes: 4,
            sent_packets: 5,
            sent_drops: 6,
        }],
    }
}

fn host_stats() -> v1::HostStats {
    v1::HostStats {
        at_ms: 1,
        cpu_milli: Some(2),
        memory_total_kib: 3,
        memory_free_kib: 4,
        disk_bytes_per_s: Some(5),
        xen_version: "4.17.7".into(),
        xen_capabilities: "xen-3.0-x86_64 hvm-3.0-x86_64".into(),
        pcpus: vec![v1::Pcpu { index: 0, idle_ns: 1, busy_milli: Some(2) }],
        disks: vec![v1::HostDisk {
            device: "nvme0n1".into(),
            reads: 1,
            writes: 2,
            read_bytes: 3,
            written_bytes: 4,
            bytes_per_s: Some(5),
            latency_us: Some(6),
        }],
        nics: vec![v1::HostNic {
            device: "eth0".into(),
            received_bytes: 1,
            sent_bytes: 2,
            drops: 3,
            bytes_per_s: Some(4),
        }],
    }
}

fn task() -> v1::Task {
    v1::Task {
        task: vm(),
        verb: "SaveVm".into(),
        vm: vm(),
        vm_name: "web".into(),
        state: v1::TaskState::Failed,
        step: "tell (2 of 2)".into(),
        fault: Some(Fault::new(FaultCode::TimedOut, "too late").at("agent h1")),
        placement: Some(placement()),
        vcpus: Some(v1::Vcpus { asked: 2, online: 1, note: "short".into() }),
        memory: Some(v1::Memory { asked_kib: 2, reached_kib: 1, note: "short".into() }),
        migration: Some(migration()),
        target_kind: Some(v1::TargetKind::Vms),
        target: Some(vm()),
        target_name: Some("web".into()),
        host: Some("h1".into()),
        initiator: Some("operator/ann".into()),
        created_ms: Some(1),
        started_ms: Some(2),
        finished_ms: Some(3),
        progress_done: Some(1),
        progress_all: Some(2),
        place: Some(3),
        waits_for: Some("4 builds on host h1".into()),
        retry_of: Some(vm()),
        parent: Some(vm()),
        phases: vec![phase(v1::PhaseStatus::TakenBack), phase(v1::PhaseStatus::LeftOver)],
        children: vec![child(), child()],
        lines: vec![line(4), line(5)],
    }
}

fn orphan() -> v1::Orphan {
    v1::Orphan {
        host: "h1".into(),
        vm: vm(),
        phase: VmPhase::Paused,
        vcpus_online: 2,
        memory_kib: 131_072,
        domid: Some(7),
    }
}

fn phase(status: v1::PhaseStatus) -> v1::TaskPhase {
    v1::TaskPhase { name: "tell".into(), status }
}

fn child() -> v1::TaskChild {
    v1::TaskChild {
        vm: vm(),
        vm_name: "web".into(),
        state: v1::TaskState::Failed,
        task: Some(vm()),
        host: Some("h2".into()),
        code: Some(FaultCode::NoCapacity),
        message: Some("no host can take the VM".into()),
    }
}

fn line(at_ms: u64) -> v1::TaskLine {
    v1::TaskLine { at_ms, text: "a step failed: <&>".into() }
}

fn gone(object: v1::ObjectKind) -> v1::Gone {
    v1::Gone { object, id: vm() }
}

/// Sites, pools, labels, groups.
fn of_places() -> Vec<Reply> {
    vec![
        Reply::Sites(v1::Sites {
            next: Some("bmFtZQ".into()),
            count: Some(2),
            sites: vec![site(), site()],
        }),
        Reply::Pools(v1::Pools {
            next: Some("bmFtZQ".into()),
            count: Some(2),
            pools: vec![pool(), pool()],
        }),
        Reply::Labels(labels()),
        Reply::Placements(placements()),
        Reply::Groups(v1::Groups {
            next: Some("bmFtZQ".into()),
            count: Some(2),
            groups: vec![vm_group(), vm_group()],
        }),
        Reply::Group(Box::new(vm_group())),
    ]
}

/// Each reply.
pub(in crate::message) fn replies() -> Vec<Reply> {
    let others = vec![
        Reply::Pong(v1::Ping { text: "<&>\"'".into() }),
        Reply::Done(v1::Done {}),
        Reply::HostRef(v1::HostRef { host: vm() }),
        Reply::Hosts(v1::Hosts {
            next: Some("bmFtZQ".into()),
            totals: Some(capacity()),
            hosts: vec![host(), host()],
        }),
        Reply::AgentReport(v1::AgentReport {
            cursor: "9".into(),
            host: vm(),
            facts: facts(),
            load: load(),
            stores: vec![store("images"), store("iso")],
            vms: vec![reported(), reported()],
        }),
        Reply::Placement(placement()),
        Reply::Plan(plan()),
        Reply::Growth(growth()),
        Reply::Decision(Box::new(decision())),
        Reply::Decisions(v1::Decisions { next: Some(41), decisions: vec![decision(), decision()] }),
        Reply::DecisionText(v1::DecisionText { size_bytes: 3, data: "aGkh".into() }),
        Reply::Vcpus(v1::Vcpus { asked: 2, online: 1, note: "short".into() }),
        Reply::Memory(v1::Memory { asked_kib: 2, reached_kib: 1, note: "short".into() }),
        Reply::Vm(Box::new(shown())),
        Reply::Vms(v1::Vms {
            next: Some("web".into()),
            totals: Some(vm_totals()),
            vms: vec![shown(), shown()],
        }),
        Reply::ConsoleText(v1::ConsoleText { dropped_bytes: 1, data: "aGkh".into() }),
        Reply::VmStats(vm_stats()),
        Reply::HostStats(host_stats()),
        Reply::Task(Box::new(task())),
        Reply::Orphans(v1::Orphans { orphans: vec![orphan(), orphan()] }),
        Reply::Tasks(v1::Tasks { next: Some("n42".into()), tasks: vec![task(), task()] }),
        Reply::Events(v1::Events {
            cursor: "5f0c2a917be34d60.42".into(),
            resync: true,
            more: true,
            hosts: vec![host(), host()],
            vms: vec![shown(), shown()],
            tasks: vec![task(), task()],
            pools: vec![pool(), pool()],
            sites: vec![site(), site()],
            groups: vec![vm_group(), vm_group()],
            gone: vec![gone(v1::ObjectKind::Vm), gone(v1::ObjectKind::Task)],
        }),
        Reply::Certificate(v1::Certificate {
            certificate: "MIIB".into(),
            authority: "MIIC".into(),
        }),
        Reply::SigningRequest(v1::SigningRequest { signing_request: "MIHx".into() }),
    ];
    of_places().into_iter().chain(super::moves::replies()).chain(others).collect()
}
