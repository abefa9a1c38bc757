//! Samples of hosts and of what their agents report, for tests of the wire.

use super::moves::migration;
use super::samples::{tag, vm};
use crate::v1::{self, VmPhase};

pub(super) fn facts() -> v1::HostFacts {
    v1::HostFacts {
        pcpus: 8,
        memory_kib: 1 << 24,
        disk_bytes_per_s: 500_000_000,
        disk_requests_per_s: Some(20_000),
        network_bytes_per_s: Some(125_000_000),
        migration_address: Some("10.9.0.1:8443".into()),
        cpu_features: Some("1789c3f5-f7fa3223".into()),
        logs_pv: Some(false),
        xen_version: "4.17.7".into(),
        backend: "libxc".into(),
        agent_version: "0.1.0".into(),
    }
}

pub(super) fn load() -> v1::HostLoad {
    v1::HostLoad {
        cpu_milli: 1500,
        memory_free_kib: 1 << 23,
        disk_bytes_per_s: 1000,
        shell_count: 3,
        shell_memory_kib: 393_216,
    }
}

pub(super) fn host() -> v1::Host {
    v1::Host {
        host: vm(),
        name: "h1".into(),
        address: "h1:8443".into(),
        health: v1::HostHealth::Up,
        heard_ms_ago: Some(12),
        maintenance: true,
        vm_count: 2,
        memory_reserved_kib: 1,
        cpu_reserved_milli: 2,
        disk_reserved_bytes_per_s: 3,
        facts: Some(facts()),
        load: Some(load()),
        pool: "p1".into(),
        site: "s1".into(),
        notes: "rack 4".into(),
        tags: vec![tag("gpu"), tag("ssd")],
    }
}

pub(super) fn reported() -> v1::ReportedVm {
    v1::ReportedVm {
        vm: vm(),
        generation: 4,
        phase: VmPhase::Preserved,
        reason: "it crashed".into(),
        vcpus_online: 2,
        memory_kib: 131_072,
        domid: Some(7),
        cpu_features: Some("1789c3f5-80802201".into()),
        rates: Some(rates()),
        migration: Some(migration()),
    }
}

pub(super) fn rates() -> v1::VmRates {
    v1::VmRates {
        age_ms: 1200,
        cpu_milli: Some(810),
        disk_bytes_per_s: Some(4096),
        disk_requests_per_s: Some(7),
        network_bytes_per_s: Some(1500),
    }
}
